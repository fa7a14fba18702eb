import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HpackDecoder } from '../../../services/gateway/http2/hpack-decoder.ts';
import { encodeHeaders } from '../../../services/gateway/http2/hpack-encoder.ts';
import { ERROR } from '../../../services/gateway/http2/protocol.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const read = (decoder: HpackDecoder, block: Buffer) =>
  decoder.decode(block, 0, block.length).fields.map(({ name, value }) => `${name}: ${value}`);

const FIRST = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
const THIRD = [':method: GET', ':scheme: https', ':path: /index.html', ':authority: www.example.com', 'custom-key: custom-value'];
const DATE = 'date: Mon, 21 Oct 2013 20:13:21 GMT';
const LOCATION = 'location: https://www.example.com';
const COOKIE = 'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';

describe('the examples of RFC 7541', () => {
  test.each([
    [
      'C.2.1: a literal that is indexed',
      '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
      'custom-key: custom-header',
      55,
    ],
    ['C.2.2: a literal that is not', '040c 2f73 616d 706c 652f 7061 7468', ':path: /sample/path', 0],
    ['C.2.3: a literal that never is', '1008 7061 7373 776f 7264 0673 6563 7265 74', 'password: secret', 0],
    ['C.2.4: an index', '82', ':method: GET', 0],
  ])('%s', (_, block, field, tableBytes) => {
    const decoder = new HpackDecoder(65_536);
    expect(read(decoder, hex(block))).toEqual([field]);
    expect(decoder.tableBytes).toBe(tableBytes);
  });

  test.each<[string, string[], number, (readonly [string[], number])[]]>([
    [
      'C.3: requests without Huffman coding',
      [
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '8286 84be 5808 6e6f 2d63 6163 6865',
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      ],
      4096,
      [
        [FIRST, 57],
        [[...FIRST, 'cache-control: no-cache'], 110],
        [THIRD, 164],
      ],
    ],
    [
      'C.4: requests with Huffman coding',
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ],
      4096,
      [
        [FIRST, 57],
        [[...FIRST, 'cache-control: no-cache'], 110],
        [THIRD, 164],
      ],
    ],
    [
      'C.5: responses in a table of 256 bytes',
      [
        '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '4803 3330 37c1 c0bf',
        '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
      ],
      256,
      [
        [[':status: 302', 'cache-control: private', DATE, LOCATION], 222],
        [[':status: 307', 'cache-control: private', DATE, LOCATION], 222],
        [[':status: 200', 'cache-control: private', DATE.replace(':21 ', ':22 '), LOCATION, 'content-encoding: gzip', COOKIE], 215],
      ],
    ],
    [
      'C.6: the same with Huffman coding',
      [
        '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
        '4883 640e ffc1 c0bf',
        '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
      ],
      256,
      [
        [[':status: 302', 'cache-control: private', DATE, LOCATION], 222],
        [[':status: 307', 'cache-control: private', DATE, LOCATION], 222],
        [[':status: 200', 'cache-control: private', DATE.replace(':21 ', ':22 '), LOCATION, 'content-encoding: gzip', COOKIE], 215],
      ],
    ],
  ])('%s', (_, blocks, tableBytes, wanted) => {
    const decoder = new HpackDecoder(65_536, tableBytes);
    for (const [index, block] of blocks.entries()) {
      expect(read(decoder, hex(block))).toEqual(wanted[index]?.[0]);
      expect(decoder.tableBytes).toBe(wanted[index]?.[1]);
    }
  });
});

describe('a header block', () => {
  test.each([
    ['names entry 0', '80'],
    ['names an entry that is not there', 'be'],
    ['ends in a number', 'ff'],
    ['holds a number without an end', 'ff ff ff ff ff ff ff 01'],
    ['ends in a text', '40 0a 63'],
    ['ends before a value', '41'],
    ['asks for a table larger than allowed', '3f e2 1f'],
    ['changes the size of its table in the middle', '82 20'],
    ['has a Huffman code that is padded with zeros', '41 81 00'],
    ['has more than seven bits of padding', '41 82 07 ff'],
    ['holds the end of a string in Huffman code', '41 84 ff ff ff ff'],
  ])('that %s is a compression error', (_, block) => {
    expect(() => read(new HpackDecoder(65_536), hex(block))).toThrow(expect.objectContaining({ errorCode: ERROR.compression }));
  });

  test('with more than is allowed is read to its end and dropped', () => {
    const decoder = new HpackDecoder(100);
    const block = Buffer.concat([hex('400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572'), Buffer.alloc(1000, 0xbe)]);
    expect(decoder.decode(block, 0, block.length)).toEqual({ fields: [], tooLarge: true });
    // The table has what the block put there.
    expect(read(decoder, hex('be'))).toEqual(['custom-key: custom-header']);
  });

  test('a table that shrinks forgets its oldest fields, and one of no bytes forgets all', () => {
    const decoder = new HpackDecoder(65_536);
    read(decoder, hex('400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572 4001 6101 62'));
    expect(decoder.tableBytes).toBe(55 + 34);
    read(decoder, hex('3f 0f'));
    expect(decoder.tableBytes).toBe(34);
    read(decoder, hex('20'));
    expect(decoder.tableBytes).toBe(0);
    expect(() => read(decoder, hex('be'))).toThrow();
  });

  test('of ours reads back as it was written, and leaves the table alone', () => {
    const text = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 400 });
    const fields = fc.array(fc.tuple(fc.oneof(fc.constantFrom(':status', 'content-type', 'te'), text), fc.oneof(fc.constant('200'), text)));
    fc.assert(
      fc.property(fields, (wanted) => {
        const decoder = new HpackDecoder(2 ** 24);
        const block = encodeHeaders(wanted);
        expect(decoder.decode(block, 0, block.length).fields).toEqual(wanted.map(([name, value]) => ({ name, value })));
        expect(decoder.generation).toBe(0);
      }),
    );
  });
});
