/** Where the slices of a partitioned variable lie in a TensorBundle's index: keys in TensorFlow's OrderedCode. */
import { utf8 } from '#mesh/bytes.ts';

/** One dimension of a slice: `length` elements from `start` on; -1: all of them. */
export interface Extent {
  readonly start: number;
  readonly length: number;
}

/** The index key of a slice, as a byte string (one UTF-16 unit per byte). Starts with a zero byte, as no variable's own key does. */
export function sliceKey(name: string, extents: readonly Extent[]): string {
  const bytes = [...orderedNumber(0), ...orderedString(utf8(name)), ...orderedNumber(extents.length)];
  for (const { start, length } of extents) bytes.push(...orderedSigned(start), ...orderedSigned(length));
  return Buffer.from(bytes).toString('latin1');
}

/** A number from 0 up: its count of bytes, then the bytes, most significant first. */
function orderedNumber(value: number): number[] {
  const bytes = bigEndian(BigInt(value));
  return [bytes.length, ...bytes];
}

/** A string: 00 and ff are escaped, so that 00 01 can end it. */
function orderedString(bytes: Uint8Array): number[] {
  const escaped: number[] = [];
  for (const byte of bytes) {
    escaped.push(byte);
    if (byte === 0x00) escaped.push(0xff);
    if (byte === 0xff) escaped.push(0x00);
  }
  return [...escaped, 0x00, 0x01];
}

/** A signed number in n bytes of two's complement whose first n bits are inverted; they all repeat the sign, so 7n - 1 bits hold the value. */
function orderedSigned(value: number): number[] {
  const wide = BigInt(value);
  const magnitude = value < 0 ? ~wide : wide;
  const bits = magnitude === 0n ? 0 : magnitude.toString(2).length;
  const byteCount = Math.max(1, Math.ceil((bits + 1) / 7));
  // `byteCount` ones from the top, then a zero: for 8 bytes and less within the first byte, for more reaching into the second.
  const header = ((1n << BigInt(byteCount)) - 1n) << BigInt(7 * byteCount);
  const encoded = BigInt.asUintN(8 * byteCount, wide) ^ header;
  return Array.from({ length: byteCount }, (_, index) => Number((encoded >> BigInt(8 * (byteCount - 1 - index))) & 0xffn));
}

function bigEndian(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = value; rest > 0n; rest >>= 8n) bytes.unshift(Number(rest & 0xffn));
  return bytes;
}
