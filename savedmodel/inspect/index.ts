/** `headrace inspect`: what a model offers, how it is cut into segments and host steps, and what of it cannot be served. */
import { toServeError } from '#mesh/errors.ts';
import type { SavedModelSource } from '../read/saved-model.ts';
import { INSPECT_USAGE, type InspectArguments, parseInspectArguments } from './arguments.ts';
import { findModelFolder, type ModelFolder } from './find-version.ts';
import { type InspectOptions, inspectSavedModel, type MetaGraphInspection } from './inspect-saved-model.ts';
import { inspectOnnxFolder, onnxFolderText } from './onnx-folder.ts';
import { metaGraphDocument } from './saved-model-document.ts';
import { savedModelText } from './saved-model-text.ts';

/** What a command has to say. */
export interface CommandResult {
  readonly exitCode: 0 | 1 | 2;
  readonly output: string;
  readonly errors: string;
}

/** Makes a plan with the custom ops of some files and folders. */
export type PlanMaker = (source: SavedModelSource, opLibrary: readonly string[]) => ReturnType<InspectOptions['makePlan']>;

/** Runs the command on its words (without the program's own). Writes nothing, neither to the terminal nor to disk; never rejects. */
export async function runInspect(words: readonly string[], makePlan: PlanMaker): Promise<CommandResult> {
  let given: InspectArguments | null;
  try {
    given = parseInspectArguments(words);
  } catch (caught) {
    return { exitCode: 2, output: '', errors: `headrace inspect: ${toServeError(caught).message}\n\n${INSPECT_USAGE}` };
  }
  if (given === null) return { exitCode: 0, output: INSPECT_USAGE, errors: '' };
  try {
    return await inspect(given, makePlan);
  } catch (caught) {
    const { code, message } = toServeError(caught);
    return { exitCode: 1, output: '', errors: `headrace inspect: ${code}: ${message}\n` };
  }
}

async function inspect({ path, tags, signature, json, opLibrary }: InspectArguments, makePlan: PlanMaker): Promise<CommandResult> {
  const found = await findModelFolder(path);
  const { folder, kind } = found;
  if (kind === 'onnx') {
    const inspection = await inspectOnnxFolder(folder, signature);
    return {
      exitCode: 0,
      output: json ? document({ ...found, onnx: inspection }) : `${chosenText(found)}${onnxFolderText(inspection)}`,
      errors: '',
    };
  }
  const metaGraphs = await inspectSavedModel({
    folder,
    makePlan: (source) => makePlan(source, opLibrary),
    ...(tags === undefined ? {} : { tags }),
    ...(signature === undefined ? {} : { signature }),
  });
  return {
    exitCode: metaGraphs.every(({ outcome }) => isServed(outcome)) ? 0 : 1,
    output: json
      ? document({ ...found, meta_graphs: metaGraphs.map(metaGraphDocument) })
      : `${chosenText(found)}${savedModelText(metaGraphs)}`,
    errors: '',
  };
}

function isServed(outcome: MetaGraphInspection['outcome']): boolean {
  return 'outline' in outcome && Object.values(outcome.outline.signatures).every(({ refusal }) => refusal === null);
}

/** Which of several versions it is about. */
function chosenText({ folder, version }: ModelFolder): string {
  if (version === null) return '';
  const others = version.all.filter((one) => one !== version.chosen);
  const beside = others.length === 0 ? 'the only one' : `the newest; there are also ${others.join(', ')}`;
  return `Version ${version.chosen} (${beside}): ${folder}\n`;
}

function document(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
