/** Rows dealt out to partitions and put together again, as partitioned embeddings do. */
import { intAttr } from './attributes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

/** Data [...index shape, ...inner] as [count, ...inner]. */
function flattenRows(data: TypedValue, indexRank: number, context: TranslationContext): TypedValue {
  if (indexRank === 1) return data;
  const inner = data.shape?.slice(indexRank) ?? null;
  const shape = inner === null ? null : [-1, ...inner];
  const sizes = context.emit('Shape', [data], { dtype: 'int64', shape: inner === null ? [-1] : [inner.length] }, { start: indexRank });
  const target = context.emit('Concat', [context.int64s([-1]), sizes], { dtype: 'int64', shape: [-1] }, { axis: 0 });
  return context.emit('Reshape', [data, target], { dtype: data.dtype, shape }, { allowzero: 0 });
}

const dynamicPartition: Translator = (node, _inputs, context) => {
  const [data, partitions] = [context.input(0), context.input(1)];
  if (data.dtype === 'string') throw context.unsupported('string data is not supported');
  const rank = context.requireRank(partitions);
  const rows = flattenRows(data, rank, context);
  const labels = rank === 1 ? partitions : context.reshape(partitions, [-1]);
  const shape = rows.shape === null ? null : [-1, ...rows.shape.slice(1)];
  return Array.from({ length: intAttr(node, 'num_partitions') }, (_, label) => {
    const isMine = context.binary('Equal', labels, context.scalar(label, labels.dtype), 'bool');
    return context.emit('Compress', [rows, isMine], { dtype: rows.dtype, shape }, { axis: 0 });
  });
};

/** Row `indices[i]` of the result is row `i` of the data; rows that no index names are zeros. */
const dynamicStitch: Translator = (_node, inputs, context) => {
  const count = inputs.length / 2;
  const indices = inputs.slice(0, count);
  const rows = indices.map((index, at) => flattenRows(context.input(count + at), context.requireRank(index), context));
  const [first] = rows;
  if (first === undefined) throw context.unsupported('there is nothing to stitch');
  if (first.dtype === 'string') throw context.unsupported('string data is not supported');
  const flat = indices.map((index) => context.reshape(context.castTo(index, 'int64'), [-1]));
  const vector = { dtype: 'int64' as const, shape: [-1] };
  const places = context.emit('Concat', flat, vector, { axis: 0 });
  const shape = first.shape === null ? null : [-1, ...first.shape.slice(1)];
  const all = context.compute('Concat', rows, { dtype: first.dtype, shape }, { axis: 0 });
  const none = context.emit('Concat', [context.int64s([-1]), places], vector, { axis: 0 });
  const last = context.emit('ReduceMax', [none, context.int64s([0])], { dtype: 'int64', shape: [1] }, { keepdims: 1 });
  const inner = context.emit('Shape', [all], vector, { start: 1 });
  const sizes = context.emit('Concat', [context.binary('Add', last, context.int64s([1])), inner], vector, { axis: 0 });
  const empty = context.compute('Expand', [context.scalar(0, first.dtype)], { dtype: first.dtype, shape }, undefined, [sizes]);
  return [context.emit('ScatterND', [empty, context.unsqueeze(places, [1]), all], { dtype: first.dtype, shape })];
};

/** Translators of this family by op. */
export const PARTITIONS: Readonly<Record<string, Translator>> = {
  DynamicPartition: dynamicPartition,
  DynamicStitch: dynamicStitch,
  ParallelDynamicStitch: dynamicStitch,
};
