/** Packed lists of varints to and from arrays of numbers, without a call per element. */
import { malformed, varintBytes, WIRE, type WireWriter } from './wire.ts';

/** Integers of at most 32 bits. */
export type SmallIntegers = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

/**
 * Decodes the varints of `bytes[start, end)` into `into` from element `at` on, cut to the element's size as C++ casts. Values beyond the
 * array are checked and dropped. Returns `at` plus their count. Throws INVALID_ARGUMENT on a varint that is cut off or too long.
 */
export function decodePacked32(bytes: Uint8Array, start: number, end: number, into: SmallIntegers, at: number): number {
  let offset = start;
  while (offset < end) {
    let byte = bytes[offset++] ?? 0;
    let value = byte & 0x7f;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      if (offset >= end || shift > 63) throw malformed(`number cut off or too long at byte ${offset}`);
      byte = bytes[offset++] ?? 0;
      if (shift < 32) value |= (byte & 0x7f) << shift;
    }
    into[at++] = value;
  }
  return at;
}

/** The same for 64 bits: elements of eight little-endian bytes in `into`, which may lie at any offset. */
export function decodePacked64(bytes: Uint8Array, start: number, end: number, into: Uint8Array, at: number): number {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  const count = Math.floor(into.byteLength / 8);
  let offset = start;
  while (offset < end) {
    let byte = bytes[offset++] ?? 0;
    let low = byte & 0x7f;
    let high = 0;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      if (offset >= end || shift > 63) throw malformed(`number cut off or too long at byte ${offset}`);
      byte = bytes[offset++] ?? 0;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
    }
    if (at < count) {
      view.setInt32(at * 8, low, true);
      view.setInt32(at * 8 + 4, high, true);
    }
    at++;
  }
  return at;
}

/** Writes a packed field of integers of at most 32 bits; negative ones take ten bytes, as protobuf's int32 has it. */
export function encodePacked32(writer: WireWriter, field: number, values: SmallIntegers): void {
  let byteLength = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    byteLength += value < 0 ? 10 : value < 0x80 ? 1 : varintBytes(value);
  }
  const into = writer.tag(field, WIRE.bytes).varint(byteLength).space(byteLength);
  let at = 0;
  for (let index = 0; index < values.length; index++) {
    let value = values[index] ?? 0;
    if (value < 0) {
      for (let byte = 0; byte < 4; byte++, value >>= 7) into[at++] = (value & 0x7f) | 0x80;
      into[at++] = (value & 0x0f) | 0xf0;
      for (let byte = 0; byte < 4; byte++) into[at++] = 0xff;
      into[at++] = 0x01;
      continue;
    }
    for (; value > 0x7f; value >>>= 7) into[at++] = (value & 0x7f) | 0x80;
    into[at++] = value;
  }
}

/** Writes a packed field of 64-bit integers that lie little-endian in `bytes`. Signed or not makes no difference to the bits. */
export function encodePacked64(writer: WireWriter, field: number, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = Math.floor(bytes.byteLength / 8);
  let byteLength = 0;
  for (let index = 0; index < count; index++)
    byteLength += varint64Bytes(view.getUint32(index * 8, true), view.getUint32(index * 8 + 4, true));
  const into = writer.tag(field, WIRE.bytes).varint(byteLength).space(byteLength);
  let at = 0;
  for (let index = 0; index < count; index++) {
    let low = view.getUint32(index * 8, true);
    let high = view.getUint32(index * 8 + 4, true);
    while (high !== 0) {
      into[at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    for (; low > 0x7f; low >>>= 7) into[at++] = (low & 0x7f) | 0x80;
    into[at++] = low;
  }
}

function varint64Bytes(low: number, high: number): number {
  if (high === 0) return varintBytes(low);
  // 53 bits and more do not fit a number exactly, but their top bits do.
  return high < 0x200000 ? varintBytes(high * 4294967296 + low) : high < 0x1000000 ? 8 : high < 0x80000000 ? 9 : 10;
}
