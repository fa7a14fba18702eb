import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sliceKey } from '../../../savedmodel/read/slice-key.ts';

const hex = (key: string) => Buffer.from(key, 'latin1').toString('hex');
const WHOLE = { start: 0, length: -1 };

describe('sliceKey', () => {
  test.each([
    // 00 | name, 00 01 | rank | start, length of each dimension
    ['a scalar', 'v', [], '00' + '760001' + '00'],
    ['a whole dimension', 'v', [WHOLE], '00' + '760001' + '0101' + '80' + '7f'],
    ['numbers of one byte', 'v', [{ start: 63, length: 1 }], '00' + '760001' + '0101' + 'bf' + '81'],
    ['numbers of two bytes', 'v', [{ start: 64, length: 8191 }], '00' + '760001' + '0101' + 'c040' + 'dfff'],
    ['numbers of three bytes', 'v', [{ start: 8192, length: 1048575 }], '00' + '760001' + '0101' + 'e02000' + 'efffff'],
    ['a number of nine bytes', 'v', [{ start: 0, length: 2 ** 60 }], '00' + '760001' + '0101' + '80' + 'ff9000000000000000'],
    ['two dimensions', 'v', [WHOLE, { start: 2, length: 3 }], '00' + '760001' + '0102' + '807f' + '8283'],
    ['bytes to escape', 'a\0b', [], '00' + '6100ff62' + '0001' + '00'],
  ])('encodes %s', (_, name, extents, expected) => {
    expect(hex(sliceKey(name, extents))).toBe(expected);
  });

  test('orders as the starts of the slices do', () => {
    const start = fc.oneof(fc.nat({ max: 300 }), fc.maxSafeNat());
    fc.assert(
      fc.property(start, start, (one, other) => {
        const keys = [one, other].map((value) => sliceKey('v', [{ start: value, length: 1 }]));
        expect(Math.sign(Buffer.compare(Buffer.from(keys[0] ?? '', 'latin1'), Buffer.from(keys[1] ?? '', 'latin1')))).toBe(
          Math.sign(one - other),
        );
      }),
    );
  });
});
