/** Splits protobuf text format into tokens, each with its place. */
import { utf8 } from '#mesh/bytes.ts';
import type { ServeError } from '#mesh/errors.ts';

/** A token. Strings are decoded; the parts of a string that is written in several are separate tokens. */
export interface Token {
  readonly kind: 'name' | 'number' | 'string' | 'punctuation' | 'end';
  /** As written; what a string says is in `bytes`. */
  readonly text: string;
  readonly bytes?: Uint8Array;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

/** Where in the text something is. */
export type Place = Pick<Token, 'line' | 'column'>;

/** What a scanner's errors begin with, such as the message that is parsed. */
export type Complain = (place: Place, what: string) => ServeError;

const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const NUMBER = /(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?)/y;
const BLANK = /(?:[ \t\r\f\v\n]+|#[^\n]*)+/y;
const SIMPLE_ESCAPES: Readonly<Record<string, number>> = {
  n: 10,
  r: 13,
  t: 9,
  a: 7,
  b: 8,
  f: 12,
  v: 11,
  '\\': 92,
  "'": 39,
  '"': 34,
  '?': 63,
};

/** Scans a whole text; the last token is `end`. Throws what `complain` makes. */
export function scanText(text: string, complain: Complain): readonly Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let lineStart = 0;
  let at = 0;
  const matchAt = (pattern: RegExp) => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  for (;;) {
    const blank = matchAt(BLANK) ?? '';
    for (let index = blank.indexOf('\n'); index >= 0; index = blank.indexOf('\n', index + 1)) {
      line++;
      lineStart = at + index + 1;
    }
    at += blank.length;
    const place = { line, column: at - lineStart + 1 };
    const char = text[at];
    if (char === undefined) {
      tokens.push({ kind: 'end', text: '', ...place });
      return tokens;
    }
    const name = matchAt(NAME);
    const digits = name === undefined ? matchAt(NUMBER) : undefined;
    if (name !== undefined) tokens.push({ kind: 'name', text: name, ...place });
    else if (digits !== undefined) tokens.push({ kind: 'number', text: digits, ...place });
    else if (char === '"' || char === "'") {
      const { raw, bytes } = scanString(text, at, (what) => complain(place, what));
      tokens.push({ kind: 'string', text: raw, bytes, ...place });
      at += raw.length;
      continue;
    } else if ('{}<>[]:;,-./'.includes(char)) tokens.push({ kind: 'punctuation', text: char, ...place });
    else throw complain(place, `Invalid character "${char}".`);
    at += (name ?? digits ?? char).length;
  }
}

function scanString(
  text: string,
  start: number,
  complain: (what: string) => ServeError,
): { readonly raw: string; readonly bytes: Uint8Array } {
  const quote = text[start];
  const bytes: number[] = [];
  let at = start + 1;
  for (;;) {
    const code = text.codePointAt(at);
    const char = code === undefined ? undefined : String.fromCodePoint(code);
    if (char === undefined || char === '\n') throw complain('String literals cannot cross line boundaries.');
    if (char === quote) return { raw: text.slice(start, at + 1), bytes: Uint8Array.from(bytes) };
    if (char !== '\\') {
      if (char.length === 1 && char <= '\x7f') bytes.push(char.charCodeAt(0));
      else bytes.push(...utf8(char));
      at += char.length;
      continue;
    }
    const escaped = scanEscape(text, at + 1, complain);
    bytes.push(...escaped.bytes);
    at += 1 + escaped.length;
  }
}

function scanEscape(
  text: string,
  at: number,
  complain: (what: string) => ServeError,
): { readonly bytes: Iterable<number>; readonly length: number } {
  const simple = SIMPLE_ESCAPES[text[at] ?? ''];
  if (simple !== undefined) return { bytes: [simple], length: 1 };
  const octal = /^[0-7]{1,3}/.exec(text.slice(at, at + 3))?.[0];
  if (octal !== undefined) return { bytes: [Number.parseInt(octal, 8) & 0xff], length: octal.length };
  const hex = /^[xX]([0-9a-fA-F]{1,2})/.exec(text.slice(at, at + 3))?.[1];
  if (hex !== undefined) return { bytes: [Number.parseInt(hex, 16)], length: 1 + hex.length };
  const unicode = /^(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(text.slice(at, at + 9));
  if (unicode === null) throw complain('Invalid escape sequence in string literal.');
  let length = unicode[0].length;
  let point = Number.parseInt(unicode[1] ?? unicode[2] ?? '', 16);
  const low = /^\\u([dD][c-fC-F][0-9a-fA-F]{2})/.exec(text.slice(at + length, at + length + 6))?.[1];
  if (point >= 0xd800 && point < 0xdc00 && low !== undefined) {
    point = 0x10000 + (point - 0xd800) * 0x400 + (Number.parseInt(low, 16) - 0xdc00);
    length += 6;
  }
  if (point > 0x10ffff) throw complain('Invalid escape sequence in string literal.');
  return { bytes: utf8(String.fromCodePoint(point)), length };
}
