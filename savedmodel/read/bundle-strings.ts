/** String tensors in a TensorBundle's shard: varint lengths, the checksum of the lengths, then the bytes of all elements. */
import { malformed, WireReader } from '#proto/wire.ts';
import { Checksum } from './checksum.ts';

/** The offsets of a string tensor are uint32. */
const MAX_DATA_BYTES = 0xffffffff;
const MAX_UINT32 = 0xffffffff;

/**
 * Packs the `count` strings of `stored` into the layout of `#mesh/tensor.ts`, and gives the masked checksum that the tensor's entry should
 * have. Throws INVALID_ARGUMENT, with the offset in `stored`, when lengths and bytes do not fit or the checksum of the lengths differs.
 */
export function unpackBundleStrings(stored: Uint8Array, count: number): { readonly bytes: Uint8Array; readonly checksum: number } {
  if (count > stored.byteLength) throw malformed(`${stored.byteLength} bytes cannot hold ${count} strings`);
  const reader = new WireReader(stored);
  const headerBytes = 4 * (count + 1);
  const header = new DataView(new ArrayBuffer(headerBytes));
  const lengths = new Checksum();
  const fixed = new DataView(new ArrayBuffer(8));
  let end = 0;
  for (let index = 0; index < count; index++) {
    const length = reader.uint64();
    end += length;
    if (end > MAX_DATA_BYTES) throw malformed(`strings of 4 GiB or more before byte ${reader.offset}`);
    header.setUint32(4 * (index + 1), end, true);
    // The checksum is over lengths of four bytes; of eight beyond 4 GiB, which are refused above.
    fixed.setUint32(0, Math.min(length, MAX_UINT32), true);
    lengths.update(new Uint8Array(fixed.buffer, 0, 4));
  }
  const lengthsChecksum = reader.fixed(4);
  const expected = new DataView(lengthsChecksum.buffer, lengthsChecksum.byteOffset, 4).getUint32(0, true);
  if (expected !== lengths.masked()) {
    throw malformed(`the lengths of ${count} strings have checksum ${lengths.masked()}, ${expected} was written`);
  }
  if (stored.byteLength - reader.offset !== end) {
    throw malformed(`${stored.byteLength - reader.offset} bytes of strings where their lengths add up to ${end}`);
  }
  const data = stored.subarray(reader.offset);
  const bytes = new Uint8Array(headerBytes + end);
  bytes.set(new Uint8Array(header.buffer));
  bytes.set(data, headerBytes);
  return { bytes, checksum: lengths.update(lengthsChecksum).update(data).masked() };
}
