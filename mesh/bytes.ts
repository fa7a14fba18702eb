import { ServeError } from './errors.ts';

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder('utf-8', { fatal: false });

/** Encodes text as UTF-8. */
export function utf8(text: string): Uint8Array {
  return ENCODER.encode(text);
}

/** Decodes UTF-8; broken sequences become U+FFFD. */
export function fromUtf8(bytes: Uint8Array): string {
  return DECODER.decode(bytes);
}

/** Appends little-endian fields to one growing buffer. The writer of every mesh message on the request path. */
export class ByteWriter {
  /** From Node's pool when small: a fresh, zeroed ArrayBuffer for each message costs more than filling it. */
  #buffer: Buffer<ArrayBuffer>;
  #view: DataView;
  #length = 0;

  constructor(initialBytes = 256) {
    this.#buffer = allocate(Math.max(16, initialBytes));
    this.#view = viewOf(this.#buffer);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  u16(value: number): this {
    this.#reserve(2);
    this.#view.setUint16(this.#length, value, true);
    this.#length += 2;
    return this;
  }

  u32(value: number): this {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
    return this;
  }

  /** A whole number from 0 to 2^53 - 1, or any double: ids, sizes and instants all fit. */
  f64(value: number): this {
    this.#reserve(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
    return this;
  }

  /** Bytes with a uint32 length before them. */
  bytes(value: Uint8Array): this {
    this.u32(value.byteLength);
    return this.raw(value);
  }

  /** Bytes without a length. */
  raw(value: Uint8Array): this {
    this.#reserve(value.byteLength);
    this.#buffer.set(value, this.#length);
    this.#length += value.byteLength;
    return this;
  }

  /** UTF-8 text with a uint32 length before it. */
  text(value: string): this {
    const most = value.length * 3;
    this.#reserve(4 + most);
    if (value.length < 64 && isAscii(value)) {
      for (let index = 0; index < value.length; index++) this.#buffer[this.#length + 4 + index] = value.charCodeAt(index);
      this.#view.setUint32(this.#length, value.length, true);
      this.#length += 4 + value.length;
      return this;
    }
    const { written } = ENCODER.encodeInto(value, this.#buffer.subarray(this.#length + 4));
    this.#view.setUint32(this.#length, written, true);
    this.#length += 4 + written;
    return this;
  }

  /** The bytes written, as a view: the writer must not be used afterwards. */
  finish(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#length);
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#buffer.byteLength) return;
    const grown = allocate(Math.max(needed, this.#buffer.byteLength * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
    this.#view = viewOf(grown);
  }
}

/** Reads what a ByteWriter wrote. A read past the end throws ServeError DATA_LOSS: a message from another process is outside input. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.byteLength - this.#offset;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  f64(): number {
    return this.#view.getFloat64(this.#advance(8), true);
  }

  /** Length-prefixed bytes, as a view. */
  bytes(): Uint8Array {
    return this.raw(this.u32());
  }

  /** The next `count` bytes, as a view. */
  raw(count: number): Uint8Array {
    const start = this.#advance(count);
    return this.#bytes.subarray(start, start + count);
  }

  text(): string {
    const length = this.u32();
    const start = this.#advance(length);
    if (length < 64) {
      let text = '';
      for (let index = start; index < start + length; index++) {
        const byte = this.#bytes[index] ?? 0;
        if (byte > 0x7f) return DECODER.decode(this.#bytes.subarray(start, start + length));
        text += String.fromCharCode(byte);
      }
      return text;
    }
    return DECODER.decode(this.#bytes.subarray(start, start + length));
  }

  #advance(count: number): number {
    const start = this.#offset;
    if (start + count > this.#bytes.byteLength) {
      throw new ServeError('DATA_LOSS', `mesh message of ${this.#bytes.byteLength} bytes ends at ${start}, ${count} more were expected`);
    }
    this.#offset = start + count;
    return start;
  }
}

function allocate(byteLength: number): Buffer<ArrayBuffer> {
  return Buffer.allocUnsafe(byteLength);
}

function viewOf(buffer: Buffer<ArrayBuffer>): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}
