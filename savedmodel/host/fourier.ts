/** Complex numbers and Fourier transforms of any length. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostKernel, HostTensor } from '../host-value.ts';
import { allocate, dim, fromNumbers, type HostKernels, input, invalid, numbers, shapeText } from './host-tensor.ts';

/** FFT, IFFT, FFT2D, IFFT2D, RFFT, IRFFT; Complex, Real, Imag, ComplexAbs, Angle, Conj. */
export const FOURIER_OPS: HostKernels = {
  FFT: transform(1, false),
  IFFT: transform(1, true),
  FFT2D: transform(2, false),
  IFFT2D: transform(2, true),
  FFT3D: transform(3, false),
  IFFT3D: transform(3, true),
  RFFT: (inputs) => [realTransform(input(inputs, 0), length(inputs))],
  IRFFT: (inputs) => [inverseReal(input(inputs, 0), length(inputs))],
  Complex: (inputs) => {
    const [real, imaginary] = [input(inputs, 0), input(inputs, 1)];
    const [a, b] = [numbers(real), numbers(imaginary)];
    const out = new Float64Array(2 * a.length);
    for (let index = 0; index < a.length; index++) out.set([a[index] ?? 0, b[index] ?? 0], 2 * index);
    return [complex(real.dtype === 'double', real.shape, out)];
  },
  Real: part((re) => re),
  Imag: part((_, im) => im),
  ComplexAbs: part(Math.hypot),
  Angle: part((re, im) => Math.atan2(im, re)),
  Conj: (inputs) => {
    const tensor = input(inputs, 0);
    const values = pairs(tensor);
    return [
      complex(
        tensor.dtype === 'complex128',
        tensor.shape,
        values.map((value, at) => (at % 2 === 0 ? value : -value)),
      ),
    ];
  },
};

function pairs(tensor: HostTensor): Float64Array {
  if (tensor.dtype !== 'complex64' && tensor.dtype !== 'complex128') throw invalid(`expected complex numbers, found ${tensor.dtype}`);
  return Float64Array.from(tensor.data as Float64Array);
}

function complex(wide: boolean, shape: readonly number[], values: Float64Array): HostTensor {
  return wide ? { dtype: 'complex128', shape, data: values } : { dtype: 'complex64', shape, data: Float32Array.from(values) };
}

function part(pick: (re: number, im: number) => number): HostKernel {
  return (inputs) => {
    const tensor = input(inputs, 0);
    const values = pairs(tensor);
    const out = Float64Array.from({ length: values.length / 2 }, (_, at) => pick(values[2 * at] ?? 0, values[2 * at + 1] ?? 0));
    return [fromNumbers(tensor.dtype === 'complex128' ? 'double' : 'float', tensor.shape, out)];
  };
}

function length(inputs: readonly HostTensor[]): number {
  const size = input(inputs, 1);
  const value = numbers(size)[0];
  if (size.shape.length !== 1 || size.shape[0] !== 1 || value === undefined) throw invalid('fft_length must have shape [1]');
  if (value < 0) throw invalid(`fft_length[0] must be >= 0, but got: ${value}`);
  return value;
}

function transform(rank: number, inverse: boolean): HostKernel {
  return (inputs: readonly HostTensor[], _attrs: HostAttrs) => {
    const tensor = input(inputs, 0);
    const shape = tensor.shape;
    if (shape.length < rank) throw invalid(`Input must have rank of at least ${rank} but got: ${shapeText(shape)}`);
    let values = pairs(tensor);
    for (let axis = shape.length - rank; axis < shape.length; axis++) values = along(values, shape, axis, inverse);
    return [complex(tensor.dtype === 'complex128', shape, values)];
  };
}

/** Transforms along one axis of (re, im) pairs. */
function along(values: Float64Array, shape: readonly number[], axis: number, inverse: boolean): Float64Array {
  const size = dim(shape, axis);
  const inner = elementCount(shape.slice(axis + 1));
  const outer = elementCount(shape.slice(0, axis));
  const out = new Float64Array(values.length);
  const line = new Float64Array(2 * size);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const at = (k: number) => 2 * ((o * size + k) * inner + i);
      for (let k = 0; k < size; k++) line.set([values[at(k)] ?? 0, values[at(k) + 1] ?? 0], 2 * k);
      const result = fourier(line, inverse);
      const scale = inverse ? 1 / size : 1;
      for (let k = 0; k < size; k++) out.set([(result[2 * k] ?? 0) * scale, (result[2 * k + 1] ?? 0) * scale], at(k));
    }
  }
  return out;
}

/** The transform of one line, unscaled: by halves where the length is a power of two, by Bluestein's convolution otherwise. */
function fourier(line: Float64Array, inverse: boolean): Float64Array {
  const size = line.length / 2;
  if (size <= 1) return line.slice();
  if ((size & (size - 1)) === 0) return byHalves(line, inverse);
  let wide = 1;
  while (wide < 2 * size - 1) wide *= 2;
  const turn = inverse ? Math.PI : -Math.PI;
  const chirp = new Float64Array(2 * size);
  for (let k = 0; k < size; k++) {
    const angle = (turn * ((k * k) % (2 * size))) / size;
    chirp.set([Math.cos(angle), Math.sin(angle)], 2 * k);
  }
  const left = new Float64Array(2 * wide);
  const right = new Float64Array(2 * wide);
  for (let k = 0; k < size; k++) {
    const [cos, sin] = [chirp[2 * k] as number, chirp[2 * k + 1] as number];
    const [re, im] = [line[2 * k] as number, line[2 * k + 1] as number];
    left.set([re * cos - im * sin, re * sin + im * cos], 2 * k);
    right.set([cos, -sin], 2 * k);
    if (k > 0) right.set([cos, -sin], 2 * (wide - k));
  }
  const [a, b] = [byHalves(left, false), byHalves(right, false)];
  const mixed = new Float64Array(2 * wide);
  for (let k = 0; k < wide; k++) {
    const [ar, ai, br, bi] = [a[2 * k] as number, a[2 * k + 1] as number, b[2 * k] as number, b[2 * k + 1] as number];
    mixed.set([(ar * br - ai * bi) / wide, (ar * bi + ai * br) / wide], 2 * k);
  }
  const back = byHalves(mixed, true);
  const out = new Float64Array(2 * size);
  for (let k = 0; k < size; k++) {
    const [cos, sin] = [chirp[2 * k] as number, chirp[2 * k + 1] as number];
    const [re, im] = [back[2 * k] as number, back[2 * k + 1] as number];
    out.set([re * cos - im * sin, re * sin + im * cos], 2 * k);
  }
  return out;
}

function byHalves(line: Float64Array, inverse: boolean): Float64Array {
  const size = line.length / 2;
  const out = line.slice();
  for (let at = 1, mirror = 0; at < size; at++) {
    let bit = size >> 1;
    for (; mirror & bit; bit >>= 1) mirror ^= bit;
    mirror ^= bit;
    if (at < mirror) {
      for (let k = 0; k < 2; k++) [out[2 * at + k], out[2 * mirror + k]] = [out[2 * mirror + k] as number, out[2 * at + k] as number];
    }
  }
  for (let width = 2; width <= size; width *= 2) {
    const turn = ((inverse ? 2 : -2) * Math.PI) / width;
    for (let k = 0; k < width / 2; k++) {
      const [cos, sin] = [Math.cos(turn * k), Math.sin(turn * k)];
      for (let from = k; from < size; from += width) {
        const to = from + width / 2;
        const [re, im] = [out[2 * to] as number, out[2 * to + 1] as number];
        const [tr, ti] = [re * cos - im * sin, re * sin + im * cos];
        out[2 * to] = (out[2 * from] as number) - tr;
        out[2 * to + 1] = (out[2 * from + 1] as number) - ti;
        out[2 * from] = (out[2 * from] as number) + tr;
        out[2 * from + 1] = (out[2 * from + 1] as number) + ti;
      }
    }
  }
  return out;
}

function checkWidth(axis: number, width: number, needed: number): void {
  if (width < needed && width > 0) throw invalid(`Input dimension ${axis} must have length of at least ${needed} but got: ${width}`);
}

/** The first half of the transform of real rows, cut to `size`. */
function realTransform(tensor: HostTensor, size: number): HostTensor {
  const rank = tensor.shape.length;
  if (rank < 1) throw invalid(`Input must have rank of at least 1 but got: ${shapeText(tensor.shape)}`);
  const width = dim(tensor.shape, rank - 1);
  const rows = elementCount(tensor.shape.slice(0, -1));
  const half = size === 0 ? 0 : Math.floor(size / 2) + 1;
  checkWidth(rank - 1, width, size);
  const values = numbers(tensor);
  const out = allocate('complex128', rows * half) as Float64Array;
  for (let row = 0; row < rows; row++) {
    const line = new Float64Array(2 * size);
    for (let k = 0; k < Math.min(width, size); k++) line[2 * k] = values[row * width + k] ?? 0;
    out.set(fourier(line, false).subarray(0, 2 * half), 2 * row * half);
  }
  return complex(tensor.dtype === 'double', [...tensor.shape.slice(0, -1), half], out);
}

function inverseReal(tensor: HostTensor, size: number): HostTensor {
  const rank = tensor.shape.length;
  if (rank < 1) throw invalid(`Input must have rank of at least 1 but got: ${shapeText(tensor.shape)}`);
  const width = dim(tensor.shape, rank - 1);
  const rows = elementCount(tensor.shape.slice(0, -1));
  const half = Math.floor(size / 2) + 1;
  checkWidth(rank - 1, width, half);
  const values = pairs(tensor);
  const out = allocate('double', rows * size) as Float64Array;
  for (let row = 0; row < rows; row++) {
    const line = new Float64Array(2 * size);
    for (let k = 0; k < Math.min(width, half); k++) {
      const [re, im] = [values[2 * (row * width + k)] ?? 0, values[2 * (row * width + k) + 1] ?? 0];
      const own = k === 0 || 2 * k === size;
      line.set([re, own ? 0 : im], 2 * k);
      if (!own) line.set([re, -im], 2 * (size - k));
    }
    const result = fourier(line, true);
    for (let k = 0; k < size; k++) out[row * size + k] = (result[2 * k] ?? 0) / size;
  }
  return fromNumbers(tensor.dtype === 'complex128' ? 'double' : 'float', [...tensor.shape.slice(0, -1), size], out);
}
