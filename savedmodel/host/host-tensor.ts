/** How kernels read and make host tensors: element access by dtype, allocation, and the one gather that all moves of elements go through. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, elementCount } from '#mesh/tensor.ts';
import type { HostData, HostKernel, HostTensor } from '../host-value.ts';
import { bfloat16ToFloat, floatToBfloat16, floatToHalf, halfToFloat } from './half.ts';

/** Kernels by op name, as each family exports them. */
export type HostKernels = Readonly<Record<string, HostKernel>>;

/** The typed arrays of numbers that are not bigints. */
export type NumberData = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array;

const EMPTY = new Uint8Array(0);

/** The most elements that a kernel may be made to produce by its input: a small request must not claim all memory. */
export const MAX_ELEMENTS = 1 << 28;

/** The INVALID_ARGUMENT error of a kernel. */
export function invalid(message: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', message);
}

/** Input `index` of a kernel. A missing one is a bug of the importer. */
export function input(inputs: readonly HostTensor[], index: number): HostTensor {
  const tensor = inputs[index];
  if (tensor === undefined)
    throw new ServeError('INTERNAL', `host op has ${inputs.length} inputs, ${index + 1} were expected (this is a bug)`);
  return tensor;
}

/** How many array elements one element takes: 2 for complex numbers, else 1. */
export function elementWidth(dtype: DType): number {
  return dtype === 'complex64' || dtype === 'complex128' ? 2 : 1;
}

/** Zeroed storage for `count` elements. Throws RESOURCE_EXHAUSTED beyond MAX_ELEMENTS. */
export function allocate(dtype: DType, count: number): Exclude<HostData, readonly Uint8Array[]> | Uint8Array[] {
  if (!(count >= 0 && count <= MAX_ELEMENTS)) {
    throw new ServeError('RESOURCE_EXHAUSTED', `host op would make a tensor of ${count} elements, ${MAX_ELEMENTS} is the most`);
  }
  switch (dtype) {
    case 'string':
      return new Array<Uint8Array>(count).fill(EMPTY);
    case 'float':
      return new Float32Array(count);
    case 'complex64':
      return new Float32Array(2 * count);
    case 'double':
      return new Float64Array(count);
    case 'complex128':
      return new Float64Array(2 * count);
    case 'int8':
      return new Int8Array(count);
    case 'int16':
      return new Int16Array(count);
    case 'int32':
      return new Int32Array(count);
    case 'int64':
      return new BigInt64Array(count);
    case 'uint64':
      return new BigUint64Array(count);
    case 'uint8':
    case 'bool':
      return new Uint8Array(count);
    case 'uint32':
      return new Uint32Array(count);
    case 'uint16':
    case 'half':
    case 'bfloat16':
      return new Uint16Array(count);
  }
}

/** True for dtypes whose data are bigints. */
export function isBig(dtype: DType): dtype is 'int64' | 'uint64' {
  return dtype === 'int64' || dtype === 'uint64';
}

/** The byte strings of a string tensor; INVALID_ARGUMENT for another dtype. */
export function strings(tensor: HostTensor): readonly Uint8Array[] {
  if (tensor.dtype !== 'string') throw invalid(`expected a string tensor, found ${tensor.dtype}`);
  return tensor.data as readonly Uint8Array[];
}

/** The bigints of an int64 or uint64 tensor, or of any integer tensor converted. */
export function bigints(tensor: HostTensor): ArrayLike<bigint> {
  if (tensor.data instanceof BigInt64Array || tensor.data instanceof BigUint64Array) return tensor.data;
  return Array.from(numbers(tensor), (value) => BigInt(Math.trunc(value)));
}

/** The values as numbers: int64 to the nearest double, half and bfloat16 decoded. Complex and string tensors are refused. */
export function numbers(tensor: HostTensor): ArrayLike<number> {
  const { data, dtype } = tensor;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    const values = new Float64Array(data.length);
    for (let index = 0; index < data.length; index++) values[index] = Number(data[index]);
    return values;
  }
  if (dtype === 'half') return Float64Array.from(data as Uint16Array, halfToFloat);
  if (dtype === 'bfloat16') return Float64Array.from(data as Uint16Array, bfloat16ToFloat);
  if (dtype === 'string' || elementWidth(dtype) === 2) throw invalid(`expected a tensor of real numbers, found ${dtype}`);
  return data as NumberData;
}

/** The one number of a scalar (or of a tensor with one element). */
export function scalar(tensor: HostTensor, name: string): number {
  const value = numbers(tensor)[0];
  if (value === undefined || elementCount(tensor.shape) !== 1)
    throw invalid(`${name} must be a scalar, got shape ${shapeText(tensor.shape)}`);
  return value;
}

/** A tensor of numbers, stored as typed arrays store them: integers wrap, float, half and bfloat16 round to nearest even. */
export function fromNumbers(dtype: DType, shape: readonly number[], values: ArrayLike<number>): HostTensor {
  const data = allocate(dtype, values.length);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    for (let index = 0; index < values.length; index++) data[index] = bigintOf(values[index] ?? 0, dtype);
  } else if (Array.isArray(data)) throw invalid('numbers cannot become strings (this is a bug)');
  else if (dtype === 'half') for (let index = 0; index < values.length; index++) data[index] = floatToHalf(values[index] ?? 0);
  else if (dtype === 'bfloat16') for (let index = 0; index < values.length; index++) data[index] = floatToBfloat16(values[index] ?? 0);
  else data.set(values);
  return { dtype, shape, data };
}

/** Doubles cannot hold the largest int64: 2^63 stands for it. */
function bigintOf(value: number, dtype: DType): bigint {
  if (dtype === 'int64' && value >= 2 ** 63) return (1n << 63n) - 1n;
  return BigInt(Math.trunc(value));
}

/** An int64 tensor of whole numbers. */
export function int64s(shape: readonly number[], values: ArrayLike<number>): HostTensor {
  return fromNumbers('int64', shape, values);
}

/** An int32 tensor. */
export function int32s(shape: readonly number[], values: ArrayLike<number>): HostTensor {
  return { dtype: 'int32', shape, data: Int32Array.from(values) };
}

/** A bool tensor of zeros and ones. */
export function bools(shape: readonly number[], values: ArrayLike<number>): HostTensor {
  return { dtype: 'bool', shape, data: Uint8Array.from(values) };
}

/** A string tensor. */
export function stringTensor(shape: readonly number[], values: readonly Uint8Array[]): HostTensor {
  return { dtype: 'string', shape, data: values };
}

/** A tensor whose element `i` is `source[indices[i]]`; an index of -1 leaves zero or the empty string. Indices must be in range. */
export function take(source: HostTensor, shape: readonly number[], indices: ArrayLike<number>): HostTensor {
  const { dtype } = source;
  const count = indices.length;
  const width = elementWidth(dtype);
  const from = source.data as unknown as ArrayLike<never>;
  const into = allocate(dtype, count) as unknown as { [index: number]: never };
  for (let index = 0; index < count; index++) {
    const at = indices[index] ?? -1;
    if (at < 0) continue;
    for (let part = 0; part < width; part++) into[index * width + part] = from[at * width + part] as never;
  }
  return { dtype, shape, data: into as unknown as HostData };
}

/** The elements of several tensors of one dtype, one after another. */
export function joinData(dtype: DType, tensors: readonly HostTensor[], shape: readonly number[]): HostTensor {
  const data = allocate(dtype, elementCount(shape));
  let at = 0;
  for (const tensor of tensors) {
    if (Array.isArray(data)) for (const value of strings(tensor)) data[at++] = value;
    else {
      (data as { set(values: unknown, at: number): void }).set(tensor.data, at);
      at += tensor.data.length;
    }
  }
  return { dtype, shape, data };
}

/** A shape as TensorFlow prints it: `[2,3]`. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.map((dim) => (dim < 0 ? '?' : dim)).join(',')}]`;
}

/** For each axis, how many elements one step along it passes over. */
export function strides(shape: readonly number[]): number[] {
  const steps = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    steps[axis] = step;
    step *= dim(shape, axis);
  }
  return steps;
}

/** Size of one axis; a missing axis is a bug. */
export function dim(shape: readonly number[], axis: number): number {
  const size = shape[axis];
  if (size === undefined) throw invalid(`shape ${shapeText(shape)} has no axis ${axis}`);
  return size;
}

/** An axis from `[-rank, rank)` as one from `[0, rank)`. */
export function axisOf(axis: number, rank: number): number {
  if (axis < -rank || axis >= rank) throw invalid(`Expected dimension in the range [${-rank}, ${rank}), but got ${axis}`);
  return axis < 0 ? axis + rank : axis;
}

/** True if two shapes are equal. */
export function sameShape(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((size, axis) => size === right[axis]);
}

/** The numbers of a shape tensor as a shape; negative sizes are refused. */
export function shapeOf(tensor: HostTensor): number[] {
  const shape = Array.from(numbers(tensor));
  for (const size of shape) if (size < 0) throw invalid(`Dimension ${size} must be >= 0`);
  return shape;
}
