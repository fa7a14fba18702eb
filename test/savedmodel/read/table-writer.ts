/** Writes LevelDB's sorted tables. For tests of the reader. */
import { crc32c } from '#proto/crc32c.ts';
import { WireWriter } from '#proto/wire.ts';
import { compressSnappy } from './snappy-writer.ts';

/** How a table is laid out. */
export interface TableLayout {
  /** A data block is closed when it has this many bytes. */
  readonly blockBytes: number;
  /** Every so many entries a key is written whole. */
  readonly restartInterval: number;
  readonly compression: 'none' | 'snappy' | 'snappy with long offsets';
}

/** The table of entries, which must be sorted by their keys (byte strings, one UTF-16 unit per byte). */
export function writeSortedTable(entries: readonly (readonly [string, Uint8Array])[], layout: TableLayout): Uint8Array {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const writeBlock = (block: readonly (readonly [string, Uint8Array])[]): Uint8Array => {
    const raw = blockOf(block, layout.restartInterval);
    const stored = layout.compression === 'none' ? raw : compressSnappy(raw, { longOffsets: layout.compression !== 'snappy' });
    const withType = Buffer.concat([stored, Uint8Array.of(layout.compression === 'none' ? 0 : 1)]);
    const handle = new WireWriter().varint(length).varint(stored.byteLength).finish();
    chunks.push(withType, fixed32(masked(withType)));
    length += withType.byteLength + 4;
    return handle;
  };
  const index: (readonly [string, Uint8Array])[] = [];
  let block: (readonly [string, Uint8Array])[] = [];
  let blockBytes = 0;
  for (const [position, entry] of entries.entries()) {
    block.push(entry);
    blockBytes += entry[0].length + entry[1].byteLength;
    if (blockBytes < layout.blockBytes && position < entries.length - 1) continue;
    index.push([entry[0], writeBlock(block)]);
    block = [];
    blockBytes = 0;
  }
  const footer = new Uint8Array(48);
  const metaIndex = writeBlock([]);
  footer.set(metaIndex);
  footer.set(writeBlock(index), metaIndex.byteLength);
  new DataView(footer.buffer).setBigUint64(40, 0xdb4775248b80fb57n, true);
  return new Uint8Array(Buffer.concat([...chunks, footer]));
}

/** LevelDB's mask over a CRC-32C. */
export function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Four bytes, little-endian. */
export function fixed32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function blockOf(entries: readonly (readonly [string, Uint8Array])[], restartInterval: number): Uint8Array {
  const writer = new WireWriter();
  const restarts: number[] = [0];
  let previous = '';
  for (const [index, [key, value]] of entries.entries()) {
    const isRestart = index % restartInterval === 0;
    if (isRestart && index > 0) restarts.push(writer.length);
    let shared = 0;
    if (!isRestart) while (shared < key.length && key[shared] === previous[shared]) shared++;
    const suffix = Buffer.from(key.slice(shared), 'latin1');
    writer.varint(shared).varint(suffix.byteLength).varint(value.byteLength).raw(suffix).raw(value);
    previous = key;
  }
  for (const restart of [...restarts, restarts.length]) writer.raw(fixed32(restart));
  return writer.finish();
}
