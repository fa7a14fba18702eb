import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ServeError } from '#mesh/errors.ts';
import { readSortedTable } from '../../../savedmodel/read/sorted-table.ts';
import { fixed32, masked, type TableLayout, writeSortedTable } from './table-writer.ts';

/** Keys that share prefixes, as the names of variables do. */
const key = fc
  .tuple(
    fc.constantFrom('', 'model/', 'model/layer_1/', 'model/layer_1/kernel', '\x00\xff'),
    fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 8 }),
  )
  .map((parts) => parts.join(''));
const entries = fc
  .dictionary(key, fc.uint8Array({ maxLength: 40 }), { noNullPrototype: true, maxKeys: 60 })
  .map((values) => Object.entries(values).sort(([one], [other]) => (one < other ? -1 : 1)));
const layout: fc.Arbitrary<TableLayout> = fc.record({
  blockBytes: fc.constantFrom(1, 64, 400, 1 << 20),
  restartInterval: fc.constantFrom(1, 3, 16),
  compression: fc.constantFrom('none', 'snappy', 'snappy with long offsets'),
});

const plain = (table: Iterable<readonly [string, Uint8Array]>) =>
  [...table].map(([name, value]) => [name, Buffer.from(value).toString('hex')]);
const read = (bytes: Uint8Array) => {
  try {
    return plain(readSortedTable('x.index', bytes));
  } catch (error) {
    return error;
  }
};

describe('readSortedTable', () => {
  test('gives back all entries, whatever blocks, restarts and compression', () => {
    fc.assert(
      fc.property(entries, layout, (written, how) => {
        expect(plain(readSortedTable('x.index', writeSortedTable(written, how)))).toEqual(plain(written));
      }),
    );
  });

  test('a flipped bit or a cut is DATA_LOSS that names the file, or hits bytes that say nothing', () => {
    fc.assert(
      fc.property(entries, layout, fc.nat(), fc.nat({ max: 7 }), fc.boolean(), (written, how, place, bit, cut) => {
        const bytes = writeSortedTable(written, how);
        const at = place % bytes.byteLength;
        const result = read(cut ? bytes.slice(0, at) : bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit)));
        if (result instanceof Error) {
          expect(result instanceof ServeError && `${result.code}: ${result.message}`).toMatch(/^DATA_LOSS: x\.index is damaged/);
        } else expect(result).toEqual(plain(written));
      }),
      { numRuns: 400 },
    );
  });

  const one = writeSortedTable([['key', Uint8Array.of(1, 2, 3)]], { blockBytes: 1, restartInterval: 1, compression: 'none' });

  test.each<readonly [string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(0), /x\.index is damaged at byte 0: .*footer of 48 bytes/],
    ['another magic number', one.with(one.byteLength - 1, 0), new RegExp(`damaged at byte ${one.byteLength - 8}: .*magic number`)],
    ['a block whose bytes changed', one.with(4, 0x7a), /damaged at byte 0: a block of 17 bytes has checksum \d+, \d+ was written/],
  ])('says what is wrong with %s', (_, bytes, message) => {
    expect(() => readSortedTable('x.index', bytes)).toThrow(message);
  });

  test('refuses a compression that it does not know although the checksum is right', () => {
    const bytes = one.slice();
    bytes[17] = 4;
    bytes.set(fixed32(masked(bytes.subarray(0, 18))), 18);
    expect(() => readSortedTable('x.index', bytes)).toThrow(/compression 4/);
  });

  test('refuses keys that are out of order', () => {
    const bytes = writeSortedTable(
      [
        ['b', new Uint8Array(1)],
        ['a', new Uint8Array(1)],
      ],
      { blockBytes: 1, restartInterval: 1, compression: 'none' },
    );
    expect(() => readSortedTable('x.index', bytes)).toThrow(/out of order/);
  });

  test('refuses an index that names one block again and again, which would be read as often', () => {
    const none = Uint8Array.of(0, 0, 0, 0);
    const handle = Uint8Array.of(0, none.byteLength);
    const index = Buffer.concat([...['a', 'b'].map((name) => Buffer.concat([Uint8Array.of(0, 1, 2), Buffer.from(name), handle])), none]);
    const stored = (block: Uint8Array) => {
      const withType = Buffer.concat([block, Uint8Array.of(0)]);
      return Buffer.concat([withType, fixed32(masked(withType))]);
    };
    const footer = new Uint8Array(48);
    footer.set([...handle, stored(none).byteLength, index.byteLength]);
    footer.set(one.subarray(one.byteLength - 8), 40);
    expect(() => readSortedTable('x.index', new Uint8Array(Buffer.concat([stored(none), stored(index), footer])))).toThrow(
      /the blocks of the table are out of order/,
    );
  });

  test('refuses a key longer than any name, before its entries share it thousands of times', () => {
    const bytes = writeSortedTable([['k'.repeat(20_000), new Uint8Array(1)]], { blockBytes: 1, restartInterval: 1, compression: 'none' });
    expect(() => readSortedTable('x.index', bytes)).toThrow(/the key at byte 0 has 20000 bytes, at most 16384 are read/);
  });
});
