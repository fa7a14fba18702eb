/** Strings in JSON text: RapidJSON's rules of what they may hold, and the bytes they stand for. */
import { fail } from './json-problem.ts';

/** Checks a string whose first byte is at `start`; returns the offset of its closing quote. */
export function checkString(bytes: Uint8Array, start: number): number {
  let at = start;
  for (;;) {
    const byte = bytes[at] ?? 0;
    if (byte === 0x22) return at;
    if (byte === 0x5c) at = checkEscape(bytes, at);
    else if (byte === 0) fail('quote', at);
    else if (byte < 0x20) fail('escape', at);
    else at++;
  }
}

const SIMPLE_ESCAPES: ReadonlyMap<number, number> = new Map(
  [...'"\\/bfnrt'].map((letter, index) => [letter.charCodeAt(0), [0x22, 0x5c, 0x2f, 8, 12, 10, 13, 9][index] ?? 0]),
);

function checkEscape(bytes: Uint8Array, at: number): number {
  const letter = bytes[at + 1] ?? 0;
  if (SIMPLE_ESCAPES.has(letter)) return at + 2;
  if (letter !== 0x75) fail('escape', at);
  const unit = hex4(bytes, at + 2);
  if (unit === undefined) return fail('hex', at);
  if (unit < 0xd800 || unit > 0xdbff) return at + 6;
  if (bytes[at + 6] !== 0x5c || bytes[at + 7] !== 0x75) fail('surrogate', at);
  const low = hex4(bytes, at + 8);
  if (low === undefined) return fail('hex', at);
  if (low < 0xdc00 || low > 0xdfff) fail('surrogate', at);
  return at + 12;
}

function hex4(bytes: Uint8Array, at: number): number | undefined {
  let value = 0;
  for (let index = at; index < at + 4; index++) {
    const digit = Number.parseInt(String.fromCharCode(bytes[index] ?? 0), 16);
    if (Number.isNaN(digit)) return undefined;
    value = value * 16 + digit;
  }
  return value;
}

/** Resolves the escapes of a checked string. A lone low surrogate becomes three bytes, as RapidJSON writes it. */
export function resolveEscapes(raw: Uint8Array): Uint8Array {
  let from = raw.indexOf(0x5c);
  if (from < 0) return raw;
  const out = new Uint8Array(raw.byteLength);
  let copied = 0;
  let length = 0;
  const put = (byte: number) => {
    out[length++] = byte;
  };
  for (; from >= 0; from = raw.indexOf(0x5c, copied)) {
    out.set(raw.subarray(copied, from), length);
    length += from - copied;
    const letter = raw[from + 1] ?? 0;
    if (letter !== 0x75) {
      put(SIMPLE_ESCAPES.get(letter) ?? letter);
      copied = from + 2;
      continue;
    }
    let code = hex4(raw, from + 2) ?? 0;
    copied = from + 6;
    if (code >= 0xd800 && code <= 0xdbff) {
      code = 0x10000 + ((code - 0xd800) << 10) + ((hex4(raw, from + 8) ?? 0) - 0xdc00);
      copied = from + 12;
    }
    if (code < 0x80) put(code);
    else if (code < 0x800) {
      put(0xc0 | (code >> 6));
      put(0x80 | (code & 63));
    } else {
      if (code < 0x10000) put(0xe0 | (code >> 12));
      else {
        put(0xf0 | (code >> 18));
        put(0x80 | ((code >> 12) & 63));
      }
      put(0x80 | ((code >> 6) & 63));
      put(0x80 | (code & 63));
    }
  }
  out.set(raw.subarray(copied), length);
  return out.subarray(0, length + raw.byteLength - copied);
}
