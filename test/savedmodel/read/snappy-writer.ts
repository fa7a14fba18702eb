/** Compresses to Snappy's raw format: plain, but with every kind of element. For tests of the reader. */
import { WireWriter } from '#proto/wire.ts';

/** Compresses greedily; `longOffsets` writes copies with offsets of four bytes. */
export function compressSnappy(bytes: Uint8Array, { longOffsets = false } = {}): Uint8Array {
  const out: number[] = [...new WireWriter().varint(bytes.byteLength).finish()];
  const seen = new Map<number, number>();
  let literalStart = 0;
  let at = 0;
  while (at + 4 <= bytes.byteLength) {
    const word = ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
    const from = seen.get(word);
    seen.set(word, at);
    if (from === undefined) {
      at++;
      continue;
    }
    let length = 4;
    while (at + length < bytes.byteLength && bytes[from + length] === bytes[at + length]) length++;
    pushLiteral(out, bytes.subarray(literalStart, at));
    pushCopies(out, at - from, length, longOffsets);
    at += length;
    literalStart = at;
  }
  pushLiteral(out, bytes.subarray(literalStart));
  return Uint8Array.from(out);
}

function pushLiteral(out: number[], literal: Uint8Array): void {
  if (literal.byteLength === 0) return;
  const last = literal.byteLength - 1;
  if (last < 60) out.push(last << 2);
  else if (last < 0x100) out.push(60 << 2, last);
  else if (last < 0x10000) out.push(61 << 2, last & 0xff, last >>> 8);
  else out.push(62 << 2, last & 0xff, (last >>> 8) & 0xff, last >>> 16);
  for (const byte of literal) out.push(byte);
}

function pushCopies(out: number[], offset: number, length: number, longOffsets: boolean): void {
  for (let left = length; left > 0; ) {
    const now = Math.min(left, 64);
    if (longOffsets || offset > 0xffff)
      out.push(((now - 1) << 2) | 3, offset & 0xff, (offset >>> 8) & 0xff, (offset >>> 16) & 0xff, offset >>> 24);
    else if (now >= 4 && now <= 11 && offset < 2048) out.push(((offset >>> 8) << 5) | ((now - 4) << 2) | 1, offset & 0xff);
    else out.push(((now - 1) << 2) | 2, offset & 0xff, offset >>> 8);
    left -= now;
  }
}
