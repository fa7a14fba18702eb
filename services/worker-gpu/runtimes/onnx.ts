/** The ONNX runtime: a version folder with `model.onnx` (or an `.ort` file) and optionally `signatures.json`, run by onnxruntime. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { env, type InferenceSession, type Tensor as OrtTensor } from 'onnxruntime-node';
import { ServeError } from '#mesh/errors.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import type { LoadedModel, LoadRequest, Runtime } from '../runtime.ts';
import { HOST_OPS } from './host-ops.ts';
import { type OpenGraph, openGraph, runSession } from './onnx-session.ts';
import { type BoundSignature, bindSignature, deriveSignature, needsGraph } from './onnx-signatures.ts';
import { fromOrtTensor, toOrtTensor } from './onnx-tensors.ts';
import { parseExamples } from './parse-example.ts';
import { parseSignaturesFile } from './signatures-file.ts';

/** The module's entry: see `runtime.ts`. */
export function createRuntime(): Runtime {
  // What onnxruntime would print (a provider that is not there) is said in `remarks`.
  env.logLevel = 'fatal';
  return { load };
}

async function load(request: LoadRequest): Promise<LoadedModel> {
  const remarks: string[] = [];
  const graphs = new Map<string, OpenGraph>();
  const open = async (file: string): Promise<OpenGraph> => {
    const known = graphs.get(file);
    if (known) return known;
    const opened = await openGraph(join(request.path, file), request, remarks);
    graphs.set(file, opened);
    return opened;
  };
  try {
    const { bound, stateful } = await bindFolder(request.path, open);
    return {
      description: {
        signatures: Object.fromEntries(Object.entries(bound).map(([key, { signature }]) => [key, signature])),
        stateful,
        executionProvider: [...graphs.values()][0]?.executionProvider ?? 'cpu',
        remarks,
      },
      async run(signature, outputs, inputs) {
        const plan = Object.hasOwn(bound, signature) ? bound[signature] : undefined;
        if (plan === undefined) throw new ServeError('FAILED_PRECONDITION', `Serving signature key "${signature}" not found.`);
        return runSignature(plan, graphs.get(plan.model)?.session, outputs, inputs);
      },
      async close() {
        for (const { session } of graphs.values()) await session.release();
        graphs.clear();
      },
    };
  } catch (caught) {
    for (const { session } of graphs.values()) await session.release();
    throw caught;
  }
}

async function bindFolder(folder: string, open: (file: string) => Promise<OpenGraph>) {
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
  session: InferenceSession | undefined,
  outputs: readonly string[],
  inputs: NamedTensors,
): Promise<readonly Tensor[]> {
  const fetches: string[] = [];
  for (const alias of outputs) {
    const output = plan.outputs.get(alias);
    if (output === undefined) throw new ServeError('INVALID_ARGUMENT', `output tensor alias not found in signature: ${alias}`);
    if (output.type === 'fetch') fetches.push(output.onnx);
  }
  const fetched = fetches.length === 0 || session === undefined ? {} : await runSession(session, fetches, feedsOf(plan, inputs));
  return outputs.map((alias) => {
    const output = plan.outputs.get(alias);
    if (output?.type === 'host') return HOST_OPS[output.op](inputOf(inputs, output.input));
    const value = output && fetched[output.onnx];
    if (!value) throw new ServeError('INTERNAL', `onnxruntime did not compute the output ${alias}`);
    return fromOrtTensor(alias, value);
  });
}

function feedsOf(plan: BoundSignature, inputs: NamedTensors): Record<string, OrtTensor> {
  const feeds: Record<string, OrtTensor> = {};
  for (const [alias, input] of plan.inputs) {
    const tensor = inputOf(inputs, alias);
    const wanted = plan.signature.inputs[alias]?.dtype;
    if (tensor.dtype !== wanted) throw new ServeError('INVALID_ARGUMENT', `input ${alias} is ${wanted}, but ${tensor.dtype} is provided`);
    if (input.type === 'feed') feeds[input.onnx] = toOrtTensor(alias, tensor);
    if (input.type === 'examples') {
      for (const [onnx, column] of parseExamples(tensor, input.features)) feeds[onnx] = toOrtTensor(onnx, column);
    }
  }
  return feeds;
}

function inputOf(inputs: NamedTensors, alias: string): Tensor {
  const tensor = inputs.get(alias);
  if (tensor === undefined) throw new ServeError('INVALID_ARGUMENT', `input ${alias} is missing`);
  return tensor;
}
