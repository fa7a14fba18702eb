/** Tensors as TensorFlow Serving's messages carry them: written as raw bytes, read from whichever field the server chose. */

/** `tensorflow.TensorProto` as @grpc/proto-loader shows it. An answer has all fields, a request those it sets. */
export interface TensorProto {
  readonly dtype: string;
  readonly tensor_shape: { readonly dim: readonly { readonly size: number }[] };
  readonly tensor_content?: Uint8Array;
  readonly string_val?: readonly Uint8Array[];
  readonly float_val?: readonly number[];
  readonly int64_val?: readonly number[];
}

/** FLOAT of the given shape, row-major. */
export function floats(values: readonly number[], shape: readonly number[]): TensorProto {
  return raw('DT_FLOAT', Float32Array.from(values), shape);
}

/** UINT8 of the given shape, row-major: pixels, mostly. */
export function bytes(values: Uint8Array, shape: readonly number[]): TensorProto {
  return raw('DT_UINT8', values, shape);
}

/** INT64 of shape [values.length]. */
export function integers(values: readonly number[]): TensorProto {
  return raw('DT_INT64', BigInt64Array.from(values, BigInt), [values.length]);
}

/** STRING of shape [values.length]: files, serialized messages, text. */
export function strings(values: readonly Uint8Array[]): TensorProto {
  return { dtype: 'DT_STRING', tensor_shape: shapeProto([values.length]), string_val: values };
}

/** The shape of a tensor, and its numbers (FLOAT or INT64), row-major. Throws for other types. */
export function numbersOf(tensor: TensorProto | undefined): { readonly shape: readonly number[]; readonly values: readonly number[] } {
  if (tensor === undefined) throw new Error('the answer has no such tensor');
  const shape = tensor.tensor_shape.dim.map(({ size }) => size);
  const count = shape.reduce((product, size) => product * size, 1);
  const stored = storedNumbers(tensor);
  // Where a message has fewer values than the shape asks for, the last one counts for the rest.
  return { shape, values: Array.from({ length: count }, (_, index) => stored[Math.min(index, stored.length - 1)] ?? 0) };
}

function storedNumbers({ dtype, tensor_content: content, float_val: floatValues, int64_val: int64Values }: TensorProto): readonly number[] {
  const buffer = content === undefined || content.byteLength === 0 ? undefined : Uint8Array.from(content).buffer;
  if (dtype === 'DT_FLOAT') return buffer === undefined ? (floatValues ?? []) : Array.from(new Float32Array(buffer));
  if (dtype === 'DT_INT64') return buffer === undefined ? (int64Values ?? []) : Array.from(new BigInt64Array(buffer), Number);
  throw new Error(`the answer is a tensor of ${dtype}, not of DT_FLOAT or DT_INT64`);
}

function raw(dtype: string, values: Float32Array | BigInt64Array | Uint8Array, shape: readonly number[]): TensorProto {
  const content = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { dtype, tensor_shape: shapeProto(shape), tensor_content: content };
}

function shapeProto(shape: readonly number[]): TensorProto['tensor_shape'] {
  return { dim: shape.map((size) => ({ size })) };
}
