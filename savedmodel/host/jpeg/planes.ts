/** From coefficients to the samples of each component, and from those to full resolution as libjpeg interpolates. */
import { damaged } from './damaged.ts';
import type { Component, Frame } from './frame.ts';
import { type DctMethod, inverseDct } from './idct.ts';

/** Samples of one component at the resolution it has. */
export interface Plane {
  readonly data: Uint8Array;
  readonly stride: number;
  /** Samples that belong to the image. */
  readonly width: number;
  readonly height: number;
  /** How many times fewer samples than pixels, both ways. */
  readonly across: number;
  readonly down: number;
  /** The first column of the window that interpolation sees: it takes the window's edge for the image's. */
  readonly firstColumn: number;
  /** Whether there are columns enough to interpolate across: more than 2 in the image, 2 in the window. */
  readonly wide: boolean;
}

/** How much smaller the image is read: each 8x8 block becomes `size` x `size`. */
export interface Reading {
  readonly size: 8 | 4 | 2 | 1;
  readonly method: DctMethod;
  /** Columns of the output that are wanted: from a multiple of the MCU's width on. */
  readonly columns: { readonly from: number; readonly count: number };
}

/** The samples of a component. Chroma of images read smaller keeps more of its own resolution, as in libjpeg. */
export function planeOf(component: Component, frame: Frame, reading: Reading): Plane {
  const { quant, coefficients } = component;
  if (quant === undefined) throw damaged('a component without a scan');
  let size = reading.size;
  while (
    size < 8 &&
    (frame.maxH * reading.size) % (component.h * size * 2) === 0 &&
    (frame.maxV * reading.size) % (component.v * size * 2) === 0
  ) {
    size = (size * 2) as 8 | 4 | 2;
  }
  const across = (frame.maxH * reading.size) / (component.h * size);
  const down = (frame.maxV * reading.size) / (component.v * size);
  if (!Number.isInteger(across) || !Number.isInteger(down)) throw damaged('fractional sampling');
  const stride = component.columns * size;
  const data = new Uint8Array(stride * component.rows * size);
  const transform = inverseDct(quant, size, reading.method);
  for (let row = 0; row < component.rows; row++) {
    for (let column = 0; column < component.columns; column++) {
      transform(coefficients, (row * component.stride + column) * 64, data, row * size * stride + column * size, stride);
    }
  }
  const width = Math.ceil(reading.columns.count / across);
  return {
    data,
    stride,
    width,
    wide: width >= 2 && Math.ceil((frame.width * component.h * size) / (frame.maxH * 8)) > 2,
    height: Math.ceil((frame.height * component.v * size) / (frame.maxV * 8)),
    across,
    down,
    firstColumn: reading.columns.from / across,
  };
}

/** Gives the samples of output row `y` at full width; the array belongs to the plane and is overwritten by the next call. */
export type RowReader = (y: number) => Uint8Array;

/** How rows of a plane become rows of the image: copied, interpolated (`fancy`) where the plane has half as many samples, else repeated. */
export function rowReader(plane: Plane, count: number, fancy: boolean): RowReader {
  const { data, stride, across, down, firstColumn, width, height, wide } = plane;
  const start = (row: number) => Math.min(height - 1, Math.max(0, row)) * stride + firstColumn;
  const line = new Uint8Array((width + 1) * across);
  if (across === 1 && down === 1) return (y) => data.subarray(start(y), start(y) + count);
  if (fancy && across === 2 && down === 1 && wide) {
    return (y) => {
      stretch(line, data, start(y), width);
      return line;
    };
  }
  if (fancy && across === 2 && down === 2 && wide) {
    const sums = new Int32Array(width);
    return (y) => {
      const near = start(y >> 1);
      const far = start((y >> 1) + ((y & 1) === 0 ? -1 : 1));
      for (let x = 0; x < width; x++) sums[x] = (data[near + x] as number) * 3 + (data[far + x] as number);
      stretchSums(line, sums, width);
      return line;
    };
  }
  if (fancy && across === 1 && down === 2) {
    return (y) => {
      const upper = (y & 1) === 0;
      const near = start(y >> 1);
      const far = start((y >> 1) + (upper ? -1 : 1));
      const bias = upper ? 1 : 2;
      for (let x = 0; x < width; x++) line[x] = ((data[near + x] as number) * 3 + (data[far + x] as number) + bias) >> 2;
      return line;
    };
  }
  return (y) => {
    const from = start(Math.floor(y / down));
    for (let x = 0, to = 0; x < width; x++) for (let k = 0; k < across; k++) line[to++] = data[from + x] as number;
    return line;
  };
}

/** Twice as wide: each pixel three parts its own sample and one part the neighbour on its side. */
function stretch(line: Uint8Array, data: Uint8Array, from: number, width: number): void {
  const last = width - 1;
  for (let x = 0; x < width; x++) {
    const own = data[from + x] as number;
    line[2 * x] = x === 0 ? own : (own * 3 + (data[from + x - 1] as number) + 1) >> 2;
    line[2 * x + 1] = x === last ? own : (own * 3 + (data[from + x + 1] as number) + 2) >> 2;
  }
}

/** The same for sums of four parts. */
function stretchSums(line: Uint8Array, sums: Int32Array, width: number): void {
  const last = width - 1;
  for (let x = 0; x < width; x++) {
    const own = sums[x] as number;
    line[2 * x] = x === 0 ? (own * 4 + 8) >> 4 : (own * 3 + (sums[x - 1] as number) + 8) >> 4;
    line[2 * x + 1] = x === last ? (own * 4 + 7) >> 4 : (own * 3 + (sums[x + 1] as number) + 7) >> 4;
  }
}
