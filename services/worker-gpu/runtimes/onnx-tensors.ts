/** Tensors of ours as onnxruntime's, and back. */
import { isUtf8 } from 'node:buffer';
import { Tensor as OrtTensor } from 'onnxruntime-node';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, type DType, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';

const ENCODER = new TextEncoder();

type Numbers = ArrayBufferView & { readonly length: number };
type View = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => Numbers;

/** For each dtype that onnxruntime can take: its name there and the typed array it wants. */
const ORT_TYPES: Partial<Record<DType, { readonly name: string; readonly view: View }>> = {
  float: { name: 'float32', view: Float32Array },
  double: { name: 'float64', view: Float64Array },
  int8: { name: 'int8', view: Int8Array },
  int16: { name: 'int16', view: Int16Array },
  int32: { name: 'int32', view: Int32Array },
  int64: { name: 'int64', view: BigInt64Array },
  uint8: { name: 'uint8', view: Uint8Array },
  uint16: { name: 'uint16', view: Uint16Array },
  uint32: { name: 'uint32', view: Uint32Array },
  uint64: { name: 'uint64', view: BigUint64Array },
  bool: { name: 'bool', view: Uint8Array },
  half: { name: 'float16', view: Uint16Array },
};
const DTYPE_OF: Readonly<Record<string, DType>> = Object.fromEntries(
  Object.entries(ORT_TYPES).map(([dtype, type]) => [type?.name ?? '', dtype as DType]),
);
/** onnxruntime's constructor, without the tie between type name and array that TypeScript cannot follow through the table above. */
const LooseTensor = OrtTensor as unknown as new (type: string, data: unknown, dims: readonly number[]) => OrtTensor;

/**
 * A tensor for onnxruntime: numbers in place, strings decoded. Throws INVALID_ARGUMENT for strings that ONNX cannot carry: it has text
 * without NUL, not bytes.
 */
export function toOrtTensor(name: string, tensor: Tensor): OrtTensor {
  const { dtype, shape, bytes } = tensor;
  if (dtype === 'string') return new LooseTensor('string', decodeStrings(name, tensor), shape);
  const type = ORT_TYPES[dtype];
  if (type === undefined) throw new ServeError('INVALID_ARGUMENT', `input ${name}: an ONNX model cannot take ${dtype}`);
  const count = elementCount(shape);
  const { byteSize } = DTYPES[dtype];
  if (bytes.byteLength !== count * byteSize) {
    throw new ServeError(
      'INVALID_ARGUMENT',
      `input ${name}: ${dtype} of shape [${shape}] needs ${count * byteSize} bytes, ${bytes.byteLength} came`,
    );
  }
  const data =
    bytes.byteOffset % byteSize === 0
      ? new type.view(bytes.buffer, bytes.byteOffset, count)
      : new type.view(Uint8Array.prototype.slice.call(bytes).buffer, 0, count);
  if (dtype !== 'half') return new LooseTensor(type.name, data, shape);
  // onnxruntime's binding reads 16-bit floats from a Uint16Array only, while its Tensor class turns that into a Float16Array where there is one.
  return Object.defineProperty(new LooseTensor('uint16', data, shape), 'type', { value: type.name });
}

/** A tensor that onnxruntime computed. Numbers stay where they are. */
export function fromOrtTensor(name: string, tensor: OrtTensor): Tensor {
  const shape = [...tensor.dims];
  if (tensor.type === 'string') {
    const texts = tensor.data as unknown as readonly string[];
    return { dtype: 'string', shape, bytes: packStrings(texts.map((text) => ENCODER.encode(text))) };
  }
  const dtype = DTYPE_OF[tensor.type];
  if (dtype === undefined) throw new ServeError('UNIMPLEMENTED', `output ${name}: ${tensor.type} cannot be sent to a client`);
  const data = tensor.data as unknown as ArrayBufferView;
  return { dtype, shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

function decodeStrings(name: string, tensor: Tensor): string[] {
  // Out of shared memory first: text decoders do not take shared views.
  const bytes = Uint8Array.prototype.slice.call(tensor.bytes);
  return unpackStrings(bytes, elementCount(tensor.shape)).map((element, index) => {
    if (!isUtf8(element) || element.includes(0)) {
      throw new ServeError('INVALID_ARGUMENT', `input ${name}, element ${index}: ONNX strings carry UTF-8 text without NUL, not bytes`);
    }
    return Buffer.from(element.buffer, element.byteOffset, element.byteLength).toString('utf8');
  });
}
