/** Ops that move elements of any dtype, strings included: the shapes and indices decide, never the values. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { broadcastIndices, broadcastShape } from './broadcast.ts';
import {
  allocate,
  axisOf,
  dim,
  fromNumbers,
  type HostKernels,
  input,
  int32s,
  invalid,
  joinData,
  MAX_ELEMENTS,
  numbers,
  sameShape,
  scalar,
  shapeOf,
  shapeText,
  strides,
  take,
} from './host-tensor.ts';

/** Reshape, Concat, Pack, Tile, Transpose and their like. */
export const ARRAY_OPS: HostKernels = {
  Identity: (inputs) => [input(inputs, 0)],
  IdentityN: (inputs) => inputs,
  StopGradient: (inputs) => [input(inputs, 0)],
  PreventGradient: (inputs) => [input(inputs, 0)],
  Snapshot: (inputs) => [input(inputs, 0)],
  EnsureShape: (inputs, attrs) => [ensureShape(input(inputs, 0), attrs.shape('shape'))],
  Reshape: (inputs) => [reshape(input(inputs, 0), Array.from(numbers(input(inputs, 1))))],
  ExpandDims: (inputs) => [expandDims(input(inputs, 0), scalar(input(inputs, 1), 'dim'))],
  Squeeze: (inputs, attrs) => [squeeze(input(inputs, 0), attrs.has('squeeze_dims') ? attrs.ints('squeeze_dims') : [])],
  Shape: (inputs, attrs) => [shapeTensor(input(inputs, 0).shape, attrs)],
  ShapeN: (inputs, attrs) => inputs.map((tensor) => shapeTensor(tensor.shape, attrs)),
  Size: (inputs, attrs) => [
    fromNumbers(attrs.has('out_type') ? attrs.dtype('out_type') : 'int32', [], [elementCount(input(inputs, 0).shape)]),
  ],
  Rank: (inputs) => [int32s([], [input(inputs, 0).shape.length])],
  Fill: (inputs) => [fill(input(inputs, 1), shapeOf(input(inputs, 0)))],
  ZerosLike: (inputs) => [zeros(input(inputs, 0), input(inputs, 0).shape)],
  OnesLike: (inputs) => [fill(fromNumbers(input(inputs, 0).dtype, [], [1]), input(inputs, 0).shape)],
  Pack: (inputs, attrs) => [pack(inputs, attrs.has('axis') ? attrs.int('axis') : 0)],
  Unpack: (inputs, attrs) => unpack(input(inputs, 0), attrs.int('num'), attrs.has('axis') ? attrs.int('axis') : 0),
  ConcatV2: (inputs) => [concat(inputs.slice(0, -1), scalar(input(inputs, inputs.length - 1), 'axis'))],
  Concat: (inputs) => [concat(inputs.slice(1), scalar(input(inputs, 0), 'concat_dim'))],
  Split: (inputs, attrs) => split(input(inputs, 1), attrs.int('num_split'), scalar(input(inputs, 0), 'split_dim')),
  SplitV: (inputs) => splitBySizes(input(inputs, 0), Array.from(numbers(input(inputs, 1))), scalar(input(inputs, 2), 'split_dim')),
  Tile: (inputs) => [tile(input(inputs, 0), Array.from(numbers(input(inputs, 1))))],
  Transpose: (inputs) => [transpose(input(inputs, 0), Array.from(numbers(input(inputs, 1))))],
  BroadcastTo: (inputs) => [broadcastTo(input(inputs, 0), shapeOf(input(inputs, 1)))],
  ReverseV2: (inputs) => [reverse(input(inputs, 0), Array.from(numbers(input(inputs, 1))))],
  Pad: (inputs) => [pad(input(inputs, 0), numbers(input(inputs, 1)))],
  PadV2: (inputs) => [pad(input(inputs, 0), numbers(input(inputs, 1)), input(inputs, 2))],
  Select: (inputs) => [selectRows(input(inputs, 0), input(inputs, 1), input(inputs, 2))],
  SelectV2: (inputs) => [select(input(inputs, 0), input(inputs, 1), input(inputs, 2))],
  BroadcastArgs: (inputs) =>
    [fromNumbers(input(inputs, 0).dtype, [], broadcastShape(shapeOf(input(inputs, 0)), shapeOf(input(inputs, 1))))].map((tensor) => ({
      ...tensor,
      shape: [tensor.data.length],
    })),
};

/** The same elements under another shape, one size of which may be -1. */
export function reshape(tensor: HostTensor, wanted: readonly number[]): HostTensor {
  const count = elementCount(tensor.shape);
  const open = wanted.indexOf(-1);
  if (wanted.indexOf(-1, open + 1) > open && open >= 0) {
    throw invalid(`Only one input size may be -1, not both ${open} and ${wanted.indexOf(-1, open + 1)}`);
  }
  for (const [axis, size] of wanted.entries()) if (size < -1) throw invalid(`Size ${axis} must be non-negative, not ${size}`);
  const shape = [...wanted];
  if (open >= 0) {
    const others = elementCount(wanted.filter((_, axis) => axis !== open));
    if (others === 0 && count > 0) {
      throw invalid(`Input to reshape is a tensor with ${count} values, but the requested shape requires a multiple of ${others}`);
    }
    if (others > 0 && count % others !== 0) {
      throw invalid(`Input to reshape is a tensor with ${count} values, but the requested shape requires a multiple of ${others}`);
    }
    shape[open] = others === 0 ? 0 : count / others;
  }
  if (elementCount(shape) !== count) {
    throw invalid(`Input to reshape is a tensor with ${count} values, but the requested shape has ${elementCount(shape)}`);
  }
  return { ...tensor, shape };
}

/** Concatenates along an axis. Throws INVALID_ARGUMENT with TensorFlow's text when other sizes differ. */
export function concat(tensors: readonly HostTensor[], axis: number): HostTensor {
  const first = input(tensors, 0);
  const rank = first.shape.length;
  const along = axis < 0 ? axis + rank : axis;
  if (rank > 0 && (along < 0 || along >= rank)) {
    throw invalid(`ConcatOp : Expected concatenating dimensions in the range [${-rank}, ${rank}), but got ${axis}`);
  }
  for (const [index, tensor] of tensors.entries()) {
    if (tensor.shape.length !== rank) {
      throw invalid(
        `ConcatOp : Ranks of all input tensors should match: shape[0] = ${shapeText(first.shape)} vs. shape[${index}] = ${shapeText(tensor.shape)}`,
      );
    }
    if (!tensor.shape.every((size, at) => at === along || size === first.shape[at])) {
      throw invalid(
        `ConcatOp : Dimension ${tensor.shape.findIndex((size, at) => at !== along && size !== first.shape[at])} in both shapes must be equal: shape[0] = ${shapeText(first.shape)} vs. shape[${index}] = ${shapeText(tensor.shape)}`,
      );
    }
  }
  const shape = [...first.shape];
  shape[along] = tensors.reduce((total, tensor) => total + dim(tensor.shape, along), 0);
  const outer = elementCount(shape.slice(0, along));
  if (outer === 1) return joinData(first.dtype, tensors, shape);
  const inner = elementCount(shape.slice(along + 1));
  const joined = joinData(first.dtype, tensors, [elementCount(shape)]);
  const indices = new Int32Array(elementCount(shape));
  let at = 0;
  for (let row = 0; row < outer; row++) {
    let base = 0;
    for (const tensor of tensors) {
      const chunk = dim(tensor.shape, along) * inner;
      for (let index = 0; index < chunk; index++) indices[at++] = base + row * chunk + index;
      base += outer * chunk;
    }
  }
  return take(joined, shape, indices);
}

/** Stacks tensors of one shape along a new axis. */
export function pack(tensors: readonly HostTensor[], axis: number): HostTensor {
  const first = input(tensors, 0);
  const along = axis < 0 ? axis + first.shape.length + 1 : axis;
  if (along < 0 || along > first.shape.length) {
    throw invalid(`axis = ${axis} not in [${-first.shape.length - 1}, ${first.shape.length + 1})`);
  }
  for (const [index, tensor] of tensors.entries()) {
    if (!sameShape(tensor.shape, first.shape)) {
      throw invalid(
        `Shapes of all inputs must match: values[0].shape = ${shapeText(first.shape)} != values[${index}].shape = ${shapeText(tensor.shape)}`,
      );
    }
  }
  const wide = [...first.shape.slice(0, along), 1, ...first.shape.slice(along)];
  return concat(
    tensors.map((tensor) => ({ ...tensor, shape: wide })),
    along,
  );
}

/** A box of a tensor: `begin` and `size` per axis, both within the shape. */
export function box(tensor: HostTensor, begin: readonly number[], size: readonly number[]): HostTensor {
  const steps = strides(tensor.shape);
  return take(
    tensor,
    size,
    indicesOf(
      size,
      (axis) => steps[axis] ?? 0,
      begin.reduce((sum, at, axis) => sum + at * (steps[axis] ?? 0), 0),
    ),
  );
}

/** Source indices of a shape whose axis `a` moves by `step(a)` from `base`. */
export function indicesOf(shape: readonly number[], step: (axis: number) => number, base: number): Int32Array {
  const count = elementCount(shape);
  const indices = allocate('int32', count) as Int32Array;
  if (count === 0) return indices;
  const position = new Array<number>(shape.length).fill(0);
  const moves = shape.map((_, axis) => step(axis));
  let at = base;
  for (let index = 0; index < count; index++) {
    indices[index] = at;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (position[axis] ?? 0) + 1;
      at += moves[axis] ?? 0;
      if (next < dim(shape, axis)) {
        position[axis] = next;
        break;
      }
      at -= next * (moves[axis] ?? 0);
      position[axis] = 0;
    }
  }
  return indices;
}

function ensureShape(tensor: HostTensor, wanted: readonly number[] | null): HostTensor {
  const fits =
    wanted === null || (wanted.length === tensor.shape.length && wanted.every((size, axis) => size < 0 || size === tensor.shape[axis]));
  if (!fits) throw invalid(`Shape of tensor  ${shapeText(tensor.shape)} is not compatible with expected shape ${shapeText(wanted ?? [])}.`);
  return tensor;
}

function expandDims(tensor: HostTensor, axis: number): HostTensor {
  const rank = tensor.shape.length;
  if (axis < -1 - rank || axis > rank) {
    throw invalid(`Tried to expand dim index ${axis} for tensor with ${rank} dimensions.`);
  }
  const at = axis < 0 ? axis + rank + 1 : axis;
  return { ...tensor, shape: [...tensor.shape.slice(0, at), 1, ...tensor.shape.slice(at)] };
}

function squeeze(tensor: HostTensor, dims: readonly number[]): HostTensor {
  const rank = tensor.shape.length;
  const chosen = new Set<number>();
  for (const axis of dims) {
    if (axis < -rank || axis >= rank) {
      throw invalid(`Tried to squeeze dim index ${axis} for tensor with ${rank} dimensions.`);
    }
    const at = axis < 0 ? axis + rank : axis;
    if (tensor.shape[at] !== 1) throw invalid(`Can not squeeze dim[${at}], expected a dimension of 1, got ${tensor.shape[at]}`);
    chosen.add(at);
  }
  return { ...tensor, shape: tensor.shape.filter((size, axis) => (dims.length === 0 ? size !== 1 : !chosen.has(axis))) };
}

function shapeTensor(shape: readonly number[], attrs: HostAttrs): HostTensor {
  return fromNumbers(attrs.has('out_type') ? attrs.dtype('out_type') : 'int32', [shape.length], shape);
}

function fill(value: HostTensor, shape: readonly number[]): HostTensor {
  if (elementCount(value.shape) !== 1 || value.shape.length > 0)
    throw invalid(`value must be a scalar, got shape ${shapeText(value.shape)}`);
  return take(value, shape, allocate('int32', elementCount(shape)) as Int32Array);
}

function zeros(like: HostTensor, shape: readonly number[]): HostTensor {
  return { dtype: like.dtype, shape, data: allocate(like.dtype, elementCount(shape)) };
}

function unpack(tensor: HostTensor, count: number, axis: number): HostTensor[] {
  const rank = tensor.shape.length;
  if (axis < -rank || axis >= rank) throw invalid(`axis = ${axis} not in [${-rank}, ${rank})`);
  const along = axis < 0 ? axis + rank : axis;
  if (dim(tensor.shape, along) !== count)
    throw invalid(`Input shape axis ${along} must equal ${count}, got shape ${shapeText(tensor.shape)}`);
  const shape = tensor.shape.filter((_, at) => at !== along);
  return splitBySizes(tensor, new Array<number>(count).fill(1), along).map((part) => ({ ...part, shape }));
}

function split(tensor: HostTensor, count: number, axis: number): HostTensor[] {
  const rank = tensor.shape.length;
  if (axis < -rank || axis >= rank) throw invalid(`-input rank(-${rank}) <= split_dim < input rank (${rank}), but got ${axis}`);
  const along = axis < 0 ? axis + rank : axis;
  const size = dim(tensor.shape, along);
  if (size % count !== 0) {
    throw invalid(
      `Number of ways to split should evenly divide the split dimension, but got split_dim ${along} (size = ${size}) and num_split ${count}`,
    );
  }
  return splitBySizes(tensor, new Array<number>(count).fill(size / count), along);
}

function splitBySizes(tensor: HostTensor, wanted: readonly number[], axis: number): HostTensor[] {
  const along = axisOf(axis, tensor.shape.length);
  const whole = dim(tensor.shape, along);
  const known = wanted.reduce((sum, size) => sum + Math.max(0, size), 0);
  const sizes = wanted.map((size) => (size === -1 ? whole - known : size));
  if (sizes.reduce((sum, size) => sum + size, 0) !== whole || sizes.some((size) => size < 0)) {
    throw invalid(
      `Determined shape must either match input shape along split_dim exactly if fully specified, or be less than the size of the input along split_dim if not fully specified.  Got: ${known}`,
    );
  }
  let at = 0;
  return sizes.map((size) => {
    const begin = tensor.shape.map((_, index) => (index === along ? at : 0));
    at += size;
    return box(
      tensor,
      begin,
      tensor.shape.map((full, index) => (index === along ? size : full)),
    );
  });
}

function tile(tensor: HostTensor, multiples: readonly number[]): HostTensor {
  if (multiples.length !== tensor.shape.length) {
    throw invalid(`Expected multiples argument to be a vector of length ${tensor.shape.length} but got length ${multiples.length}`);
  }
  multiples.forEach((times, axis) => {
    if (times < 0) throw invalid(`Expected multiples[${axis}] >= 0, but got ${times}`);
  });
  const steps = strides(tensor.shape);
  const doubled = tensor.shape.flatMap((size, axis) => [multiples[axis] ?? 1, size]);
  const indices = indicesOf(doubled, (axis) => (axis % 2 === 0 ? 0 : (steps[(axis - 1) / 2] ?? 0)), 0);
  return take(
    tensor,
    tensor.shape.map((size, axis) => size * (multiples[axis] ?? 1)),
    indices,
  );
}

function transpose(tensor: HostTensor, order: readonly number[]): HostTensor {
  const rank = tensor.shape.length;
  if (order.length !== rank) throw invalid(`transpose expects a vector of size ${rank}. But input(1) is a vector of size ${order.length}`);
  const axes = order.map((axis) => (axis < 0 ? axis + rank : axis));
  for (const axis of axes) if (!(axis >= 0 && axis < rank)) throw invalid(`${axis} is out of range [0 .. ${rank})`);
  for (let axis = 0; axis < rank; axis++) if (!axes.includes(axis)) throw invalid(`${axis} is missing from {${order.join(',')}}.`);
  const steps = strides(tensor.shape);
  const shape = axes.map((axis) => dim(tensor.shape, axis));
  return take(
    tensor,
    shape,
    indicesOf(shape, (axis) => steps[axes[axis] ?? 0] ?? 0, 0),
  );
}

function broadcastTo(tensor: HostTensor, shape: readonly number[]): HostTensor {
  const reached = tensor.shape.length <= shape.length && sameShape(tryBroadcast(tensor.shape, shape), shape);
  if (!reached) throw invalid(`Incompatible shapes: ${shapeText(tensor.shape)} vs. ${shapeText(shape)}`);
  return take(tensor, shape, broadcastIndices(tensor.shape, shape));
}

function tryBroadcast(left: readonly number[], right: readonly number[]): readonly number[] {
  return broadcastShape(left, right);
}

function reverse(tensor: HostTensor, axes: readonly number[]): HostTensor {
  const steps = strides(tensor.shape);
  const flipped = new Set(axes.map((axis) => axisOf(axis, tensor.shape.length)));
  const base = [...flipped].reduce((sum, axis) => sum + (steps[axis] ?? 0) * (dim(tensor.shape, axis) - 1), 0);
  return take(
    tensor,
    tensor.shape,
    indicesOf(tensor.shape, (axis) => (flipped.has(axis) ? -1 : 1) * (steps[axis] ?? 0), base),
  );
}

function pad(tensor: HostTensor, paddings: ArrayLike<number>, value?: HostTensor): HostTensor {
  const rank = tensor.shape.length;
  if (paddings.length !== 2 * rank)
    throw invalid(
      `The first dimension of paddings must be the rank of inputs${shapeText([paddings.length / 2, 2])} ${shapeText(tensor.shape)}`,
    );
  const before = tensor.shape.map((_, axis) => paddings[2 * axis] ?? 0);
  const after = tensor.shape.map((_, axis) => paddings[2 * axis + 1] ?? 0);
  tensor.shape.forEach((_, axis) => {
    if ((before[axis] ?? 0) < 0 || (after[axis] ?? 0) < 0) throw invalid(`Paddings must be non-negative: ${before[axis]} ${after[axis]}`);
  });
  const shape = tensor.shape.map((size, axis) => size + (before[axis] ?? 0) + (after[axis] ?? 0));
  const count = elementCount(shape);
  if (count > MAX_ELEMENTS) throw invalid(`Pad would make ${count} elements`);
  const outSteps = strides(shape);
  const base = before.reduce((sum, at, axis) => sum + at * (outSteps[axis] ?? 0), 0);
  const targets = indicesOf(tensor.shape, (axis) => outSteps[axis] ?? 0, base);
  const padIndex = value === undefined ? -1 : elementCount(tensor.shape);
  const indices = new Int32Array(count).fill(padIndex);
  for (let index = 0; index < targets.length; index++) indices[targets[index] ?? 0] = index;
  const source = value === undefined ? tensor : joinData(tensor.dtype, [tensor, value], [padIndex + 1]);
  return take(source, shape, indices);
}

/** SelectV2: all three broadcast. */
function select(condition: HostTensor, yes: HostTensor, no: HostTensor): HostTensor {
  const shape = broadcastShape(condition.shape, broadcastShape(yes.shape, no.shape));
  const flags = numbers(condition);
  const from = [broadcastIndices(condition.shape, shape), broadcastIndices(yes.shape, shape), broadcastIndices(no.shape, shape)] as const;
  const offset = elementCount(yes.shape);
  const indices = Int32Array.from(from[0], (at, index) => (flags[at] ? (from[1][index] ?? 0) : offset + (from[2][index] ?? 0)));
  return take(joinData(yes.dtype, [yes, no], [offset + elementCount(no.shape)]), shape, indices);
}

/** Select: the condition is a scalar, has the branches' shape, or chooses rows. */
function selectRows(condition: HostTensor, yes: HostTensor, no: HostTensor): HostTensor {
  if (!sameShape(yes.shape, no.shape))
    throw invalid(`'then' and 'else' must have the same size.  but received: ${shapeText(yes.shape)} vs. ${shapeText(no.shape)}`);
  if (condition.shape.length === 1 && yes.shape.length > 1) {
    if (condition.shape[0] !== yes.shape[0]) {
      throw invalid(`Number of batches of 'then' must match size of 'cond', but saw: ${yes.shape[0]} vs. ${condition.shape[0]}`);
    }
    return select({ ...condition, shape: [dim(condition.shape, 0), ...yes.shape.slice(1).map(() => 1)] }, yes, no);
  }
  if (condition.shape.length > 0 && !sameShape(condition.shape, yes.shape)) {
    throw invalid(
      `'cond' must be a scalar, a vector, or have the shape of 'then', got ${shapeText(condition.shape)} and ${shapeText(yes.shape)}`,
    );
  }
  return select(condition, yes, no);
}
