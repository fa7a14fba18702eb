/** Reads protobuf's wire format from a Uint8Array without copying. What does not parse throws ServeError INVALID_ARGUMENT. */
import { fromUtf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';

export { varintBytes, WIRE, WireWriter } from './wire-writer.ts';

/** Messages and groups deeper than this are refused, as protobuf's own parsers do. */
export const MAX_DEPTH = 100;
const TWO_32 = 4294967296;
const SHORT_TEXT = 48;

/** A position in protobuf bytes. Views it hands out share the memory of the bytes it reads. */
export class WireReader {
  readonly bytes: Uint8Array;
  /** The offset of the next byte in `bytes`. */
  offset: number;
  /** Where reading ends: the end of the message that is being read. */
  end: number;
  #view: DataView | undefined;
  #high = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.byteLength) {
    // A Buffer's views are Buffers, whose slice() shares memory: nobody behind this point shall meet one.
    this.bytes = bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.offset = start;
    this.end = end;
  }

  /** True while the message has fields left. */
  more(): boolean {
    return this.offset < this.end;
  }

  /** The key of the next field: its number times 8 plus its wire type. Field number 0 is refused. */
  tag(): number {
    const at = this.offset;
    const tag = this.uint32();
    if (tag < 8) throw malformed(`field number 0 at byte ${at}`);
    return tag;
  }

  /** The low 32 bits of a varint, signed: int32, enum. */
  int32(): number {
    return this.#varintLow() | 0;
  }

  /** The low 32 bits of a varint, unsigned. */
  uint32(): number {
    return this.#varintLow() >>> 0;
  }

  /** True for any varint but 0. */
  bool(): boolean {
    const low = this.#varintLow();
    return low !== 0 || this.#high !== 0;
  }

  /** A signed varint of 64 bits as a number: exact to 2^53, beyond it the nearest double (whose magnitude stays at or above 2^53). */
  int64(): number {
    const low = this.#varintLow() >>> 0;
    return (this.#high | 0) * TWO_32 + low;
  }

  /** An unsigned varint of 64 bits as a number, with the same bounds as `int64`. */
  uint64(): number {
    const low = this.#varintLow() >>> 0;
    return (this.#high >>> 0) * TWO_32 + low;
  }

  /** A signed varint of 64 bits, exactly. */
  int64Exact(): bigint {
    const low = this.#varintLow() >>> 0;
    return (BigInt(this.#high | 0) << 32n) | BigInt(low);
  }

  /** Writes a varint's 64 bits into `into`, little-endian, at byte `at`. */
  varintInto(into: DataView, at: number): void {
    const low = this.#varintLow();
    into.setInt32(at, low, true);
    into.setInt32(at + 4, this.#high, true);
  }

  /** A float of four bytes. */
  float(): number {
    return this.#dataView().getFloat32(this.#advance(4), true);
  }

  /** A double of eight bytes. */
  double(): number {
    return this.#dataView().getFloat64(this.#advance(8), true);
  }

  /** The next `count` bytes, as a view: a fixed32 or fixed64 as it lies. */
  fixed(count: number): Uint8Array {
    const start = this.#advance(count);
    return this.bytes.subarray(start, start + count);
  }

  /** Length-delimited bytes, as a view. */
  view(): Uint8Array {
    const length = this.uint32Length();
    const start = this.#advance(length);
    return this.bytes.subarray(start, start + length);
  }

  /** A string. Broken UTF-8 becomes U+FFFD. */
  text(): string {
    const length = this.uint32Length();
    const start = this.#advance(length);
    if (length > SHORT_TEXT) return fromUtf8(this.bytes.subarray(start, start + length));
    let text = '';
    for (let at = start; at < start + length; at++) {
      const byte = this.bytes[at] ?? 0;
      if (byte > 0x7f) return fromUtf8(this.bytes.subarray(start, start + length));
      text += String.fromCharCode(byte);
    }
    return text;
  }

  /** A reader of the length-delimited message that comes next; this one continues after it. */
  message(): WireReader {
    const length = this.uint32Length();
    const start = this.#advance(length);
    return new WireReader(this.bytes, start, start + length);
  }

  /** The length of a length-delimited field, checked against what is left. */
  uint32Length(): number {
    const at = this.offset;
    const length = this.uint64();
    if (length > this.end - this.offset) throw malformed(`field at byte ${at} has ${length} bytes, ${this.end - this.offset} are left`);
    return length;
  }

  /** Passes over the value of the field whose key was just read, groups included. */
  skip(tag: number, depth = 0): void {
    switch (tag & 7) {
      case 0:
        this.#varintLow();
        return;
      case 1:
        this.#advance(8);
        return;
      case 2:
        this.#advance(this.uint32Length());
        return;
      case 3:
        this.#skipGroup(tag >>> 3, depth);
        return;
      case 5:
        this.#advance(4);
        return;
      default:
        throw malformed(`wire type ${tag & 7} of field ${tag >>> 3} before byte ${this.offset}`);
    }
  }

  #skipGroup(field: number, depth: number): void {
    if (depth >= MAX_DEPTH) throw malformed(`groups nested deeper than ${MAX_DEPTH} at byte ${this.offset}`);
    for (;;) {
      const tag = this.tag();
      if ((tag & 7) !== 4) {
        this.skip(tag, depth + 1);
        continue;
      }
      if (tag >>> 3 !== field) throw malformed(`group ${field} ends as group ${tag >>> 3} before byte ${this.offset}`);
      return;
    }
  }

  #dataView(): DataView {
    this.#view ??= new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    return this.#view;
  }

  #advance(count: number): number {
    const start = this.offset;
    if (count > this.end - start) throw malformed(`message ends at byte ${this.end}, ${count} more than ${start} were expected`);
    this.offset = start + count;
    return start;
  }

  /** Reads a varint: returns its low 32 bits (signed) and leaves the high ones in #high. */
  #varintLow(): number {
    const { bytes, end } = this;
    let at = this.offset;
    if (at < end) {
      const first = bytes[at] ?? 0;
      if (first < 0x80) {
        this.offset = at + 1;
        this.#high = 0;
        return first;
      }
    }
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= end) throw malformed(`number cut off at byte ${at}`);
      const byte = bytes[at++] ?? 0;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.offset = at;
        this.#high = high;
        return low;
      }
    }
    throw malformed(`number longer than ten bytes before byte ${at}`);
  }
}

/** The error of bytes that are not the message they should be. */
export function malformed(what: string, cause?: unknown): ServeError {
  return new ServeError('INVALID_ARGUMENT', `malformed protobuf: ${what}`, cause === undefined ? undefined : { cause });
}

/** Refuses a nesting deeper than protobuf's own limit. */
export function checkDepth(depth: number, offset: number): void {
  if (depth > MAX_DEPTH) throw malformed(`messages nested deeper than ${MAX_DEPTH} at byte ${offset}`);
}
