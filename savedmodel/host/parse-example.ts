/** ParseExample, ParseExampleV2 and ParseSingleExample: serialized tf.Examples into dense, sparse and ragged tensors. */
import type { DType } from '#mesh/tensor.ts';
import { decodeExample, type Example } from '#proto/example.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { type DenseFeature, denseColumn, type FeatureValues, flatten, rowSplits, sparseColumn, valuesOf } from './example-columns.ts';
import { type HostKernels, input, invalid, sameShape, shapeText, strings } from './host-tensor.ts';
import { latin1, textOfBytes } from './utf8-text.ts';

/** The ops that parse tf.Example. */
export const EXAMPLE_OPS: HostKernels = {
  ParseExample: parseExample,
  ParseExampleV2: parseExampleV2,
  ParseSingleExample: parseSingleExample,
};

/** What to read from each example. */
interface Plan {
  readonly sparse: readonly { readonly key: string; readonly dtype: DType }[];
  readonly dense: readonly DenseFeature[];
  readonly ragged: readonly { readonly key: string; readonly dtype: DType; readonly splits: DType }[];
}

function parseExample(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const sparseCount = attrs.int('Nsparse');
  const denseCount = attrs.int('Ndense');
  const keys = inputs.slice(2, 2 + sparseCount + denseCount).map((tensor) => textOfBytes(strings(tensor)[0] ?? new Uint8Array(0)));
  const plan: Plan = {
    sparse: zip(keys.slice(0, sparseCount), attrs.dtypes('sparse_types')),
    dense: denseFeatures(keys.slice(sparseCount), attrs, inputs.slice(2 + sparseCount + denseCount)),
    ragged: [],
  };
  if (input(inputs, 0).shape.length !== 1)
    throw invalid(`Expected serialized to be a vector, got shape: ${shapeText(input(inputs, 0).shape)}`);
  return run(input(inputs, 0), input(inputs, 1), plan, true);
}

function parseExampleV2(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const keys = (index: number) => strings(input(inputs, index)).map(textOfBytes);
  const splits = attrs.dtypes('ragged_split_types');
  const plan: Plan = {
    sparse: zip(keys(2), attrs.dtypes('sparse_types')),
    dense: denseFeatures(keys(3), attrs, inputs.slice(5)),
    ragged: zip(keys(4), attrs.dtypes('ragged_value_types')).map((feature, index) => ({ ...feature, splits: splits[index] ?? 'int64' })),
  };
  const serialized = input(inputs, 0);
  if (serialized.shape.length > 1) throw invalid(`Expected serialized to be a scalar or vector, got shape: ${shapeText(serialized.shape)}`);
  return run(serialized, input(inputs, 1), plan, serialized.shape.length === 1);
}

function parseSingleExample(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const plan: Plan = {
    sparse: zip(attrs.texts('sparse_keys'), attrs.dtypes('sparse_types')),
    dense: denseFeatures(attrs.texts('dense_keys'), attrs, inputs.slice(1)),
    ragged: [],
  };
  checkRequired(plan, decode(strings(input(inputs, 0))[0] ?? new Uint8Array(0), keysOf(plan)));
  return run(input(inputs, 0), undefined, plan, false);
}

/** ParseSingleExample knows no name for its example. */
function checkRequired(plan: Plan, example: Example): void {
  for (const { key, dtype, shape, fallback } of plan.dense) {
    const missing = (example.get(key)?.kind ?? 'none') === 'none' && fallback.data.length === 0 && shape[0] !== -1;
    if (missing) throw invalid(`Feature: ${key} (data type: ${dtype}) is required but could not be found.`);
  }
}

function zip(keys: readonly string[], dtypes: readonly DType[]): { readonly key: string; readonly dtype: DType }[] {
  return keys.map((key, index) => ({ key, dtype: dtypes[index] ?? 'string' }));
}

function denseFeatures(keys: readonly string[], attrs: HostAttrs, defaults: readonly HostTensor[]): DenseFeature[] {
  const shapes = attrs.shapes('dense_shapes');
  return zip(keys, attrs.dtypes('Tdense')).map((feature, index) => {
    const shape = shapes[index] ?? [];
    const fallback = input(defaults, index);
    if (fallback.data.length > 0 && shape[0] !== -1 && !sameShape(fallback.shape, shape)) {
      throw invalid(
        `def_value[${index}].shape() == ${shapeText(fallback.shape)} is not compatible with dense_shapes_[${index}] == ${shapeText(shape)}`,
      );
    }
    return { ...feature, shape, fallback };
  });
}

function run(serialized: HostTensor, names: HostTensor | undefined, plan: Plan, batched: boolean): HostTensor[] {
  const labels = names === undefined ? [] : strings(names).map(textOfBytes);
  const wanted = keysOf(plan);
  const examples = strings(serialized).map((bytes) => decode(bytes, wanted));
  const where = examples.map((_, index) => labels[index] ?? '<unknown>');
  const lists = (key: string, dtype: DType, isDense = false): (FeatureValues | undefined)[] =>
    examples.map((example, index) => valuesOf(example.get(key), dtype, { example: where[index] ?? '<unknown>', key, index }, isDense));
  const dense = plan.dense.map((feature) => denseColumn(feature, lists(feature.key, feature.dtype, true), where, batched));
  const sparse = plan.sparse.map(({ key, dtype }) => sparseColumn(dtype, lists(key, dtype), batched));
  const ragged = plan.ragged.map(({ key, dtype, splits }) => {
    const values = lists(key, dtype);
    const lengths = values.map((list) => list?.length ?? 0);
    return { values: flatten(dtype, values), splits: batched ? rowSplits(lengths, splits) : noSplits(splits) };
  });
  return [
    ...sparse.map((parts) => parts[0]),
    ...sparse.map((parts) => parts[1]),
    ...sparse.map((parts) => parts[2]),
    ...dense,
    ...ragged.map((parts) => parts.values),
    ...ragged.map((parts) => parts.splits),
  ];
}

/** A single example has no rows to split: TensorFlow gives an empty vector. */
function noSplits(dtype: DType): HostTensor {
  return { dtype, shape: [0], data: dtype === 'int32' ? new Int32Array(0) : new BigInt64Array(0) };
}

/** The features that are asked for: an example may hold hundreds of thousands of others. */
function keysOf({ sparse, dense, ragged }: Plan): ReadonlySet<string> {
  return new Set([...sparse, ...dense, ...ragged].map(({ key }) => key));
}

/** Decodes some features of one example. Throws INVALID_ARGUMENT with TensorFlow's text when the bytes are not one. */
function decode(bytes: Uint8Array, wanted: ReadonlySet<string>): Example {
  try {
    return decodeExample(bytes, wanted);
  } catch {
    throw invalid(`Could not parse example input, value: '${latin1(bytes)}'`);
  }
}
