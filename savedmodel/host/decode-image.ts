/** DecodePng, DecodeBmp and DecodeImage without a library: zlib is Node's. */
import { inflateSync } from 'node:zlib';
import { ServeError } from '#mesh/errors.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { allocate, fromNumbers, type HostKernels, input, invalid, strings } from './host-tensor.ts';

/** DecodePng, DecodeImage of PNG and BMP, and DecodeBmp, uint8 [height, width, channels]; DecodePng also uint16. */
export const IMAGE_OPS: HostKernels = {
  DecodePng: (inputs, attrs) => [decodePng(contents(inputs), channelsOf(attrs), attrs.has('dtype') && attrs.dtype('dtype') === 'uint16')],
  DecodeImage: (inputs, attrs) => [decodeImage(contents(inputs), attrs)],
  DecodeBmp: (inputs, attrs) => [decodeBmp(contents(inputs), channelsOf(attrs))],
};

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** Samples per pixel by PNG color type. */
const SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

function contents(inputs: readonly HostTensor[]): Uint8Array {
  const tensor = input(inputs, 0);
  const bytes = strings(tensor)[0];
  if (bytes === undefined || tensor.shape.length !== 0) throw invalid(`contents must be scalar but got shape [${tensor.shape}]`);
  return bytes;
}

function channelsOf(attrs: HostAttrs): number {
  return attrs.has('channels') ? attrs.int('channels') : 0;
}

function decodeImage(bytes: Uint8Array, attrs: HostAttrs): HostTensor {
  const dtype = attrs.has('dtype') ? attrs.dtype('dtype') : 'uint8';
  if (dtype !== 'uint8') throw new ServeError('UNIMPLEMENTED', `DecodeImage to ${dtype} is not supported`);
  if (bytes[0] === 0x42 && bytes[1] === 0x4d) return decodeBmp(bytes, channelsOf(attrs));
  return decodePng(bytes, channelsOf(attrs), false);
}

/** The error of bytes that are no PNG: JPEG and GIF are images that TensorFlow reads and this does not. */
function unknownFormat(bytes: Uint8Array): ServeError {
  const start = String.fromCharCode(...bytes.subarray(0, 4));
  if (start === 'GIF8' || start.startsWith('\xff\xd8\xff')) return new ServeError('UNIMPLEMENTED', 'JPEG and GIF images are not supported');
  return invalid('Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.');
}

function decodePng(bytes: Uint8Array, wanted: number, wide: boolean): HostTensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33 || SIGNATURE.some((byte, at) => bytes[at] !== byte)) throw unknownFormat(bytes);
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  const [depth = 0, color = 0, , , interlaced = 0] = bytes.subarray(24, 29);
  const samples = SAMPLES[color] ?? 0;
  if (samples === 0 || width === 0 || height === 0) throw invalid('Invalid PNG data');
  if (interlaced !== 0) throw new ServeError('UNIMPLEMENTED', 'interlaced PNG images are not supported');
  allocate('uint8', width * height * 4);
  const parts: Uint8Array[] = [];
  let palette: Uint8Array = new Uint8Array(0);
  let alpha: Uint8Array | undefined;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === 'IDAT') parts.push(body);
    else if (kind === 'PLTE') palette = body;
    else if (kind === 'tRNS' && color === 3) alpha = body;
    else if (kind === 'IEND') break;
    at += 12 + length;
  }
  const rowBytes = Math.ceil((width * samples * depth) / 8);
  const rows = unfilter(inflate(parts, (rowBytes + 1) * height), rowBytes, height, Math.max(1, (samples * depth) >> 3));
  const own = color === 3 ? (alpha === undefined ? 3 : 4) : samples;
  const channels = wanted === 0 ? own : wanted;
  if (channels === 1 && own >= 3) throw new ServeError('UNIMPLEMENTED', 'color PNG images as grayscale are not supported');
  const most = 2 ** depth - 1;
  const full = wide ? 65535 : 255;
  const scaled = (value: number) => (depth === 16 ? (wide ? value : value >> 8) : Math.trunc((value * full) / (color === 3 ? 255 : most)));
  const sample = (row: number, index: number) => {
    if (depth === 16) return (rows[row * rowBytes + 2 * index] ?? 0) * 256 + (rows[row * rowBytes + 2 * index + 1] ?? 0);
    const bit = index * depth;
    return ((rows[row * rowBytes + (bit >> 3)] ?? 0) >> (8 - depth - (bit & 7))) & most;
  };
  const out = new Float64Array(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const raw =
        color === 3
          ? [0, 1, 2].map((part) => palette[sample(y, x) * 3 + part] ?? 0).concat(alpha === undefined ? [] : [alpha[sample(y, x)] ?? 255])
          : Array.from({ length: samples }, (_, part) => sample(y, x * samples + part));
      const gray = own <= 2;
      const pixel = raw.map((value) => (color === 3 ? Math.trunc((value * full) / 255) : scaled(value)));
      const opacity = own === 2 ? pixel[1] : own === 4 ? pixel[3] : full;
      for (let channel = 0; channel < channels; channel++) {
        const isAlpha = (channels === 2 && channel === 1) || channel === 3;
        out[to++] = (isAlpha ? opacity : pixel[gray ? 0 : channel]) ?? 0;
      }
    }
  }
  return fromNumbers(wide ? 'uint16' : 'uint8', [height, width, channels], out);
}

function inflate(parts: readonly Uint8Array[], expected: number): Uint8Array {
  try {
    const data = inflateSync(Buffer.concat(parts), { maxOutputLength: expected + 1024 });
    if (data.length >= expected) return data;
  } catch (cause) {
    throw new ServeError('INVALID_ARGUMENT', 'Invalid PNG data', { cause });
  }
  throw invalid('Invalid PNG data');
}

/** Undoes the row filters: none, sub, up, average, Paeth. */
function unfilter(data: Uint8Array, rowBytes: number, height: number, step: number): Uint8Array {
  const out = new Uint8Array(rowBytes * height);
  for (let row = 0; row < height; row++) {
    const filter = data[row * (rowBytes + 1)] ?? 0;
    if (filter > 4) throw invalid('Invalid PNG data');
    for (let at = 0; at < rowBytes; at++) {
      const to = row * rowBytes + at;
      const left = at >= step ? (out[to - step] ?? 0) : 0;
      const up = row > 0 ? (out[to - rowBytes] ?? 0) : 0;
      const corner = row > 0 && at >= step ? (out[to - rowBytes - step] ?? 0) : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter] ?? 0;
      out[to] = (data[row * (rowBytes + 1) + 1 + at] ?? 0) + guess;
    }
  }
  return out;
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner;
  const [a, b, c] = [left, up, corner].map((one) => Math.abs(estimate - one)) as [number, number, number];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

function decodeBmp(bytes: Uint8Array, wanted: number): HostTensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 32)
    throw invalid(
      `Incomplete bmp content, requires at least 32 bytes to find the header size, width, height, and bpp, got ${bytes.length} bytes`,
    );
  const start = view.getInt32(10, true);
  const width = view.getInt32(18, true);
  const tall = view.getInt32(22, true);
  const channels = view.getInt16(28, true) / 8;
  const height = Math.abs(tall);
  if (wanted !== 0 && wanted !== channels)
    throw invalid(`channels attribute ${wanted} does not match bits per pixel from file ${channels}`);
  if (channels !== 1 && channels !== 3 && channels !== 4) throw invalid(`Number of channels must be 1, 3 or 4, was ${channels}`);
  const rowBytes = Math.floor((channels * width + 3) / 4) * 4;
  if (width <= 0 || height === 0 || start < 0 || start + rowBytes * (height - 1) + channels * width > bytes.length)
    throw invalid('Incomplete bmp content');
  const out = allocate('uint8', height * width * channels) as Uint8Array;
  const order = channels === 1 ? [0] : [2, 1, 0, 3];
  for (let y = 0, to = 0; y < height; y++) {
    const row = start + rowBytes * (tall > 0 ? height - 1 - y : y);
    for (let x = 0; x < width; x++) for (let c = 0; c < channels; c++) out[to++] = bytes[row + x * channels + (order[c] ?? 0)] ?? 0;
  }
  return { dtype: 'uint8', shape: [height, width, channels], data: out };
}
