/**
 * The runtime of SavedModels: a plan, which is what an import made of one. Its ONNX segments run in onnxruntime sessions, what lies between them
 * in TypeScript. Variables that a signature writes and tables live in this process and end with it.
 */
import { join } from 'node:path';
import { env } from 'onnxruntime-node';
import { ServeError } from '#mesh/errors.ts';
import type { Signature, Signatures } from '#mesh/signature.ts';
import type { Tensor } from '#mesh/tensor.ts';
import { loadKernels } from '../../../savedmodel/ops/load-kernels.ts';
import type { Plan, SignaturePlan } from '../../../savedmodel/plan/plan.ts';
import { createPlanRunner, readPlan, type SegmentRunner } from '../../../savedmodel/plan/run/index.ts';
import type { LoadedModel, LoadRequest, Runtime, RuntimeHost } from '../runtime.ts';
import { type OpenGraph, openGraph, runSession } from './onnx-session.ts';
import { fromOrtTensor, toOrtTensor } from './onnx-tensors.ts';

/** The module's entry: see `runtime.ts`. */
export function createRuntime({ enter = () => {} }: RuntimeHost = {}): Runtime {
  // What onnxruntime would print (a provider that is not there) is said in `remarks`.
  env.logLevel = 'fatal';
  return { load: (request) => load(request, enter) };
}

async function load(request: LoadRequest, enter: NonNullable<RuntimeHost['enter']>): Promise<LoadedModel> {
  const planFolder = request.preparedFolder;
  if (planFolder === undefined) throw new ServeError('INTERNAL', `${request.path} was not imported before it was loaded (this is a bug)`);
  const plan = await readPlan(planFolder);
  const remarks = [...plan.remarks];
  await using opening = new AsyncDisposableStack();
  const graphs: OpenGraph[] = [];
  for (const { file } of plan.segments) {
    const graph = await openGraph(join(planFolder, file), request, remarks);
    opening.defer(() => graph.session.release());
    graphs.push(graph);
  }
  const kernels = await loadKernels(plan, request.opModules ?? [], enter);
  const segments = segmentRunner(plan, graphs);
  const runner = await createPlanRunner({ plan, planFolder, modelFolder: request.path, segments, kernels });
  opening.defer(() => runner.close());
  const opened = opening.move();
  return {
    description: {
      signatures: signaturesOf(plan),
      stateful: Object.values(plan.signatures).some((signature) => signature.stateful),
      executionProvider: graphs[0]?.executionProvider ?? 'cpu',
      remarks: [...new Set(remarks)],
    },
    run: (signature, outputs, inputs) => runner.run(signature, outputs, inputs),
    close: () => opened.disposeAsync(),
  };
}

function signaturesOf(plan: Plan): Signatures {
  const served = ({ signature, stateful }: SignaturePlan): Signature =>
    // Rows that pass through a state are not independent of each other.
    stateful ? { ...signature, batchable: false } : signature;
  return Object.fromEntries(Object.entries(plan.signatures).map(([key, signature]) => [key, served(signature)]));
}

function segmentRunner(plan: Plan, graphs: readonly OpenGraph[]): SegmentRunner {
  return {
    async run(segment, feeds, fetches) {
      const graph = graphs[segment];
      if (graph === undefined) throw new ServeError('INTERNAL', `the plan has no segment ${segment} (this is a bug)`);
      const fed: Parameters<typeof runSession>[2] = {};
      for (const [name, tensor] of feeds) fed[name] = toOrtTensor(name, tensor);
      const results = await runSession(graph.session, fetches, fed);
      return fetches.map((name): Tensor => {
        const value = results[name];
        if (value === undefined)
          throw new ServeError('INTERNAL', `${plan.segments[segment]?.file} did not compute ${name} (this is a bug)`);
        return fromOrtTensor(name, value);
      });
    },
  };
}
