/** Ops that read elements at given places: slices, gathers, Where, OneHot, scatter. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { box, indicesOf } from './arrays.ts';
import {
  allocate,
  axisOf,
  dim,
  fromNumbers,
  type HostKernels,
  input,
  int64s,
  invalid,
  joinData,
  numbers,
  scalar,
  shapeOf,
  shapeText,
  strides,
  take,
} from './host-tensor.ts';

/** Slice, StridedSlice, Gather, GatherNd, Where, OneHot, ScatterNd. */
export const INDEXING_OPS: HostKernels = {
  Slice: (inputs) => [slice(input(inputs, 0), Array.from(numbers(input(inputs, 1))), Array.from(numbers(input(inputs, 2))))],
  StridedSlice: (inputs, attrs) => [stridedSlice(inputs, attrs)],
  Gather: (inputs) => [gather(input(inputs, 0), input(inputs, 1), 0, 0)],
  ResourceGather: (inputs) => [gather(input(inputs, 0), input(inputs, 1), 0, 0)],
  GatherV2: (inputs, attrs) => [
    gather(input(inputs, 0), input(inputs, 1), scalar(input(inputs, 2), 'axis'), attrs.has('batch_dims') ? attrs.int('batch_dims') : 0),
  ],
  GatherNd: (inputs) => [gatherNd(input(inputs, 0), input(inputs, 1))],
  Where: (inputs) => [where(input(inputs, 0))],
  OneHot: (inputs, attrs) => [oneHot(inputs, attrs.has('axis') ? attrs.int('axis') : -1)],
  ScatterNd: (inputs) => [scatterNd(input(inputs, 0), input(inputs, 1), shapeOf(input(inputs, 2)))],
};

/** A slice by begin and size, where a size of -1 reaches to the end. */
export function slice(tensor: HostTensor, begin: readonly number[], size: readonly number[]): HostTensor {
  const rank = tensor.shape.length;
  if (begin.length !== rank || size.length !== rank) {
    throw invalid(
      `Expected begin and size arguments to be 1-D tensors of size ${rank}, but got shapes ${shapeText([begin.length])} and ${shapeText([size.length])} instead.`,
    );
  }
  const sizes = size.map((one, axis) => {
    const whole = dim(tensor.shape, axis);
    const from = begin[axis] ?? 0;
    const count = one === -1 ? whole - from : one;
    if (from < 0 || from > whole) throw invalid(`Expected begin[${axis}] in [0, ${whole}], but got ${from}`);
    if (count < 0 || from + count > whole) throw invalid(`Expected size[${axis}] in [0, ${whole - from}], but got ${count}`);
    return count;
  });
  return box(tensor, begin, sizes);
}

function stridedSlice(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const tensor = input(inputs, 0);
  const begins = numbers(input(inputs, 1));
  const ends = numbers(input(inputs, 2));
  const steps = numbers(input(inputs, 3));
  const mask = (name: string) => (attrs.has(name) ? attrs.int(name) : 0);
  const masks = { begin: mask('begin_mask'), end: mask('end_mask'), shrink: mask('shrink_axis_mask') };
  const newAxis = mask('new_axis_mask');
  const ellipsis = mask('ellipsis_mask');
  const rank = tensor.shape.length;
  if ((ellipsis & (ellipsis - 1)) !== 0) throw invalid('Multiple ellipses in slice spec not allowed');
  const bit = (flags: number, index: number) => (flags & (1 << index)) !== 0;
  let used = 0;
  for (let index = 0; index < begins.length; index++) if (!bit(ellipsis, index) && !bit(newAxis, index)) used++;
  if (used > rank) throw invalid(`Index out of range using input dim ${rank}; input has only ${rank} dims`);
  const source = strides(tensor.shape);
  const sizes: number[] = [];
  const moves: number[] = [];
  const shape: number[] = [];
  let base = 0;
  let axis = 0;
  const whole = () => {
    sizes.push(dim(tensor.shape, axis));
    shape.push(dim(tensor.shape, axis));
    moves.push(source[axis] ?? 0);
    axis++;
  };
  for (let index = 0; index < begins.length; index++) {
    if (bit(ellipsis, index)) for (let left = rank - used; left > 0; left--) whole();
    else if (bit(newAxis, index)) shape.push(1);
    else {
      const range = sliceRange(
        index,
        axis,
        dim(tensor.shape, axis),
        { begin: begins[index] ?? 0, end: ends[index] ?? 0, step: steps[index] ?? 1 },
        {
          begin: bit(masks.begin, index),
          end: bit(masks.end, index),
          shrink: bit(masks.shrink, index),
        },
      );
      base += range.start * (source[axis] ?? 0);
      sizes.push(range.count);
      moves.push(range.step * (source[axis] ?? 0));
      if (!bit(masks.shrink, index)) shape.push(range.count);
      axis++;
    }
  }
  while (axis < rank) whole();
  return take(
    tensor,
    shape,
    indicesOf(sizes, (at) => moves[at] ?? 0, base),
  );
}

interface Range {
  readonly begin: number;
  readonly end: number;
  readonly step: number;
}

interface RangeFlags {
  readonly begin: boolean;
  readonly end: boolean;
  readonly shrink: boolean;
}

function sliceRange(
  index: number,
  axis: number,
  size: number,
  range: Range,
  open: RangeFlags,
): { start: number; count: number; step: number } {
  const { step } = range;
  if (step === 0) throw invalid(`strides[${index}] must be non-zero`);
  if (open.shrink) {
    if (step <= 0) throw invalid('only stride 1 allowed on non-range indexing.');
    const at = open.begin ? 0 : range.begin < 0 ? range.begin + size : range.begin;
    if (at < 0 || at >= size) throw invalid(`slice index ${range.begin} of dimension ${axis} out of bounds.`);
    return { start: at, count: 1, step: 1 };
  }
  const low = step > 0 ? 0 : -1;
  const high = step > 0 ? size : size - 1;
  const clamp = (at: number) => Math.min(high, Math.max(low, at < 0 ? at + size : at));
  const start = open.begin ? (step > 0 ? low : high) : clamp(range.begin);
  const end = open.end ? (step > 0 ? high : low) : clamp(range.end);
  const count = Math.max(0, Math.ceil((end - start) / step));
  return { start, count, step };
}

/** Rows of `params` along `axis`, per batch where `batchDims` is not 0. An index out of range throws INVALID_ARGUMENT with TensorFlow's text. */
export function gather(params: HostTensor, indices: HostTensor, axis: number, batchDims: number): HostTensor {
  const rank = params.shape.length;
  if (axis < -rank || axis >= rank) throw invalid(`Expected axis in the range [${-rank}, ${rank}), but got ${axis}`);
  const along = axis < 0 ? axis + rank : axis;
  const batch = batchDims < 0 ? batchDims + indices.shape.length : batchDims;
  if (batch > along) throw invalid(`batch_dims (${batch}) must be less than or equal to axis (${along}).`);
  for (let at = 0; at < batch; at++) {
    if (params.shape[at] !== indices.shape[at]) {
      throw invalid(`params.shape[${at}]: ${params.shape[at]} should be equal to indices.shape[${at}]: ${indices.shape[at]}`);
    }
  }
  const limit = dim(params.shape, along);
  const places = numbers(indices);
  const batches = elementCount(params.shape.slice(0, batch));
  const outer = elementCount(params.shape.slice(batch, along));
  const inner = elementCount(params.shape.slice(along + 1));
  const perBatch = elementCount(indices.shape.slice(batch));
  for (let at = 0; at < places.length; at++) {
    const place = places[at] ?? 0;
    if (!(place >= 0 && place < limit)) {
      throw invalid(
        `indices${at === 0 && indices.shape.length === 0 ? '' : `[${positionText(indices.shape, at)}]`} = ${place} is not in [0, ${limit})`,
      );
    }
  }
  const out = allocate('int32', batches * outer * perBatch * inner) as Int32Array;
  let to = 0;
  for (let b = 0; b < batches; b++) {
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < perBatch; i++) {
        const from = ((b * outer + o) * limit + (places[b * perBatch + i] ?? 0)) * inner;
        for (let k = 0; k < inner; k++) out[to++] = from + k;
      }
    }
  }
  return take(params, [...params.shape.slice(0, along), ...indices.shape.slice(batch), ...params.shape.slice(along + 1)], out);
}

/** The position of element `at` of a shape, as `2,0`. */
export function positionText(shape: readonly number[], at: number): string {
  let rest = at;
  return strides(shape)
    .map((step) => {
      const place = Math.floor(rest / step);
      rest -= place * step;
      return place;
    })
    .join(',');
}

function gatherNd(params: HostTensor, indices: HostTensor): HostTensor {
  const depth = dim(indices.shape, indices.shape.length - 1);
  if (depth > params.shape.length) {
    throw invalid(`index innermost dimension length must be <= params rank; saw: ${depth} vs. ${params.shape.length}`);
  }
  const places = numbers(indices);
  const count = elementCount(indices.shape.slice(0, -1));
  const inner = elementCount(params.shape.slice(depth));
  const steps = strides(params.shape);
  const out = allocate('int32', count * inner) as Int32Array;
  for (let row = 0; row < count; row++) {
    let from = 0;
    for (let at = 0; at < depth; at++) {
      const place = places[row * depth + at] ?? 0;
      if (!(place >= 0 && place < dim(params.shape, at))) {
        const where = Array.from({ length: depth }, (_, index) => places[row * depth + index]).join(', ');
        const prefix = positionText(indices.shape.slice(0, -1), row);
        throw invalid(`indices[${prefix}] = [${where}] does not index into param shape ${shapeText(params.shape)}, node name: GatherNd`);
      }
      from += place * (steps[at] ?? 0);
    }
    for (let k = 0; k < inner; k++) out[row * inner + k] = from + k;
  }
  return take(params, [...indices.shape.slice(0, -1), ...params.shape.slice(depth)], out);
}

function where(condition: HostTensor): HostTensor {
  const { shape } = condition;
  if (shape.length === 0) throw invalid('WhereOp : Unhandled input dimensions: 0');
  const flags = condition.data;
  const steps = strides(shape);
  const found: number[] = [];
  let rows = 0;
  const count = elementCount(shape);
  for (let at = 0; at < count; at++) {
    if (!flags[at]) continue;
    rows++;
    let rest = at;
    for (const step of steps) {
      const place = Math.floor(rest / step);
      found.push(place);
      rest -= place * step;
    }
  }
  return int64s([rows, shape.length], found);
}

function oneHot(inputs: readonly HostTensor[], axis: number): HostTensor {
  const places = input(inputs, 0);
  const depth = scalar(input(inputs, 1), 'depth');
  if (depth < 0) throw invalid(`depth must be non-negative, got: ${depth}`);
  const along = axis === -1 ? places.shape.length : axisOf(axis, places.shape.length + 1);
  const on = input(inputs, 2);
  const pair = joinData(on.dtype, [input(inputs, 3), on], [2]);
  const shape = [...places.shape.slice(0, along), depth, ...places.shape.slice(along)];
  const inner = elementCount(places.shape.slice(along));
  const indices = allocate('int32', elementCount(shape)) as Int32Array;
  const at = numbers(places);
  for (let index = 0; index < at.length; index++) {
    const place = at[index] ?? -1;
    if (!(place >= 0 && place < depth)) continue;
    indices[(Math.floor(index / inner) * depth + place) * inner + (index % inner)] = 1;
  }
  return take(pair, shape, indices);
}

function scatterNd(indices: HostTensor, updates: HostTensor, shape: readonly number[]): HostTensor {
  const depth = dim(indices.shape, indices.shape.length - 1);
  const places = numbers(indices);
  const inner = elementCount(shape.slice(depth));
  const count = elementCount(indices.shape.slice(0, -1));
  const steps = strides(shape);
  const values = numbers(updates);
  const sums = new Float64Array(elementCount(shape));
  for (let row = 0; row < count; row++) {
    let base = 0;
    for (let at = 0; at < depth; at++) {
      const place = places[row * depth + at] ?? 0;
      if (!(place >= 0 && place < dim(shape, at))) {
        const where = Array.from({ length: depth }, (_, index) => places[row * depth + index]).join(', ');
        throw invalid(
          `indices[${positionText(indices.shape.slice(0, -1), row)}] = [${where}] does not index into shape ${shapeText(shape)}`,
        );
      }
      base += place * (steps[at] ?? 0);
    }
    for (let k = 0; k < inner; k++) sums[base + k] = (sums[base + k] ?? 0) + (values[row * inner + k] ?? 0);
  }
  return fromNumbers(updates.dtype, shape, sums);
}
