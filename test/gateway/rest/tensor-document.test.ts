import { describe, expect, test } from '@jest/globals';
import { DTYPES, type DType, packStrings, type Tensor } from '#mesh/tensor.ts';
import { encodeTensorProto } from '#proto/tensor-proto.ts';
import { WireWriter } from '#proto/wire.ts';
import { tensorDocument } from '../../../services/gateway/rest/tensor-document.ts';
import { loadRoot } from '../../proto/protobuf-root.ts';

const tensorProto = loadRoot().lookupType('tensorflow.TensorProto');

/** The same tensor by way of protobuf: every field, as protobufjs prints it for JSON. */
function throughProtobuf(tensor: Tensor): unknown {
  const writer = new WireWriter();
  encodeTensorProto(writer, tensor, { tensorContent: false });
  return tensorProto.toObject(tensorProto.decode(writer.finish()), {
    longs: String,
    bytes: String,
    enums: String,
    json: true,
    defaults: true,
  });
}

function tensorOf(dtype: DType): Tensor {
  if (dtype === 'string') {
    const elements = [new Uint8Array([0xff, 0]), new Uint8Array(), new TextEncoder().encode('ü')];
    return { dtype, shape: [3], bytes: packStrings(elements) };
  }
  const bytes = Uint8Array.from({ length: 6 * DTYPES[dtype].byteSize }, (_, index) =>
    dtype === 'bool' ? index % 2 : (index * 89 + 67) % 256,
  );
  return { dtype, shape: [2, 3], bytes };
}

function floats(values: readonly number[]): Tensor {
  return { dtype: 'float', shape: [values.length], bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

/** Numbers in single precision, so that one that is printed short equals the same printed long. */
function rounded(document: unknown): unknown {
  return JSON.parse(JSON.stringify(document), (_key, value) => (typeof value === 'number' ? Math.fround(value) : value));
}

describe('the JSON of a TensorProto', () => {
  test.each(Object.keys(DTYPES) as DType[])('%s is printed as protobuf prints it', (dtype) => {
    expect(rounded(tensorDocument(tensorOf(dtype)))).toEqual(rounded(throughProtobuf(tensorOf(dtype))));
  });

  test('a float has no more digits than it takes to read it back', () => {
    const wanted = [0.1, 2.5, 1e-7, 16777217, 3.4028234663852886e38];
    const printed = tensorDocument(floats(wanted)) as { readonly float_val: readonly number[] };
    expect(printed.float_val.slice(0, 3)).toEqual([0.1, 2.5, 1e-7]);
    expect(printed.float_val.map(Math.fround)).toEqual(wanted.map(Math.fround));
  });

  test('NaN and the infinities are names', () => {
    const printed = tensorDocument(floats([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]));
    expect(printed).toMatchObject({ float_val: ['NaN', 'Infinity', '-Infinity'] });
  });

  test('a scalar has no dimensions', () => {
    const scalar: Tensor = { dtype: 'int64', shape: [], bytes: new Uint8Array(new BigInt64Array([-5n]).buffer) };
    expect(tensorDocument(scalar)).toMatchObject({ tensor_shape: { dim: [], unknown_rank: false }, int64_val: ['-5'], float_val: [] });
  });
});
