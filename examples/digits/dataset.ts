/** The UCI optical digits (see SOURCE.txt), split once and for all into what the network learns from and what it is tested on. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Pixels of one image: 8 x 8, row by row. */
export const PIXELS = 64;

/** Images and what they show. */
export interface Digits {
  /** Row-major, shape [count, 64], grey levels from 0 (paper) to 16 (ink). */
  readonly images: Float64Array;
  /** Shape [count], 0 to 9. */
  readonly labels: Uint8Array;
  readonly count: number;
}

/** Reads the data set. Every fifth image (the 5th, 10th, …) is held out: the file goes writer by writer, so both parts see every hand. */
export function readDigits(): { readonly training: Digits; readonly heldOut: Digits } {
  const csv = gunzipSync(readFileSync(new URL('digits.csv.gz', import.meta.url))).toString('latin1');
  const rows = csv.trim().split('\n');
  const isHeldOut = (_: string, index: number): boolean => index % 5 === 4;
  return { training: parseRows(rows.filter((row, index) => !isHeldOut(row, index))), heldOut: parseRows(rows.filter(isHeldOut)) };
}

/** The grey levels of image `index`. */
export function imageOf(digits: Digits, index: number): Float64Array {
  return digits.images.subarray(index * PIXELS, (index + 1) * PIXELS);
}

function parseRows(rows: readonly string[]): Digits {
  const images = new Float64Array(rows.length * PIXELS);
  const labels = new Uint8Array(rows.length);
  rows.forEach((row, index) => {
    const numbers = row.split(',').map(Number);
    const label = numbers.pop();
    if (numbers.length !== PIXELS || label === undefined) throw new Error(`digits.csv.gz: line ${index + 1} has not ${PIXELS + 1} numbers`);
    images.set(numbers, index * PIXELS);
    labels[index] = label;
  });
  return { images, labels, count: rows.length };
}
