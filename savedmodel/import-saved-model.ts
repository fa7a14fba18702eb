import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildModel } from '#proto/onnx-writer.ts';
import { loadOpLibrary, type OpModuleLayers } from './ops/load-op-library.ts';
import { NO_OPS } from './ops/op-library.ts';
import { buildPlan } from './plan/build-plan.ts';
import { CONSTANTS_FILE, PLAN_FILE, type Plan } from './plan/plan.ts';
import { WEIGHTS_FILE } from './plan/segments.ts';
import { HOST_STEP_OPS, ONNX_OPS } from './plan/supported-ops.ts';
import { readSavedModel } from './read/saved-model.ts';

/** What to import, and where to. */
export interface ImportOptions {
  /** The SavedModel's folder. */
  readonly folder: string;
  /** The tags of the MetaGraph to serve. */
  readonly tags: readonly string[];
  /** An empty folder, which gets the plan. */
  readonly into: string;
  /** Modules of custom ops: they are run. Default: none. */
  readonly modules?: OpModuleLayers;
  /** Called before and after user code runs, with the name of the code: the caller holds it to a limit. */
  readonly onUserCode?: (name: string | null) => void;
  /** Called now and then with whole percents and a word. */
  readonly onProgress?: (percent: number, doing: string) => void;
  /** Stops the import between two files. */
  readonly signal?: AbortSignal;
}

/**
 * Imports a SavedModel: reads it, decides how each signature runs, and writes ONNX models, constants and `plan.json` (last, so that a folder
 * with one is whole). Large weights are copied tensor by tensor. Rejects with ServeError: NOT_FOUND without such a SavedModel or MetaGraph, DATA_LOSS for a
 * damaged one, UNIMPLEMENTED naming op, node and function for one of which no signature can be served.
 */
export async function importSavedModel(options: ImportOptions): Promise<Plan> {
  const { folder, tags, into, modules, onProgress = () => {}, onUserCode = () => {}, signal } = options;
  onProgress(0, 'reading the graph');
  const source = await readSavedModel(folder, { tags });
  signal?.throwIfAborted();
  onProgress(10, 'translating');
  const library = modules === undefined ? NO_OPS : await loadOpLibrary(modules, onUserCode);
  const { plan, models, weights, constants } = await buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS, library });
  const totalBytes = Math.max(1, weights.byteLength + constants.byteLength);
  const writing = (before: number) => ({
    onBytes: (bytes: number) => onProgress(40 + Math.floor((55 * (before + bytes)) / totalBytes), 'copying weights'),
    ...(signal === undefined ? {} : { signal }),
  });
  await weights.write(into, WEIGHTS_FILE, writing(0));
  await constants.write(into, CONSTANTS_FILE, writing(weights.byteLength));
  onProgress(95, 'writing models');
  for (const [file, model] of models) {
    signal?.throwIfAborted();
    await writeFile(join(into, file), buildModel(model), { flag: 'wx' });
  }
  await writeFile(join(into, PLAN_FILE), JSON.stringify(plan), { flag: 'wx' });
  onProgress(100, 'imported');
  return plan;
}
