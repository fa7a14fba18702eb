import { DTYPES, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import type { HostData, HostTensor } from '../host-value.ts';

type NumberArray = Exclude<HostData, readonly Uint8Array[]>;
type NumberArrayMaker = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => NumberArray;

const ARRAYS: Readonly<Record<Exclude<Tensor['dtype'], 'string'>, { readonly make: NumberArrayMaker; readonly width: number }>> = {
  float: { make: Float32Array, width: 4 },
  double: { make: Float64Array, width: 8 },
  int32: { make: Int32Array, width: 4 },
  uint8: { make: Uint8Array, width: 1 },
  int16: { make: Int16Array, width: 2 },
  int8: { make: Int8Array, width: 1 },
  complex64: { make: Float32Array, width: 4 },
  int64: { make: BigInt64Array, width: 8 },
  bool: { make: Uint8Array, width: 1 },
  uint16: { make: Uint16Array, width: 2 },
  complex128: { make: Float64Array, width: 8 },
  half: { make: Uint16Array, width: 2 },
  uint32: { make: Uint32Array, width: 4 },
  uint64: { make: BigUint64Array, width: 8 },
  bfloat16: { make: Uint16Array, width: 2 },
};

/** Decodes a stored tensor for host kernels. Shares its bytes where they are aligned. Throws RangeError when the bytes do not fit the shape. */
export function hostTensorOf({ dtype, shape, bytes }: Tensor): HostTensor {
  const count = elementCount(shape);
  if (dtype === 'string') return { dtype, shape, data: unpackStrings(bytes, count) };
  const { make: Make, width } = ARRAYS[dtype];
  const length = (count * DTYPES[dtype].byteSize) / width;
  if (bytes.byteLength !== length * width) throw new RangeError(`a ${dtype} tensor of shape [${shape}] has ${bytes.byteLength} bytes`);
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  return { dtype, shape, data: new Make(aligned.buffer, aligned.byteOffset, length) };
}

/** Encodes a host tensor. Numbers share memory. */
export function tensorOfHost({ dtype, shape, data }: HostTensor): Tensor {
  if (!ArrayBuffer.isView(data)) return { dtype, shape, bytes: packStrings(data) };
  return { dtype, shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}
