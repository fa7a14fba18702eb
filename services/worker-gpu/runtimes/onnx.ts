/** The ONNX runtime: a version folder with `model.onnx` (or an `.ort` file) and optionally `signatures.json`, run by onnxruntime. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { env } from 'onnxruntime-node';
import { ServeError } from '#mesh/errors.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import { readPlan } from '../../../savedmodel/plan/run/index.ts';
import type { LoadedModel, LoadRequest, Runtime, RuntimeHost } from '../runtime.ts';
import { HOST_OPS } from './host-ops.ts';
import { type NamedValue, type OpenModel, openModel } from './onnx-model.ts';
import { type BoundSignature, bindSignature, deriveSignature, needsGraph } from './onnx-signatures.ts';
import { parseExamples } from './parse-example.ts';
import { parseSignaturesFile } from './signatures-file.ts';

/** The module's entry: see `runtime.ts`. */
export function createRuntime({ enter = () => {} }: RuntimeHost = {}): Runtime {
  // What onnxruntime would print (a provider that is not there) is said in `remarks`.
  env.logLevel = 'fatal';
  return { load: (request) => load(request, enter) };
}

async function load(request: LoadRequest, enter: NonNullable<RuntimeHost['enter']>): Promise<LoadedModel> {
  const remarks: string[] = [];
  const models = new Map<string, OpenModel>();
  const plan = request.preparedFolder === undefined ? undefined : await readPlan(request.preparedFolder);
  const open = async (file: string): Promise<OpenModel> => {
    const known = models.get(file);
    if (known) return known;
    const opened = await openModel({ request, file, plan, enter }, remarks);
    models.set(file, opened);
    return opened;
  };
  try {
    const { bound, stateful } = await bindFolder(request.path, open);
    return {
      description: {
        signatures: Object.fromEntries(Object.entries(bound).map(([key, { signature }]) => [key, signature])),
        stateful,
        executionProvider: [...models.values()][0]?.executionProvider ?? 'cpu',
        remarks,
      },
      async run(signature, outputs, inputs) {
        const plan = Object.hasOwn(bound, signature) ? bound[signature] : undefined;
        if (plan === undefined) throw new ServeError('FAILED_PRECONDITION', `Serving signature key "${signature}" not found.`);
        return runSignature(plan, models.get(plan.model), outputs, inputs);
      },
      async close() {
        for (const model of models.values()) await model.release();
        models.clear();
      },
    };
  } catch (caught) {
    for (const model of models.values()) await model.release();
    throw caught;
  }
}

async function bindFolder(folder: string, open: (file: string) => Promise<OpenModel>) {
  const model = await findModel(folder);
  const path = join(folder, 'signatures.json');
  if (!existsSync(path)) {
    if (model === undefined) throw new ServeError('NOT_FOUND', `${folder} holds no model.onnx and no other .onnx or .ort file`);
    return { bound: deriveSignature((await open(model)).graph, model, join(folder, model)), stateful: false };
  }
  const file = parseSignaturesFile(await readText(path), path, model ?? 'model.onnx');
  const bound: Record<string, BoundSignature> = {};
  for (const [key, entry] of Object.entries(file.signatures)) {
    const graph = needsGraph(entry) ? (await open(entry.model)).graph : null;
    bound[key] = bindSignature(key, entry, graph, path);
  }
  return { bound, stateful: file.stateful };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ServeError('FAILED_PRECONDITION', `${path} cannot be read`, { cause });
  }
}

/** `model.onnx`, else the one `.ort` or `.onnx` file there is. */
async function findModel(folder: string): Promise<string | undefined> {
  const names = (await readdir(folder)).sort();
  if (names.includes('model.onnx')) return 'model.onnx';
  const candidates = names.filter((name) => name.endsWith('.ort') || name.endsWith('.onnx'));
  return candidates.length === 1 ? candidates[0] : undefined;
}

async function runSignature(
  plan: BoundSignature,
  model: OpenModel | undefined,
  outputs: readonly string[],
  inputs: NamedTensors,
): Promise<readonly Tensor[]> {
  const fetches: NamedValue[] = [];
  for (const alias of outputs) {
    const output = plan.outputs.get(alias);
    if (output === undefined) throw new ServeError('INVALID_ARGUMENT', `output tensor alias not found in signature: ${alias}`);
    if (output.type === 'fetch') fetches.push({ alias, onnx: output.onnx });
  }
  const fetched = fetches.length === 0 || model === undefined ? [] : await model.run(fetches, feedsOf(plan, inputs));
  const computed = new Map(fetches.map(({ alias }, index) => [alias, fetched[index]]));
  return outputs.map((alias) => {
    const output = plan.outputs.get(alias);
    if (output?.type === 'host') return HOST_OPS[output.op](inputOf(inputs, output.input));
    const value = computed.get(alias);
    if (!value) throw new ServeError('INTERNAL', `the output ${alias} was not computed (this is a bug)`);
    return value;
  });
}

function feedsOf(plan: BoundSignature, inputs: NamedTensors): Parameters<OpenModel['run']>[1] {
  const feeds: (NamedValue & { readonly tensor: Tensor })[] = [];
  for (const [alias, input] of plan.inputs) {
    const tensor = inputOf(inputs, alias);
    const wanted = plan.signature.inputs[alias]?.dtype;
    if (tensor.dtype !== wanted) throw new ServeError('INVALID_ARGUMENT', `input ${alias} is ${wanted}, but ${tensor.dtype} is provided`);
    if (input.type === 'feed') feeds.push({ alias, onnx: input.onnx, tensor });
    if (input.type === 'examples') {
      for (const [onnx, column] of parseExamples(tensor, input.features)) feeds.push({ alias: onnx, onnx, tensor: column });
    }
  }
  return feeds;
}

function inputOf(inputs: NamedTensors, alias: string): Tensor {
  const tensor = inputs.get(alias);
  if (tensor === undefined) throw new ServeError('INVALID_ARGUMENT', `input ${alias} is missing`);
  return tensor;
}
