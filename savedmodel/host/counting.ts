/** Unique values, counts and buckets. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import {
  allocate,
  dim,
  fromNumbers,
  type HostKernels,
  input,
  int32s,
  invalid,
  numbers,
  scalar,
  shapeText,
  strings,
  take,
} from './host-tensor.ts';
import { latin1 } from './utf8-text.ts';

/** Unique, UniqueV2, UniqueWithCounts(V2), Bincount, DenseBincount, Bucketize, BoostedTreesBucketize. */
export const COUNTING_OPS: HostKernels = {
  Unique: (inputs, attrs) => unique(vector(input(inputs, 0)), 0, attrs).slice(0, 2),
  UniqueV2: (inputs, attrs) => unique(input(inputs, 0), axisFrom(input(inputs, 1)), attrs).slice(0, 2),
  UniqueWithCounts: (inputs, attrs) => unique(vector(input(inputs, 0)), 0, attrs),
  UniqueWithCountsV2: (inputs, attrs) => unique(input(inputs, 0), axisFrom(input(inputs, 1)), attrs),
  Bincount: (inputs) => [bincount(input(inputs, 0), scalar(input(inputs, 1), 'size'), input(inputs, 2), false)],
  DenseBincount: (inputs, attrs) => [
    bincount(
      input(inputs, 0),
      scalar(input(inputs, 1), 'size'),
      input(inputs, 2),
      attrs.has('binary_output') && attrs.bool('binary_output'),
    ),
  ],
  Bucketize: (inputs, attrs) => [bucketize(input(inputs, 0), attrs)],
  BoostedTreesBucketize: (inputs, attrs) => boostedBucketize(inputs, attrs.int('num_features')),
};

/** A text that is unique per element of a tensor: how tables and sets key elements of any dtype. Equal floats are equal, -0 equals 0. */
export function elementKeys(tensor: HostTensor): string[] {
  if (tensor.dtype === 'string') return strings(tensor).map(latin1);
  return Array.from(tensor.data as ArrayLike<number | bigint>, (value) => String(value));
}

function vector(tensor: HostTensor): HostTensor {
  if (tensor.shape.length !== 1) throw invalid(`unique expects a 1D vector.`);
  return tensor;
}

function axisFrom(tensor: HostTensor): number {
  return numbers(tensor)[0] ?? 0;
}

function unique(tensor: HostTensor, wanted: number, attrs: HostAttrs): HostTensor[] {
  const axis = wanted < 0 ? wanted + tensor.shape.length : wanted;
  const size = dim(tensor.shape, axis);
  const outer = elementCount(tensor.shape.slice(0, axis));
  const inner = elementCount(tensor.shape.slice(axis + 1));
  const keys = elementKeys(tensor);
  const seen = new Map<string, number>();
  const firsts: number[] = [];
  const counts: number[] = [];
  const places = Array.from({ length: size }, (_, at) => {
    let key = keys[at] ?? '';
    if (outer * inner !== 1) {
      const parts: string[] = [];
      for (let o = 0; o < outer; o++) for (let i = 0; i < inner; i++) parts.push(keys[(o * size + at) * inner + i] ?? '');
      key = parts.map((part) => `${part.length}:${part}`).join('');
    }
    let id = seen.get(key);
    if (id === undefined) {
      id = firsts.length;
      seen.set(key, id);
      firsts.push(at);
      counts.push(0);
    }
    counts[id] = (counts[id] ?? 0) + 1;
    return id;
  });
  const shape = tensor.shape.map((one, at) => (at === axis ? firsts.length : one));
  const chosen: number[] = [];
  for (let o = 0; o < outer; o++) for (const at of firsts) for (let i = 0; i < inner; i++) chosen.push((o * size + at) * inner + i);
  const dtype = attrs.has('out_idx') ? attrs.dtype('out_idx') : 'int32';
  return [take(tensor, shape, chosen), fromNumbers(dtype, [size], places), fromNumbers(dtype, [counts.length], counts)];
}

function bincount(tensor: HostTensor, size: number, weights: HostTensor, binary: boolean): HostTensor {
  if (size < 0) throw invalid(`size (${size}) must be non-negative`);
  const rank = tensor.shape.length;
  const rows = rank === 2 ? dim(tensor.shape, 0) : 1;
  if (weights.data.length > 0 && weights.data.length !== tensor.data.length) {
    throw invalid(
      `\`weights\` must be the same shape as \`arr\` or a length-0 \`Tensor\`, in which case it acts as all weights equal to 1. Received ${shapeText(weights.shape)}`,
    );
  }
  const values = numbers(tensor);
  const weight = numbers(weights);
  allocate(weights.dtype, rows * size);
  const sums = new Float64Array(rows * size);
  const perRow = values.length / Math.max(1, rows);
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    if (value < 0) throw invalid('Input arr must be non-negative!');
    if (value >= size) continue;
    const at = Math.floor(index / perRow) * size + value;
    sums[at] = binary ? 1 : (sums[at] ?? 0) + (weight.length === 0 ? 1 : (weight[index] ?? 0));
  }
  return fromNumbers(weights.dtype, rank === 2 ? [rows, size] : [size], sums);
}

/** How many boundaries are at most `value` (they are sorted). */
function upperBound(boundaries: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = boundaries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((boundaries[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function bucketize(tensor: HostTensor, attrs: HostAttrs): HostTensor {
  const key = attrs.has('boundaries') ? boundariesOf(attrs) : [];
  return int32s(
    tensor.shape,
    Int32Array.from(numbers(tensor), (value) => upperBound(key, value)),
  );
}

function boundariesOf(attrs: HostAttrs): number[] {
  const boundaries = attrs.floats('boundaries').map(Math.fround);
  for (let at = 1; at < boundaries.length; at++)
    if ((boundaries[at] ?? 0) < (boundaries[at - 1] ?? 0)) throw invalid('Expected sorted boundaries');
  return boundaries;
}

function boostedBucketize(inputs: readonly HostTensor[], features: number): HostTensor[] {
  return inputs.slice(0, features).map((tensor, index) => {
    const boundaries = numbers(input(inputs, features + index));
    return int32s(
      tensor.shape,
      Int32Array.from(numbers(tensor), (value) => {
        // The first boundary that is not below the value, the last one if there is none.
        let at = 0;
        while (at < boundaries.length && (boundaries[at] ?? 0) < value) at++;
        return Math.max(0, Math.min(at, boundaries.length - 1));
      }),
    );
  });
}
