/** Ops on lists of indices and sorted rows, and bytes that hold numbers. */
import { gunzipSync, inflateSync } from 'node:zlib';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { indicesOf } from './arrays.ts';
import { elementKeys } from './counting.ts';
import {
  allocate,
  axisOf,
  dim,
  fromNumbers,
  type HostKernels,
  input,
  invalid,
  numbers,
  scalar,
  shapeText,
  strides,
  strings,
  stringTensor,
  take,
} from './host-tensor.ts';

/** ListDiff, Roll, InvertPermutation, LowerBound, UpperBound, LinSpace, DecodePaddedRaw, DecodeCompressed. */
export const PERMUTATION_OPS: HostKernels = {
  ListDiff: (inputs, attrs) => listDiff(input(inputs, 0), input(inputs, 1), attrs),
  Roll: (inputs) => [roll(input(inputs, 0), numbers(input(inputs, 1)), numbers(input(inputs, 2)))],
  InvertPermutation: (inputs) => [invertPermutation(input(inputs, 0))],
  LowerBound: (inputs, attrs) => [bound(inputs, attrs, (element, value) => element < value)],
  UpperBound: (inputs, attrs) => [bound(inputs, attrs, (element, value) => element <= value)],
  LinSpace: (inputs) => [linSpace(inputs)],
  DecodePaddedRaw: (inputs, attrs) => [decodePaddedRaw(inputs, attrs)],
  DecodeCompressed: (inputs, attrs) => [decompress(input(inputs, 0), attrs)],
};

/** The most bytes one string may be unpacked to. */
const MAX_UNPACKED = 1 << 28;

function listDiff(left: HostTensor, right: HostTensor, attrs: HostAttrs): HostTensor[] {
  if (left.shape.length !== 1) throw invalid('x should be a 1D vector.');
  if (right.shape.length !== 1) throw invalid('y should be a 1D vector.');
  const without = new Set(elementKeys(right));
  const kept = elementKeys(left).flatMap((key, index) => (without.has(key) ? [] : [index]));
  const dtype = attrs.has('out_idx') ? attrs.dtype('out_idx') : 'int32';
  return [take(left, [kept.length], kept), fromNumbers(dtype, [kept.length], kept)];
}

function roll(tensor: HostTensor, shifts: ArrayLike<number>, axes: ArrayLike<number>): HostTensor {
  const rank = tensor.shape.length;
  if (rank < 1) throw invalid('input must be 1-D or higher');
  if (shifts.length !== axes.length) throw invalid('shift and axis must have the same size');
  const total = new Array<number>(rank).fill(0);
  for (let index = 0; index < axes.length; index++) {
    const axis = axisOf(axes[index] ?? 0, rank);
    const size = Math.max(1, dim(tensor.shape, axis));
    total[axis] = ((((total[axis] ?? 0) + (shifts[index] ?? 0)) % size) + size) % size;
  }
  const steps = strides(tensor.shape);
  const indices = indicesOf(tensor.shape, (axis) => steps[axis] ?? 0, 0);
  const moved = indices.map((at) => {
    let from = 0;
    for (let axis = 0, rest = at; axis < rank; axis++) {
      const step = steps[axis] ?? 1;
      const size = dim(tensor.shape, axis);
      const place = Math.floor(rest / step);
      rest -= place * step;
      from += ((place - (total[axis] ?? 0) + size) % size) * step;
    }
    return from;
  });
  return take(tensor, tensor.shape, moved);
}

function invertPermutation(tensor: HostTensor): HostTensor {
  if (tensor.shape.length !== 1) throw invalid('invert_permutation expects a 1D vector.');
  const values = numbers(tensor);
  const out = new Float64Array(values.length).fill(-1);
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    if (value < 0 || value >= values.length) throw invalid(`${value} is not between 0 and ${values.length}`);
    if (out[value] !== -1) throw invalid(`${value} is duplicated in the input.`);
    out[value] = index;
  }
  return fromNumbers(tensor.dtype, tensor.shape, out);
}

/** For each value, how many elements of its sorted row stand before it. */
function bound(inputs: readonly HostTensor[], attrs: HostAttrs, before: (element: number, value: number) => boolean): HostTensor {
  const [sorted, values] = [input(inputs, 0), input(inputs, 1)];
  if (sorted.shape.length !== 2) throw invalid('sorted input argument must be a matrix');
  if (values.shape.length !== 2) throw invalid('values input argument must be a matrix');
  const [rows, width] = [dim(sorted.shape, 0), dim(sorted.shape, 1)];
  if (rows !== dim(values.shape, 0)) throw invalid('Leading dim_size of both tensors must match.');
  const [elements, wanted] = [numbers(sorted), numbers(values)];
  const perRow = dim(values.shape, 1);
  const out = Float64Array.from(wanted, (value, index) => {
    const row = Math.floor(index / perRow);
    let low = 0;
    let high = width;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(elements[row * width + middle] ?? 0, value)) low = middle + 1;
      else high = middle;
    }
    return low;
  });
  return fromNumbers(attrs.has('out_type') ? attrs.dtype('out_type') : 'int32', values.shape, out);
}

function linSpace(inputs: readonly HostTensor[]): HostTensor {
  const [start, stop, count] = [0, 1, 2].map((index) => scalar(input(inputs, index), 'num')) as [number, number, number];
  if (count <= 0) throw invalid(`Requires num > 0: ${count}`);
  const values = allocate('double', count) as Float64Array;
  const step = count > 1 ? (stop - start) / (count - 1) : 0;
  for (let index = 0; index < count; index++) values[index] = start + step * index;
  if (count > 1) values[count - 1] = stop;
  return fromNumbers(input(inputs, 0).dtype, [count], values);
}

function decodePaddedRaw(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const texts = strings(input(inputs, 0));
  const length = scalar(input(inputs, 1), 'fixed_length');
  const dtype = attrs.dtype('out_type');
  const size = DTYPES[dtype].byteSize;
  if (length <= 0) throw invalid(`fixed_length must be greater than 0`);
  if (length % size !== 0) throw invalid(`fixed_length (${length}) must be a multiple of the size of out_type (${size})`);
  const data = allocate(dtype, (texts.length * length) / size) as Exclude<HostTensor['data'], readonly Uint8Array[]>;
  const bytes = new Uint8Array(data.buffer);
  const swap = attrs.has('little_endian') && !attrs.bool('little_endian') && size > 1;
  texts.forEach((text, row) => {
    const cut = text.subarray(0, length);
    bytes.set(cut, row * length);
    if (!swap) return;
    for (let at = row * length; at < (row + 1) * length; at += size) bytes.subarray(at, at + size).reverse();
  });
  return { dtype, shape: [...input(inputs, 0).shape, length / size], data };
}

function decompress(tensor: HostTensor, attrs: HostAttrs): HostTensor {
  const kind = attrs.has('compression_type') ? attrs.text('compression_type') : '';
  if (kind !== '' && kind !== 'ZLIB' && kind !== 'GZIP') {
    throw invalid('Only ZLIB, GZIP or NONE are supported compressions');
  }
  if (kind === '') return tensor;
  const options = { maxOutputLength: MAX_UNPACKED };
  const values = strings(tensor).map((bytes, index) => {
    try {
      return new Uint8Array(kind === 'ZLIB' ? inflateSync(bytes, options) : gunzipSync(bytes, options));
    } catch (cause) {
      throw new ServeError(
        'DATA_LOSS',
        `element ${index} of shape ${shapeText(tensor.shape)} is not ${kind} data of at most ${MAX_UNPACKED} bytes`,
        { cause },
      );
    }
  });
  return stringTensor(tensor.shape, values.slice(0, elementCount(tensor.shape)));
}
