/** Reads the kind of PNG that the examples are: 8 bits, RGB, not interlaced (ISO/IEC 15948). Take a library for others. */
import { inflateSync } from 'node:zlib';

/** Row-major, shape [height, width, 3]. */
export interface Picture {
  readonly height: number;
  readonly width: number;
  readonly pixels: Uint8Array;
}

const HEADER_BYTES = 8;
const SAMPLES = 3;

/** Throws for another kind of PNG, and for what is none. */
export function readPng(file: Buffer): Picture {
  if (file.toString('latin1', 1, 4) !== 'PNG') throw new Error('not a PNG file');
  const parts: Buffer[] = [];
  for (let at = HEADER_BYTES; at + 12 <= file.length; at += 12 + file.readUInt32BE(at)) {
    if (file.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(file.subarray(at + 8, at + 8 + file.readUInt32BE(at)));
  }
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)];
  const [depth, colour, , , interlaced] = file.subarray(24, 29);
  if (depth !== 8 || colour !== 2 || interlaced !== 0) throw new Error('only PNG files of 8 bits, RGB, not interlaced are read here');
  return { height, width, pixels: unfiltered(inflateSync(Buffer.concat(parts)), height, width * SAMPLES) };
}

/** Each row starts with its filter: what was subtracted from every byte (nothing, left, above, their mean, or the nearest of the three). */
function unfiltered(rows: Uint8Array, height: number, rowBytes: number): Uint8Array {
  const pixels = new Uint8Array(height * rowBytes);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (rowBytes + 1)];
    for (let x = 0; x < rowBytes; x++) {
      const to = y * rowBytes + x;
      const left = x < SAMPLES ? 0 : (pixels[to - SAMPLES] ?? 0);
      const above = y === 0 ? 0 : (pixels[to - rowBytes] ?? 0);
      const corner = x < SAMPLES || y === 0 ? 0 : (pixels[to - rowBytes - SAMPLES] ?? 0);
      const guess = [0, left, above, (left + above) >> 1, nearest(left, above, corner)][filter ?? 0] ?? 0;
      pixels[to] = (rows[y * (rowBytes + 1) + 1 + x] ?? 0) + guess;
    }
  }
  return pixels;
}

/** Paeth's predictor: of the three, that which is nearest to left + above - corner. */
function nearest(left: number, above: number, corner: number): number {
  const [toLeft, toAbove, toCorner] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}
