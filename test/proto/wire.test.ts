import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { ServeError } from '#mesh/errors.ts';
import { MAX_DEPTH, varintBytes, WIRE, WireReader, WireWriter } from '#proto/wire.ts';

const bigints = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

describe('the wire format', () => {
  test('64-bit integers come back exactly, and take the bytes that protobufjs takes', () => {
    fc.assert(
      fc.property(fc.oneof(bigints, fc.integer().map(BigInt)), (value) => {
        const bytes = new WireWriter().int64(value).finish();
        expect(new WireReader(bytes).int64Exact()).toBe(value);
        const expected = protobuf.Writer.create().int64(value.toString()).finish();
        expect(Array.from(bytes)).toEqual(Array.from(expected));
      }),
    );
  });

  test('numbers to 2^53 come back exactly without bigint, and their size is foretold', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const bytes = new WireWriter().varint(value).finish();
        expect(new WireReader(bytes).int64()).toBe(value);
        expect(bytes.byteLength).toBe(value < 0 ? 10 : varintBytes(value));
      }),
    );
  });

  test('an integer beyond 2^53 reads as a number that is no safe integer', () => {
    const bytes = new WireWriter().int64(2n ** 53n + 1n).finish();
    expect(Number.isSafeInteger(new WireReader(bytes).int64())).toBe(false);
  });

  test('a nested message has the right length whatever was expected', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.integer({ min: 0, max: 20_000 }), (body, guess) => {
        const writer = new WireWriter(16);
        writer.stringField(1, 'before');
        writer.delimited(2, () => void writer.raw(body), guess);
        writer.stringField(3, 'after');
        const reader = new WireReader(writer.finish());
        reader.tag();
        expect(reader.text()).toBe('before');
        expect(reader.tag()).toBe(2 * 8 + WIRE.bytes);
        expect(Array.from(reader.view())).toEqual(Array.from(body));
        reader.tag();
        expect(reader.text()).toBe('after');
        expect(reader.more()).toBe(false);
      }),
    );
  });

  test('text of any script comes back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 100 }), (text) => {
        const reader = new WireReader(new WireWriter(16).stringField(1, text).finish());
        reader.tag();
        expect(reader.text()).toBe(text);
      }),
    );
  });

  test('unknown fields of every wire type are passed over, groups within groups too', () => {
    const writer = new WireWriter()
      .varintField(9, 1n << 63n)
      .doubleField(8, 1)
      .floatField(7, 1)
      .stringField(6, 'x');
    writer.tag(5, WIRE.startGroup).tag(4, WIRE.startGroup).varintField(1, 5).tag(4, WIRE.endGroup).tag(5, WIRE.endGroup).varintField(1, 42);
    const reader = new WireReader(writer.finish());
    const fields: number[] = [];
    for (let tag = reader.tag(); tag >>> 3 !== 1; tag = reader.tag()) {
      fields.push(tag >>> 3);
      reader.skip(tag);
    }
    expect(fields).toEqual([9, 8, 7, 6, 5]);
    expect(reader.int32()).toBe(42);
  });

  const broken: readonly (readonly [string, readonly number[]])[] = [
    ['a number without end', [0x08, 0x80]],
    ['a number longer than ten bytes', [0x08, ...new Array<number>(10).fill(0x80), 1]],
    ['a length beyond the end', [0x0a, 5, 1]],
    ['a length of 2^60', [0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]],
    ['a fixed value cut off', [0x0d, 1, 2]],
    ['field number 0', [0x00, 1]],
    ['wire type 7', [0x0f, 1]],
    ['a group that never ends', [0x0b, 0x08, 1]],
    ['a group that ends as another', [0x0b, 0x14]],
    ['an end without a group', [0x0c]],
    ['groups nested too deep', new Array<number>(MAX_DEPTH + 5).fill(0x0b)],
  ];
  test.each(broken)('%s is refused', (_, bytes) => {
    const reader = new WireReader(Uint8Array.from(bytes));
    expect(() => reader.skip(reader.tag())).toThrow(ServeError);
  });
});
