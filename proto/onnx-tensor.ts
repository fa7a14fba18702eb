/** Decodes an ONNX TensorProto whose value it holds. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, elementCount, packStrings, type Tensor, tensorByteLength } from '#mesh/tensor.ts';
import { dtypeFromOnnx, ONNX } from './onnx-types.ts';
import { WIRE, WireReader } from './wire.ts';

/** The fields of values that are not raw, by what they hold. */
const TYPED = { floats: 4, int32s: 5, int64s: 7, doubles: 10, uint64s: 11 } as const;

type Words = {
  readonly field: number;
  readonly write: (view: DataView, at: number, reader: WireReader) => void;
  readonly byteSize: number;
};

const int32s = (byteSize: number, write: (view: DataView, at: number, value: number) => void): Words => ({
  field: TYPED.int32s,
  byteSize,
  write: (view, at, reader) => write(view, at, reader.int32()),
});
const eight: Words['write'] = (view, at, reader) => reader.varintInto(view, at);

/** How elements of each dtype lie in the typed fields. */
const WORDS: Partial<Record<DType, Words>> = {
  float: { field: TYPED.floats, byteSize: 4, write: (view, at, reader) => view.setFloat32(at, reader.float(), true) },
  double: { field: TYPED.doubles, byteSize: 8, write: (view, at, reader) => view.setFloat64(at, reader.double(), true) },
  int64: { field: TYPED.int64s, byteSize: 8, write: eight },
  uint64: { field: TYPED.uint64s, byteSize: 8, write: eight },
  uint32: { field: TYPED.uint64s, byteSize: 4, write: (view, at, reader) => view.setUint32(at, reader.int64() >>> 0, true) },
  int32: int32s(4, (view, at, value) => view.setInt32(at, value, true)),
  int16: int32s(2, (view, at, value) => view.setInt16(at, value, true)),
  uint16: int32s(2, (view, at, value) => view.setUint16(at, value, true)),
  half: int32s(2, (view, at, value) => view.setUint16(at, value, true)),
  bfloat16: int32s(2, (view, at, value) => view.setUint16(at, value, true)),
  int8: int32s(1, (view, at, value) => view.setInt8(at, value)),
  uint8: int32s(1, (view, at, value) => view.setUint8(at, value)),
  bool: int32s(1, (view, at, value) => view.setUint8(at, value)),
};

/** TensorFlow's bound on dimensions; onnxruntime has none, and nobody comes near. */
const MAX_RANK = 254;

/** The element type of a TensorProto, as ONNX's number. */
export function onnxTensorType(bytes: Uint8Array): number {
  const reader = new WireReader(bytes);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.tensor.dataType * 8 + WIRE.varint) return reader.int32();
    reader.skip(tag);
  }
  return 0;
}

/** The tensor. Throws UNIMPLEMENTED for an element type of no dtype here and for values in another file, INVALID_ARGUMENT for too few or too many elements. */
export function readOnnxTensor(bytes: Uint8Array): Tensor {
  const type = onnxTensorType(bytes);
  const dtype = dtypeFromOnnx(type);
  if (dtype === undefined) throw new ServeError('UNIMPLEMENTED', `a tensor of ONNX's element type ${type} cannot be read`);
  const shape: number[] = [];
  const strings: Uint8Array[] = [];
  const typed: WireReader[] = [];
  let raw: Uint8Array | undefined;
  const reader = new WireReader(bytes);
  const words = WORDS[dtype];
  while (reader.more()) {
    const tag = reader.tag();
    const field = tag >>> 3;
    const isBytes = (tag & 7) === WIRE.bytes;
    if (field === ONNX.tensor.dims && isBytes) for (const dims = reader.message(); dims.more(); ) shape.push(dims.int64());
    else if (field === ONNX.tensor.dims) shape.push(reader.int64());
    else if (field === ONNX.tensor.rawData) raw = reader.view();
    else if (field === ONNX.tensor.stringData && dtype === 'string') strings.push(reader.view());
    else if (field === words?.field && isBytes) typed.push(reader.message());
    else if (field === words?.field) {
      // Not packed: one element after its own key.
      const start = reader.offset;
      reader.skip(tag);
      typed.push(new WireReader(bytes, start, reader.offset));
    } else if (field === ONNX.tensor.dataLocation && reader.int32() === 1) {
      throw new ServeError('UNIMPLEMENTED', 'a tensor whose values lie in another file cannot be read here');
    } else if (field !== ONNX.tensor.dataLocation) reader.skip(tag);
  }
  const count = elementCount(shape);
  if (shape.length > MAX_RANK || !Number.isSafeInteger(count) || shape.some((dim) => dim < 0)) {
    throw new ServeError('INVALID_ARGUMENT', `a tensor of ${dtype} has the shape [${shape.slice(0, MAX_RANK)}], which cannot be`);
  }
  const wrong = (found: string) => new ServeError('INVALID_ARGUMENT', `a tensor of ${dtype} and shape [${shape}] has ${found}`);
  if (dtype === 'string') {
    if (strings.length !== count) throw wrong(`${strings.length} elements`);
    return { dtype, shape, bytes: packStrings(strings) };
  }
  const byteLength = tensorByteLength(dtype, shape);
  if (raw !== undefined) {
    if (raw.byteLength !== byteLength) throw wrong(`${raw.byteLength} bytes`);
    return { dtype, shape, bytes: raw.slice() };
  }
  if (words === undefined) throw new ServeError('UNIMPLEMENTED', `a tensor of ${dtype} cannot be read`);
  // Each value takes a byte at least: what a shape claims costs no memory before it is there.
  const typedBytes = typed.reduce((sum, { offset, end }) => sum + end - offset, 0);
  const values = new Uint8Array(Math.min(byteLength, typedBytes * words.byteSize));
  const view = new DataView(values.buffer);
  let at = 0;
  for (const one of typed) {
    for (; one.more(); at += words.byteSize) {
      if (at >= byteLength) throw wrong('more elements than that');
      words.write(view, at, one);
    }
  }
  if (at !== byteLength) throw wrong(`${at / words.byteSize} elements`);
  return { dtype, shape, bytes: values };
}
