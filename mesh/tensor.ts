/**
 * Tensors as every service sees them: a dtype, a shape, and bytes.
 *
 * Numbers are row-major and little-endian. Strings (dtype `string`, arbitrary bytes) have their own layout, so that rows can be cut
 * without decoding: `n + 1` little-endian uint32 offsets (the first is 0), then the bytes of all elements one after another;
 * element `i` is `data[offset[i], offset[i + 1])`.
 */

/** The dtypes of TensorFlow's `DataType` that a client can send, by the names TensorFlow uses in messages. */
export type DType =
  | 'float'
  | 'double'
  | 'int32'
  | 'uint8'
  | 'int16'
  | 'int8'
  | 'string'
  | 'complex64'
  | 'int64'
  | 'bool'
  | 'uint16'
  | 'complex128'
  | 'half'
  | 'uint32'
  | 'uint64'
  | 'bfloat16';

/** What is known of each dtype: its number in `tensorflow.DataType`, its `DT_` name, and the bytes of one element (0: variable). */
export const DTYPES: Readonly<Record<DType, { readonly number: number; readonly protoName: string; readonly byteSize: number }>> = {
  float: { number: 1, protoName: 'DT_FLOAT', byteSize: 4 },
  double: { number: 2, protoName: 'DT_DOUBLE', byteSize: 8 },
  int32: { number: 3, protoName: 'DT_INT32', byteSize: 4 },
  uint8: { number: 4, protoName: 'DT_UINT8', byteSize: 1 },
  int16: { number: 5, protoName: 'DT_INT16', byteSize: 2 },
  int8: { number: 6, protoName: 'DT_INT8', byteSize: 1 },
  string: { number: 7, protoName: 'DT_STRING', byteSize: 0 },
  complex64: { number: 8, protoName: 'DT_COMPLEX64', byteSize: 8 },
  int64: { number: 9, protoName: 'DT_INT64', byteSize: 8 },
  bool: { number: 10, protoName: 'DT_BOOL', byteSize: 1 },
  uint16: { number: 17, protoName: 'DT_UINT16', byteSize: 2 },
  complex128: { number: 18, protoName: 'DT_COMPLEX128', byteSize: 16 },
  half: { number: 19, protoName: 'DT_HALF', byteSize: 2 },
  uint32: { number: 22, protoName: 'DT_UINT32', byteSize: 4 },
  uint64: { number: 23, protoName: 'DT_UINT64', byteSize: 8 },
  bfloat16: { number: 14, protoName: 'DT_BFLOAT16', byteSize: 2 },
};

const BY_NUMBER: ReadonlyMap<number, DType> = new Map(Object.entries(DTYPES).map(([name, fact]) => [fact.number, name as DType]));
const BY_PROTO_NAME: ReadonlyMap<string, DType> = new Map(Object.entries(DTYPES).map(([name, fact]) => [fact.protoName, name as DType]));

/** The dtype of a `tensorflow.DataType` number, or undefined for one that no client can send (resource, variant, quantised). */
export function dtypeFromNumber(number: number): DType | undefined {
  return BY_NUMBER.get(number);
}

/** The dtype of a name such as `DT_FLOAT`. */
export function dtypeFromProtoName(name: string): DType | undefined {
  return BY_PROTO_NAME.get(name);
}

/** A dense tensor. `bytes` may be a view into a larger buffer at any offset: copy or align before making a typed array of it. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Row-major, little-endian; strings in the layout of this module. */
  readonly bytes: Uint8Array;
}

/** Tensors by input or output alias. */
export type NamedTensors = ReadonlyMap<string, Tensor>;

/** The number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dim of shape) count *= dim;
  return count;
}

/** The bytes that a tensor of a fixed-size dtype needs. Strings have no fixed size: asks for them are a bug. */
export function tensorByteLength(dtype: DType, shape: readonly number[]): number {
  const { byteSize } = DTYPES[dtype];
  if (byteSize === 0) throw new TypeError('tensorByteLength is not defined for strings (this is a bug)');
  return elementCount(shape) * byteSize;
}

/** Packs byte strings into this module's layout. The total must stay below 4 GiB. */
export function packStrings(elements: readonly Uint8Array[]): Uint8Array {
  let dataBytes = 0;
  for (const element of elements) dataBytes += element.byteLength;
  const headerBytes = 4 * (elements.length + 1);
  const packed = new Uint8Array(headerBytes + dataBytes);
  const view = new DataView(packed.buffer);
  let end = 0;
  elements.forEach((element, index) => {
    packed.set(element, headerBytes + end);
    end += element.byteLength;
    view.setUint32(4 * (index + 1), end, true);
  });
  return packed;
}

/** The elements of a packed string tensor, as views into `bytes`. Throws RangeError when the offsets do not fit the bytes. */
export function unpackStrings(bytes: Uint8Array, count: number): Uint8Array[] {
  const headerBytes = 4 * (count + 1);
  if (bytes.byteLength < headerBytes) throw new RangeError(`string tensor of ${count} elements has only ${bytes.byteLength} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements: Uint8Array[] = new Array(count);
  let start = view.getUint32(0, true);
  if (start !== 0) throw new RangeError('string tensor offsets do not start at 0');
  for (let index = 0; index < count; index++) {
    const end = view.getUint32(4 * (index + 1), true);
    if (end < start || headerBytes + end > bytes.byteLength) throw new RangeError(`string tensor offset ${index + 1} is out of bounds`);
    elements[index] = bytes.subarray(headerBytes + start, headerBytes + end);
    start = end;
  }
  return elements;
}

/**
 * Rows `[start, start + count)` along dimension 0. Fixed-size dtypes give a view into the tensor's bytes, strings a repacked copy.
 * The tensor must have rank 1 or more and hold the rows.
 */
export function sliceRows(tensor: Tensor, start: number, count: number): Tensor {
  const [rows, ...inner] = tensor.shape;
  if (rows === undefined || start < 0 || start + count > rows)
    throw new RangeError(`rows [${start}, ${start + count}) of shape [${tensor.shape}]`);
  if (start === 0 && count === rows) return tensor;
  const shape = [count, ...inner];
  const perRow = elementCount(inner);
  if (tensor.dtype === 'string') {
    const elements = unpackStrings(tensor.bytes, rows * perRow).slice(start * perRow, (start + count) * perRow);
    return { dtype: 'string', shape, bytes: packStrings(elements) };
  }
  const rowBytes = perRow * DTYPES[tensor.dtype].byteSize;
  return { dtype: tensor.dtype, shape, bytes: tensor.bytes.subarray(start * rowBytes, (start + count) * rowBytes) };
}
