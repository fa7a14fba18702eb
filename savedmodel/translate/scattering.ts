/** Scattering by index, and sums over segments. */
import type { DType } from '#mesh/tensor.ts';
import { computeDtype } from './dtype-support.ts';
import { expand } from './shape-ops.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

type Reduction = 'none' | 'add' | 'mul' | 'max' | 'min';

/** Writes (or adds…) updates to a copy of the target at indices, as ScatterND does. */
export function scatter(
  target: TypedValue,
  indices: TypedValue,
  updates: TypedValue,
  reduction: Reduction,
  context: TranslationContext,
): TypedValue {
  const dtype = computeDtype('ScatterND', target.dtype);
  if (dtype === null || target.dtype === 'string') throw context.unsupported(`${target.dtype} data is not supported`);
  const inputs = [context.castTo(target, dtype), context.castTo(indices, 'int64'), context.castTo(updates, dtype)];
  const attributes = reduction === 'none' ? undefined : { reduction };
  return context.castTo(context.emit('ScatterND', inputs, { dtype, shape: target.shape }, attributes), target.dtype);
}

const scatterNd: Translator = (_node, _inputs, context) => {
  const [indices, updates, shape] = [context.input(0), context.input(1), context.input(2)];
  const zeros = expand(context.scalar(0, updates.dtype), shape, context);
  return [scatter(zeros, indices, updates, 'add', context)];
};

const tensorScatter =
  (reduction: Reduction, sign: 1 | -1 = 1): Translator =>
  (_node, _inputs, context) => {
    const updates = context.input(2);
    const signed = sign === 1 ? updates : context.binary('Sub', context.scalar(0, updates.dtype), updates);
    return [scatter(context.input(0), context.input(1), signed, reduction, context)];
  };

/** Sums (or multiplies…) rows into `count` rows by segment id; negative ids are dropped by sending them to one more row, cut off afterwards. */
function reduceSegments(
  values: TypedValue,
  ids: TypedValue,
  count: TypedValue,
  reduction: Reduction,
  start: number | bigint,
  context: TranslationContext,
): TypedValue {
  const idRank = context.requireRank(ids);
  const inner = values.shape?.slice(idRank) ?? null;
  const wide = context.castTo(ids, 'int64');
  const rows = idRank === 1 ? wide : context.reshape(wide, [-1]);
  const dropped = context.where(context.binary('Less', rows, context.int64s([0]), 'bool'), count, rows);
  const innerSizes = context.emit('Shape', [values], { dtype: 'int64', shape: [inner?.length ?? -1] }, { start: idRank });
  const oneMore = context.binary('Add', count, context.int64s([1]));
  const sizes = context.emit(
    'Concat',
    [oneMore, innerSizes],
    { dtype: 'int64', shape: [inner === null ? -1 : inner.length + 1] },
    { axis: 0 },
  );
  const flatSizes = context.emit('Concat', [context.int64s([-1]), innerSizes], { dtype: 'int64', shape: sizes.shape }, { axis: 0 });
  const flatShape = inner === null ? null : [-1, ...inner];
  const flat =
    idRank === 1 ? values : context.emit('Reshape', [values, flatSizes], { dtype: values.dtype, shape: flatShape }, { allowzero: 0 });
  const empty = context.emit('Expand', [limit(start, values.dtype, context), sizes], { dtype: values.dtype, shape: flatShape });
  const summed = scatter(empty, context.unsqueeze(dropped, [1]), flat, reduction, context);
  const [known = -1] = context.staticInts(count) ?? [];
  const shape = inner === null ? null : [known, ...inner];
  return context.compute('Slice', [summed], { dtype: values.dtype, shape }, undefined, [context.int64s([0]), count, context.int64s([0])]);
}

function limit(start: number | bigint, dtype: DType, context: TranslationContext): TypedValue {
  if (typeof start === 'number') return context.scalar(start, dtype);
  const bytes = new Uint8Array(new BigInt64Array([start]).buffer);
  return context.constant({ dtype: 'int64', shape: [], bytes });
}

/** The smallest (sign -1) or largest value of a dtype: what TensorFlow gives for a segment of nothing. */
function extremeOf(dtype: DType, sign: 1 | -1): number | bigint {
  if (dtype === 'int64') return sign === 1 ? 2n ** 63n - 1n : -(2n ** 63n);
  if (dtype === 'float') return sign * 3.4028234663852886e38;
  if (dtype === 'double') return sign * Number.MAX_VALUE;
  if (dtype === 'half') return sign * 65504;
  const bits = Number(/\d+$/.exec(dtype)?.[0] ?? 8);
  if (dtype.startsWith('u')) return sign === 1 ? 2 ** bits - 1 : 0;
  return sign === 1 ? 2 ** (bits - 1) - 1 : -(2 ** (bits - 1));
}

const unsortedSegment =
  (reduction: Reduction, start: (dtype: DType) => number | bigint): Translator =>
  (_node, _inputs, context) => {
    const values = context.input(0);
    if (values.dtype === 'uint64') throw context.unsupported('uint64 data is not supported');
    return [reduceSegments(values, context.input(1), context.toInt64Vector(context.input(2)), reduction, start(values.dtype), context)];
  };

/** The number of segments of sorted ids: one more than the last, none without ids. */
function segmentCount(ids: TypedValue, context: TranslationContext): TypedValue {
  const none = context.emit('Concat', [context.int64s([-1]), context.castTo(ids, 'int64')], { dtype: 'int64', shape: [-1] }, { axis: 0 });
  const last = context.emit('ReduceMax', [none, context.int64s([0])], { dtype: 'int64', shape: [1] }, { keepdims: 1 });
  return context.binary('Add', last, context.int64s([1]));
}

function rowsPerSegment(ids: TypedValue, count: TypedValue, values: TypedValue, context: TranslationContext): TypedValue {
  const rank = context.requireRank(values);
  const ones = context.emit('Expand', [context.scalar(1, values.dtype), context.shapeOf(ids)], { dtype: values.dtype, shape: [-1] });
  const rows = reduceSegments(ones, ids, count, 'add', 0, context);
  return context.unsqueeze(
    rows,
    Array.from({ length: rank - 1 }, (_, axis) => axis + 1),
  );
}

type Finish = 'sum' | 'mean' | 'sqrtn';

function sumSortedSegments(
  values: TypedValue,
  ids: TypedValue,
  count: TypedValue,
  finish: Finish,
  context: TranslationContext,
): TypedValue {
  const sums = reduceSegments(values, ids, count, 'add', 0, context);
  if (finish === 'sum') return sums;
  const rows = context.binary('Max', rowsPerSegment(ids, count, values, context), context.scalar(1, values.dtype));
  return context.binary('Div', sums, finish === 'mean' ? rows : context.compute('Sqrt', [rows], rows));
}

const segment =
  (finish: Finish): Translator =>
  (_node, _inputs, context) => {
    const ids = context.input(1);
    return [sumSortedSegments(context.input(0), ids, segmentCount(ids, context), finish, context)];
  };

/** Sorted segments of nothing are 0 in Max and Min, and 1 in Prod. */
const segmentExtreme =
  (reduction: 'max' | 'min' | 'mul'): Translator =>
  (_node, _inputs, context) => {
    const [values, ids] = [context.input(0), context.input(1)];
    if (values.dtype === 'uint64') throw context.unsupported('uint64 data is not supported');
    const count = segmentCount(ids, context);
    if (reduction === 'mul') return [reduceSegments(values, ids, count, 'mul', 1, context)];
    const found = reduceSegments(values, ids, count, reduction, extremeOf(values.dtype, reduction === 'max' ? -1 : 1), context);
    const rows = rowsPerSegment(ids, count, values, context);
    const zero = context.scalar(0, values.dtype);
    return [context.where(context.binary('Equal', rows, zero, 'bool'), zero, found)];
  };

const sparseSegment =
  (finish: Finish, hasCount: boolean): Translator =>
  (_node, _inputs, context) => {
    const [values, indices, ids] = [context.input(0), context.input(1), context.input(2)];
    const shape = values.shape === null ? null : [-1, ...values.shape.slice(1)];
    const rows = context.compute('Gather', [values], { dtype: values.dtype, shape }, { axis: 0 }, [indices]);
    const count = hasCount ? context.toInt64Vector(context.input(3)) : segmentCount(ids, context);
    return [sumSortedSegments(rows, ids, count, finish, context)];
  };

/** Translators of this family by op. */
export const SCATTERING: Readonly<Record<string, Translator>> = {
  ScatterNd: scatterNd,
  TensorScatterUpdate: tensorScatter('none'),
  TensorScatterAdd: tensorScatter('add'),
  TensorScatterSub: tensorScatter('add', -1),
  TensorScatterMax: tensorScatter('max'),
  TensorScatterMin: tensorScatter('min'),
  ScatterNdNonAliasingAdd: tensorScatter('add'),
  UnsortedSegmentSum: unsortedSegment('add', () => 0),
  UnsortedSegmentProd: unsortedSegment('mul', () => 1),
  UnsortedSegmentMax: unsortedSegment('max', (dtype) => extremeOf(dtype, -1)),
  UnsortedSegmentMin: unsortedSegment('min', (dtype) => extremeOf(dtype, 1)),
  SegmentSum: segment('sum'),
  SegmentMean: segment('mean'),
  SegmentMax: segmentExtreme('max'),
  SegmentMin: segmentExtreme('min'),
  SegmentProd: segmentExtreme('mul'),
  SparseSegmentSum: sparseSegment('sum', false),
  SparseSegmentMean: sparseSegment('mean', false),
  SparseSegmentSqrtN: sparseSegment('sqrtn', false),
  SparseSegmentSumWithNumSegments: sparseSegment('sum', true),
  SparseSegmentMeanWithNumSegments: sparseSegment('mean', true),
  SparseSegmentSqrtNWithNumSegments: sparseSegment('sqrtn', true),
};
