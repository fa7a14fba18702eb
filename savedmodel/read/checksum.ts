/** CRC-32C over bytes that come in pieces, and TensorFlow's masked form of it: the checksums of a TensorBundle. */

/** The Castagnoli polynomial, bits reversed (RFC 3720). */
const POLYNOMIAL = 0x82f63b78;
/** What masking adds, so that checksums of bytes that contain checksums stay strong (LevelDB's table format). */
const MASK_DELTA = 0xa282ead8;
/** Eight tables of 256: table k advances a byte by k further zero bytes, so that eight bytes cost eight look-ups and no chain. */
const TABLES: Uint32Array = makeTables();

/** A running CRC-32C. */
export class Checksum {
  #crc = 0xffffffff;

  /** Adds bytes. */
  update(bytes: Uint8Array): this {
    let crc = this.#crc;
    const whole = bytes.length - (bytes.length % 8);
    let at = 0;
    for (; at < whole; at += 8) crc = advanceEight(crc, bytes, at);
    for (; at < bytes.length; at++) crc = (crc >>> 8) ^ (TABLES[(crc ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
    this.#crc = crc;
    return this;
  }

  /** The checksum of what was added, masked, unsigned. */
  masked(): number {
    const crc = (this.#crc ^ 0xffffffff) >>> 0;
    return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
  }
}

/** The masked CRC-32C of bytes, unsigned. */
export function maskedChecksum(bytes: Uint8Array): number {
  return new Checksum().update(bytes).masked();
}

function advanceEight(crc: number, bytes: Uint8Array, at: number): number {
  return (
    (TABLES[1792 + ((crc ^ (bytes[at] ?? 0)) & 0xff)] ?? 0) ^
    (TABLES[1536 + (((crc >>> 8) ^ (bytes[at + 1] ?? 0)) & 0xff)] ?? 0) ^
    (TABLES[1280 + (((crc >>> 16) ^ (bytes[at + 2] ?? 0)) & 0xff)] ?? 0) ^
    (TABLES[1024 + (((crc >>> 24) ^ (bytes[at + 3] ?? 0)) & 0xff)] ?? 0) ^
    (TABLES[768 + (bytes[at + 4] ?? 0)] ?? 0) ^
    (TABLES[512 + (bytes[at + 5] ?? 0)] ?? 0) ^
    (TABLES[256 + (bytes[at + 6] ?? 0)] ?? 0) ^
    (TABLES[bytes[at + 7] ?? 0] ?? 0)
  );
}

function makeTables(): Uint32Array {
  const tables = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? POLYNOMIAL : 0);
    tables[byte] = remainder;
  }
  for (let at = 256; at < tables.length; at++) {
    const previous = tables[at - 256] ?? 0;
    tables[at] = (previous >>> 8) ^ (tables[previous & 0xff] ?? 0);
  }
  return tables;
}
