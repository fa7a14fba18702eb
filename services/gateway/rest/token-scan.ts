/** The fast scan of strings, base64 objects and booleans; the companion of `number-scan.ts`, with the same rules. */
import { decodePlainBase64 } from './base64.ts';
import type { DenseColumn } from './dense-column.ts';
import { MAX_SCAN_RANK } from './dense-column.ts';

/** Scans a string, a `{"b64": …}` object, a boolean or a nest of lists of them into `column`; returns the offset after it or -1. */
export function scanTokens(buf: Buffer, from: number, column: DenseColumn): number {
  const { dims, open } = column;
  let { rank } = column;
  let depth = 0;
  let pos = skipSpace(buf, from);
  for (;;) {
    if (buf[pos] === 0x5b) {
      if (depth === rank || depth === MAX_SCAN_RANK) return -1;
      open[depth++] = 0;
      pos = skipSpace(buf, pos + 1);
      if (buf[pos] !== 0x5d) continue;
      if (rank < 0) rank = depth;
      if (rank !== depth || (dims[depth - 1] ?? 0) > 0) return -1;
      dims[--depth] = 0;
      pos++;
    } else {
      if (rank < 0) rank = depth;
      if (rank !== depth) return -1;
      pos = column.mode === 'bool' ? scanBool(buf, pos, column) : scanText(buf, pos, column);
      if (pos < 0) return -1;
    }
    for (;;) {
      if (depth === 0) {
        column.rank = rank;
        return pos;
      }
      const size = (open[depth - 1] ?? 0) + 1;
      open[depth - 1] = size;
      pos = skipSpace(buf, pos);
      const byte = buf[pos++];
      if (byte === 0x2c) break;
      if (byte !== 0x5d) return -1;
      depth--;
      const known = dims[depth] ?? -1;
      if (known < 0) dims[depth] = size;
      else if (known !== size) return -1;
    }
    pos = skipSpace(buf, pos);
  }
}

/** The offset of the first byte from `from` on that is no white space. */
export function skipSpace(buf: Buffer, from: number): number {
  let pos = from;
  for (;;) {
    const byte = buf[pos];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return pos;
    pos++;
  }
}

/** The offset of the closing quote of an escape-free string whose first byte is at `from`, or -1. */
export function scanString(buf: Buffer, from: number): number {
  for (let pos = from; ; pos++) {
    const byte = buf[pos];
    if (byte === 0x22) return pos;
    if (byte === undefined || byte === 0x5c || byte < 0x20) return -1;
  }
}

/** True when the value at `from` is an object whose first key is `b64`. */
export function startsBase64(buf: Buffer, from: number): boolean {
  if (buf[from] !== 0x7b) return false;
  const pos = skipSpace(buf, from + 1);
  return buf[pos] === 0x22 && buf[pos + 1] === 0x62 && buf[pos + 2] === 0x36 && buf[pos + 3] === 0x34 && buf[pos + 4] === 0x22;
}

function scanBool(buf: Buffer, from: number, column: DenseColumn): number {
  const isTrue = buf[from] === 0x74;
  const word = isTrue ? 'true' : 'false';
  for (let index = 0; index < word.length; index++) if (buf[from + index] !== word.charCodeAt(index)) return -1;
  const numbers = column.count === column.numbers.length ? column.grow() : column.numbers;
  numbers[column.count++] = isTrue ? 1 : 0;
  return from + word.length;
}

function scanText(buf: Buffer, from: number, column: DenseColumn): number {
  if (buf[from] === 0x22) {
    const end = scanString(buf, from + 1);
    if (end < 0) return -1;
    column.strings.push(buf.subarray(from + 1, end));
    return end + 1;
  }
  if (!startsBase64(buf, from)) return -1;
  let pos = skipSpace(buf, buf.indexOf(0x22, from) + 5);
  if (buf[pos] !== 0x3a) return -1;
  pos = skipSpace(buf, pos + 1);
  if (buf[pos] !== 0x22) return -1;
  const end = buf.indexOf(0x22, pos + 1);
  if (end < 0) return -1;
  // An escape inside is no base64 and fails here: the slow path resolves it.
  const decoded = decodePlainBase64(buf, pos + 1, end);
  if (decoded === undefined) return -1;
  column.strings.push(decoded);
  pos = skipSpace(buf, end + 1);
  return buf[pos] === 0x7d ? pos + 1 : -1;
}
