import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, type DType, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { decodeTensorProto, encodeTensorProto } from '#proto/tensor-proto.ts';
import { WireWriter } from '#proto/wire.ts';
import { asObject, encoded, loadRoot } from './protobuf-root.ts';

const root = loadRoot();
const TENSOR = 'tensorflow.TensorProto';
const dtypes = Object.keys(DTYPES) as DType[];

function encode(tensor: Tensor, tensorContent = false): Uint8Array {
  const writer = new WireWriter();
  encodeTensorProto(writer, tensor, { tensorContent });
  return writer.finish();
}

const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const ints = (...values: number[]) => new Uint8Array(Int32Array.from(values).buffer);
const shapeOf = (...sizes: number[]) => ({ dim: sizes.map((size) => ({ size })) });
const plain = ({ dtype, shape, bytes }: Tensor) => ({ dtype, shape, bytes: Array.from(bytes) });

/** Any tensor of a few elements; floating-point bits are arbitrary, bools are 0 or 1. */
const tensors: fc.Arbitrary<Tensor> = fc
  .record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }) })
  .chain(({ dtype, shape }): fc.Arbitrary<Tensor> => {
    const count = elementCount(shape);
    if (dtype === 'string') {
      const elements = fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: count, maxLength: count });
      return elements.map((values) => ({ dtype, shape, bytes: packStrings(values) }));
    }
    const byteLength = count * DTYPES[dtype].byteSize;
    const byte = fc.uint8Array({ minLength: byteLength, maxLength: byteLength, ...(dtype === 'bool' ? { max: 1 } : {}) });
    return byte.map((bytes) => ({ dtype, shape, bytes }));
  });

describe('TensorProto', () => {
  test('every tensor comes back as it was, from its typed field and from tensor_content', () => {
    fc.assert(
      fc.property(tensors, fc.boolean(), (tensor, tensorContent) => {
        expect(plain(decodeTensorProto(encode(tensor, tensorContent)))).toEqual(plain(tensor));
      }),
      { numRuns: 400 },
    );
  });

  test('protobufjs reads what is written, and what it writes in turn reads back', () => {
    fc.assert(
      fc.property(tensors, fc.boolean(), (tensor, tensorContent) => {
        const type = root.lookupType(TENSOR);
        const again = type.encode(type.decode(encode(tensor, tensorContent))).finish();
        // A signalling NaN may turn quiet on the way through a double: floats are compared as numbers.
        const expected = decodeTensorProto(encode(tensor, tensorContent));
        expect(numbersOf(decodeTensorProto(again))).toEqual(numbersOf(expected));
      }),
      { numRuns: 300 },
    );
  });

  const written: readonly (readonly [string, Tensor, Record<string, unknown>])[] = [
    ['float', { dtype: 'float', shape: [2], bytes: floats(1.5, -2) }, { float_val: [1.5, -2] }],
    ['int32', { dtype: 'int32', shape: [3], bytes: ints(-1, 300, 0) }, { int_val: [-1, 300, 0] }],
    ['int8', { dtype: 'int8', shape: [2], bytes: new Uint8Array([0xff, 5]) }, { int_val: [-1, 5] }],
    ['uint8', { dtype: 'uint8', shape: [2], bytes: new Uint8Array([255, 5]) }, { int_val: [255, 5] }],
    ['uint16', { dtype: 'uint16', shape: [1], bytes: new Uint8Array([255, 255]) }, { int_val: [65535] }],
    ['half', { dtype: 'half', shape: [1], bytes: new Uint8Array([0, 0x3c]) }, { half_val: [15360] }],
    ['bfloat16', { dtype: 'bfloat16', shape: [1], bytes: new Uint8Array([0x80, 0xff]) }, { half_val: [0xff80] }],
    ['uint32', { dtype: 'uint32', shape: [1], bytes: new Uint8Array([255, 255, 255, 255]) }, { uint32_val: [4294967295] }],
    ['int64', { dtype: 'int64', shape: [1], bytes: new Uint8Array(8).fill(255) }, { int64_val: ['-1'] }],
    ['uint64', { dtype: 'uint64', shape: [1], bytes: new Uint8Array(8).fill(255) }, { uint64_val: ['18446744073709551615'] }],
    ['bool', { dtype: 'bool', shape: [2], bytes: new Uint8Array([1, 0]) }, { bool_val: [true, false] }],
    ['complex64', { dtype: 'complex64', shape: [1], bytes: floats(1, -1) }, { scomplex_val: [1, -1] }],
  ];
  test.each(written)('%s values go to their own field', (_, tensor, values) => {
    expect(asObject(root, TENSOR, encode(tensor))).toMatchObject(values);
    expect(
      plain(
        decodeTensorProto(
          encoded(root, TENSOR, { dtype: DTYPES[tensor.dtype].protoName, tensor_shape: shapeOf(...tensor.shape), ...values }),
        ),
      ),
    ).toEqual(plain(tensor));
  });

  test('a tensor at any offset of any kind of buffer is written', () => {
    for (const offset of [0, 1, 2, 3]) {
      const buffer = Buffer.alloc(16, 0xff);
      const bytes = buffer.subarray(offset, offset + 8);
      expect(asObject(root, TENSOR, encode({ dtype: 'int32', shape: [2], bytes }))).toMatchObject({ int_val: [-1, -1] });
      expect(asObject(root, TENSOR, encode({ dtype: 'int64', shape: [1], bytes }))).toMatchObject({ int64_val: ['-1'] });
    }
  });

  test('a message in a Buffer gives tensors whose slices are copies', () => {
    const message = Buffer.from(encode({ dtype: 'float', shape: [1], bytes: floats(1) }));
    const { bytes } = decodeTensorProto(message);
    expect(bytes.slice().buffer.byteLength).toBe(4);
  });

  test('floats that are all there, and tensor_content, are views of the message', () => {
    const message = encode({ dtype: 'float', shape: [3], bytes: floats(1, 2, 3) });
    expect(decodeTensorProto(message).bytes.buffer).toBe(message.buffer);
    const content = encode({ dtype: 'int64', shape: [3], bytes: new Uint8Array(24) }, true);
    expect(decodeTensorProto(content).bytes.buffer).toBe(content.buffer);
  });

  const filled: readonly (readonly [string, Record<string, unknown>, readonly number[]])[] = [
    ['a short list repeats its last value', { dtype: 'DT_FLOAT', tensor_shape: shapeOf(5), float_val: [7, 8] }, [...floats(7, 8, 8, 8, 8)]],
    [
      'a short list of integers repeats its last value',
      { dtype: 'DT_INT32', tensor_shape: shapeOf(2, 2), int_val: [-3] },
      [...ints(-3, -3, -3, -3)],
    ],
    ['no values are zeros', { dtype: 'DT_INT32', tensor_shape: shapeOf(2) }, [...ints(0, 0)]],
    ['values beyond the shape are dropped', { dtype: 'DT_FLOAT', tensor_shape: shapeOf(1), float_val: [1, 2, 3] }, [...floats(1)]],
    ['integers beyond the shape are dropped', { dtype: 'DT_INT8', tensor_shape: shapeOf(1), int_val: [1, 2, 3] }, [1]],
    ['an empty shape dimension holds nothing', { dtype: 'DT_INT64', tensor_shape: shapeOf(0, 9), int64_val: [1] }, []],
    ['a scalar has one element', { dtype: 'DT_BOOL', tensor_shape: {}, bool_val: [true] }, [1]],
    ['no shape at all is a scalar', { dtype: 'DT_UINT8', int_val: [300] }, [44]],
    ['complex pairs repeat as pairs', { dtype: 'DT_COMPLEX64', tensor_shape: shapeOf(2), scomplex_val: [1, 2] }, [...floats(1, 2, 1, 2)]],
    ['half a complex number counts as none', { dtype: 'DT_COMPLEX64', tensor_shape: shapeOf(1), scomplex_val: [1] }, [...floats(0, 0)]],
    [
      'tensor_content wins over values',
      { dtype: 'DT_UINT8', tensor_shape: shapeOf(1), tensor_content: Buffer.from([9]), int_val: [1] },
      [9],
    ],
  ];
  test.each(filled)('%s', (_, message, bytes) => {
    expect(Array.from(decodeTensorProto(encoded(root, TENSOR, message)).bytes)).toEqual(bytes);
  });

  test('unpacked values read like packed ones, also mixed with them and before the dtype', () => {
    const writer = new WireWriter();
    writer.floatField(5, 1).floatField(5, 2);
    writer.delimited(5, () => void writer.float(3));
    writer.floatField(5, 4).varintField(1, 1);
    writer.delimited(2, () => void writer.delimited(2, () => void writer.varintField(1, 6)));
    expect(Array.from(decodeTensorProto(writer.finish()).bytes)).toEqual([...floats(1, 2, 3, 4, 4, 4)]);
    const integers = new WireWriter()
      .varintField(1, 9)
      .varintField(10, -2)
      .varintField(10, 2n ** 62n);
    expect(new BigInt64Array(decodeTensorProto(integers.finish()).bytes.slice().buffer)).toEqual(BigInt64Array.of(-2n));
  });

  test('strings repeat, are empty when absent, and come from both encodings', () => {
    const strings = (message: Record<string, unknown>, count: number) =>
      unpackStrings(
        decodeTensorProto(encoded(root, TENSOR, { dtype: 'DT_STRING', tensor_shape: shapeOf(count), ...message })).bytes,
        count,
      ).map((one) => Buffer.from(one).toString('latin1'));
    expect(strings({ string_val: [Buffer.from('a'), Buffer.from('bc')] }, 3)).toEqual(['a', 'bc', 'bc']);
    expect(strings({}, 2)).toEqual(['', '']);
    expect(strings({ tensor_content: Buffer.from([1, 2, 97, 98, 99]) }, 2)).toEqual(['a', 'bc']);
    expect(strings({ string_val: [Buffer.from([255, 0])] }, 1)).toEqual(['\xff\0']);
  });

  const refused: readonly (readonly [string, Record<string, unknown>, RegExp])[] = [
    ['a negative dimension', { dtype: 'DT_FLOAT', tensor_shape: shapeOf(-1), float_val: [1] }, /shape \[-1\]/],
    ['dimensions whose product overflows', { dtype: 'DT_FLOAT', tensor_shape: shapeOf(2 ** 40, 2 ** 40) }, /too large/],
    [
      'a small message that claims a large tensor',
      { dtype: 'DT_FLOAT', tensor_shape: shapeOf(2 ** 30), float_val: [1] },
      /4294967296 bytes/,
    ],
    ['a small message that claims many strings', { dtype: 'DT_STRING', tensor_shape: shapeOf(2 ** 30) }, /not all there/],
    [
      'a long string repeated too often',
      { dtype: 'DT_STRING', tensor_shape: shapeOf(2 ** 20), string_val: [Buffer.alloc(1024)] },
      /string tensor of/,
    ],
    ['an unknown rank', { dtype: 'DT_FLOAT', tensor_shape: { unknown_rank: true }, float_val: [1] }, /unknown rank/],
    ['no dtype', { tensor_shape: shapeOf(1), float_val: [1] }, /dtype 0/],
    ['a resource', { dtype: 'DT_RESOURCE', tensor_shape: shapeOf(1) }, /dtype 20/],
    [
      'content of the wrong size',
      { dtype: 'DT_FLOAT', tensor_shape: shapeOf(3), tensor_content: Buffer.alloc(4) },
      /4 bytes, 12 were expected/,
    ],
    [
      'string content that is too short',
      { dtype: 'DT_STRING', tensor_shape: shapeOf(1), tensor_content: Buffer.from([5, 97]) },
      /5 were expected/,
    ],
    [
      'string content that is too long',
      { dtype: 'DT_STRING', tensor_shape: shapeOf(1), tensor_content: Buffer.from([0, 97]) },
      /0 were expected/,
    ],
  ];
  test.each(refused)('%s is refused', (_, message, reason) => {
    const decode = () => decodeTensorProto(encoded(root, TENSOR, message));
    expect(decode).toThrow(ServeError);
    expect(decode).toThrow(reason);
  });

  test('a packed list that ends inside a float is refused', () => {
    const writer = new WireWriter().varintField(1, 1).bytesField(5, new Uint8Array(6));
    expect(() => decodeTensorProto(writer.finish())).toThrow(/not a multiple of 4/);
  });
});

function numbersOf({ dtype, shape, bytes }: Tensor): unknown {
  const copy = bytes.slice().buffer;
  if (dtype === 'float' || dtype === 'complex64') return { shape, values: Array.from(new Float32Array(copy)) };
  if (dtype === 'double' || dtype === 'complex128') return { shape, values: Array.from(new Float64Array(copy)) };
  return { shape, values: Array.from(bytes) };
}
