import { describe, expect, test } from '@jest/globals';
import { utf8 } from '#mesh/bytes.ts';
import { int64s, strings, stringTensor } from '../../../savedmodel/host/host-tensor.ts';
import { HOST_OPS } from '../../../savedmodel/host/index.ts';
import {
  exportTable,
  findInTable,
  idsWithBuckets,
  tableFromTensors,
  tableFromTextFile,
  tableSize,
} from '../../../savedmodel/host/tables.ts';

const words = (...texts: string[]) => stringTensor([texts.length], texts.map(utf8));
const FORMAT = { keyIndex: -2, valueIndex: -1, vocabularySize: -1, delimiter: '\t', offset: 0 };

describe('lookup tables', () => {
  test('a vocabulary file maps each line to its number, and what it does not hold to the default', () => {
    const table = tableFromTextFile(utf8('a\nb\r\nc\n'), FORMAT, 'string', 'int64', 'vocab.txt');
    expect(findInTable(table, words('c', 'x', 'b'), int64s([], [-1])).data).toEqual(BigInt64Array.of(2n, -1n, 1n));
    expect(tableSize(table).data).toEqual(BigInt64Array.of(3n));
  });

  test('columns of a file are keys and values', () => {
    const table = tableFromTextFile(utf8('7,x\n9,y'), { ...FORMAT, keyIndex: 0, valueIndex: 1, delimiter: ',' }, 'int64', 'string', 'v');
    expect(strings(findInTable(table, int64s([2], [9, 8]), stringTensor([], [utf8('?')]))).map(String)).toEqual(
      [utf8('y'), utf8('?')].map(String),
    );
  });

  test('a line number starts at the offset', () => {
    const table = tableFromTextFile(utf8('a\nb'), { ...FORMAT, offset: 10 }, 'string', 'int64', 'v');
    expect(findInTable(table, words('b'), int64s([], [0])).data).toEqual(BigInt64Array.of(11n));
  });

  test('a short file, a missing column, a duplicate and a bad number are refused with the file and the line', () => {
    expect(() => tableFromTextFile(utf8('a'), { ...FORMAT, vocabularySize: 2 }, 'string', 'int64', 'v')).toThrow(
      'Invalid vocab_size in v: expected 2 but got 1',
    );
    expect(() => tableFromTextFile(utf8('a'), { ...FORMAT, valueIndex: 1 }, 'string', 'int64', 'v')).toThrow(
      'Invalid number of columns in v line 0 (a)',
    );
    expect(() => tableFromTextFile(utf8('a\na'), FORMAT, 'string', 'int64', 'v')).toThrow('Duplicate key found in v: a');
    expect(() => tableFromTextFile(utf8('x'), { ...FORMAT, keyIndex: -2 }, 'int64', 'int64', 'v')).toThrow(
      'Field x in line 0 of v is not a valid int64.',
    );
  });

  test('a key that comes twice with one value is one entry, with two values an error', () => {
    const table = tableFromTensors(words('a', 'a', 'b'), int64s([3], [1, 1, 2]));
    expect(exportTable(table)[1].data).toEqual(BigInt64Array.of(1n, 2n));
    expect(() => tableFromTensors(words('a', 'a'), int64s([2], [1, 2]))).toThrow('HashTable has different value for same key.');
  });

  test('a lookup of another dtype is refused', () => {
    const table = tableFromTensors(words('a'), int64s([1], [1]));
    expect(() => findInTable(table, int64s([1], [1]), int64s([], [0]))).toThrow('Key must be type string but got int64');
  });

  test('an unknown word goes to the bucket of its fingerprint, behind the known ids', () => {
    const table = tableFromTensors(words('a'), int64s([1], [0]));
    // The fingerprints of these modulo 3 are TensorFlow's documented 0, 2, 2.
    const ids = idsWithBuckets(table, words('Hello', 'a', 'TensorFlow', '2.x'), 3, { kind: 'fast' });
    expect(ids.data).toEqual(BigInt64Array.of(1n, 0n, 3n, 3n));
  });
});

describe('BoostedTreesBucketize', () => {
  test('finds the first boundary that is not below the value, the last one beyond them all', () => {
    const float = (...values: number[]) => ({ dtype: 'float' as const, shape: [values.length], data: Float32Array.from(values) });
    const attrs = { int: () => 1 } as unknown as Parameters<NonNullable<ReturnType<typeof HOST_OPS.get>>>[1];
    const found = HOST_OPS.get('BoostedTreesBucketize')?.([float(0, 1, 1.5, 9), float(1, 2, 3)], attrs);
    expect(found?.[0]?.data).toEqual(Int32Array.of(0, 0, 1, 2));
  });
});
