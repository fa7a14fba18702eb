/**
 * Pictures to names, as one servable: PNG or JPEG images are decoded and made small here, the model `digits` reads them, and what it read is
 * named here. The version folder holds `labels.txt`, a name a line. The call of `digits` is a request like any other: it is batched, goes to
 * whichever version is the latest, and must be answered within the deadline of the request that waits for it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServableAdapter, TypedTensor } from 'headrace/extend';
import { decodePng } from '../../savedmodel/host/decode-png.ts';
import { decodeJpeg } from '../../savedmodel/host/jpeg/decode-jpeg.ts';

/** What `digits` takes: 8 by 8 levels from 0 (paper) to 16 (ink). */
const SIDE = 8;
const INK = 16;

const adapter: ServableAdapter = (path) => ({
  estimate: () => 2 ** 20,
  load() {
    const labels = readFileSync(join(path, 'labels.txt'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((label) => new TextEncoder().encode(label));
    return {
      signatures: {
        serving_default: {
          inputs: { images: { dtype: 'string', shape: [-1] } },
          outputs: { label: { dtype: 'string', shape: [-1] }, probability: { dtype: 'float', shape: [-1] } },
          batchable: true,
        },
      },
      async run(_signature, inputs, { infer }) {
        const files = inputs.images?.data as readonly Uint8Array[];
        const levels = new Float32Array(files.length * SIDE * SIDE);
        for (const [row, file] of files.entries()) levels.set(levelsOf(greyOf(file)), row * SIDE * SIDE);
        const images: TypedTensor = { dtype: 'float', shape: [files.length, SIDE * SIDE], data: levels };

        const { digit, probabilities } = await infer({ model: 'digits', inputs: { images } });

        const read = Array.from(digit?.data as BigInt64Array, Number);
        const likely = probabilities?.data as Float32Array;
        const classes = likely.length / Math.max(1, files.length);
        return {
          label: { dtype: 'string', shape: [files.length], data: read.map((value) => labels[value] ?? new Uint8Array(0)) },
          probability: {
            dtype: 'float',
            shape: [files.length],
            data: Float32Array.from(read, (value, row) => likely[row * classes + value] ?? 0),
          },
        };
      },
    };
  },
});

export default adapter;

interface Grey {
  readonly width: number;
  readonly height: number;
  /** A byte for each pixel. */
  readonly data: ArrayLike<number>;
}

function greyOf(file: Uint8Array): Grey {
  const isPng = file[0] === 0x89 && file[1] === 0x50;
  if (isPng) return decodePng(file, 1, false);
  if (file[0] === 0xff && file[1] === 0xd8) {
    const { channels, data, ...size } = decodeJpeg(file, {
      channels: 0,
      ratio: 1,
      fancyUpscaling: true,
      method: 'accurate',
      recover: false,
    });
    // The green of a pixel is most of its lightness.
    return { ...size, data: channels === 1 ? data : data.filter((_, index) => index % channels === 1) };
  }
  throw Object.assign(new Error('an image is neither a PNG nor a JPEG'), { code: 'INVALID_ARGUMENT' });
}

/** The mean ink of each of 8 by 8 fields. Ink is whatever is unlike the corners. */
function levelsOf({ width, height, data }: Grey): Float32Array {
  const at = (x: number, y: number) => data[y * width + x] ?? 0;
  const corners = at(0, 0) + at(width - 1, 0) + at(0, height - 1) + at(width - 1, height - 1);
  const dark = corners > 2 * 255;
  return Float32Array.from({ length: SIDE * SIDE }, (_, field) => {
    const [left, right] = span(field % SIDE, width);
    const [top, bottom] = span(Math.floor(field / SIDE), height);
    let sum = 0;
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += at(x, y);
    const mean = sum / ((right - left) * (bottom - top));
    return ((dark ? 255 - mean : mean) * INK) / 255;
  });
}

/** The pixels of one of 8 fields along a side: at least one. */
function span(field: number, pixels: number): [number, number] {
  const from = Math.floor((field * pixels) / SIDE);
  return [Math.min(from, pixels - 1), Math.max(from + 1, Math.floor(((field + 1) * pixels) / SIDE))];
}
