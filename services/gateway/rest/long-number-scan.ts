/** Numbers of more than nine digits, or with an exponent: the second gear of `number-scan.ts`. */
import type { DenseColumn } from './dense-column.ts';

/** Powers of ten that a double holds exactly. */
export const POWERS_OF_TEN: Float64Array = Float64Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);
/** A bound on the relative error of `scaled` below, with room to spare: at most ten roundings of 2^-53. */
const BELOW = 1 - 2 ** -49;
const ABOVE = 1 + 2 ** -49;

/**
 * Scans the unsigned number that begins with the digit at `start`; returns the offset after it, or -1 for what the slow path must decide. The
 * value is left in `column.scanned`, exact as `JSON.parse` has it, for `float` columns rounded to single precision.
 */
export function scanLongNumber(buf: Buffer, start: number, column: DenseColumn): number {
  const view = column.viewOf(buf);
  const wordsEnd = buf.byteLength - 3;
  let pos = start;
  let c = buf[pos] as number;
  let value = 0;
  while (c >= 48 && c <= 57) {
    value = value * 10 + (c - 48);
    c = buf[++pos] as number;
  }
  // A leading 0 is not significant.
  let digits = value === 0 ? 0 : pos - start;
  let exponent = 0;
  let whole = true;
  if (c === 46) {
    whole = false;
    const fractionStart = ++pos;
    // Four digits at once while there are four.
    while (pos < wordsEnd) {
      const word = view.getInt32(pos, true);
      // A byte is a digit if its high nibble is 3, and still is after adding 6.
      if (((word & 0xf0f0f0f0) | (((word + 0x06060606) & 0xf0f0f0f0) >>> 4)) !== 0x33333333) break;
      const pairs = (Math.imul(word & 0x0f0f0f0f, 10) + ((word & 0x0f0f0f0f) >>> 8)) & 0x00ff00ff;
      value = value * 10000 + (Math.imul(pairs & 0xff, 100) + (pairs >>> 16));
      pos += 4;
    }
    c = buf[pos] as number;
    while (c >= 48 && c <= 57) {
      value = value * 10 + (c - 48);
      c = buf[++pos] as number;
    }
    exponent = fractionStart - pos;
    digits -= exponent;
  }
  if (c === 101 || c === 69) {
    whole = false;
    c = buf[++pos] as number;
    const down = c === 45;
    if (down || c === 43) c = buf[++pos] as number;
    if (!(c >= 48 && c <= 57)) return -1;
    let power = 0;
    const limit = pos + 3;
    do {
      power = power * 10 + (c - 48);
      c = buf[++pos] as number;
    } while (c >= 48 && c <= 57 && pos < limit);
    // RapidJSON's rules for the largest exponents are the slow path's.
    if ((c >= 48 && c <= 57) || power > 290) return -1;
    exponent += down ? -power : power;
  }
  if (column.mode === 'integer' && (!whole || digits > 15)) return -1;
  if (digits <= 15 && exponent >= -22 && exponent <= 22) {
    // Digits and power are exact doubles, so the one operation rounds once.
    column.scanned = exponent < 0 ? value / (POWERS_OF_TEN[-exponent] as number) : value * (POWERS_OF_TEN[exponent] as number);
    return pos;
  }
  if (digits > 300) return -1;
  if (column.mode === 'float' && digits <= 19 && exponent >= -22 && exponent <= 18) {
    // Not exact, but if everything within the error rounds to one single, so does the true value.
    const scaled = exponent < 0 ? value / (POWERS_OF_TEN[-exponent] as number) : value * (POWERS_OF_TEN[exponent] as number);
    const above = Math.fround(scaled * ABOVE);
    if (above === Math.fround(scaled * BELOW)) {
      column.scanned = above;
      return pos;
    }
  }
  const exact = Number(buf.toString('latin1', start, pos));
  if (!Number.isFinite(exact)) return -1;
  column.scanned = exact;
  return pos;
}
