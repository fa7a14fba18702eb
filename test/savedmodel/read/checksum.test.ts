import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Checksum, maskedChecksum } from '../../../savedmodel/read/checksum.ts';
import { masked } from './table-writer.ts';

/** Turns a masked checksum back, as LevelDB's crc32c.h does. */
const unmask = (value: number) => {
  const rotated = (value - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
};

describe('Checksum', () => {
  test.each([
    ['32 zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['0 to 31', Uint8Array.from({ length: 32 }, (_, index) => index), 0x46dd794e],
    ['31 to 0', Uint8Array.from({ length: 32 }, (_, index) => 31 - index), 0x113fdb5c],
  ])('has the value of RFC 3720 for %s', (_, bytes, expected) => {
    expect(unmask(maskedChecksum(bytes))).toBe(expected);
  });

  test('is that of the table of one byte, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 }), (pieces) => {
        const checksum = new Checksum();
        for (const piece of pieces) checksum.update(piece);
        expect(checksum.masked()).toBe(masked(Buffer.concat(pieces)));
      }),
    );
  });
});
