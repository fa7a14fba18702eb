/**
 * The hot loop of the REST edge: numbers go from the bytes of a body into a typed array in one pass, checked for JSON's grammar and for a
 * regular shape on the way. Whatever is out of the ordinary (NaN, a ragged list, an error) returns -1, and the slow path decides.
 */
import type { DenseColumn } from './dense-column.ts';
import { MAX_SCAN_RANK } from './dense-column.ts';
import { POWERS_OF_TEN, scanLongNumber } from './long-number-scan.ts';

/**
 * Scans a value (a number or a nest of lists of numbers) that begins at `from`, spaces allowed, into `column`; returns the offset after it or
 * -1. Later values of a column must have the shape of the first. Every number equals what `JSON.parse` gives (but `-0` without a point is 0),
 * rounded once more to single precision for `float` columns.
 */
export function scanNumbers(buf: Buffer, from: number, column: DenseColumn): number {
  const { dims, open } = column;
  let rank = column.rank;
  let depth = 0;
  let pos = from;
  let c = buf[pos] as number;
  for (;;) {
    while (c === 32 || c === 10 || c === 13 || c === 9) c = buf[++pos] as number;
    if (c === 91) {
      if (depth === rank || depth === MAX_SCAN_RANK) return -1;
      open[depth++] = 0;
      c = buf[++pos] as number;
      while (c === 32 || c === 10 || c === 13 || c === 9) c = buf[++pos] as number;
      if (c !== 93) continue;
      if (rank < 0) rank = depth;
      else if (rank !== depth) return -1;
      if ((dims[depth - 1] as number) > 0) return -1;
      dims[--depth] = 0;
      c = buf[++pos] as number;
    } else {
      if (rank !== depth) {
        if (rank >= 0) return -1;
        rank = depth;
      }
      pos = scanRun(buf, pos, column, depth > 1 && open[depth - 1] === 0 ? (dims[depth - 1] as number) : -1);
      if (pos < 0) return -1;
      const more = column.count - column.listStart - 1;
      // The last one of the run is counted below. A scalar has no company.
      if (depth > 0) open[depth - 1] = (open[depth - 1] as number) + more;
      else if (more > 0) return -1;
      if (depth > 1) open[depth - 2] = (open[depth - 2] as number) + column.listsPassed;
      c = buf[pos] as number;
    }
    // After a value.
    for (;;) {
      if (depth === 0) {
        column.rank = rank;
        return pos;
      }
      const size = (open[depth - 1] as number) + 1;
      open[depth - 1] = size;
      while (c === 32 || c === 10 || c === 13 || c === 9) c = buf[++pos] as number;
      if (c === 44) {
        c = buf[++pos] as number;
        break;
      }
      if (c !== 93) return -1;
      depth--;
      const known = dims[depth] as number;
      if (known < 0) dims[depth] = size;
      else if (known !== size) return -1;
      c = buf[++pos] as number;
    }
  }
}

/**
 * Scans numbers with commas between them, each followed by at most one space, from the first byte of the first to the end of the last; what
 * else stands there is left to the caller. Numbers of at most nine digits are read here: they are the common ones. Where a list of `listSize`
 * numbers begins (-1: none, or not known), whole lists of that size are passed with nothing but `],[` between them; `column.listsPassed` and
 * `column.listStart` say how many, and where in the column the last list began.
 */
function scanRun(buf: Buffer, from: number, column: DenseColumn, listSize: number): number {
  const powers = POWERS_OF_TEN;
  const wholeOnly = column.mode === 'integer';
  const view = column.viewOf(buf);
  const quickEnd = wholeOnly ? 0 : buf.byteLength - 10;
  let numbers = column.numbers;
  let capacity = numbers.length;
  let count = column.count;
  let listStart = count;
  let lists = 0;
  let pos = from;
  let c = buf[pos] as number;
  for (;;) {
    const start = pos;
    let value = -1;
    // By far the commonest: `0.` and eight digits.
    if (c === 48 && pos < quickEnd && buf[pos + 1] === 46) {
      const first = view.getInt32(pos + 2, true);
      const second = view.getInt32(pos + 6, true);
      const after = buf[pos + 10] as number;
      if (areDigits(first) && areDigits(second) && (after === 44 || after === 93)) {
        value = (fourDigits(first) * 10000 + fourDigits(second)) / 1e8;
        pos += 10;
        c = after;
      }
    }
    if (value < 0) {
      let negative = 0;
      if (c === 45) {
        negative = 1;
        c = buf[++pos] as number;
      }
      if (!(c >= 48 && c <= 57)) return -1;
      let mantissa = (c - 48) | 0;
      c = buf[++pos] as number;
      if (mantissa !== 0) {
        while (c >= 48 && c <= 57) {
          mantissa = (Math.imul(mantissa, 10) + c - 48) | 0;
          c = buf[++pos] as number;
        }
      } else if (c >= 48 && c <= 57) return -1;
      let fraction = 0;
      if (c === 46) {
        const point = pos;
        const limit = start + negative + 11;
        c = buf[++pos] as number;
        // Beyond nine digits there is no point in going on here.
        while (c >= 48 && c <= 57 && pos < limit) {
          mantissa = (Math.imul(mantissa, 10) + c - 48) | 0;
          c = buf[++pos] as number;
        }
        fraction = pos - point - 1;
        if (fraction === 0) return -1;
      }
      if (c === 101 || c === 69 || pos - start > (fraction === 0 ? 9 : 10) + negative || (wholeOnly && fraction !== 0)) {
        pos = scanLongNumber(buf, start + negative, column);
        if (pos < 0) return -1;
        value = negative === 1 ? -column.scanned : column.scanned;
        c = buf[pos] as number;
      } else if (fraction !== 0) {
        value = mantissa / (powers[fraction] as number);
        if (negative === 1) value = -value;
      } else {
        // `-0` without a point is an integer for TensorFlow Serving, so plain 0.
        value = negative === 1 ? 0 - mantissa : mantissa;
      }
    }
    if (count === capacity) {
      numbers = column.grow();
      capacity = numbers.length;
    }
    numbers[count++] = value;
    let next = pos + 1;
    if (c === 93) {
      if (count - listStart !== listSize || buf[next] !== 44 || buf[next + 1] !== 91) break;
      next += 2;
    } else if (c !== 44) break;
    let d = buf[next] as number;
    if (d === 32) d = buf[++next] as number;
    if (!((d >= 48 && d <= 57) || d === 45)) break;
    if (c === 93) {
      listStart = count;
      lists++;
    }
    pos = next;
    c = d;
  }
  column.count = count;
  column.listStart = listStart;
  column.listsPassed = lists;
  return pos;
}

/** True when the four bytes of a word are digits: the high nibble of each is 3, and still is after adding 6. */
function areDigits(word: number): boolean {
  return ((word & 0xf0f0f0f0) | (((word + 0x06060606) & 0xf0f0f0f0) >>> 4)) === 0x33333333;
}

/** The number that four digits spell in a little-endian word. */
function fourDigits(word: number): number {
  const pairs = (Math.imul(word & 0x0f0f0f0f, 10) + ((word & 0x0f0f0f0f) >>> 8)) & 0x00ff00ff;
  return Math.imul(pairs & 0xff, 100) + (pairs >>> 16);
}
