/** Image resizing as TensorFlow's legacy kernels do it (align_corners and half_pixel_centers), NHWC, and CropAndResize. */
import { ServeError } from '#mesh/errors.ts';
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostKernel, HostTensor } from '../host-value.ts';
import { allocate, dim, fromNumbers, type HostKernels, input, invalid, numbers, shapeText, take } from './host-tensor.ts';

/** ResizeBilinear, ResizeNearestNeighbor, ResizeBicubic, ResizeArea, CropAndResize. */
export const RESIZE_OPS: HostKernels = {
  ResizeBilinear: resizer((plan) => plan.axis((at, size, scale) => linearTaps(plan.source(at, scale), size))),
  ResizeBicubic: resizer((plan) => plan.axis((at, size, scale) => cubicTaps(plan.source(at, scale), size, plan.half))),
  ResizeArea: resizer((plan) => plan.axis((at, size, scale) => areaTaps(at, size, scale))),
  ResizeNearestNeighbor: (inputs, attrs) => [nearest(input(inputs, 0), target(inputs), attrs)],
  CropAndResize: (inputs, attrs) => [cropAndResize(inputs, attrs)],
};

/** One source pixel of an axis and its weight. */
interface Tap {
  readonly at: number;
  readonly weight: number;
}

interface Plan {
  readonly half: boolean;
  /** The source coordinate of an output coordinate. */
  source(at: number, scale: number): number;
  /** The taps of every output coordinate of both axes. */
  axis(
    taps: (at: number, size: number, scale: number) => readonly Tap[],
  ): readonly [readonly (readonly Tap[])[], readonly (readonly Tap[])[]];
}

function target(inputs: readonly HostTensor[]): readonly [number, number] {
  const image = input(inputs, 0);
  const size = numbers(input(inputs, 1));
  if (image.shape.length !== 4) throw invalid(`input must be 4-dimensional${shapeText(image.shape)}`);
  const [height = 0, width = 0] = Array.from(size);
  if (height <= 0 || width <= 0) throw invalid('output dimensions must be positive');
  if (dim(image.shape, 1) <= 0 || dim(image.shape, 2) <= 0) throw invalid('input image must be of non-zero size');
  return [height, width];
}

function flag(attrs: HostAttrs, name: string): boolean {
  return attrs.has(name) && attrs.bool(name);
}

function scaleOf(from: number, to: number, align: boolean): number {
  return Math.fround(align && to > 1 ? (from - 1) / (to - 1) : from / to);
}

function resizer(taps: (plan: Plan) => readonly [readonly (readonly Tap[])[], readonly (readonly Tap[])[]]): HostKernel {
  return (inputs, attrs) => {
    const image = input(inputs, 0);
    const [height, width] = target(inputs);
    const align = flag(attrs, 'align_corners');
    const half = flag(attrs, 'half_pixel_centers');
    if (align && half) throw invalid('If half_pixel_centers is True, align_corners must be False.');
    const plan: Plan = {
      half,
      source: (at, scale) => (half ? Math.fround(Math.fround((at + 0.5) * scale) - 0.5) : Math.fround(at * scale)),
      axis: (make) => {
        const one = (from: number, to: number) => Array.from({ length: to }, (_, at) => make(at, from, scaleOf(from, to, align)));
        return [one(dim(image.shape, 1), height), one(dim(image.shape, 2), width)];
      },
    };
    const [rows, columns] = taps(plan);
    return [weigh(image, rows, columns)];
  };
}

function weigh(image: HostTensor, rows: readonly (readonly Tap[])[], columns: readonly (readonly Tap[])[]): HostTensor {
  const [batch = 0, height = 0, width = 0, channels = 0] = image.shape;
  const values = numbers(image);
  const shape = [batch, rows.length, columns.length, channels];
  const out = allocate('float', elementCount(shape)) as Float32Array;
  let to = 0;
  for (let b = 0; b < batch; b++) {
    for (const row of rows) {
      for (const column of columns) {
        for (let c = 0; c < channels; c++) {
          let sum = 0;
          for (const y of row) {
            let line = 0;
            for (const x of column) line += x.weight * (values[((b * height + y.at) * width + x.at) * channels + c] ?? 0);
            sum += y.weight * line;
          }
          out[to++] = sum;
        }
      }
    }
  }
  return { dtype: 'float', shape, data: out };
}

function linearTaps(source: number, size: number): Tap[] {
  const floor = Math.floor(source);
  const low = Math.max(0, floor);
  const high = Math.min(size - 1, Math.ceil(source));
  const weight = source - floor;
  return [
    { at: low, weight: 1 - weight },
    { at: Math.max(0, high), weight },
  ];
}

/** Keys' cubic in a table of 1024 steps; with half-pixel centers a = -0.5 and taps outside are left out, else a = -0.75 and they repeat the edge. */
function cubicTaps(source: number, size: number, half: boolean): Tap[] {
  const a = half ? -0.5 : -0.75;
  const floor = Math.floor(source);
  const step = Math.round((source - floor) * 1024);
  const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1;
  const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  const x = step / 1024;
  const weights = [far(x + 1), near(x), near(1 - x), far(2 - x)];
  const bounded = (at: number) => Math.min(size - 1, Math.max(0, at));
  const taps = weights.map((weight, index) => ({
    at: bounded(floor - 1 + index),
    weight,
    inside: bounded(floor - 1 + index) === floor - 1 + index,
  }));
  if (!half) return taps;
  const kept = taps.map((tap) => (tap.inside ? tap.weight : 0));
  const sum = kept.reduce((total, weight) => total + weight, 0);
  return taps.map((tap, index) => ({
    at: tap.at,
    weight: Math.abs(sum) >= 1000 * 1.1754943508222875e-38 ? (kept[index] ?? 0) / sum : (kept[index] ?? 0),
  }));
}

function areaTaps(at: number, size: number, scale: number): Tap[] {
  const from = Math.fround(at * scale);
  const to = Math.fround((at + 1) * scale);
  const taps: Tap[] = [];
  for (let pixel = Math.floor(from); pixel < Math.ceil(to); pixel++) {
    const weight = Math.min(pixel + 1, to) - Math.max(pixel, from);
    taps.push({ at: Math.min(size - 1, Math.max(0, pixel)), weight: weight / scale });
  }
  return taps;
}

function nearest(image: HostTensor, [height, width]: readonly [number, number], attrs: HostAttrs): HostTensor {
  const align = flag(attrs, 'align_corners');
  const half = flag(attrs, 'half_pixel_centers');
  const [batch = 0, inHeight = 0, inWidth = 0, channels = 0] = image.shape;
  const places = (from: number, to: number) => {
    const scale = scaleOf(from, to, align);
    return Array.from({ length: to }, (_, at) => {
      const source = Math.fround((half ? at + 0.5 : at) * scale);
      const place = align ? Math.floor(source + 0.5) : Math.floor(source);
      return Math.max(0, Math.min(from - 1, place));
    });
  };
  const rows = places(inHeight, height);
  const columns = places(inWidth, width);
  const shape = [batch, height, width, channels];
  const indices = allocate('int32', elementCount(shape)) as Int32Array;
  let to = 0;
  for (let b = 0; b < batch; b++) {
    for (const y of rows)
      for (const x of columns) for (let c = 0; c < channels; c++) indices[to++] = ((b * inHeight + y) * inWidth + x) * channels + c;
  }
  return take(image, shape, indices);
}

function cropAndResize(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const image = input(inputs, 0);
  const boxes = numbers(input(inputs, 1));
  const owners = numbers(input(inputs, 2));
  const [cropHeight = 0, cropWidth = 0] = Array.from(numbers(input(inputs, 3)));
  if (cropHeight <= 0 || cropWidth <= 0) throw invalid('crop dimensions must be positive');
  const fill = attrs.has('extrapolation_value') ? attrs.float('extrapolation_value') : 0;
  const method = attrs.has('method') ? attrs.text('method') : 'bilinear';
  const [batch = 0, height = 0, width = 0, channels = 0] = image.shape;
  const values = numbers(image);
  const shape = [owners.length, cropHeight, cropWidth, channels];
  allocate('float', elementCount(shape));
  const out: number[] = [];
  for (let box = 0; box < owners.length; box++) {
    const owner = owners[box] ?? 0;
    if (owner < 0 || owner >= batch) throw new ServeError('OUT_OF_RANGE', 'box_index has values outside [0, batch_size)');
    const [y1 = 0, x1 = 0, y2 = 0, x2 = 0] = [0, 1, 2, 3].map((index) => boxes[box * 4 + index] ?? 0);
    const place = (from: number, to: number, size: number, count: number, at: number) =>
      count > 1 ? from * (size - 1) + (at * (to - from) * (size - 1)) / (count - 1) : 0.5 * (from + to) * (size - 1);
    for (let row = 0; row < cropHeight; row++) {
      const y = place(y1, y2, height, cropHeight, row);
      for (let column = 0; column < cropWidth; column++) {
        const x = place(x1, x2, width, cropWidth, column);
        const inside = y >= 0 && y <= height - 1 && x >= 0 && x <= width - 1;
        const pixel = (py: number, px: number, c: number) => values[((owner * height + py) * width + px) * channels + c] ?? 0;
        for (let c = 0; c < channels; c++) {
          if (!inside) out.push(fill);
          else if (method === 'nearest') out.push(pixel(Math.round(y), Math.round(x), c));
          else {
            const [top, bottom, left, right] = [Math.floor(y), Math.ceil(y), Math.floor(x), Math.ceil(x)];
            const upper = pixel(top, left, c) + (pixel(top, right, c) - pixel(top, left, c)) * (x - left);
            const lower = pixel(bottom, left, c) + (pixel(bottom, right, c) - pixel(bottom, left, c)) * (x - left);
            out.push(upper + (lower - upper) * (y - top));
          }
        }
      }
    }
  }
  return fromNumbers('float', shape, out);
}
