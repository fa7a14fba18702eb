import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DTYPES, type DType, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { assembleInputs, checkBatchedOutputs, cutRows, type PartRows } from '../../services/worker-gpu/batch-assembly.ts';
import type { RunInput } from '../../services/worker-gpu/run-tensors.ts';

/** The tensor that an executor would see, in a place full of somebody else's bytes. */
function placed(input: RunInput | undefined): Tensor {
  if (input === undefined) throw new Error('no input');
  const place = new Uint8Array(input.byteLength).fill(0xee);
  if (input.source.type === 'write') input.source.into(place);
  else place.set(new Uint8Array(input.source.buffer, 0, input.byteLength));
  return { dtype: input.dtype, shape: input.shape, bytes: place };
}

/** A tensor as nested rows of its elements, to compare without knowing layouts. */
function elements(tensor: Tensor): string[] {
  const count = elementCount(tensor.shape);
  if (tensor.dtype === 'string') return unpackStrings(tensor.bytes, count).map((bytes) => Buffer.from(bytes).toString('hex'));
  const { byteSize } = DTYPES[tensor.dtype];
  return Array.from({ length: count }, (_, index) =>
    Buffer.from(tensor.bytes.subarray(index * byteSize, (index + 1) * byteSize)).toString('hex'),
  );
}

const dtypes: DType[] = ['float', 'uint8', 'int64', 'complex128', 'half', 'string'];

const tensorOf = (dtype: DType, shape: readonly number[]): fc.Arbitrary<Tensor> => {
  const count = elementCount(shape);
  if (dtype === 'string') {
    return fc
      .array(fc.uint8Array({ maxLength: 5 }), { minLength: count, maxLength: count })
      .map((all) => ({ dtype, shape, bytes: packStrings(all) }));
  }
  const byteLength = count * DTYPES[dtype].byteSize;
  return fc.uint8Array({ minLength: byteLength, maxLength: byteLength }).map((bytes) => ({ dtype, shape, bytes }));
};

/** Parts of one batch, equal inner shapes, each a range of its request's rows. */
const batch = fc.tuple(fc.constantFrom(...dtypes), fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 })).chain(([dtype, inner]) =>
  fc.array(
    fc.tuple(fc.integer({ min: 1, max: 4 }), fc.nat(), fc.nat()).chain(([rows, from, length]) =>
      tensorOf(dtype, [rows, ...inner]).map((tensor): PartRows & { readonly tensor: Tensor } => {
        const rowStart = from % rows;
        return { tensor, tensors: [{ name: 'x', ...tensor }], rowStart, rowCount: 1 + (length % (rows - rowStart)) };
      }),
    ),
    { minLength: 1, maxLength: 5 },
  ),
);

describe('assembling a batch', () => {
  test('cutting what was assembled gives every part its own rows back, whatever the padding', () => {
    fc.assert(
      fc.property(batch, fc.nat({ max: 3 }), (parts, padding) => {
        const rows = parts.reduce((sum, { rowCount }) => sum + rowCount, 0);
        const [input] = assembleInputs(parts, { executeRows: rows + padding, padRagged: false });
        const whole = placed(input);
        expect(whole.shape[0]).toBe(rows + padding);
        let row = 0;
        for (const { tensor, rowStart, rowCount } of parts) {
          expect(elements(cutRows(whole, row, rowCount))).toEqual(elements(cutRows(tensor, rowStart, rowCount)));
          row += rowCount;
        }
        for (; row < rows + padding; row++) expect(elements(cutRows(whole, row, 1))).toEqual(elements(cutRows(whole, 0, 1)));
      }),
    );
  });

  test('ragged parts keep their elements in the corner of the largest shape, and the rest is zero or empty', () => {
    const shape = fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }));
    const ragged = fc.constantFrom<DType>('int16', 'string').chain((dtype) =>
      fc.array(
        shape.chain((dims) => tensorOf(dtype, dims)),
        { minLength: 1, maxLength: 4 },
      ),
    );
    fc.assert(
      fc.property(ragged, (tensors) => {
        const parts = tensors.map((tensor) => ({ tensors: [{ name: 'x', ...tensor }], rowStart: 0, rowCount: tensor.shape[0] ?? 0 }));
        const rows = parts.reduce((sum, { rowCount }) => sum + rowCount, 0);
        const whole = placed(assembleInputs(parts, { executeRows: rows, padRagged: true })[0]);
        const height = Math.max(...tensors.map(({ shape: dims }) => dims[1] ?? 0));
        const width = Math.max(...tensors.map(({ shape: dims }) => dims[2] ?? 0));
        expect(whole.shape).toEqual([rows, height, width]);
        const zero = whole.dtype === 'string' ? '' : '0000';
        const expected = tensors.flatMap((tensor) => {
          const [count = 0, high = 0, wide = 0] = tensor.shape;
          const own = elements(tensor);
          return Array.from({ length: count * height * width }, (_, at) => {
            const [row, y, x] = [Math.floor(at / (height * width)), Math.floor(at / width) % height, at % width];
            return y < high && x < wide ? (own[(row * high + y) * wide + x] ?? '') : zero;
          });
        });
        expect(elements(whole)).toEqual(expected);
      }),
    );
  });

  const floats = (shape: readonly number[]) => ({
    name: 'x',
    dtype: 'float' as const,
    shape,
    bytes: new Uint8Array(4 * elementCount(shape)),
  });
  const row = (shape: readonly number[]): PartRows => ({ tensors: [floats(shape)], rowStart: 0, rowCount: shape[0] ?? 0 });

  test('unequal inner shapes are refused in the words of TF Serving unless they are padded', () => {
    expect(() => assembleInputs([row([1, 2]), row([1, 3])], { executeRows: 2, padRagged: false })).toThrow(
      "Tensors with name 'x' from different tasks have different shapes and padding is turned off. Set pad_variable_length_inputs to true",
    );
    expect(() => assembleInputs([row([1, 2]), row([1, 3])], { executeRows: 2, padRagged: true })).not.toThrow();
    expect(() => assembleInputs([row([1, 2]), row([1])], { executeRows: 2, padRagged: true })).toThrow('different ranks');
  });

  test('bytes that do not fit the shape are refused before they are copied', () => {
    const short = { ...floats([2]), bytes: new Uint8Array(7) };
    expect(() => assembleInputs([{ tensors: [short], rowStart: 0, rowCount: 2 }], { executeRows: 2, padRagged: false })).toThrow(
      'input x: float of shape [2] needs 8 bytes, 7 came',
    );
    expect(() => assembleInputs([{ tensors: [short], rowStart: 0, rowCount: 0 }], { executeRows: 0, padRagged: false })).toThrow('needs 8');
  });

  test('rows beyond a request are refused', () => {
    expect(() => assembleInputs([{ ...row([2]), rowStart: 1, rowCount: 2 }], { executeRows: 2, padRagged: false })).toThrow(
      'input x has 2 rows, the batch takes [1, 3)',
    );
  });

  test('a shared payload that is the whole batch is not copied, and one that is not is', () => {
    const buffer = new SharedArrayBuffer(16);
    const shared = { ...floats([4]), bytes: new Uint8Array(buffer, 0, 16), shared: buffer };
    const alone = { tensors: [shared], rowStart: 0, rowCount: 4 };
    expect(assembleInputs([alone], { executeRows: 4, padRagged: false })[0]?.source).toEqual({ type: 'shared', buffer });
    expect(assembleInputs([alone], { executeRows: 8, padRagged: false })[0]?.source.type).toBe('write');
    expect(assembleInputs([alone, row([1])], { executeRows: 5, padRagged: false })[0]?.source.type).toBe('write');
  });
});

describe('outputs of a batch', () => {
  test.each([
    [[3], /0th dimension does not equal the sum/],
    [[], /Batched output tensor has 0 dimensions/],
  ])('shape %j does not follow four rows', (shape, text) => {
    const output = { name: 'y', dtype: 'uint8' as const, shape, bytes: new Uint8Array(3) };
    expect(() => checkBatchedOutputs([output], 4)).toThrow(text);
  });

  test('shape [4, 2] follows four rows', () => {
    expect(() => checkBatchedOutputs([{ name: 'y', dtype: 'uint8', shape: [4, 2], bytes: new Uint8Array(8) }], 4)).not.toThrow();
  });
});
