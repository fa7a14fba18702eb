/** A model file of a version folder, as signatures run it: one onnxruntime session, or a plan where custom ops cut it. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import type { Tensor } from '#mesh/tensor.ts';
import { type OnnxPort, readOnnxHeaderFile } from '#proto/onnx-header.ts';
import { loadKernels } from '../../../savedmodel/ops/load-kernels.ts';
import type { Plan, SignaturePlan } from '../../../savedmodel/plan/plan.ts';
import { createPlanRunner } from '../../../savedmodel/plan/run/index.ts';
import type { LoadRequest, RuntimeHost } from '../runtime.ts';
import { functionsFile } from './custom-ops/functions-file.ts';
import type { Graph, GraphValue } from './onnx-graph.ts';
import { type OpenGraph, openGraph, runSession } from './onnx-session.ts';
import { fromOrtTensor, toOrtTensor } from './onnx-tensors.ts';
import { openSegments } from './plan-segments.ts';

/** An input or output of a run: the client's name for messages, and the graph's. */
export interface NamedValue {
  readonly alias: string;
  readonly onnx: string;
}

/** A model file in memory. */
export interface OpenModel {
  readonly graph: Graph;
  readonly executionProvider: string;
  /** Runs it for some of its outputs, each asked for once or more. Rejects with INVALID_ARGUMENT when the inputs are to blame, else INTERNAL. */
  run(fetches: readonly NamedValue[], feeds: readonly (NamedValue & { readonly tensor: Tensor })[]): Promise<readonly Tensor[]>;
  release(): Promise<void>;
}

/** Where a model lies, and what was made of it. */
export interface ModelPlace {
  readonly request: LoadRequest;
  /** In the version's folder. */
  readonly file: string;
  /** Of the version's files with custom ops; absent without any. */
  readonly plan: Plan | undefined;
  readonly enter: NonNullable<RuntimeHost['enter']>;
}

/** Opens a model file. What cannot be had as asked for is said in `remarks`. Rejects with ServeError that names the file. */
export async function openModel(place: ModelPlace, remarks: string[]): Promise<OpenModel> {
  const { request, file, plan } = place;
  const path = join(request.path, file);
  const made = plan !== undefined && Object.hasOwn(plan.signatures, file) ? plan.signatures[file] : undefined;
  const prepared = request.preparedFolder;
  if (plan === undefined || made === undefined || prepared === undefined) return sessionModel(await openGraph(path, request, remarks));
  const mixesRows = !made.signature.batchable;
  const functions = join(prepared, functionsFile(file));
  if (existsSync(functions)) {
    const opened = await openGraph(path, request, remarks, { functions: await readFile(functions) });
    return sessionModel({ ...opened, graph: { ...opened.graph, mixesRows } });
  }
  return cutModel(place, { plan, prepared, made }, remarks);
}

function sessionModel({ session, graph, executionProvider }: OpenGraph): OpenModel {
  return {
    graph,
    executionProvider,
    async run(fetches, feeds) {
      const fed: Parameters<typeof runSession>[2] = {};
      for (const { alias, onnx, tensor } of feeds) fed[onnx] = toOrtTensor(alias, tensor);
      const fetched = await runSession(
        session,
        fetches.map(({ onnx }) => onnx),
        fed,
      );
      return fetches.map(({ alias, onnx }) => {
        const value = fetched[onnx];
        if (!value) throw new ServeError('INTERNAL', `onnxruntime did not compute the output ${alias}`);
        return fromOrtTensor(alias, value);
      });
    },
    release: () => session.release(),
  };
}

async function cutModel(
  { request, file, enter }: ModelPlace,
  { plan, prepared, made }: { readonly plan: Plan; readonly prepared: string; readonly made: SignaturePlan },
  remarks: string[],
): Promise<OpenModel> {
  await using opening = new AsyncDisposableStack();
  const segments = opening.use(
    await openSegments(plan, { planFolder: prepared, weightsFolder: request.path, request, program: made.program }, remarks),
  );
  const kernels = await loadKernels(plan, request.opModules ?? [], enter);
  const runner = await createPlanRunner({ plan, planFolder: prepared, modelFolder: request.path, segments, kernels });
  opening.defer(() => runner.close());
  const header = readOnnxHeaderFile(join(request.path, file));
  const opened = opening.move();
  return {
    graph: { inputs: header.inputs.map(graphValue), outputs: header.outputs.map(graphValue), mixesRows: !made.signature.batchable },
    executionProvider: segments.executionProvider,
    run: (fetches, feeds) =>
      runner.run(
        file,
        fetches.map(({ onnx }) => onnx),
        new Map(feeds.map(({ onnx, tensor }) => [onnx, tensor])),
      ),
    release: () => opened.disposeAsync(),
  };
}

function graphValue({ name, dtype, elementType, shape, dimNames }: OnnxPort): GraphValue {
  const typeName = dtype ?? (elementType === 0 ? 'not a tensor' : `ONNX's element type ${elementType}`);
  return { name, dtype: dtype ?? undefined, typeName, shape, dimNames };
}
