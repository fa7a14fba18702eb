/** Constants at translation time: making them, reading them, permuting them. */
import { DTYPES, type DType, elementCount, type Tensor } from '#mesh/tensor.ts';

/** A tensor of numbers (bools as 0 and 1). Integers wrap to the dtype. Throws TypeError for strings and complex numbers (this is a bug). */
export function tensorOf(dtype: DType, shape: readonly number[], values: readonly number[]): Tensor {
  const { byteSize } = DTYPES[dtype];
  const bytes = new Uint8Array(values.length * byteSize);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => {
    writeNumber(view, index * byteSize, dtype, value);
  });
  return { dtype, shape, bytes };
}

/** The elements of a tensor of numbers, in row-major order; null for strings, complex numbers and bfloat16. 64-bit integers are rounded to double. */
export function numbersOf(tensor: Tensor): number[] | null {
  const { byteSize } = DTYPES[tensor.dtype];
  const view = new DataView(tensor.bytes.buffer, tensor.bytes.byteOffset, tensor.bytes.byteLength);
  const values: number[] = [];
  for (let index = 0; index < elementCount(tensor.shape); index++) {
    const value = readNumber(view, index * byteSize, tensor.dtype);
    if (value === null) return null;
    values.push(value);
  }
  return values;
}

/** The tensor with its axes permuted: result axis `i` is axis `permutation[i]` of the input. Not for strings. */
export function transposeTensor(tensor: Tensor, permutation: readonly number[]): Tensor {
  const { byteSize } = DTYPES[tensor.dtype];
  const shape = permutation.map((axis) => tensor.shape[axis] ?? 1);
  const source = alignedElements(tensor.bytes, byteSize);
  const target = source.slice();
  const lane = byteSize === 16 ? 2 : 1;
  const strides = rowMajorStrides(tensor.shape);
  const steps = permutation.map((axis) => strides[axis] ?? 0);
  const [count = 1, step = 0] = [shape.at(-1), steps.at(-1)];
  const outer = shape.slice(0, -1);
  const index = outer.map(() => 0);
  let from = 0;
  for (let to = 0; to < source.length; ) {
    // The last axis in one go.
    for (let at = 0, place = from * lane; at < count; at++, place += step * lane) {
      for (let part = 0; part < lane; part++) target[to++] = source[place + part] as never;
    }
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] ?? 0) + 1;
      from += steps[axis] ?? 0;
      if ((index[axis] ?? 0) < (shape[axis] ?? 0)) break;
      from -= (steps[axis] ?? 0) * (shape[axis] ?? 0);
      index[axis] = 0;
    }
  }
  return { dtype: tensor.dtype, shape, bytes: new Uint8Array(target.buffer, 0, tensor.bytes.byteLength) };
}

function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = (strides[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  return strides;
}

function alignedElements(bytes: Uint8Array, byteSize: number): Uint8Array | Uint16Array | Uint32Array | BigUint64Array {
  if (byteSize === 1) return bytes;
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  if (byteSize === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  if (byteSize === 4) return new Uint32Array(buffer, byteOffset, byteLength / 4);
  return new BigUint64Array(buffer, byteOffset, byteLength / 8);
}

function writeNumber(view: DataView, at: number, dtype: DType, value: number): void {
  switch (dtype) {
    case 'float':
      view.setFloat32(at, value, true);
      return;
    case 'double':
      view.setFloat64(at, value, true);
      return;
    case 'half':
      view.setUint16(at, halfBits(value), true);
      return;
    case 'bfloat16':
      view.setUint16(at, bfloat16Bits(value), true);
      return;
    case 'int64':
    case 'uint64':
      view.setBigInt64(at, BigInt(Math.trunc(value)), true);
      return;
    case 'int32':
    case 'uint32':
      view.setInt32(at, value, true);
      return;
    case 'int16':
    case 'uint16':
      view.setInt16(at, value, true);
      return;
    case 'int8':
    case 'uint8':
    case 'bool':
      view.setInt8(at, value);
      return;
    default:
      throw new TypeError(`no constant of numbers has dtype ${dtype} (this is a bug)`);
  }
}

/** The bits of the half nearest to a number, ties to even. */
function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  return sign | (roundToEven((size / 2 ** exponent - 1) * 1024) + ((exponent + 15) << 10));
}

/** The bits of the bfloat16 nearest to a number, ties to even. */
function bfloat16Bits(value: number): number {
  const bits = new DataView(new ArrayBuffer(4));
  bits.setFloat32(0, value);
  if (Number.isNaN(value)) return 0x7fc0;
  return roundToEven(bits.getUint32(0) / 65536);
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

function readNumber(view: DataView, at: number, dtype: DType): number | null {
  switch (dtype) {
    case 'float':
      return view.getFloat32(at, true);
    case 'double':
      return view.getFloat64(at, true);
    case 'half':
      return halfValue(view.getUint16(at, true));
    case 'int64':
      return Number(view.getBigInt64(at, true));
    case 'uint64':
      return Number(view.getBigUint64(at, true));
    case 'int32':
      return view.getInt32(at, true);
    case 'uint32':
      return view.getUint32(at, true);
    case 'int16':
      return view.getInt16(at, true);
    case 'uint16':
      return view.getUint16(at, true);
    case 'int8':
      return view.getInt8(at);
    case 'uint8':
    case 'bool':
      return view.getUint8(at);
    default:
      return null;
  }
}

function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
