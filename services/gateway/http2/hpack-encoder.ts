/**
 * Writes header blocks (HPACK, RFC 7541) that leave the dynamic table alone: the same fields are then the same bytes for every connection and
 * are encoded once. Names of the static table are indexed, values are literals without Huffman coding.
 */
import { STATIC_FIELDS } from './hpack-static.ts';

/** What a block begins with once a client has made its table smaller: our table is empty from here on (RFC 7541, section 4.2). */
export const EMPTY_TABLE_UPDATE = 0x20;

/** Encodes fields in order. Values are latin1 text. */
export function encodeHeaders(fields: Iterable<readonly [name: string, value: string]>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of fields) {
    const whole = STATIC_FIELDS.findIndex((field) => field.name === name && field.value === value);
    if (whole >= 0) {
      parts.push(integer(0x80, 7, whole + 1));
      continue;
    }
    const named = STATIC_FIELDS.findIndex((field) => field.name === name);
    parts.push(integer(0x00, 4, named + 1));
    if (named < 0) parts.push(...literal(name));
    parts.push(...literal(value));
  }
  return Buffer.concat(parts);
}

function literal(text: string): readonly Buffer[] {
  const bytes = Buffer.from(text, 'latin1');
  return [integer(0x00, 7, bytes.length), bytes];
}

/** An integer with `prefixBits` in its first byte, whose other bits are `flags` (RFC 7541, section 5.1). */
function integer(flags: number, prefixBits: number, value: number): Buffer {
  const most = (1 << prefixBits) - 1;
  if (value < most) return Buffer.of(flags | value);
  const bytes = [flags | most];
  let rest = value - most;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}
