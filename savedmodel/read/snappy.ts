/** Decompresses Snappy's raw format (google/snappy, format_description.txt), as blocks of a TensorBundle's index use it. */
import { malformed, WireReader } from '#proto/wire.ts';

/** No element of the format makes more of its own bytes than this (a copy of 64 bytes takes at least two). */
const MAX_EXPANSION = 64;

/** Decompresses. Throws ServeError INVALID_ARGUMENT, with the offset in `bytes`, for what is not Snappy. */
export function decompressSnappy(bytes: Uint8Array): Uint8Array {
  const reader = new WireReader(bytes);
  const length = reader.uint64();
  if (length > bytes.byteLength * MAX_EXPANSION) {
    throw malformed(`snappy data of ${bytes.byteLength} bytes claims to hold ${length} bytes`);
  }
  const into = new Uint8Array(length);
  let filled = 0;
  while (reader.more()) {
    const at = reader.offset;
    const tag = byteOf(reader);
    const kind = tag & 3;
    if (kind === 0) {
      const literal = reader.fixed(literalLength(reader, tag >>> 2));
      checkRoom(literal.byteLength, length - filled, at);
      into.set(literal, filled);
      filled += literal.byteLength;
      continue;
    }
    const count = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const distance = kind === 1 ? ((tag >>> 5) << 8) | byteOf(reader) : littleEndian(reader, kind === 2 ? 2 : 4);
    if (distance === 0 || distance > filled) throw malformed(`snappy copy at byte ${at} from ${distance} bytes back of ${filled}`);
    checkRoom(count, length - filled, at);
    // Source and target may overlap: a copy repeats what it has just written.
    for (let index = 0; index < count; index++, filled++) into[filled] = into[filled - distance] ?? 0;
  }
  if (filled !== length) throw malformed(`snappy data ends after ${filled} of ${length} bytes`);
  return into;
}

/** Short lengths are in the tag; 60 to 63 say that one to four bytes with the length follow. */
function literalLength(reader: WireReader, tagged: number): number {
  return (tagged < 60 ? tagged : littleEndian(reader, tagged - 59)) + 1;
}

function littleEndian(reader: WireReader, byteCount: number): number {
  let value = 0;
  for (const [index, byte] of reader.fixed(byteCount).entries()) value += byte * 2 ** (8 * index);
  return value;
}

function byteOf(reader: WireReader): number {
  return reader.fixed(1)[0] ?? 0;
}

function checkRoom(wanted: number, room: number, at: number): void {
  if (wanted > room) throw malformed(`snappy element at byte ${at} of ${wanted} bytes, room for ${room}`);
}
