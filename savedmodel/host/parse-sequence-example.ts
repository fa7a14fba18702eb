/** ParseSequenceExample and its V2: a context like a tf.Example's, and named lists of features. */
import type { DType } from '#mesh/tensor.ts';
import { elementCount } from '#mesh/tensor.ts';
import { decodeExample, type Example, type Feature } from '#proto/example.ts';
import { WIRE, WireReader, WireWriter } from '#proto/wire.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { denseColumn, type FeatureValues, featureDtype, flatten, rowSplits, sparseColumn, valuesOf } from './example-columns.ts';
import { allocate, type HostKernels, input, int64s, invalid, numbers, shapeText, strings, take } from './host-tensor.ts';
import { latin1, textOfBytes } from './utf8-text.ts';

/** The ops that parse tf.SequenceExample. */
export const SEQUENCE_OPS: HostKernels = {
  ParseSequenceExample: (inputs, attrs) => {
    const assumedEmpty = new Set(attrs.texts('feature_list_dense_missing_assumed_empty'));
    return parse(input(inputs, 0), input(inputs, 1), attrs, inputs.slice(2), {
      contextSparse: attrs.texts('context_sparse_keys'),
      contextDense: attrs.texts('context_dense_keys'),
      contextRagged: [],
      listSparse: attrs.texts('feature_list_sparse_keys'),
      listDense: attrs.texts('feature_list_dense_keys'),
      listRagged: [],
      assumedEmpty: attrs.texts('feature_list_dense_keys').map((key) => assumedEmpty.has(key)),
    });
  },
  ParseSequenceExampleV2: (inputs, attrs) => {
    const keys = (index: number) => strings(input(inputs, index)).map(textOfBytes);
    return parse(input(inputs, 0), input(inputs, 1), attrs, inputs.slice(9), {
      contextSparse: keys(2),
      contextDense: keys(3),
      contextRagged: keys(4),
      listSparse: keys(5),
      listDense: keys(6),
      listRagged: keys(7),
      assumedEmpty: Array.from(numbers(input(inputs, 8)), (flag) => flag !== 0),
    });
  },
};

interface Keys {
  readonly contextSparse: readonly string[];
  readonly contextDense: readonly string[];
  readonly contextRagged: readonly string[];
  readonly listSparse: readonly string[];
  readonly listDense: readonly string[];
  readonly listRagged: readonly string[];
  readonly assumedEmpty: readonly boolean[];
}

interface Sequence {
  readonly context: Example;
  readonly lists: ReadonlyMap<string, readonly Feature[]>;
}

function parse(serialized: HostTensor, names: HostTensor, attrs: HostAttrs, defaults: readonly HostTensor[], keys: Keys): HostTensor[] {
  const batched = serialized.shape.length === 1;
  if (serialized.shape.length > 1) throw invalid(`Expected serialized to be a scalar or vector, got shape: ${shapeText(serialized.shape)}`);
  const labels = strings(names).map(textOfBytes);
  const twice = (kind: string, ragged: readonly string[], others: readonly string[], other: string) => {
    const key = ragged.find((one) => others.includes(one));
    if (key !== undefined) throw invalid(`${kind} feature ${key} cannot be both ragged and ${other}`);
  };
  twice('Context', keys.contextRagged, keys.contextSparse, 'sparse');
  twice('Context', keys.contextRagged, keys.contextDense, 'dense');
  twice('Sequence', keys.listRagged, keys.listSparse, 'sparse');
  twice('Sequence', keys.listRagged, keys.listDense, 'dense');
  const sequences = strings(serialized).map(decodeSequence);
  const where = sequences.map((_, index) => labels[index] ?? '<unknown>');
  const dtypes = (name: string) => (attrs.has(name) ? attrs.dtypes(name) : []);
  const shapes = (name: string) => (attrs.has(name) ? attrs.shapes(name) : []);
  const contextLists = (key: string, dtype: DType) =>
    sequences.map((sequence, index) => valuesOf(sequence.context.get(key), dtype, { example: where[index] ?? '<unknown>', key, index }));
  const contextSparse = keys.contextSparse.map((key, index) => {
    const dtype = dtypes('context_sparse_types')[index] ?? 'string';
    return sparseColumn(dtype, contextLists(key, dtype), batched);
  });
  const contextDense = keys.contextDense.map((key, index) => {
    const dtype = dtypes('Tcontext_dense')[index] ?? 'string';
    const shape = shapes('context_dense_shapes')[index] ?? [];
    return denseColumn({ key, dtype, shape, fallback: input(defaults, index) }, contextLists(key, dtype), where, batched);
  });
  const contextRagged = keys.contextRagged.map((key, index) => {
    const dtype = dtypes('context_ragged_value_types')[index] ?? 'string';
    const lists = contextLists(key, dtype);
    const splitType = dtypes('context_ragged_split_types')[index] ?? 'int64';
    return [
      flatten(dtype, lists),
      rowSplits(
        lists.map((list) => list?.length ?? 0),
        splitType,
      ),
    ] as const;
  });
  const listsOf = (key: string, dtype: DType) =>
    sequences.map((sequence, index) => featureLists(sequence, key, dtype, where[index] ?? '<unknown>', index));
  const listSparse = keys.listSparse.map((key, index) => {
    const dtype = dtypes('feature_list_sparse_types')[index] ?? 'string';
    return sparseLists(dtype, listsOf(key, dtype), batched);
  });
  const listDense = keys.listDense.map((key, index) => {
    const dtype = dtypes('feature_list_dense_types')[index] ?? 'string';
    const shape = shapes('feature_list_dense_shapes')[index] ?? [];
    return denseLists({ key, dtype, shape, mayMiss: keys.assumedEmpty[index] ?? false }, listsOf(key, dtype), where, batched);
  });
  const listRagged = keys.listRagged.map((key, index) => {
    const dtype = dtypes('feature_list_ragged_value_types')[index] ?? 'string';
    const splitType = dtypes('feature_list_ragged_split_types')[index] ?? 'int64';
    const lists = listsOf(key, dtype).map((list) => list ?? []);
    return [
      flatten(dtype, lists.flat()),
      rowSplits(
        lists.map((list) => list.length),
        splitType,
      ),
      rowSplits(
        lists.flat().map((list) => list.length),
        splitType,
      ),
    ] as const;
  });
  return [
    ...[0, 1, 2].flatMap((part) => contextSparse.map((parts) => input(parts, part))),
    ...contextDense,
    ...[0, 1].flatMap((part) => contextRagged.map((parts) => input(parts, part))),
    ...[0, 1, 2].flatMap((part) => listSparse.map((parts) => input(parts, part))),
    ...[0, 1].flatMap((part) => listDense.map((parts) => input(parts, part))),
    ...[0, 1, 2].flatMap((part) => listRagged.map((parts) => input(parts, part))),
  ];
}

function featureLists(sequence: Sequence, key: string, dtype: DType, example: string, index: number): FeatureValues[] | undefined {
  return sequence.lists.get(key)?.map((feature) => {
    const found = featureDtype(feature);
    if (found !== undefined && found !== dtype) {
      throw invalid(`Name: ${example}, Feature list: ${key}, Index: ${index}.  Data types don't match. Expected type: ${dtype}`);
    }
    return feature.kind === 'none' ? emptyValues(dtype) : feature.values;
  });
}

function emptyValues(dtype: DType): FeatureValues {
  return dtype === 'string' ? [] : dtype === 'float' ? new Float32Array(0) : new BigInt64Array(0);
}

function sparseLists(dtype: DType, rows: readonly (readonly FeatureValues[] | undefined)[], batched: boolean): HostTensor[] {
  const indices: number[] = [];
  let longest = 0;
  let widest = 0;
  rows.forEach((steps, row) => {
    longest = Math.max(longest, steps?.length ?? 0);
    steps?.forEach((list, step) => {
      widest = Math.max(widest, list.length);
      for (let at = 0; at < list.length; at++) {
        if (batched) indices.push(row);
        indices.push(step, at);
      }
    });
  });
  const values = flatten(
    dtype,
    rows.flatMap((steps) => steps ?? []),
  );
  const rank = batched ? 3 : 2;
  return [
    int64s([values.shape[0] ?? 0, rank], indices),
    values,
    int64s([rank], batched ? [rows.length, longest, widest] : [longest, widest]),
  ];
}

interface DenseList {
  readonly key: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly mayMiss: boolean;
}

function denseLists(
  feature: DenseList,
  rows: readonly (readonly FeatureValues[] | undefined)[],
  where: readonly string[],
  batched: boolean,
): HostTensor[] {
  const { key, dtype, shape } = feature;
  const each = elementCount(shape);
  const longest = rows.reduce((most, steps) => Math.max(most, steps?.length ?? 0), 0);
  rows.forEach((steps, row) => {
    if (steps === undefined && !feature.mayMiss) {
      throw invalid(
        `Name: ${where[row]}, Feature list '${key}' is required but could not be found.  Did you mean to include it in feature_list_dense_missing_assumed_empty or feature_list_dense_defaults?`,
      );
    }
    const total = steps?.reduce((sum, list) => sum + list.length, 0) ?? 0;
    if (steps?.some((list) => list.length !== each)) {
      throw invalid(
        `Feature list '${key}' has an unexpected number of values.  Total values size: ${total} is not consistent with output shape: ${shapeText([-1, ...shape])}`,
      );
    }
  });
  const values = flatten(
    dtype,
    rows.flatMap((steps) => steps ?? []),
  );
  const indices = (allocate('int32', rows.length * longest * each) as Int32Array).fill(-1);
  let from = 0;
  rows.forEach((steps, row) => {
    const size = (steps?.length ?? 0) * each;
    for (let at = 0; at < size; at++) indices[row * longest * each + at] = from + at;
    from += size;
  });
  const lengths = rows.map((steps) => steps?.length ?? 0);
  return [
    take(values, batched ? [rows.length, longest, ...shape] : [longest, ...shape], indices),
    batched ? int64s([rows.length], lengths) : int64s([], lengths),
  ];
}

/** A SequenceExample's context is laid out as an Example's features; its lists are read here. */
function decodeSequence(bytes: Uint8Array): Sequence {
  try {
    const lists = new Map<string, readonly Feature[]>();
    const reader = new WireReader(bytes);
    while (reader.more()) {
      const tag = reader.tag();
      if (tag !== 2 * 8 + WIRE.bytes) {
        reader.skip(tag);
        continue;
      }
      const message = reader.message();
      while (message.more()) {
        const inner = message.tag();
        if (inner === 1 * 8 + WIRE.bytes) readList(message.message(), lists);
        else message.skip(inner);
      }
    }
    return { context: decodeExample(bytes), lists };
  } catch {
    throw invalid(`Could not parse example input, value: '${latin1(bytes)}'`);
  }
}

function readList(reader: WireReader, into: Map<string, readonly Feature[]>): void {
  let key = '';
  const features: Feature[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) key = reader.text();
    else if (tag === 2 * 8 + WIRE.bytes) {
      const list = reader.message();
      while (list.more()) {
        const inner = list.tag();
        if (inner === 1 * 8 + WIRE.bytes) features.push(decodeFeature(list.view()));
        else list.skip(inner);
      }
    } else reader.skip(tag);
  }
  into.set(key, features);
}

/** One Feature, by way of an Example that holds nothing else. */
function decodeFeature(bytes: Uint8Array): Feature {
  const writer = new WireWriter();
  writer.delimited(1, () => writer.delimited(1, () => writer.bytesField(2, bytes)));
  return decodeExample(writer.finish()).get('') ?? { kind: 'none' };
}
