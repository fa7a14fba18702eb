/**
 * Bytes as JavaScript strings and back without loss. A byte that is not part of valid UTF-8 becomes the lone surrogate U+DC00 + byte
 * (so U+DC80 to U+DCFF), which valid UTF-8 cannot contain.
 */

const ESCAPE = 0xdc00;

/** Decodes UTF-8, keeping broken bytes as U+DC80 to U+DCFF. */
export function textOfBytes(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    if (length === 0) {
      text += String.fromCharCode(ESCAPE + (bytes[at] ?? 0));
      at++;
      continue;
    }
    text += String.fromCodePoint(codePointAt(bytes, at, length));
    at += length;
  }
  return text;
}

/** The bytes that `textOfBytes` made a text of. */
export function bytesOfText(text: string): Uint8Array {
  if (!/[\udc80-\udcff]/u.test(text)) return new Uint8Array(Buffer.from(text, 'utf8'));
  const bytes: number[] = [];
  for (const one of text) {
    const code = one.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - ESCAPE);
    else bytes.push(...Buffer.from(one, 'utf8'));
  }
  return Uint8Array.from(bytes);
}

/** The bytes of the valid UTF-8 sequence at `at` (1 to 4), or 0 if what is there is broken: overlong, surrogate, cut off, stray. */
export function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  const length = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) === 0xe0 ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  if (length === 0) return 0;
  return validPrefix(bytes, at, length) === length ? length : 0;
}

/** How many bytes from `at` fit the beginning of one valid sequence of `length` bytes: the part that one replacement character stands for. */
export function validPrefix(bytes: Uint8Array, at: number, length: number): number {
  const first = bytes[at] ?? 0;
  for (let index = 1; index < length; index++) {
    const byte = bytes[at + index];
    if (byte === undefined) return index;
    const low = index === 1 && first === 0xe0 ? 0xa0 : index === 1 && first === 0xf0 ? 0x90 : 0x80;
    const high = index === 1 && first === 0xed ? 0x9f : index === 1 && first === 0xf4 ? 0x8f : 0xbf;
    if (byte < low || byte > high) return index;
  }
  return length;
}

/** The code point of a valid sequence. */
export function codePointAt(bytes: Uint8Array, at: number, length: number): number {
  const first = bytes[at] ?? 0;
  if (length === 1) return first;
  let code = first & (0xff >> (length + 1));
  for (let index = 1; index < length; index++) code = (code << 6) | ((bytes[at + index] ?? 0) & 0x3f);
  return code;
}

/** ASCII text of bytes, byte by byte: for messages and numbers. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** The bytes of a text of code units up to 255. */
export function fromLatin1(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}
