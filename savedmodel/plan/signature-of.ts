/** A stored signature as clients see it. */
import { utf8 } from '#mesh/bytes.ts';
import type { ListedDtype, ListedSpec, Signature, StoredTensor, TensorSpec } from '#mesh/signature.ts';
import { dtypeFromNumber, type Tensor } from '#mesh/tensor.ts';
import type { DataTypeNumber, PartialShape, StoredSignature, StoredTensorInfo } from '../graph.ts';
import { DATA_TYPE_NUMBERS, dataTypeName } from '../read/data-types.ts';

/** For each input the shape that the runtime insists on; one that is absent takes any, as in TensorFlow. */
export type AcceptedShapes = ReadonlyMap<string, PartialShape>;

/**
 * The signature of the mesh for a stored one: what metadata lists and what requests are held against. Inputs and outputs come sorted by the
 * bytes of their names, inputs that may be left out with what they are then.
 *
 * What has no dtype that a client can send (`DT_INVALID`, resources, …) and what is sparse goes into `listedOnly`: such a signature is
 * shown and cannot be run. It is batchable when it has inputs and outputs, and all of them have an unknown rank or a free dimension 0; whoever
 * knows that rows depend on each other, or that running it changes variables, says so on top.
 */
export function signatureOf(stored: StoredSignature, accepts: AcceptedShapes = new Map()): Signature {
  const inputs = split(stored.inputs, accepts, stored.defaults);
  const outputs = split(stored.outputs, new Map(), new Map());
  const isListedOnly = inputs.listed.length + outputs.listed.length > 0;
  const specs = [...inputs.specs, ...outputs.specs].map(([, spec]) => spec);
  const batchable =
    !isListedOnly &&
    inputs.specs.length > 0 &&
    outputs.specs.length > 0 &&
    specs.every(({ shape, accepts: taken }) => hasFreeRows(shape) && hasFreeRows(taken));
  return {
    method: stored.methodName,
    inputs: Object.fromEntries(inputs.specs),
    outputs: Object.fromEntries(outputs.specs),
    batchable,
    ...(isListedOnly ? { listedOnly: { inputs: Object.fromEntries(inputs.listed), outputs: Object.fromEntries(outputs.listed) } } : {}),
  };
}

interface Split {
  readonly specs: readonly (readonly [string, TensorSpec])[];
  readonly listed: readonly (readonly [string, ListedSpec])[];
}

/** What can be sent apart from what can only be listed. */
function split(infos: ReadonlyMap<string, StoredTensorInfo>, accepts: AcceptedShapes, defaults: ReadonlyMap<string, Tensor>): Split {
  const specs: [string, TensorSpec][] = [];
  const listed: [string, ListedSpec][] = [];
  for (const [alias, info] of [...infos].sort(([one], [other]) => Buffer.compare(utf8(one), utf8(other)))) {
    const spec = tensorSpec(info, accepts.get(alias) ?? null);
    const value = defaults.get(alias);
    if (spec === null) listed.push([alias, listedSpec(info)]);
    else specs.push([alias, value === undefined ? spec : { ...spec, default: storedTensor(value) }]);
  }
  return { specs, listed };
}

/** Null for what nobody can send. */
function tensorSpec(info: StoredTensorInfo, accepts: PartialShape): TensorSpec | null {
  const { shape, tensorName, sparse } = info;
  const base = baseDataType(info.dtype);
  const dtype = dtypeFromNumber(base);
  if (dtype === undefined || sparse !== undefined) return null;
  return {
    dtype,
    shape,
    accepts,
    tensorName,
    ...namedDims(info),
    ...(base === info.dtype ? {} : { listedDtype: listedDtype(info.dtype) }),
  };
}

function storedTensor({ shape, bytes }: Tensor): StoredTensor {
  return { shape, base64: Buffer.from(bytes).toString('base64') };
}

function listedSpec(info: StoredTensorInfo): ListedSpec {
  const { dtype, shape, tensorName, sparse } = info;
  return { dtype: listedDtype(dtype), shape, tensorName, ...namedDims(info), ...(sparse === undefined ? {} : { sparse }) };
}

/** The dtype of what a TF1 reference refers to; of any other dtype itself. */
function baseDataType(number: DataTypeNumber): DataTypeNumber {
  return DATA_TYPE_NUMBERS.get(dataTypeName(number).replace(/_REF$/, '')) ?? number;
}

function listedDtype(number: DataTypeNumber): ListedDtype {
  return { number, protoName: dataTypeName(number) };
}

function namedDims({ dimNames }: StoredTensorInfo): { readonly dimNames?: readonly string[] } {
  return dimNames.some((name) => name !== '') ? { dimNames } : {};
}

function hasFreeRows(shape: PartialShape): boolean {
  return shape === null || shape[0] === -1;
}
