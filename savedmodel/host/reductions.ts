/** Reductions along axes, cumulative sums, arg-extrema, segment sums and sorts of small tensors. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostKernel, HostTensor } from '../host-value.ts';
import { indicesOf } from './arrays.ts';
import {
  allocate,
  axisOf,
  bigints,
  dim,
  fromNumbers,
  type HostKernels,
  input,
  int32s,
  invalid,
  isBig,
  numbers,
  scalar,
  shapeText,
  strides,
  take,
} from './host-tensor.ts';

/** Sum, Prod, Max, Min, Mean, All, Any, ArgMax, ArgMin, Cumsum, Range, TopKV2, segment and unsorted segment reductions. */
export const REDUCTION_OPS: HostKernels = {
  Sum: reduction(
    0,
    (a, b) => a + b,
    0n,
    (a, b) => a + b,
  ),
  Prod: reduction(
    1,
    (a, b) => a * b,
    1n,
    (a, b) => a * b,
  ),
  Max: reduction(Number.NEGATIVE_INFINITY, (a, b) => (b > a || Number.isNaN(b) ? b : a), -(1n << 63n), larger),
  Min: reduction(Number.POSITIVE_INFINITY, (a, b) => (b < a || Number.isNaN(b) ? b : a), (1n << 63n) - 1n, smaller),
  All: reduction(
    1,
    (a, b) => (a && b ? 1 : 0),
    1n,
    (a) => a,
  ),
  Any: reduction(
    0,
    (a, b) => (a || b ? 1 : 0),
    0n,
    (a) => a,
  ),
  Mean: mean,
  ArgMax: (inputs, attrs) => [argExtreme(inputs, attrs, (a, b) => a > b)],
  ArgMin: (inputs, attrs) => [argExtreme(inputs, attrs, (a, b) => a < b)],
  Cumsum: (inputs, attrs) => [cumulative(inputs, attrs)],
  Range: (inputs) => [range(input(inputs, 0), input(inputs, 1), input(inputs, 2))],
  TopKV2: (inputs, attrs) => topK(input(inputs, 0), scalar(input(inputs, 1), 'k'), attrs),
  SegmentSum: (inputs) => [segment(input(inputs, 0), input(inputs, 1), undefined, 'sum')],
  SegmentMean: (inputs) => [segment(input(inputs, 0), input(inputs, 1), undefined, 'mean')],
  SegmentMax: (inputs) => [segment(input(inputs, 0), input(inputs, 1), undefined, 'max')],
  SegmentMin: (inputs) => [segment(input(inputs, 0), input(inputs, 1), undefined, 'min')],
  UnsortedSegmentSum: (inputs) => [segment(input(inputs, 0), input(inputs, 1), scalar(input(inputs, 2), 'num_segments'), 'sum')],
  UnsortedSegmentMax: (inputs) => [segment(input(inputs, 0), input(inputs, 1), scalar(input(inputs, 2), 'num_segments'), 'max')],
  UnsortedSegmentMin: (inputs) => [segment(input(inputs, 0), input(inputs, 1), scalar(input(inputs, 2), 'num_segments'), 'min')],
};

/** Which output element each input element goes to, and the output's shape. */
function plan(
  tensor: HostTensor,
  axes: HostTensor,
  keep: boolean,
): { readonly shape: number[]; readonly to: Int32Array; readonly count: number } {
  const reduced = new Set<number>();
  for (const axis of Array.from(numbers(axes))) {
    const rank = tensor.shape.length;
    if (axis < -rank || axis >= rank) throw invalid(`Invalid reduction dimension (${axis} for input with ${rank} dimension(s)`);
    const at = axisOf(axis, rank);
    if (reduced.has(at)) throw invalid(`Invalid reduction arguments: Axes contains duplicate dimension: ${at}`);
    reduced.add(at);
  }
  const kept = tensor.shape.map((size, axis) => (reduced.has(axis) ? 1 : size));
  const steps = strides(kept);
  const to = indicesOf(tensor.shape, (axis) => (reduced.has(axis) ? 0 : (steps[axis] ?? 0)), 0);
  return { shape: keep ? kept : tensor.shape.filter((_, axis) => !reduced.has(axis)), to, count: elementCount(kept) };
}

function reduction(
  start: number,
  step: (a: number, b: number) => number,
  bigStart: bigint,
  bigStep: (a: bigint, b: bigint) => bigint,
): HostKernel {
  return (inputs, attrs) => {
    const tensor = input(inputs, 0);
    const { shape, to, count } = plan(tensor, input(inputs, 1), attrs.has('keep_dims') && attrs.bool('keep_dims'));
    if (isBig(tensor.dtype)) {
      const data = (allocate(tensor.dtype, count) as BigInt64Array).fill(bigStart);
      const values = bigints(tensor);
      for (let index = 0; index < to.length; index++) {
        const at = to[index] ?? 0;
        data[at] = bigStep(data[at] ?? 0n, values[index] ?? 0n);
      }
      return [{ dtype: tensor.dtype, shape, data }];
    }
    const sums = new Float64Array(count).fill(start);
    const values = numbers(tensor);
    for (let index = 0; index < to.length; index++) {
      const at = to[index] ?? 0;
      sums[at] = step(sums[at] ?? 0, values[index] ?? 0);
    }
    const empty = tensor.dtype === 'int32' && to.length === 0 && !Number.isFinite(start);
    return [fromNumbers(tensor.dtype, shape, empty ? sums.fill(start < 0 ? -2147483648 : 2147483647) : sums)];
  };
}

function mean(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const tensor = input(inputs, 0);
  const { shape, to, count } = plan(tensor, input(inputs, 1), attrs.has('keep_dims') && attrs.bool('keep_dims'));
  const sums = new Float64Array(count);
  const values = numbers(tensor);
  for (let index = 0; index < to.length; index++) sums[to[index] ?? 0] = (sums[to[index] ?? 0] ?? 0) + (values[index] ?? 0);
  const per = to.length / count;
  return [
    fromNumbers(
      tensor.dtype,
      shape,
      sums.map((sum) => sum / per),
    ),
  ];
}

function argExtreme(
  inputs: readonly HostTensor[],
  attrs: HostAttrs,
  better: (a: number | bigint, b: number | bigint) => boolean,
): HostTensor {
  const tensor = input(inputs, 0);
  const rank = tensor.shape.length;
  const axis = scalar(input(inputs, 1), 'dimension');
  if (axis < -rank || axis >= rank) throw invalid(`Expected dimension in the range [${-rank}, ${rank}), but got ${axis}`);
  const along = axis < 0 ? axis + rank : axis;
  const size = dim(tensor.shape, along);
  if (size === 0) throw invalid(`Reduction axis ${along} is empty in shape ${shapeText(tensor.shape)}`);
  const inner = elementCount(tensor.shape.slice(along + 1));
  const outer = elementCount(tensor.shape.slice(0, along));
  const values = isBig(tensor.dtype) ? bigints(tensor) : numbers(tensor);
  const best = new Float64Array(outer * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let place = 0;
      for (let k = 1; k < size; k++) {
        if (better(values[(o * size + k) * inner + i] ?? 0, values[(o * size + place) * inner + i] ?? 0)) place = k;
      }
      best[o * inner + i] = place;
    }
  }
  const dtype = attrs.has('output_type') ? attrs.dtype('output_type') : 'int64';
  return fromNumbers(
    dtype,
    tensor.shape.filter((_, at) => at !== along),
    best,
  );
}

function cumulative(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const tensor = input(inputs, 0);
  const along = axisOf(scalar(input(inputs, 1), 'axis'), tensor.shape.length);
  const exclusive = attrs.has('exclusive') && attrs.bool('exclusive');
  const reverse = attrs.has('reverse') && attrs.bool('reverse');
  const size = dim(tensor.shape, along);
  const inner = elementCount(tensor.shape.slice(along + 1));
  const outer = elementCount(tensor.shape.slice(0, along));
  const values = numbers(tensor);
  const sums = new Float64Array(values.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let sum = 0;
      for (let k = 0; k < size; k++) {
        const at = (o * size + (reverse ? size - 1 - k : k)) * inner + i;
        if (exclusive) sums[at] = sum;
        sum += values[at] ?? 0;
        if (!exclusive) sums[at] = sum;
      }
    }
  }
  return fromNumbers(tensor.dtype, tensor.shape, sums);
}

function range(startTensor: HostTensor, limitTensor: HostTensor, deltaTensor: HostTensor): HostTensor {
  const start = scalar(startTensor, 'start');
  const limit = scalar(limitTensor, 'limit');
  const delta = scalar(deltaTensor, 'delta');
  if (delta === 0) throw invalid(`Requires delta != 0: ${delta}`);
  if (delta > 0 && start > limit) throw invalid(`Requires start <= limit when delta > 0: ${start}/${limit}`);
  if (delta < 0 && start < limit) throw invalid(`Requires start >= limit when delta < 0: ${start}/${limit}`);
  const count = Math.ceil(Math.abs((limit - start) / delta));
  allocate(startTensor.dtype, count);
  const rounded = startTensor.dtype === 'float' ? Math.fround : (value: number) => value;
  const values = new Float64Array(count);
  let value = start;
  for (let index = 0; index < count; index++) {
    values[index] = value;
    value = rounded(value + delta);
  }
  return fromNumbers(startTensor.dtype, [count], values);
}

function topK(tensor: HostTensor, k: number, attrs: HostAttrs): HostTensor[] {
  const size = tensor.shape.length === 0 ? 0 : dim(tensor.shape, tensor.shape.length - 1);
  if (tensor.shape.length === 0) throw invalid(`input must be >= 1-D, got shape ${shapeText(tensor.shape)}`);
  if (k < 0) throw invalid(`Need k >= 0, got ${k}`);
  if (size < k) throw invalid(`input must have at least k columns. Had ${size}, needed ${k}`);
  const rows = elementCount(tensor.shape.slice(0, -1));
  const values = numbers(tensor);
  const places = new Int32Array(rows * k);
  const chosen = new Int32Array(rows * k);
  for (let row = 0; row < rows; row++) {
    const order = Array.from({ length: size }, (_, index) => index);
    order.sort((a, b) => (values[row * size + b] ?? 0) - (values[row * size + a] ?? 0) || a - b);
    for (let index = 0; index < k; index++) {
      places[row * k + index] = order[index] ?? 0;
      chosen[row * k + index] = row * size + (order[index] ?? 0);
    }
  }
  const shape = [...tensor.shape.slice(0, -1), k];
  const indexType = attrs.has('index_type') ? attrs.dtype('index_type') : 'int32';
  return [take(tensor, shape, chosen), indexType === 'int32' ? int32s(shape, places) : fromNumbers(indexType, shape, places)];
}

type SegmentKind = 'sum' | 'mean' | 'max' | 'min';

function segment(tensor: HostTensor, ids: HostTensor, segments: number | undefined, kind: SegmentKind): HostTensor {
  const places = numbers(ids);
  const rows = elementCount(ids.shape);
  const inner = elementCount(tensor.shape.slice(ids.shape.length));
  if (segments === undefined) {
    if (rows !== tensor.shape[0]) throw invalid('segment_ids should be the same size as dimension 0 of input.');
    for (let row = 1; row < rows; row++) if ((places[row] ?? 0) < (places[row - 1] ?? 0)) throw invalid('segment ids are not increasing');
    if (rows > 0 && (places[0] ?? 0) < 0) throw invalid('segment ids must be >= 0');
  }
  const count = segments ?? (rows === 0 ? 0 : (places[rows - 1] ?? 0) + 1);
  const values = numbers(tensor);
  allocate(tensor.dtype, count * inner);
  const out = new Float64Array(count * inner);
  const seen = new Int32Array(count);
  for (let row = 0; row < rows; row++) {
    const place = places[row] ?? 0;
    if (place < 0) continue;
    if (place >= count) throw invalid(`segment_ids[${row}] = ${place} is out of range [0, ${count})`);
    for (let k = 0; k < inner; k++) {
      const value = values[row * inner + k] ?? 0;
      const before = out[place * inner + k] ?? 0;
      out[place * inner + k] =
        (seen[place] ?? 0) === 0 || kind === 'sum' || kind === 'mean'
          ? before + value
          : kind === 'max'
            ? Math.max(before, value)
            : Math.min(before, value);
    }
    seen[place] = (seen[place] ?? 0) + 1;
  }
  for (let place = 0; place < count; place++) {
    for (let k = 0; k < inner; k++) {
      if (kind === 'mean' && (seen[place] ?? 0) > 0) out[place * inner + k] = (out[place * inner + k] ?? 0) / (seen[place] ?? 1);
      if (segments !== undefined && (seen[place] ?? 0) === 0 && kind !== 'sum') out[place * inner + k] = emptySegment(tensor, kind);
    }
  }
  return fromNumbers(tensor.dtype, [count, ...tensor.shape.slice(ids.shape.length)], out);
}

function emptySegment(tensor: HostTensor, kind: SegmentKind): number {
  const lowest: Readonly<Record<string, number>> = {
    float: -3.4028234663852886e38,
    double: -Number.MAX_VALUE,
    int32: -2147483648,
    int64: -(2 ** 63),
  };
  const highest: Readonly<Record<string, number>> = {
    float: 3.4028234663852886e38,
    double: Number.MAX_VALUE,
    int32: 2147483647,
    int64: 2 ** 63,
  };
  return (kind === 'max' ? lowest : highest)[tensor.dtype] ?? 0;
}

function larger(a: bigint, b: bigint): bigint {
  if (a < b) return b;
  return a;
}

function smaller(a: bigint, b: bigint): bigint {
  if (b < a) return b;
  return a;
}
