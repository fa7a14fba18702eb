/** Padding, and moving blocks between space and batch or depth. */
import type { DType } from '#mesh/tensor.ts';
import { intAttr, textAttr } from './attributes.ts';
import { isChannelsLast, toChannelsFirst, toChannelsLast } from './channel-order.ts';
import { computeDtype } from './dtype-support.ts';
import type { Dim, TranslationContext, Translator, TypedValue } from './translator.ts';

/** Pads [axis, before and after] as ONNX's vector: all befores, then all afters. */
function onnxPads(paddings: TypedValue, context: TranslationContext): TypedValue {
  const known = paddingNumbers(paddings, context);
  if (known !== null) return context.int64s([...known.map(([before]) => before), ...known.map(([, after]) => after)]);
  const flipped = context.transpose(context.castTo(paddings, 'int64'), [1, 0]);
  return context.emit('Reshape', [flipped, context.int64s([-1])], { dtype: 'int64', shape: [-1] });
}

function paddingNumbers(paddings: TypedValue, context: TranslationContext): (readonly [number, number])[] | null {
  if (paddings.constant === undefined) return null;
  const flat = context.staticInts({ ...paddings, constant: { ...paddings.constant, shape: [(paddings.shape?.[0] ?? 0) * 2] } });
  if (flat === null) return null;
  return Array.from({ length: flat.length / 2 }, (_, axis) => [flat[2 * axis] ?? 0, flat[2 * axis + 1] ?? 0] as const);
}

function pad(value: TypedValue, paddings: TypedValue, fill: TypedValue | null, context: TranslationContext): TypedValue {
  if (value.shape?.length === 0) return value;
  const known = paddingNumbers(paddings, context);
  const shape = value.shape?.map((size, axis) => addPadding(size, known?.[axis])) ?? null;
  const dtype: DType = computeDtype('Pad', value.dtype) ?? value.dtype;
  const others = [onnxPads(paddings, context), fill === null ? null : context.castTo(fill, dtype)];
  return context.compute('Pad', [value], { dtype: value.dtype, shape }, { mode: 'constant' }, fill === null ? others.slice(0, 1) : others);
}

function addPadding(size: number, padding: readonly [number, number] | undefined): number {
  return size < 0 || padding === undefined ? -1 : size + padding[0] + padding[1];
}

/** Both modes gather along each padded axis, at places mirrored about the edge (REFLECT) or about the gap before it (SYMMETRIC). */
const mirrorPad: Translator = (node, _inputs, context) => {
  const [value, paddings] = [context.input(0), context.input(1)];
  const known = paddingNumbers(paddings, context);
  if (known === null) throw context.unsupported('the paddings must be constants');
  const shift = textAttr(node, 'mode') === 'SYMMETRIC' ? 1 : 0;
  const padded = known.reduce((from, [before, after], axis) => {
    if (before === 0 && after === 0) return from;
    const places = mirroredPlaces(from, axis, before, after, shift, context);
    const shape = from.shape?.map((size, at) => (at === axis && size >= 0 ? size + before + after : size)) ?? null;
    return context.compute('Gather', [from], { dtype: from.dtype, shape }, { axis }, [places]);
  }, value);
  return [padded];
};

function mirroredPlaces(
  value: TypedValue,
  axis: number,
  before: number,
  after: number,
  shift: number,
  context: TranslationContext,
): TypedValue {
  const constant = (number: number) => context.scalar(number, 'int64');
  const size = context.squeeze(context.dims([context.dimOf(value, axis)]), [0]);
  const range = [constant(-before), context.binary('Add', size, constant(after)), constant(1)];
  const straight = context.emit('Range', range, { dtype: 'int64', shape: [-1] });
  const isBefore = context.binary('Less', straight, constant(0), 'bool');
  const front = context.where(isBefore, context.binary('Sub', constant(-shift), straight), straight);
  const isAfter = context.binary('GreaterOrEqual', front, size, 'bool');
  const last = context.binary('Sub', context.binary('Add', size, size), constant(2 - shift));
  return context.where(isAfter, context.binary('Sub', last, front), front);
}

const divide = (size: Dim, by: number, context: TranslationContext): Dim =>
  typeof size === 'number'
    ? by === 0
      ? 0
      : size / by
    : by === 1
      ? size
      : context.emit('Div', [size, context.int64s([by])], { dtype: 'int64', shape: [1] });

const multiply = (size: Dim, by: number, context: TranslationContext): Dim =>
  typeof size === 'number'
    ? size * by
    : by === 1
      ? size
      : context.emit('Mul', [size, context.int64s([by])], { dtype: 'int64', shape: [1] });

const counts = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

/** Before and after for some axes: numbers, or a value [axes, 2]. */
type Pairs = readonly (readonly [number, number])[] | TypedValue;

/** Befores and afters in ONNX's order for axes 1 …, with zeros for the others. */
function wideVector(paddings: Pairs, rank: number, spaceRank: number, context: TranslationContext): TypedValue {
  if ('name' in paddings) {
    const flipped = context.transpose(context.castTo(paddings, 'int64'), [1, 0]);
    const rest = context.int64s(counts(spaceRank + 1, rank).map(() => 0));
    const side = (index: 0 | 1) => {
      const row = { dtype: 'int64' as const, shape: [spaceRank] };
      return context.emit('Gather', [flipped, context.scalar(index, 'int64')], row, { axis: 0 });
    };
    const parts = [context.int64s([0]), side(0), rest, context.int64s([0]), side(1), rest];
    return context.emit('Concat', parts, { dtype: 'int64', shape: [2 * rank] }, { axis: 0 });
  }
  const wide = counts(0, rank).map((axis) => paddings[axis - 1] ?? [0, 0]);
  return context.int64s([...wide.map(([before]) => before), ...wide.map(([, after]) => after)]);
}

/** Space [axes 1 …] padded by pairs. */
function padSpace(value: TypedValue, paddings: Pairs, spaceRank: number, context: TranslationContext): TypedValue {
  if (!('name' in paddings) && paddings.every(([before, after]) => before + after === 0)) return value;
  const known = 'name' in paddings ? null : paddings;
  const size = (one: number, axis: number) =>
    axis === 0 || axis > spaceRank ? one : known === null ? -1 : addPadding(one, known[axis - 1] ?? [0, 0]);
  const pads = wideVector(paddings, context.requireRank(value), spaceRank, context);
  const result = { dtype: value.dtype, shape: value.shape?.map(size) ?? null };
  return context.compute('Pad', [value], result, { mode: 'constant' }, [pads]);
}

function spaceToBatch(value: TypedValue, blocks: readonly number[], paddings: Pairs, context: TranslationContext): TypedValue {
  const rank = context.requireRank(value);
  const spaceRank = blocks.length;
  const padded = padSpace(value, paddings, spaceRank, context);
  const size = (axis: number) => context.dimOf(padded, axis);
  const rest = counts(spaceRank + 1, rank).map(size);
  const cut = blocks.flatMap((block, index) => [divide(size(index + 1), block, context), block]);
  const split = context.reshape(padded, [size(0), ...cut, ...rest]);
  const within = blocks.map((_, index) => 2 * index + 2);
  const outer = blocks.map((_, index) => 2 * index + 1);
  const turned = context.transpose(split, [...within, 0, ...outer, ...counts(2 * spaceRank + 1, rank + spaceRank)]);
  const total = blocks.reduce((product, block) => product * block, 1);
  const space = blocks.map((block, index) => divide(size(index + 1), block, context));
  return context.reshape(turned, [multiply(size(0), total, context), ...space, ...rest]);
}

function batchToSpace(value: TypedValue, blocks: readonly number[], crops: Pairs, context: TranslationContext): TypedValue {
  const rank = context.requireRank(value);
  const spaceRank = blocks.length;
  const size = (axis: number) => context.dimOf(value, axis);
  const total = blocks.reduce((product, block) => product * block, 1);
  const batch = divide(size(0), total, context);
  const rest = counts(spaceRank + 1, rank).map(size);
  const split = context.reshape(value, [...blocks, batch, ...blocks.map((_, index) => size(index + 1)), ...rest]);
  const woven = blocks.flatMap((_, index) => [spaceRank + 1 + index, index]);
  const turned = context.transpose(split, [spaceRank, ...woven, ...counts(2 * spaceRank + 1, rank + spaceRank)]);
  const space = blocks.map((block, index) => multiply(size(index + 1), block, context));
  return cropSpace(context.reshape(turned, [batch, ...space, ...rest]), crops, spaceRank, context);
}

/** Space [axes 1 …] cropped by pairs. */
function cropSpace(whole: TypedValue, crops: Pairs, spaceRank: number, context: TranslationContext): TypedValue {
  if ('name' in crops) {
    const cuts = wideVector(crops, spaceRank + 1, spaceRank, context);
    const side = (from: number) => {
      const bounds = [context.int64s([from]), context.int64s([from + spaceRank])];
      return context.emit('Slice', [cuts, ...bounds], { dtype: 'int64', shape: [spaceRank] });
    };
    const sizes = context.emit('Shape', [whole], { dtype: 'int64', shape: [spaceRank] }, { start: 1, end: spaceRank + 1 });
    const ends = context.binary('Sub', sizes, side(spaceRank + 2));
    const cut = whole.shape?.map((size, axis) => (axis === 0 || axis > spaceRank ? size : -1)) ?? null;
    const axes = context.int64s(counts(1, spaceRank + 1));
    return context.compute('Slice', [whole], { dtype: whole.dtype, shape: cut }, undefined, [side(1), ends, axes]);
  }
  const cropped = crops.flatMap(([before, after], index) => (before + after > 0 ? [{ before, after, axis: index + 1 }] : []));
  if (cropped.length === 0) return whole;
  const shape = whole.shape?.map((one, axis) => cropSize(one, crops[axis - 1])) ?? null;
  const bounds = [
    cropped.map((one) => one.before),
    cropped.map((one) => (one.after === 0 ? Number.MAX_SAFE_INTEGER : -one.after)),
    cropped.map((one) => one.axis),
  ];
  const others = bounds.map((one) => context.int64s(one));
  return context.compute('Slice', [whole], { dtype: whole.dtype, shape }, undefined, others);
}

function cropSize(size: number, crop: readonly [number, number] | undefined): number {
  return size < 0 || crop === undefined ? size : size - crop[0] - crop[1];
}

function pairs(value: TypedValue, context: TranslationContext): Pairs {
  return paddingNumbers(value, context) ?? value;
}

const blockOfSize = (context: TranslationContext) => [intAttr(context.node, 'block_size'), intAttr(context.node, 'block_size')];

function withBlocks(move: typeof spaceToBatch, context: TranslationContext): TypedValue {
  const blocks = context.requireInts(context.input(1), 'the block');
  return move(context.input(0), blocks, pairs(context.input(2), context), context);
}

/** A translator for SpaceToDepth or DepthToSpace, which mean the same in ONNX but for the layout. */
const depthBlocks =
  (op: 'SpaceToDepth' | 'DepthToSpace'): Translator =>
  (node, _inputs, context) => {
    const channelsLast = isChannelsLast(context);
    const value = context.input(0);
    const block = intAttr(node, 'block_size');
    const data = channelsLast ? toChannelsFirst(value, 4, context) : value;
    const [batch = -1, depth = -1, height = -1, width = -1] = data.shape ?? [];
    const scale = (size: number, by: number) => (size < 0 ? -1 : size * by);
    const [deeper, wider] = op === 'SpaceToDepth' ? [block * block, 1 / block] : [1 / (block * block), block];
    const shape = [batch, scale(depth, deeper), scale(height, wider), scale(width, wider)];
    const result = context.compute(op, [data], { dtype: data.dtype, shape }, { blocksize: block });
    return [channelsLast ? toChannelsLast(result, 4, context) : result];
  };

/** Translators of this family by op. */
export const PADDING: Readonly<Record<string, Translator>> = {
  Pad: (_node, _inputs, context) => [pad(context.input(0), context.input(1), null, context)],
  PadV2: (_node, _inputs, context) => [pad(context.input(0), context.input(1), context.input(2), context)],
  MirrorPad: mirrorPad,
  SpaceToBatchND: (_node, _inputs, context) => [withBlocks(spaceToBatch, context)],
  BatchToSpaceND: (_node, _inputs, context) => [withBlocks(batchToSpace, context)],
  SpaceToBatch: (_node, _inputs, context) => [
    spaceToBatch(context.input(0), blockOfSize(context), pairs(context.input(1), context), context),
  ],
  BatchToSpace: (_node, _inputs, context) => [
    batchToSpace(context.input(0), blockOfSize(context), pairs(context.input(1), context), context),
  ],
  SpaceToDepth: depthBlocks('SpaceToDepth'),
  DepthToSpace: depthBlocks('DepthToSpace'),
};
