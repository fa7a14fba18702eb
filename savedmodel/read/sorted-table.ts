/** Reads LevelDB's sorted table, the form of a TensorBundle's index (google/leveldb, doc/table_format.md). */

import { malformed, WireReader } from '#proto/wire.ts';
import { maskedChecksum } from './checksum.ts';
import { damaged, parsePart } from './damaged.ts';
import { decompressSnappy } from './snappy.ts';

const FOOTER_BYTES = 48;
/** Behind each block: its compression, and the checksum of block and compression. */
const TRAILER_BYTES = 5;
const MAGIC_LOW = 0x8b80fb57;
const MAGIC_HIGH = 0xdb477524;
/** No variable's name is longer. Entries share beginnings: without a bound, some bytes each could make keys whose sum is the square of the file. */
const MOST_KEY_BYTES = 16 * 1024;
const COMPRESSION = { none: 0, snappy: 1 } as const;

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

/**
 * Reads all entries in order. Keys are byte strings, one UTF-16 unit per byte; values may be views of `bytes`. Every block's checksum is
 * compared. Throws ServeError DATA_LOSS that names `file`.
 */
export function readSortedTable(file: string, bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const blocksEnd = bytes.byteLength - FOOTER_BYTES;
  if (blocksEnd < 0) throw damaged(file, bytes.byteLength, `the file ends before a table's footer of ${FOOTER_BYTES} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magicAt = bytes.byteLength - 8;
  if (view.getUint32(magicAt, true) !== MAGIC_LOW || view.getUint32(magicAt + 4, true) !== MAGIC_HIGH) {
    throw damaged(file, magicAt, 'a table must end with its magic number, it does not (cut off, or not a variables index)');
  }
  const indexHandle = parsePart(file, blocksEnd, () => {
    const footer = new WireReader(bytes, blocksEnd, magicAt);
    readHandle(footer); // Of the meta index, which a TensorBundle leaves empty.
    return readHandle(footer);
  });
  const entries = new Map<string, Uint8Array>();
  let previousKey: string | undefined;
  let previousEnd = 0;
  for (const [, value] of readBlock(file, bytes, indexHandle)) {
    const handle = parsePart(file, indexHandle.offset, () => readHandle(new WireReader(value)));
    // Blocks lie in order: an index that names one again and again would have it read again and again.
    if (handle.offset < previousEnd) throw damaged(file, handle.offset, 'the blocks of the table are out of order');
    previousEnd = handle.offset + handle.size + TRAILER_BYTES;
    for (const [key, entry] of readBlock(file, bytes, handle)) {
      if (previousKey !== undefined && key <= previousKey) throw damaged(file, handle.offset, 'the keys of the table are out of order');
      entries.set(key, entry);
      previousKey = key;
    }
  }
  return entries;
}

function readHandle(reader: WireReader): BlockHandle {
  const offset = reader.uint64();
  return { offset, size: reader.uint64() };
}

function readBlock(file: string, bytes: Uint8Array, { offset, size }: BlockHandle): (readonly [string, Uint8Array])[] {
  const most = bytes.byteLength - FOOTER_BYTES - TRAILER_BYTES;
  if (offset > most || size > most - offset) {
    throw damaged(file, Math.min(offset, bytes.byteLength), `a block of ${size} bytes does not fit the file's ${bytes.byteLength}`);
  }
  const end = offset + size;
  const expected = new DataView(bytes.buffer, bytes.byteOffset).getUint32(end + 1, true);
  const found = maskedChecksum(bytes.subarray(offset, end + 1));
  if (expected !== found) {
    throw damaged(file, offset, `a block of ${size} bytes has checksum ${found}, ${expected} was written`);
  }
  const stored = bytes.subarray(offset, end);
  return parsePart(file, offset, () => readEntries(blockContent(stored, bytes[end] ?? 0)));
}

function blockContent(stored: Uint8Array, compression: number): Uint8Array {
  if (compression === COMPRESSION.none) return stored;
  if (compression === COMPRESSION.snappy) return decompressSnappy(stored);
  throw malformed(`a block has compression ${compression}, none (0) and snappy (1) are known`);
}

/** Entries share a prefix with the key before; restart points at the end, for searching, are not needed to read them all. */
function readEntries(block: Uint8Array): (readonly [string, Uint8Array])[] {
  const restartCount = block.byteLength >= 4 ? new DataView(block.buffer, block.byteOffset).getUint32(block.byteLength - 4, true) : -1;
  const end = block.byteLength - 4 * (restartCount + 1);
  if (restartCount < 0 || end < 0) throw malformed(`a block of ${block.byteLength} bytes cannot hold ${restartCount} restart points`);
  const reader = new WireReader(block, 0, end);
  const entries: (readonly [string, Uint8Array])[] = [];
  let key = '';
  while (reader.more()) {
    const at = reader.offset;
    const shared = reader.uint32();
    const suffixBytes = reader.uint32();
    const valueBytes = reader.uint32();
    if (shared > key.length) throw malformed(`the entry at byte ${at} shares ${shared} bytes with a key of ${key.length}`);
    key = key.slice(0, shared) + byteString(reader.fixed(suffixBytes));
    if (key.length > MOST_KEY_BYTES) throw malformed(`the key at byte ${at} has ${key.length} bytes, at most ${MOST_KEY_BYTES} are read`);
    entries.push([key, reader.fixed(valueBytes)]);
  }
  return entries;
}

function byteString(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
