/** A tensor as protobuf's JSON prints `tensorflow.TensorProto`: the defaults in a model's metadata. */
import { DTYPES, type DType, elementCount, type Tensor, unpackStrings } from '#mesh/tensor.ts';

/** Every field, whether it has something to say or not, as TensorFlow Serving prints messages; 64-bit integers are text. */
export function tensorDocument({ dtype, shape, bytes }: Tensor): unknown {
  const { field, values } = VALUES[dtype];
  const own = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    dtype: DTYPES[dtype].protoName,
    tensor_shape: { dim: shape.map((size) => ({ size: String(size), name: '' })), unknown_rank: false },
    version_number: 0,
    tensor_content: '',
    ...Object.fromEntries(LISTS.map((list) => [list, []])),
    float8_val: '',
    [field]: values(own, elementCount(shape)),
  };
}

const LISTS = [
  'half_val',
  'float_val',
  'double_val',
  'int_val',
  'string_val',
  'scomplex_val',
  'int64_val',
  'bool_val',
  'dcomplex_val',
  'resource_handle_val',
  'variant_val',
  'uint32_val',
  'uint64_val',
];

/** Reads as many elements as there are. */
type ReadValues = (bytes: DataView, count: number) => readonly (number | string | boolean)[];

const each =
  (byteSize: number, read: (bytes: DataView, at: number) => number | string | boolean, perElement = 1): ReadValues =>
  (bytes, count) =>
    Array.from({ length: count * perElement }, (_, index) => read(bytes, index * byteSize));

const float = (bytes: DataView, at: number) => finiteOrName(shortestFloat(bytes.getFloat32(at, true)));
const double = (bytes: DataView, at: number) => finiteOrName(bytes.getFloat64(at, true));
const bits16 = each(2, (bytes, at) => bytes.getUint16(at, true));

/** For each dtype: the field of its values, and how they are printed. */
const VALUES: Readonly<Record<DType, { readonly field: string; readonly values: ReadValues }>> = {
  float: { field: 'float_val', values: each(4, float) },
  double: { field: 'double_val', values: each(8, double) },
  int32: { field: 'int_val', values: each(4, (bytes, at) => bytes.getInt32(at, true)) },
  uint8: { field: 'int_val', values: each(1, (bytes, at) => bytes.getUint8(at)) },
  int16: { field: 'int_val', values: each(2, (bytes, at) => bytes.getInt16(at, true)) },
  int8: { field: 'int_val', values: each(1, (bytes, at) => bytes.getInt8(at)) },
  uint16: { field: 'int_val', values: bits16 },
  string: {
    field: 'string_val',
    values: (bytes, count) => {
      const packed = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      return unpackStrings(packed, count).map((element) => Buffer.from(element).toString('base64'));
    },
  },
  complex64: { field: 'scomplex_val', values: each(4, float, 2) },
  int64: { field: 'int64_val', values: each(8, (bytes, at) => String(bytes.getBigInt64(at, true))) },
  bool: { field: 'bool_val', values: each(1, (bytes, at) => bytes.getUint8(at) !== 0) },
  complex128: { field: 'dcomplex_val', values: each(8, double, 2) },
  half: { field: 'half_val', values: bits16 },
  bfloat16: { field: 'half_val', values: bits16 },
  uint32: { field: 'uint32_val', values: each(4, (bytes, at) => bytes.getUint32(at, true)) },
  uint64: { field: 'uint64_val', values: each(8, (bytes, at) => String(bytes.getBigUint64(at, true))) },
};

/** The double with the fewest digits that is this float when rounded to single precision. */
function shortestFloat(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

/** JSON has no numbers for NaN and the infinities: protobuf writes their names. */
function finiteOrName(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}
