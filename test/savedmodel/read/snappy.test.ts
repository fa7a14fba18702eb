import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { decompressSnappy } from '../../../savedmodel/read/snappy.ts';
import { compressSnappy } from './snappy-writer.ts';

/** Bytes with repetitions near and far. */
const compressible = fc
  .array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 80 }), fc.integer({ min: 1, max: 90 })), { maxLength: 12 })
  .map((parts) => new Uint8Array(Buffer.concat(parts.flatMap(([bytes, times]) => Array.from({ length: times }, () => bytes)))));

const caught = (act: () => unknown) => {
  try {
    return act();
  } catch (error) {
    return error;
  }
};

describe('decompressSnappy', () => {
  test('reads literals and each kind of copy as the format describes them', () => {
    // "ab", then a copy of 4 from 2 back (one-byte offset), of 3 from 1 back (two bytes), of 2 from 9 back (four bytes).
    const bytes = [11, 0x04, 0x61, 0x62, 0x01, 0x02, 0x0a, 0x01, 0x00, 0x07, 0x09, 0x00, 0x00, 0x00];
    expect(Buffer.from(decompressSnappy(Uint8Array.from(bytes))).toString()).toBe('abababbbbab');
  });

  test('gives back what was compressed', () => {
    fc.assert(
      fc.property(fc.oneof(compressible, fc.uint8Array({ maxLength: 3000 })), fc.boolean(), (bytes, longOffsets) => {
        expect(Buffer.from(decompressSnappy(compressSnappy(bytes, { longOffsets }))).equals(bytes)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test('literals longer than 64 KiB have lengths of three bytes', () => {
    const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => (index * index * 31 + (index >>> 7)) & 0xff);
    expect(Buffer.from(decompressSnappy(compressSnappy(bytes))).equals(bytes)).toBe(true);
  });

  test.each([
    ['a length that its bytes cannot hold', [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x61], /claims to hold 4294967295 bytes/],
    ['a copy from before the start', [4, 0x00, 0x61, 0x01, 0x02], /copy at byte 3 from 2 bytes back of 1/],
    ['a copy from no distance', [4, 0x00, 0x61, 0x01, 0x00], /from 0 bytes back/],
    ['more than was announced', [1, 0x04, 0x61, 0x62], /of 2 bytes, room for 1/],
    ['less than was announced', [3, 0x04, 0x61, 0x62], /ends after 2 of 3/],
    ['a literal that is cut off', [3, 0x08, 0x61], /message ends/],
    ['nothing', [], /cut off/],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => decompressSnappy(Uint8Array.from(bytes))).toThrow(message);
  });

  test('damage is refused or changes bytes, and never does anything else', () => {
    fc.assert(
      fc.property(compressible, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (bytes, place, flip, cut) => {
        const compressed = compressSnappy(bytes);
        const at = place % compressed.byteLength;
        const broken = cut ? compressed.slice(0, at) : compressed.with(at, (compressed[at] ?? 0) ^ flip);
        const result = caught(() => decompressSnappy(broken));
        expect(result instanceof Uint8Array || (result instanceof ServeError && result.code === 'INVALID_ARGUMENT')).toBe(true);
      }),
      { numRuns: 300 },
    );
    expect(decompressSnappy(compressSnappy(utf8('whole')))).toEqual(utf8('whole'));
  });
});
