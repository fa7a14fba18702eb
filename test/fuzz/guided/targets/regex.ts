/** Regular expressions of models, over texts of requests. */
import { compileRegex } from '../../../../savedmodel/host/regex.ts';
import { regexMachine } from '../../../../savedmodel/host/regex-machine.ts';
import { matcher, wholeMatcher } from '../../../../savedmodel/host/regex-matcher.ts';
import { textOfBytes } from '../../../../savedmodel/host/utf8-text.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

/** The pattern up to the first line feed, then the text. Whatever engine is chosen, the machine finds the same. */
function regex(bytes: Uint8Array): void {
  const end = bytes.indexOf(10);
  const pattern = Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8');
  const text = textOfBytes(end < 0 ? new Uint8Array(0) : bytes.subarray(end + 1));
  const compiled = orRefused(() => compileRegex(pattern));
  if (compiled === undefined) return;
  const machine = regexMachine(compiled.tree, compiled.groups);
  agree('a match of the whole', wholeMatcher(compiled)(text), machine.matchesWhole(text));
  const [first] = matcher(compiled, [0])(text);
  const places = machine.search(text, 0);
  agree('the first match', first === undefined ? [] : [first.start, first.end], places === undefined ? [] : [places[0], places[1]]);
}

const SEEDS = [
  'a(b|c)*d\nxabcbd',
  '^\\s+|[[:alpha:]]+\\b$\n  ab',
  '(?i)x{2,3}?[^a-z\\d]\nXX-',
  '(?P<n>é.)\\pL\nééa',
  '(a+)+$\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!',
  '\\Q.*\\E\\x{41}\n.*A',
];
const WORDS = [
  '(?:',
  '(?i)',
  '(?s)',
  '(?P<a>',
  ')',
  '[',
  ']',
  '[^',
  '[[:digit:]]',
  '\\d',
  '\\W',
  '\\b',
  '\\B',
  '\\A',
  '\\z',
  '\\pN',
  '\\p{Greek}',
  '*',
  '+',
  '??',
  '*?',
  '{2}',
  '{0,1000}',
  '{1001}',
  '|',
  '^',
  '$',
  '\\C',
  '\\x{10ffff}',
  '\\1',
  '(?=',
  '\xff',
  '\u{1f600}',
  '-',
  '&&',
  '.',
];

/** The target of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'regex',
    format: 'text',
    maxBytes: 300,
    covers: ['savedmodel/host/regex'],
    words: WORDS,
    seeds: () => SEEDS.map((seed) => Buffer.from(seed)),
    check: regex,
  },
];
