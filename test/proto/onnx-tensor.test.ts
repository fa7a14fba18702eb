import { describe, expect, test } from '@jest/globals';
import { packStrings, type Tensor } from '#mesh/tensor.ts';
import { readOnnxParts } from '#proto/onnx-parts.ts';
import { onnxTensorType, readOnnxTensor } from '#proto/onnx-tensor.ts';
import { ONNX_TYPE } from '#proto/onnx-types.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import { WireWriter } from '#proto/wire.ts';

const bytesOf = (view: ArrayBufferView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** The TensorProto of a constant as the project's own writer encodes it. */
function written(tensor: Tensor): Uint8Array {
  const model = buildModel({ name: 'm', opset: 18, inputs: [], outputs: [], nodes: [], initializers: [{ name: 'k', ...tensor }] });
  return readOnnxParts(model).graph.initializers.get('k')?.tensor ?? new Uint8Array();
}

describe('a tensor of an ONNX model', () => {
  test.each<Tensor>([
    { dtype: 'float', shape: [2], bytes: bytesOf(Float32Array.of(1.5, -2)) },
    { dtype: 'int64', shape: [], bytes: bytesOf(BigInt64Array.of(-(2n ** 62n))) },
    { dtype: 'bool', shape: [3], bytes: Uint8Array.of(1, 0, 1) },
    { dtype: 'double', shape: [0, 4], bytes: new Uint8Array() },
    { dtype: 'string', shape: [2], bytes: packStrings([Uint8Array.of(), Uint8Array.of(1, 2)]) },
  ])('of $dtype is read as it was written', (tensor) => {
    expect(readOnnxTensor(written(tensor))).toEqual(tensor);
    expect(onnxTensorType(written(tensor))).toBe(ONNX_TYPE[tensor.dtype]);
  });

  test.each([
    ['float', 4, (writer: WireWriter) => writer.float(0.5).float(-1), bytesOf(Float32Array.of(0.5, -1))],
    ['double', 10, (writer: WireWriter) => writer.double(0.5).double(-1), bytesOf(Float64Array.of(0.5, -1))],
    ['int32', 5, (writer: WireWriter) => writer.varint(7).varint(-7), bytesOf(Int32Array.of(7, -7))],
    ['int8', 5, (writer: WireWriter) => writer.varint(7).varint(-7), bytesOf(Int8Array.of(7, -7))],
    ['uint16', 5, (writer: WireWriter) => writer.varint(7).varint(65535), bytesOf(Uint16Array.of(7, 65535))],
    ['half', 5, (writer: WireWriter) => writer.varint(15360).varint(0), bytesOf(Uint16Array.of(15360, 0))],
    ['bool', 5, (writer: WireWriter) => writer.varint(1).varint(0), Uint8Array.of(1, 0)],
    ['int64', 7, (writer: WireWriter) => writer.varint(7).varint(-7), bytesOf(BigInt64Array.of(7n, -7n))],
    ['uint32', 11, (writer: WireWriter) => writer.varint(7).varint(2 ** 32 - 1), bytesOf(Uint32Array.of(7, 2 ** 32 - 1))],
    ['uint64', 11, (writer: WireWriter) => writer.varint(7).varint(2 ** 40), bytesOf(BigUint64Array.of(7n, 2n ** 40n))],
  ] as const)('of %s may have its elements in a field of their type', (dtype, field, write, bytes) => {
    const writer = new WireWriter().varintField(1, 2).varintField(2, ONNX_TYPE[dtype]);
    writer.delimited(field, () => void write(writer));
    expect(readOnnxTensor(writer.finish())).toEqual({ dtype, shape: [2], bytes });
  });

  test('may have elements that are not packed', () => {
    const writer = new WireWriter().varintField(1, 2).varintField(2, ONNX_TYPE.int64).varintField(7, 3).varintField(7, 4);
    expect(readOnnxTensor(writer.finish()).bytes).toEqual(bytesOf(BigInt64Array.of(3n, 4n)));
  });

  test.each([
    [
      'of fewer elements than its shape',
      new WireWriter().varintField(1, 2).varintField(2, ONNX_TYPE.int64).varintField(7, 3),
      'has 1 elements',
    ],
    ['of more', new WireWriter().varintField(1, 0).varintField(2, ONNX_TYPE.int64).varintField(7, 3), 'has more elements than that'],
    ['of other bytes', new WireWriter().varintField(1, 1).varintField(2, ONNX_TYPE.float).bytesField(9, new Uint8Array(3)), 'has 3 bytes'],
    [
      'of a shape that claims a terabyte',
      new WireWriter()
        .varintField(1, 2 ** 38)
        .varintField(2, ONNX_TYPE.float)
        .delimited(4, () => {}),
      'has 0 elements',
    ],
    [
      'of a shape beyond all numbers',
      new WireWriter()
        .varintField(1, 2 ** 52)
        .varintField(1, 2 ** 52)
        .varintField(2, ONNX_TYPE.float),
      'which cannot be',
    ],
    ['of a negative shape', new WireWriter().varintField(1, -1).varintField(1, -1).varintField(2, ONNX_TYPE.float), 'which cannot be'],
    ['in another file', new WireWriter().varintField(2, ONNX_TYPE.float).varintField(14, 1), 'another file'],
    ['of no dtype here', new WireWriter().varintField(2, 17), "ONNX's element type 17"],
  ])('%s is refused', (_, writer, why) => {
    expect(() => readOnnxTensor(writer.finish())).toThrow(why);
  });
});
