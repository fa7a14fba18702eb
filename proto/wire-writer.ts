/** Writes protobuf's wire format into one growing buffer. Field numbers are the caller's; nothing is written twice or sized in advance. */
const ENCODER = new TextEncoder();
const TWO_32 = 4294967296;

/** The wire types of protobuf: how the length of a field's value is found. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const;

/** Appends protobuf fields. Fields are written as given, defaults included: whoever wants proto3's silence about zeros leaves them out. */
export class WireWriter {
  #buffer: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #length = 0;

  /** `initialBytes` is a guess; the buffer doubles when it does not hold. */
  constructor(initialBytes = 256) {
    this.#buffer = new Uint8Array(Math.max(16, initialBytes));
    this.#view = new DataView(this.#buffer.buffer);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** A field's key. */
  tag(field: number, wireType: number): this {
    return this.varint(field * 8 + wireType);
  }

  /** A whole number from -2^53 to 2^53 as a varint; negative ones take ten bytes, as int32 and int64 do. */
  varint(value: number): this {
    if (value >= 0 && value < 128) {
      this.#reserve(1);
      this.#buffer[this.#length++] = value;
      return this;
    }
    return this.varint64(value >>> 0, Math.floor(value / TWO_32) >>> 0);
  }

  /** A varint from its low and high 32 bits. */
  varint64(low: number, high: number): this {
    this.#reserve(10);
    const buffer = this.#buffer;
    let at = this.#length;
    while (high !== 0) {
      buffer[at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    while (low > 0x7f) {
      buffer[at++] = (low & 0x7f) | 0x80;
      low >>>= 7;
    }
    buffer[at++] = low;
    this.#length = at;
    return this;
  }

  /** A varint of 64 bits; bigint for what a number cannot hold. */
  int64(value: number | bigint): this {
    if (typeof value === 'number') return this.varint(value);
    return this.varint64(Number(BigInt.asUintN(32, value)), Number(BigInt.asUintN(32, value >> 32n)));
  }

  /** Four bytes, little-endian. */
  float(value: number): this {
    this.#reserve(4);
    this.#view.setFloat32(this.#length, value, true);
    this.#length += 4;
    return this;
  }

  /** Eight bytes, little-endian. */
  double(value: number): this {
    this.#reserve(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
    return this;
  }

  /** Bytes as they are. */
  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.byteLength);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.byteLength;
    return this;
  }

  /** A varint field. */
  varintField(field: number, value: number | bigint): this {
    return this.tag(field, WIRE.varint).int64(value);
  }

  /** A bool field. */
  boolField(field: number, value: boolean): this {
    return this.tag(field, WIRE.varint).varint(value ? 1 : 0);
  }

  /** A float field. */
  floatField(field: number, value: number): this {
    return this.tag(field, WIRE.fixed32).float(value);
  }

  /** A double field. */
  doubleField(field: number, value: number): this {
    return this.tag(field, WIRE.fixed64).double(value);
  }

  /** A bytes field, or an encoded message. */
  bytesField(field: number, value: Uint8Array): this {
    return this.tag(field, WIRE.bytes).varint(value.byteLength).raw(value);
  }

  /** A string field, as UTF-8. */
  stringField(field: number, value: string): this {
    return this.tag(field, WIRE.bytes).text(value);
  }

  /** Text as UTF-8 with its length before it. */
  text(value: string): this {
    return this.#lengthPrefixed(value.length, () => {
      this.#reserve(value.length * 3);
      this.#length += ENCODER.encodeInto(value, this.#buffer.subarray(this.#length)).written;
    });
  }

  /**
   * A length-delimited field whose bytes `body` writes. Space for the length is reserved for `expectedBytes`; when the body turns out to
   * need a longer or shorter length it is moved once, so a good guess for large bodies saves a copy.
   */
  delimited(field: number, body: () => void, expectedBytes = 0): this {
    return this.tag(field, WIRE.bytes).#lengthPrefixed(expectedBytes, body);
  }

  /** Makes room for `count` bytes and hands them out to be filled by the caller before its next call; they count as written. */
  space(count: number): Uint8Array<ArrayBuffer> {
    this.#reserve(count);
    const start = this.#length;
    this.#length += count;
    return this.#buffer.subarray(start, this.#length);
  }

  /** The bytes written, as a view: the writer must not be used afterwards. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#length);
  }

  #lengthPrefixed(expectedBytes: number, body: () => void): this {
    const reserved = varintBytes(expectedBytes);
    this.#reserve(reserved + expectedBytes);
    const start = this.#length + reserved;
    this.#length = start;
    body();
    const bodyBytes = this.#length - start;
    const needed = varintBytes(bodyBytes);
    if (needed !== reserved) {
      this.#reserve(Math.max(0, needed - reserved));
      this.#buffer.copyWithin(start - reserved + needed, start, start + bodyBytes);
    }
    this.#length = start - reserved;
    this.varint(bodyBytes);
    this.#length += bodyBytes;
    return this;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#buffer.byteLength) return;
    const grown = new Uint8Array(Math.max(needed, this.#buffer.byteLength * 2));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Bytes of the varint of a whole number from 0 to 2^53. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  if (value < 0x10000000) return 4;
  return 4 + varintBytes(Math.floor(value / 0x10000000));
}
