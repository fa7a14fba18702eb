/** Ties the signatures of a servable to the graphs that compute them, and finds every name or dtype that does not fit before a request does. */
import { ServeError } from '#mesh/errors.ts';
import { DEFAULT_SIGNATURE, type Signature, type TensorSpec } from '#mesh/signature.ts';
import type { DType } from '#mesh/tensor.ts';
import type { HostOp } from './host-ops.ts';
import type { Graph, GraphValue } from './onnx-graph.ts';
import type { FeatureEntry, InputEntry, OutputEntry, SignatureEntry } from './signatures-file.ts';

/** Where an input goes. */
export type InputPlan =
  /** Into the graph as it is. */
  | { readonly type: 'feed'; readonly onnx: string }
  /** Through ParseExample into the graph. */
  | { readonly type: 'examples'; readonly features: Readonly<Record<string, FeatureEntry>> }
  /** To host ops only. */
  | { readonly type: 'host' };

/** Where an output comes from. */
export type OutputPlan =
  | { readonly type: 'fetch'; readonly onnx: string }
  | { readonly type: 'host'; readonly op: HostOp; readonly input: string };

/** A signature and how to compute it. */
export interface BoundSignature {
  readonly signature: Signature;
  /** The file whose graph computes the fetched outputs. */
  readonly model: string;
  readonly inputs: ReadonlyMap<string, InputPlan>;
  readonly outputs: ReadonlyMap<string, OutputPlan>;
}

/** The one signature of a folder without `signatures.json`: everything the graph takes and gives, under its own names. */
export function deriveSignature(graph: Graph, model: string, path: string): Readonly<Record<string, BoundSignature>> {
  const spec = (kind: string) => (value: GraphValue) => {
    if (value.dtype === undefined) {
      throw new ServeError('INVALID_ARGUMENT', `${path}: ${kind} ${value.name} is ${value.typeName}, which clients cannot send or receive`);
    }
    return [value.name, { dtype: value.dtype, shape: value.shape, onnx: value.name, tensorName: `${value.name}:0` }] as const;
  };
  const entry: SignatureEntry = {
    method: 'tensorflow/serving/predict',
    model,
    batchable: undefined,
    inputs: Object.fromEntries(graph.inputs.map(spec('input'))),
    outputs: Object.fromEntries(graph.outputs.map(spec('output'))),
  };
  return { [DEFAULT_SIGNATURE]: bindSignature(DEFAULT_SIGNATURE, entry, graph, path) };
}

/** True when some output comes from the graph: the signature's model file is then needed. */
export function needsGraph(entry: SignatureEntry): boolean {
  return Object.values(entry.outputs).some((output) => output.host === undefined);
}

/**
 * Binds one signature. `graph` is null when nothing is computed by one. Throws INVALID_ARGUMENT that names the file and the field that does
 * not fit the graph.
 */
export function bindSignature(key: string, entry: SignatureEntry, graph: Graph | null, path: string): BoundSignature {
  const fail = (field: string, why: string): never => {
    throw new ServeError('INVALID_ARGUMENT', `${path}: signatures.${key}.${field} ${why}`);
  };
  const findValue = (values: readonly GraphValue[], onnx: string, dtype: DType, field: string): GraphValue => {
    const value = values.find((one) => one.name === onnx);
    if (value === undefined) {
      return fail(
        `${field}.onnx`,
        `"${onnx}" is not in the graph of ${entry.model}, which has ${values.map((one) => one.name).join(', ')}`,
      );
    }
    if (value.dtype !== dtype) return fail(`${field}.dtype`, `is ${dtype}, ${onnx} in ${entry.model} is ${value.dtype ?? value.typeName}`);
    return value;
  };
  const hostInputs = new Set(Object.values(entry.outputs).flatMap((output) => (output.host ? [output.host.input] : [])));
  const fed = new Map<string, GraphValue>();
  const feed = (onnx: string, dtype: DType, field: string): GraphValue => {
    const value = findValue(graph?.inputs ?? [], onnx, dtype, field);
    if (fed.has(onnx)) fail(`${field}.onnx`, `"${onnx}" is fed by two inputs`);
    fed.set(onnx, value);
    return value;
  };

  const inputs = new Map<string, InputPlan>();
  const inputSpecs: Record<string, TensorSpec> = {};
  for (const [alias, input] of Object.entries(entry.inputs)) {
    const field = `inputs.${alias}`;
    if (input.features) {
      for (const [name, feature] of Object.entries(input.features)) feed(feature.onnx, feature.dtype, `${field}.parse_example.${name}`);
      inputs.set(alias, { type: 'examples', features: input.features });
      inputSpecs[alias] = toSpec(input, undefined);
    } else if (hostInputs.has(alias) && !graph?.inputs.some((value) => value.name === input.onnx)) {
      inputs.set(alias, { type: 'host' });
      inputSpecs[alias] = toSpec(input, undefined);
    } else {
      inputs.set(alias, { type: 'feed', onnx: input.onnx });
      inputSpecs[alias] = toSpec(input, feed(input.onnx, input.dtype, field));
    }
  }
  const missing = needsGraph(entry) && graph?.inputs.find((value) => !fed.has(value.name));
  if (missing) fail('inputs', `lack ${missing.name}, which the graph of ${entry.model} needs`);

  const outputs = new Map<string, OutputPlan>();
  const outputSpecs: Record<string, TensorSpec> = {};
  const fetched: GraphValue[] = [];
  for (const [alias, output] of Object.entries(entry.outputs)) {
    if (output.host) {
      outputs.set(alias, { type: 'host', ...output.host });
      outputSpecs[alias] = toSpec(output, undefined);
      continue;
    }
    const value = findValue(graph?.outputs ?? [], output.onnx, output.dtype, `outputs.${alias}`);
    fetched.push(value);
    outputs.set(alias, { type: 'fetch', onnx: output.onnx });
    outputSpecs[alias] = toSpec(output, value);
  }
  const hasRows = [...fed.values(), ...fetched].every(({ shape }) => shape === null || shape[0] === -1);
  const batchable = entry.batchable ?? (hasRows && graph?.mixesRows !== true);
  return { signature: { method: entry.method, inputs: inputSpecs, outputs: outputSpecs, batchable }, model: entry.model, inputs, outputs };
}

function toSpec(entry: InputEntry | OutputEntry, value: GraphValue | undefined): TensorSpec {
  const { dtype, shape, tensorName } = entry;
  const dimNames = value?.dimNames ?? [];
  const named = dimNames.some((name) => name !== '') && shape?.length === dimNames.length;
  return { dtype, shape, accepts: value?.shape ?? null, tensorName, ...(named ? { dimNames } : {}) };
}
