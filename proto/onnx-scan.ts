/** Walks over protobuf fields of a file of any size, reading only what is asked for. */
import { fromUtf8 } from '#mesh/bytes.ts';
import { malformed, WIRE, WireReader } from './wire.ts';

/** Bytes that can be read anywhere. */
export interface RandomBytes {
  readonly byteLength: number;
  /** The bytes from `start` to `end`, both within bounds; valid until the next call. */
  read(start: number, end: number): Uint8Array;
}

const WINDOW_BYTES = 64 * 1024;
const NUMBER_BYTES = 10;

/** Bytes of a file through one window. `readInto` reads at a position and returns how many bytes there were. */
export function createFileBytes(byteLength: number, readInto: (into: Uint8Array, position: number) => number): RandomBytes {
  let window = new Uint8Array(0);
  let windowStart = 0;
  return {
    byteLength,
    read(start, end) {
      if (start < windowStart || end > windowStart + window.byteLength) {
        const fresh = new Uint8Array(Math.min(Math.max(end - start, WINDOW_BYTES), byteLength - start));
        const found = readInto(fresh, start);
        if (found < end - start) throw malformed(`the file ends at byte ${start + found}; it was longer a moment ago`);
        window = fresh.subarray(0, found);
        windowStart = start;
      }
      return window.subarray(start - windowStart, end - windowStart);
    },
  };
}

/** A position in a file's fields. */
export class ScanCursor {
  readonly #bytes: RandomBytes;
  #offset = 0;
  #end: number;

  constructor(bytes: RandomBytes) {
    this.#bytes = bytes;
    this.#end = bytes.byteLength;
  }

  /** The offset of the next byte. */
  get offset(): number {
    return this.#offset;
  }

  /** True while the message has fields left. */
  more(): boolean {
    return this.#offset < this.#end;
  }

  /** The key of the next field. */
  tag(): number {
    const tag = this.varint();
    if (tag < 8 || tag > 0xffffffff) throw malformed(`field key ${tag}`);
    return tag;
  }

  /** A signed varint; beyond 2^53 the nearest double. */
  varint(): number {
    const reader = new WireReader(this.#bytes.read(this.#offset, Math.min(this.#end, this.#offset + NUMBER_BYTES)));
    const value = reader.int64();
    this.#offset += reader.offset;
    return value;
  }

  /** A reader of the length-delimited message that comes next, which must not be larger than `mostBytes`. */
  message(mostBytes: number): WireReader {
    const length = this.#length();
    if (length > mostBytes) throw malformed(`field of ${length} bytes, at most ${mostBytes} were expected`);
    const start = this.#offset;
    this.#offset += length;
    return new WireReader(this.#bytes.read(start, this.#offset));
  }

  /** Text that must not be longer than `mostBytes`. */
  text(mostBytes: number): string {
    return fromUtf8(this.message(mostBytes).bytes);
  }

  /** Runs `walk` confined to the length-delimited message that comes next, then continues after it. */
  within(walk: () => void): void {
    const length = this.#length();
    const outerEnd = this.#end;
    this.#end = this.#offset + length;
    const end = this.#end;
    walk();
    this.#offset = end;
    this.#end = outerEnd;
  }

  /** Steps over a length-delimited value and returns its length. */
  skipBytes(): number {
    const length = this.#length();
    this.#offset += length;
    return length;
  }

  /** Bytes that the cursor has stepped over; valid until the next call. */
  bytesAt(start: number, count: number): Uint8Array {
    return this.#bytes.read(start, start + count);
  }

  /** Steps over the value of the field whose key was just read. */
  skip(tag: number): void {
    const wire = tag & 7;
    if (wire === WIRE.varint) this.varint();
    else if (wire === WIRE.bytes) this.skipBytes();
    else if (wire === WIRE.fixed32) this.#advance(4);
    else if (wire === WIRE.fixed64) this.#advance(8);
    else throw malformed(`wire type ${wire} of field ${Math.floor(tag / 8)}`);
  }

  #length(): number {
    const length = this.varint();
    if (length < 0 || length > this.#end - this.#offset) {
      throw malformed(`field of ${length} bytes where ${this.#end - this.#offset} are left: the file is cut off or not ONNX`);
    }
    return length;
  }

  #advance(count: number): void {
    if (count > this.#end - this.#offset) throw malformed(`value of ${count} bytes where ${this.#end - this.#offset} are left`);
    this.#offset += count;
  }
}
