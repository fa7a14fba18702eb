/** Shapes, and what changes a shape but not the elements. */
import { elementCount } from '#mesh/tensor.ts';
import { dtypeAttr, intsAttr } from './attributes.ts';
import { fromStart, isFullyKnown, unknownSizes } from './static-shapes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

const shape: Translator = (node, inputs, context) => {
  const dtype = dtypeAttr(node, 'out_type', 'int32');
  return inputs.map((value) => context.castTo(context.shapeOf(value), dtype));
};

const size: Translator = (node, _inputs, context) => {
  const value = context.input(0);
  const dtype = dtypeAttr(node, 'out_type', 'int32');
  if (value.shape !== null && isFullyKnown(value.shape)) return [context.scalar(elementCount(value.shape), dtype)];
  return [context.castTo(context.emit('Size', [value], { dtype: 'int64', shape: [] }), dtype)];
};

const rank: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  if (value.shape !== null) return [context.scalar(value.shape.length, 'int32')];
  const sizes = context.emit('Shape', [value], { dtype: 'int64', shape: [-1] });
  return [context.castTo(context.emit('Size', [sizes], { dtype: 'int64', shape: [] }), 'int32')];
};

const reshape: Translator = (_node, _inputs, context) => {
  const [value, target] = [context.input(0), context.input(1)];
  const sizes = context.staticInts(target);
  const elements = value.shape?.length === 1 || value.shape?.length === 0 ? value.partial : undefined;
  if (sizes !== null) {
    const result = context.reshape(value, sizes);
    return [elements === undefined ? result : context.refine(result, { partial: elements })];
  }
  const known =
    target.partial?.map((one) => one ?? -1) ??
    (target.shape?.length === 1 && (target.shape[0] ?? -1) >= 0 ? unknownSizes(target.shape[0] ?? 0) : null);
  const result = { dtype: value.dtype, shape: known };
  return [context.emit('Reshape', [value, context.toInt64Vector(target)], result, { allowzero: 1 })];
};

const expandDims: Translator = (_node, _inputs, context) => {
  const [value, axis] = [context.input(0), context.input(1)];
  const known = context.staticInts(axis);
  if (known !== null) {
    const result = context.unsqueeze(value, known);
    return [value.partial?.length === 1 && value.shape?.length === 0 ? context.refine(result, { partial: value.partial }) : result];
  }
  const result = { dtype: value.dtype, shape: value.shape === null ? null : unknownSizes(value.shape.length + 1) };
  return [context.emit('Unsqueeze', [value, context.toInt64Vector(axis)], result)];
};

const squeeze: Translator = (node, _inputs, context) => {
  const value = context.input(0);
  const named = node.attrs.has('squeeze_dims') ? intsAttr(node, 'squeeze_dims') : intsAttr(node, 'axis');
  const ones = value.shape !== null && isFullyKnown(value.shape) ? value.shape.flatMap((one, axis) => (one === 1 ? [axis] : [])) : null;
  const axes = named.length > 0 ? named : ones;
  if (axes === null) return [context.emit('Squeeze', [value], { dtype: value.dtype, shape: null })];
  const result = context.squeeze(value, axes);
  return [value.partial?.length === 1 && result.shape?.length === 0 ? context.refine(result, { partial: value.partial }) : result];
};

const transpose: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  return [context.transpose(value, context.requireInts(context.input(1), 'the permutation'))];
};

const broadcastTo: Translator = (_node, _inputs, context) => [expand(context.input(0), context.input(1), context)];

/** Broadcasts to a shape given as a value. */
export function expand(value: TypedValue, sizes: TypedValue, context: TranslationContext): TypedValue {
  const known = (context.staticInts(sizes) ?? sizes.partial)?.map((one) => one ?? -1);
  const rankOf = sizes.shape?.length === 1 ? (sizes.shape[0] ?? -1) : -1;
  const result = { dtype: value.dtype, shape: known ?? (rankOf >= 0 ? unknownSizes(rankOf) : null) };
  return context.compute('Expand', [value], result, undefined, [context.toInt64Vector(sizes)]);
}

const tile: Translator = (_node, _inputs, context) => {
  const [value, multiples] = [context.input(0), context.input(1)];
  const known = context.staticInts(multiples);
  const sizes = value.shape?.map((one, axis) => (one < 0 || known === null ? -1 : one * (known[axis] ?? 1))) ?? null;
  return [context.compute('Tile', [value], { dtype: value.dtype, shape: sizes }, undefined, [context.toInt64Vector(multiples)])];
};

const fill: Translator = (_node, _inputs, context) => [expand(context.input(1), context.input(0), context)];

const filledLike =
  (number: number): Translator =>
  (_node, _inputs, context) => {
    const value = context.input(0);
    if (value.dtype === 'string') throw context.unsupported('string data is not supported');
    const filled = context.compute('Expand', [context.scalar(number, value.dtype)], value, undefined, [context.shapeOf(value)]);
    return [filled];
  };

const broadcastArgs: Translator = (_node, _inputs, context) => {
  const [left, right] = [context.input(0), context.input(1)];
  const zeros = (sizes: TypedValue) =>
    context.emit('Expand', [context.scalar(0, 'int32'), context.toInt64Vector(sizes)], { dtype: 'int32', shape: null });
  const both = context.emit('Add', [zeros(left), zeros(right)], { dtype: 'int32', shape: null });
  return [context.castTo(context.shapeOf(both), left.dtype)];
};

const invertPermutation: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  const known = context.staticInts(value);
  if (known !== null) {
    const inverse = known.map((_, place) => known.indexOf(place));
    return [context.castTo(context.int64s(inverse), value.dtype)];
  }
  const places = context.castTo(value, 'int64');
  const count = context.shapeOf(value);
  const ranks = { dtype: 'int64' as const, shape: value.shape };
  const [, inverse] = context.emitMany('TopK', [places, count], [ranks, ranks], { largest: 0, sorted: 1 });
  if (inverse === undefined) throw new TypeError('TopK gives two outputs (this is a bug)');
  return [context.castTo(inverse, value.dtype)];
};

/** ReverseV2: a slice with step -1 along each axis. */
const reverse: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  const axes = context.requireInts(context.input(1), 'the axes');
  if (axes.length === 0) return [value];
  const each = (number: number) => context.int64s(axes.map(() => number));
  const far = Number.MAX_SAFE_INTEGER;
  return [context.compute('Slice', [value], value, undefined, [each(far), each(-far), context.int64s(axes), each(-1)])];
};

const reverseSequence: Translator = (node, _inputs, context) => {
  const [value, lengths] = [context.input(0), context.input(1)];
  const valueRank = context.requireRank(value);
  const attr = (name: string, fallback: number) => {
    const found = node.attrs.get(name);
    return fromStart(found?.type === 'int' ? found.value : fallback, valueRank);
  };
  const [time, batch] = [attr('seq_dim', 0), attr('batch_dim', 0)];
  const rest = Array.from({ length: valueRank }, (_, axis) => axis).filter((axis) => axis !== time && axis !== batch);
  const permutation = [batch, time, ...rest];
  const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
  const moved = context.transpose(value, permutation);
  const attributes = { batch_axis: 0, time_axis: 1 };
  const reversed = context.compute('ReverseSequence', [moved], moved, attributes, [context.castTo(lengths, 'int64')]);
  return [context.transpose(reversed, inverse)];
};

/** Roll along constant axes: each is cut at -shift modulo its size, and the two parts change places. */
const roll: Translator = (_node, _inputs, context) => {
  const axes = context.requireInts(context.input(2), 'the axes');
  const shifts = context.toInt64Vector(context.input(1));
  const rolled = axes.reduce((value, axis, index) => {
    const place = fromStart(axis, context.requireRank(value));
    const shift = context.emit('Slice', [shifts, context.int64s([index]), context.int64s([index + 1])], { dtype: 'int64', shape: [1] });
    const length = context.binary('Max', context.dims([context.dimOf(value, place)]), context.int64s([1]));
    const back = context.emit('Neg', [shift], { dtype: 'int64', shape: [1] });
    const cut = context.emit('Mod', [back, length], { dtype: 'int64', shape: [1] });
    const along = context.int64s([place]);
    const part = (start: TypedValue, end: TypedValue) => {
      const sizes = value.shape?.map((one, at) => (at === place ? -1 : one)) ?? null;
      return context.compute('Slice', [value], { dtype: value.dtype, shape: sizes }, undefined, [start, end, along]);
    };
    const parts = [part(cut, context.int64s([Number.MAX_SAFE_INTEGER])), part(context.int64s([0]), cut)];
    return context.compute('Concat', parts, value, { axis: place });
  }, context.input(0));
  return [{ name: rolled.name, dtype: rolled.dtype, shape: context.input(0).shape }];
};

/** Translators of this family by op. */
export const SHAPE_OPS: Readonly<Record<string, Translator>> = {
  Shape: shape,
  ShapeN: shape,
  Size: size,
  Rank: rank,
  Reshape: reshape,
  ExpandDims: expandDims,
  Squeeze: squeeze,
  Transpose: transpose,
  ConjugateTranspose: transpose,
  BroadcastTo: broadcastTo,
  BroadcastArgs: broadcastArgs,
  Tile: tile,
  Fill: fill,
  ZerosLike: filledLike(0),
  OnesLike: filledLike(1),
  InvertPermutation: invertPermutation,
  ReverseV2: reverse,
  ReverseSequence: reverseSequence,
  Roll: roll,
};
