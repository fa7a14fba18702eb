/**
 * TFRecord files: records one after another, each as its length (uint64), the masked crc32c of the length, the data, and the masked crc32c
 * of the data, all little-endian. (Source: tensorflow/core/lib/io/record_writer.h.)
 */
import { ServeError } from '#mesh/errors.ts';
import { crc32c } from './crc32c.ts';

const HEADER_BYTES = 12;
const FOOTER_BYTES = 4;
const MASK_DELTA = 0xa282ead8;

/** The records of a file's bytes, as views, checked as they are reached. Throws DATA_LOSS naming the record's offset when one is broken or cut off. */
export function* readTfRecords(bytes: Uint8Array): Generator<Uint8Array, void, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = 0;
  while (offset < bytes.byteLength) {
    if (bytes.byteLength - offset < HEADER_BYTES) throw cutOff(offset, bytes.byteLength);
    if (view.getUint32(offset + 8, true) !== masked(bytes.subarray(offset, offset + 8))) throw corrupted(offset, 'length');
    const length = view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
    const start = offset + HEADER_BYTES;
    if (length > bytes.byteLength - start - FOOTER_BYTES) throw cutOff(offset, bytes.byteLength);
    const data = bytes.subarray(start, start + length);
    if (view.getUint32(start + length, true) !== masked(data)) throw corrupted(offset, 'data');
    yield data;
    offset = start + length + FOOTER_BYTES;
  }
}

/** The bytes of a file with these records. */
export function writeTfRecords(records: Iterable<Uint8Array>): Uint8Array {
  const all = [...records];
  const file = new Uint8Array(all.reduce((sum, record) => sum + HEADER_BYTES + record.byteLength + FOOTER_BYTES, 0));
  const view = new DataView(file.buffer);
  let offset = 0;
  for (const record of all) {
    view.setUint32(offset, record.byteLength, true);
    view.setUint32(offset + 8, masked(file.subarray(offset, offset + 8)), true);
    file.set(record, offset + HEADER_BYTES);
    view.setUint32(offset + HEADER_BYTES + record.byteLength, masked(record), true);
    offset += HEADER_BYTES + record.byteLength + FOOTER_BYTES;
  }
  return file;
}

/** A checksum of data that itself holds checksums is weak: hence rotated and shifted. */
function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}

function cutOff(offset: number, fileBytes: number): ServeError {
  return new ServeError('DATA_LOSS', `truncated record at ${offset} of ${fileBytes} bytes`);
}

function corrupted(offset: number, part: string): ServeError {
  return new ServeError('DATA_LOSS', `corrupted record at ${offset}: the checksum of its ${part} does not match`);
}
