import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { packStrings, type Tensor } from '#mesh/tensor.ts';
import { printExact } from '../../../services/gateway/rest/float-text.ts';
import { JsonWriter } from '../../../services/gateway/rest/json-writer.ts';
import { encodePredict } from '../../../services/gateway/rest/predict-answer.ts';

function floatText(value: number): string {
  const writer = new JsonWriter(8);
  writer.decimal(Math.fround(value), 9);
  return writer.finish().toString();
}

function doubleText(value: number): string {
  const writer = new JsonWriter(8);
  writer.decimal(value, 17);
  return writer.finish().toString();
}

function floats(shape: readonly number[], values: readonly number[]): Tensor {
  return { dtype: 'float', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

describe('numbers', () => {
  test.each([
    [0.1, '0.1'],
    [1 / 3, '0.333333343'],
    [9_000_000, '9e+06'],
    [999_999, '999999.0'],
    [0.0003, '0.0003'],
    [0.00003, '3e-05'],
    [555_557.5, '555557.5'],
    [1e20, '1e+20'],
    [123456.789, '123456.789'],
    [16_777_216, '16777216.0'],
    [3.4028235e38, '3.40282347e+38'],
    [-0, '-0.0'],
    [0, '0.0'],
    [1, '1.0'],
    [Number.NaN, 'NaN'],
    [-Infinity, '-Infinity'],
    [1e-45, '1.4013e-45'],
    [0.9999999, '0.999999881'],
    [99999.99, '99999.9922'],
    // Nine digits of a tie go to the even one, as in C.
    [16777.15625, '16777.1562'],
    [16777.21875, '16777.2188'],
  ])('a single %d is written %s', (value, text) => {
    expect(floatText(value)).toBe(text);
  });

  test.each([
    [0.1, '0.1'],
    [1 / 3, '0.33333333333333331'],
    [1e300, '1e+300'],
    [123456789012345680, '1.2345678901234568e+17'],
    [1 + 2 ** -17, '1.0000076293945312'],
    [5e-324, '4.94066e-324'],
    [-2.5, '-2.5'],
  ])('a double %d is written %s', (value, text) => {
    expect(doubleText(value)).toBe(text);
  });

  test('every single reads back as itself, and is written the same by the exact writer', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = floatText(value);
        expect(Math.fround(Number(text))).toBe(value);
        if (value !== 0) expect(text).toBe(`${value < 0 ? '-' : ''}${printExact(Math.abs(value), 9)}`.replace(/^([^.e]+)$/, '$1.0'));
      }),
      { numRuns: 3000 },
    );
  });

  test('every double reads back as itself', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => expect(Number(doubleText(value))).toBe(value)),
      { numRuns: 1000 },
    );
  });
});

describe('encodePredict', () => {
  test('writes 64-bit integers in full', () => {
    const values = BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n, -1n, 2n ** 53n);
    const text = encodePredict(new Map([['y', { dtype: 'int64', shape: [4], bytes: new Uint8Array(values.buffer) }]]), 'row').toString();
    expect(text).toBe('{\n    "predictions": [-9223372036854775808, 9223372036854775807, -1, 9007199254740992\n    ]\n}');
  });

  test('writes strings of a _bytes output as base64 objects on lines of their own', () => {
    const strings: Tensor = { dtype: 'string', shape: [2], bytes: packStrings([Buffer.from('a'), Buffer.from('b')]) };
    expect(encodePredict(new Map([['y_bytes', strings]]), 'row').toString()).toBe(
      '{\n    "predictions": [{\n            "b64": "YQ=="\n        }, {\n            "b64": "Yg=="\n        }\n    ]\n}',
    );
  });

  test('takes tensors whose bytes are not aligned', () => {
    const whole = new Uint8Array(9);
    whole.set(new Uint8Array(Float32Array.of(1.5, 2.5).buffer), 1);
    expect(encodePredict(new Map([['y', { dtype: 'float', shape: [2], bytes: whole.subarray(1) }]]), 'row').toString()).toContain(
      '[1.5, 2.5',
    );
  });

  test('writes zero rows as an empty list', () => {
    expect(encodePredict(new Map([['y', floats([0, 3], [])]]), 'row').toString()).toBe('{\n    "predictions": []\n}');
  });

  test.each([
    ['no outputs', new Map<string, Tensor>(), 'Cannot convert empty tensor map to JSON'],
    ['a scalar in row format', new Map([['y', floats([], [1])]]), 'Tensor name: y has no shape information '],
    [
      'unequal rows',
      new Map([
        ['y', floats([2], [1, 2])],
        ['z', floats([1], [1])],
      ]),
      'Tensor name: z has inconsistent batch size: 1 expecting: 2',
    ],
    [
      'a dtype without JSON',
      new Map([['y', { dtype: 'complex64', shape: [1], bytes: new Uint8Array(8) } satisfies Tensor]]),
      'Failed to write JSON value for tensor type: complex64',
    ],
  ])('refuses %s', (_title, outputs, message) => {
    expect(() => encodePredict(outputs, 'row')).toThrow(message);
  });
});
