/** Reductions along axes, cumulative sums, and the index of an extreme. */
import type { DType } from '#mesh/tensor.ts';
import { boolAttr, dtypeAttr } from './attributes.ts';
import { toChannelsLast } from './channel-order.ts';
import { computeDtype } from './dtype-support.ts';
import { fromStart, reducedShape } from './static-shapes.ts';
import type { TensorType, TranslationContext, Translator, TypedValue } from './translator.ts';

/** Reduces along axes given as a value; over no axes at all that is the value itself, as in TensorFlow. */
function reduce(op: string, value: TypedValue, axes: TypedValue, keepDims: boolean, context: TranslationContext): TypedValue {
  const known = context.staticInts(axes);
  if (known?.length === 0 && op !== 'ReduceL2') return value;
  const result: TensorType = { dtype: value.dtype, shape: reducedShape(value.shape, known, keepDims) };
  const pooled = overSpace(op, value, known, keepDims, context);
  if (pooled !== null) return pooled;
  const attributes = { keepdims: keepDims ? 1 : 0, noop_with_empty_axes: 1 };
  const rank = value.shape?.length ?? 0;
  // Of an empty value the runtime reduces no axis that is counted from the end.
  const counted = known?.every((axis) => axis >= -rank) ? context.int64s(known.map((axis) => fromStart(axis, rank))) : null;
  return context.compute(op, [value], result, attributes, [counted ?? context.toInt64Vector(axes)]);
}

/** Reduces the whole of space where the channels come first already, so that no transpose is left behind a convolution; null for other reductions. */
function overSpace(
  op: string,
  { dtype, shape, channelsFirst }: TypedValue,
  axes: readonly number[] | null,
  keepDims: boolean,
  context: TranslationContext,
): TypedValue | null {
  const rank = channelsFirst?.shape?.length ?? 0;
  if (channelsFirst?.shape == null || axes === null || shape === null) return null;
  const reduced = new Set(axes.map((axis) => fromStart(axis, rank)));
  if (reduced.size !== rank - 2 || reduced.has(0) || reduced.has(rank - 1)) return null;
  const space = channelsFirst.shape.map((_, axis) => axis).slice(2);
  if (op !== 'ReduceMean' || dtype !== 'float') {
    const result = { dtype, shape: reducedShape(channelsFirst.shape, space, keepDims) };
    const made = context.compute(op, [channelsFirst], result, { keepdims: keepDims ? 1 : 0 }, [context.int64s(space)]);
    return keepDims ? toChannelsLast(made, rank, context) : made;
  }
  const kept = { dtype, shape: reducedShape(channelsFirst.shape, space, true) };
  const mean = context.emit('GlobalAveragePool', [channelsFirst], kept);
  if (keepDims) return toChannelsLast(mean, rank, context);
  return context.emit('Flatten', [mean], { dtype, shape: reducedShape(channelsFirst.shape, space, false) }, { axis: 1 });
}

function reduction(op: string): Translator {
  return (node, _inputs, context) => {
    const [value, axes] = [context.input(0), context.input(1)];
    const result = reduce(op, value, axes, boolAttr(node, 'keep_dims', false), context);
    const sizes = op === 'ReduceProd' ? value.partial : undefined;
    const known = sizes?.filter((size) => size !== null);
    if (known === undefined || known.length !== sizes?.length || result.shape?.length !== 0) return [result];
    return [context.refine(result, { partial: [known.reduce((product, size) => product * size, 1)] })];
  };
}

/** All and Any count what is true or false: that also answers for axes of size 0. */
function logical(op: 'All' | 'Any'): Translator {
  return (node, _inputs, context) => {
    const value = context.input(0);
    const tested = op === 'Any' ? value : context.emit('Not', [value], { dtype: 'bool', shape: value.shape });
    const count = reduce('ReduceSum', context.castTo(tested, 'int32'), context.input(1), boolAttr(node, 'keep_dims', false), context);
    return [context.binary(op === 'Any' ? 'Greater' : 'Equal', count, context.scalar(0, 'int32'), 'bool')];
  };
}

function argExtreme(op: string): Translator {
  return (node, _inputs, context) => {
    const value = context.input(0);
    const [given = 0] = context.requireInts(context.input(1), 'the axis');
    // As in `reduce`.
    const axis = value.shape === null ? given : fromStart(given, value.shape.length);
    const result: TensorType = { dtype: 'int64', shape: reducedShape(value.shape, [axis], false) };
    const index = context.compute(op, [value], result, { axis, keepdims: 0 });
    return [context.castTo(index, dtypeAttr(node, 'output_type', 'int64'))];
  };
}

const cumsum: Translator = (node, _inputs, context) => {
  const [value, axis] = [context.input(0), context.input(1)];
  const attributes = { exclusive: boolAttr(node, 'exclusive', false) ? 1 : 0, reverse: boolAttr(node, 'reverse', false) ? 1 : 0 };
  const [known] = context.staticInts(axis) ?? [];
  const scalarAxis = known === undefined ? context.castTo(axis, 'int64') : context.scalar(known, 'int64');
  return [context.compute('CumSum', [value], { dtype: value.dtype, shape: value.shape }, attributes, [scalarAxis])];
};

/** A cumulative product along an axis of known size, in log2(size) rounds: each multiplies by what lies 1, 2, 4… places before. */
const cumprod: Translator = (node, _inputs, context) => {
  const value = context.input(0);
  const rank = context.requireRank(value);
  const axis = fromStart(context.requireInts(context.input(1), 'the axis')[0] ?? 0, rank);
  const size = value.shape?.[axis] ?? -1;
  if (size < 0) throw context.unsupported(`the size of axis ${axis} must be known`);
  const isReverse = boolAttr(node, 'reverse', false);
  const shifted = (from: TypedValue, by: number) => {
    const at = (end: number) => Array.from({ length: rank }, (_, one) => (one === axis ? end : 0));
    const pads = context.int64s(isReverse ? [...at(-by), ...at(by)] : [...at(by), ...at(-by)]);
    return context.compute('Pad', [from], from, { mode: 'constant' }, [pads, context.scalar(1, paddedIn(from.dtype))]);
  };
  let product = boolAttr(node, 'exclusive', false) ? shifted(value, 1) : value;
  for (let by = 1; by < size; by *= 2) product = context.binary('Mul', product, shifted(product, by));
  return [context.refine(product, { shape: value.shape })];
};

/** The dtype in which `compute` pads. */
function paddedIn(dtype: DType): DType {
  return computeDtype('Pad', dtype) ?? dtype;
}

/** Translators of this family by op. */
export const REDUCTIONS: Readonly<Record<string, Translator>> = {
  Sum: reduction('ReduceSum'),
  Mean: reduction('ReduceMean'),
  Prod: reduction('ReduceProd'),
  Max: reduction('ReduceMax'),
  Min: reduction('ReduceMin'),
  EuclideanNorm: reduction('ReduceL2'),
  All: logical('All'),
  Any: logical('Any'),
  ArgMax: argExtreme('ArgMax'),
  ArgMin: argExtreme('ArgMin'),
  Cumsum: cumsum,
  Cumprod: cumprod,
};
