import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { regexSupported } from '../../../savedmodel/host/regex.ts';
import { bytesOfText, textOfBytes } from '../../../savedmodel/host/utf8-text.ts';

describe('regular expressions that mean something else in JavaScript are refused', () => {
  const refused: readonly (readonly [string, string, string])[] = [
    ['\\C', '', 'a byte'],
    ['(|a)*', '', 'may prefer to match nothing'],
    ['(?:(a)|b)*', '\\1', 'inside a repetition'],
    ['(?=a)', '', 'invalid perl operator: (?='],
    ['a++', '', 'bad repetition operator: ++'],
    ['\\1', '', 'invalid escape sequence: \\1'],
  ];
  test.each(refused)('%s with the rewrite "%s" is refused: %s', (pattern, rewrite, why) => {
    expect(regexSupported(pattern, rewrite)).toEqual({ supported: false, why: expect.stringContaining(why) });
  });

  test('a repeated group itself may be named: both keep its last turn', () => {
    expect(regexSupported('(a|b)*', '\\1')).toEqual({ supported: true });
    expect(regexSupported('(?:(a)|b)*', '')).toEqual({ supported: true });
  });

  test('no text makes the translator fail with anything but a reason', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'ab()[]{}|*+?.^$\\-:pPdwsQEx0,1<>!iUm') }), (pattern) => {
        const verdict = regexSupported(pattern);
        if (!verdict.supported) expect(verdict.why).toMatch(/Invalid pattern: |JavaScript does not match/);
      }),
    );
  });
});

test('any bytes survive as text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      expect([...bytesOfText(textOfBytes(bytes))]).toEqual([...bytes]);
    }),
  );
});
