/**
 * The runtime of SavedModels: a plan, which is what an import made of one. Its ONNX segments run in onnxruntime sessions, what lies between them
 * in TypeScript. Variables that a signature writes and tables live in this process and end with it.
 */
import { env } from 'onnxruntime-node';
import { ServeError } from '#mesh/errors.ts';
import type { Signature, Signatures } from '#mesh/signature.ts';
import { loadKernels } from '../../../savedmodel/ops/load-kernels.ts';
import type { Plan, SignaturePlan } from '../../../savedmodel/plan/plan.ts';
import { createPlanRunner, readPlan } from '../../../savedmodel/plan/run/index.ts';
import type { LoadedModel, LoadRequest, Runtime, RuntimeHost } from '../runtime.ts';
import { openSegments } from './plan-segments.ts';

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
  const segments = opening.use(await openSegments(plan, { planFolder, request }, remarks));
  const kernels = await loadKernels(plan, request.opModules ?? [], enter);
  const runner = await createPlanRunner({ plan, planFolder, modelFolder: request.path, segments, kernels });
  opening.defer(() => runner.close());
  const opened = opening.move();
  return {
    description: {
      signatures: signaturesOf(plan),
      stateful: Object.values(plan.signatures).some((signature) => signature.stateful),
      executionProvider: segments.executionProvider,
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
