import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileRegex, regexSupported } from '../../../savedmodel/host/regex.ts';
import { regexMachine } from '../../../savedmodel/host/regex-machine.ts';
import { matcher, wholeMatcher } from '../../../savedmodel/host/regex-matcher.ts';
import { bytesOfText, textOfBytes } from '../../../savedmodel/host/utf8-text.ts';

describe('regular expressions that mean something else in JavaScript are refused', () => {
  const refused: readonly (readonly [string, string])[] = [
    ['\\C', 'a byte'],
    ['(?=a)', 'invalid perl operator: (?='],
    ['a++', 'bad repetition operator: ++'],
    ['\\1', 'invalid escape sequence: \\1'],
  ];
  test.each(refused)('%s is refused: %s', (pattern, why) => {
    expect(regexSupported(pattern)).toEqual({ supported: false, why: expect.stringContaining(why) });
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

describe('the linear-time machine', () => {
  const spanText = (pattern: string, text: string) =>
    Array.from(matcher(compileRegex(pattern), [])(text), (match) => `${match.start}-${match.end}`).join(' ');

  test.each(['(a+)+$', '(a|a)*$', '(a|aa)+$', '(aa?)*$', '(a*)*$', 'a*a*a*a*$', '(a?){50}(a){50}$'])(
    'ends on a text that is hostile to %s',
    (pattern) => {
      const hostile = `${'a'.repeat(20_000)}b`;
      expect(wholeMatcher(compileRegex(pattern))(hostile)).toBe(false);
    },
  );

  test('ends on a long run before a place that never comes', () => {
    expect(spanText('\\s+$', `${' '.repeat(3000)}x`)).toBe('');
    expect(spanText('\\s+$', `${'x '.repeat(3000)}`)).toBe('5999-6000');
  });

  test('finds no place within a character of two code units', () => {
    expect(spanText('$', '\u{1F600}')).toBe('2-2');
    expect(spanText('\\B', '\u{1F600}')).toBe('0-0 2-2');
  });

  test('finds the matches and groups that JavaScript finds, where JavaScript can be trusted', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      'ab',
      '[ab]',
      '.',
      '(a)',
      '(b|ab)',
      'a*',
      'b+',
      'a?',
      'a*?',
      '[^a]{1,2}',
      '^',
      '$',
      '\\b',
      '(a+)(b)',
    );
    fc.assert(
      fc.property(
        fc.array(atom, { minLength: 1, maxLength: 4 }),
        fc.constantFrom('', '|'),
        fc.string({ unit: fc.constantFrom('a', 'b', ' ', 'é'), maxLength: 9 }),
        (atoms, between, text) => {
          const compiled = compileRegex(atoms.join(between));
          const wanted = text.search(new RegExp(compiled.source, 'u'));
          const found = regexMachine(compiled.tree, compiled.groups).search(text, 0);
          expect(found?.[0] ?? -1).toBe(wanted);
          const groups = new RegExp(compiled.source, 'u').exec(text);
          const own =
            found === undefined
              ? null
              : Array.from({ length: compiled.groups + 1 }, (_, group) =>
                  (found[2 * group + 1] ?? -1) < 0 ? undefined : text.slice(found[2 * group], found[2 * group + 1]),
                );
          expect(own).toEqual(groups === null ? null : [...groups]);
        },
      ),
      { seed: 7, numRuns: 2000 },
    );
  });
});

describe('a pattern that would take JavaScript for ever', () => {
  test('of many optional pieces is matched by the machine', () => {
    expect(wholeMatcher(compileRegex('a?'.repeat(60)))('a'.repeat(61))).toBe(false);
    expect(wholeMatcher(compileRegex('a?'.repeat(60)))('a'.repeat(60))).toBe(true);
  });

  test('of groups in groups without end is refused, and those that people write are not', () => {
    const nested = (depth: number) => `${'('.repeat(depth)}a${')'.repeat(depth)}`;
    expect(() => compileRegex(nested(50_000))).toThrow(/groups nested deeper than 250/);
    expect(() => compileRegex(nested(50_000).replaceAll('(', '(?:'))).toThrow(/groups nested deeper than 250/);
    expect(wholeMatcher(compileRegex(nested(200)))('a')).toBe(true);
  });
});

test('any bytes survive as text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      expect([...bytesOfText(textOfBytes(bytes))]).toEqual([...bytes]);
    }),
  );
});
