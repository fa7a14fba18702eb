/** Ranges, one-hot vectors, buckets and counts. */
import type { DType } from '#mesh/tensor.ts';
import { boolAttr, floatsAttr, intAttr } from './attributes.ts';
import { tensorOf } from './constants.ts';
import { computeDtype } from './dtype-support.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

/** 0, 1, … count - 1 as int64. `count` is an int64 scalar. */
export function countUp(count: TypedValue, context: TranslationContext): TypedValue {
  const inputs = [context.scalar(0, 'int64'), count, context.scalar(1, 'int64')];
  return context.emit('Range', inputs, { dtype: 'int64', shape: [context.staticInts(count)?.[0] ?? -1] });
}

/** An int64 scalar out of a scalar or a vector of one. */
export function scalarCount(value: TypedValue, context: TranslationContext): TypedValue {
  const wide = context.castTo(value, 'int64');
  return wide.shape?.length === 0 ? wide : context.emit('Reshape', [wide, context.int64s([])], { dtype: 'int64', shape: [] });
}

const range: Translator = (_node, _inputs, context) => {
  const bounds = [context.input(0), context.input(1), context.input(2)];
  const [start, limit, delta] = bounds.map((one) => context.staticInts(one)?.[0]);
  const known = start === undefined || limit === undefined || !delta ? -1 : Math.max(0, Math.ceil((limit - start) / delta));
  return [context.compute('Range', bounds, { dtype: context.input(0).dtype, shape: [known] })];
};

/** The last element is the stop itself, free of rounding. */
const linSpace: Translator = (_node, _inputs, context) => {
  const [start, stop] = [context.input(0), context.input(1)];
  const count = scalarCount(context.input(2), context);
  const places = countUp(count, context);
  const last = context.binary('Sub', count, context.scalar(1, 'int64'));
  const steps = context.castTo(context.binary('Max', last, context.scalar(1, 'int64')), start.dtype);
  const step = context.binary('Div', context.binary('Sub', stop, start), steps);
  const values = context.binary('Add', start, context.binary('Mul', context.castTo(places, start.dtype), step));
  const isLast = context.binary(
    'And',
    context.binary('Equal', places, last, 'bool'),
    context.binary('Greater', places, context.scalar(0, 'int64'), 'bool'),
  );
  return [context.where(isLast, stop, values)];
};

/** Compares with a range instead of ONNX's OneHot: that wraps negative indices, and lacks kernels for most dtypes. */
const oneHot: Translator = (node, _inputs, context) => {
  const [indices, depth, on, off] = [context.input(0), context.input(1), context.input(2), context.input(3)];
  const axis = intAttr(node, 'axis', -1);
  const classes = countUp(scalarCount(depth, context), context);
  const lifted = context.unsqueeze(context.castTo(indices, 'int64'), [axis]);
  const behind = axis === -1 ? 0 : context.requireRank(indices) - axis;
  const lined =
    behind === 0
      ? classes
      : context.unsqueeze(
          classes,
          Array.from({ length: behind }, (_, index) => index + 1),
        );
  return [context.where(context.binary('Equal', lifted, lined, 'bool'), on, off)];
};

/** How many boundaries are not above the value. */
const bucketize: Translator = (node, _inputs, context) => {
  const value = context.input(0);
  const boundaries = floatsAttr(node, 'boundaries');
  const wide: DType = value.dtype === 'double' || value.dtype === 'int64' ? 'double' : 'float';
  const edges = context.constant(tensorOf(wide, [boundaries.length], boundaries));
  const isBelow = context.binary('Less', context.unsqueeze(context.castTo(value, wide), [-1]), edges, 'bool');
  const passed = context.emit('Not', [isBelow], { dtype: 'bool', shape: isBelow.shape });
  const counted = { dtype: 'int32' as const, shape: value.shape };
  // Of an empty value the runtime reduces no axis that is counted from the end.
  const last = context.int64s([value.shape?.length ?? -1]);
  return [context.emit('ReduceSum', [context.castTo(passed, 'int32'), last], counted, { keepdims: 0 })];
};

/** SearchSorted per row: counts the elements of the row below (LowerBound) or not above (UpperBound) each value. */
const searchSorted =
  (op: 'Less' | 'LessOrEqual'): Translator =>
  (node, _inputs, context) => {
    const [rows, values] = [context.unsqueeze(context.input(0), [1]), context.unsqueeze(context.input(1), [2])];
    const hits = context.castTo(context.binary(op, rows, values, 'bool'), 'int64');
    const result = { dtype: 'int64' as const, shape: context.input(1).shape };
    const count = context.emit('ReduceSum', [hits, context.int64s([2])], result, { keepdims: 0 });
    const out = node.attrs.get('out_type');
    return [out?.type === 'dtype' && out.value === 9 ? count : context.castTo(count, 'int32')];
  };

/** Bincount and DenseBincount of one axis: values at or beyond the size are dropped. */
const bincount: Translator = (node, _inputs, context) => {
  const [values, size, weights] = [context.input(0), context.input(1), context.input(2)];
  if (values.shape?.length !== 1 && node.op === 'DenseBincount') throw context.unsupported('only vectors are counted');
  const dtype = weights.dtype;
  const count = context.toInt64Vector(size);
  const flat = context.reshape(context.castTo(values, 'int64'), [-1]);
  const kept = context.where(context.binary('Less', flat, count, 'bool'), flat, count);
  const oneMore = context.binary('Add', count, context.int64s([1]));
  const wide = computeDtype('ScatterND', dtype) ?? dtype;
  const zeros = context.emit('Expand', [context.scalar(0, wide), oneMore], { dtype: wide, shape: [-1] });
  const isWeighted = (weights.shape?.length ?? 0) > 0 && weights.shape?.every((one) => one > 0) === true;
  if (!isWeighted && weights.shape?.includes(0) !== true) throw context.unsupported("the weights' shape must be known");
  const ones = context.emit('Expand', [context.scalar(1, wide), context.shapeOf(flat)], { dtype: wide, shape: [-1] });
  const isBinary = node.attrs.has('binary_output') && boolAttr(node, 'binary_output');
  const updates = isWeighted && !isBinary ? context.reshape(context.castTo(weights, wide), [-1]) : ones;
  const attributes = { reduction: isBinary ? 'max' : 'add' };
  const counts = context.emit('ScatterND', [zeros, context.unsqueeze(kept, [1]), updates], { dtype: wide, shape: [-1] }, attributes);
  const cut = context.emit('Slice', [counts, context.int64s([0]), count], { dtype: wide, shape: [-1] });
  return [context.castTo(cut, dtype)];
};

/** Translators of this family by op. */
export const SEQUENCES: Readonly<Record<string, Translator>> = {
  Range: range,
  LinSpace: linSpace,
  OneHot: oneHot,
  Bucketize: bucketize,
  LowerBound: searchSorted('Less'),
  UpperBound: searchSorted('LessOrEqual'),
  Bincount: bincount,
  DenseBincount: bincount,
};
