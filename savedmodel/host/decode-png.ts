/** PNG images to pixels as libpng gives them to TensorFlow, interlaced ones too. zlib is Node's. */
import { crc32, inflateSync } from 'node:zlib';
import { ServeError } from '#mesh/errors.ts';
import { invalid, MAX_ELEMENTS } from './host-tensor.ts';

/** Rows of pixels of `channels` samples. */
export interface PngPixels {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly data: Uint8Array | Uint16Array;
}

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly color: number;
  readonly interlaced: boolean;
  readonly samples: number;
}

interface Chunks {
  readonly header: Header;
  readonly palette: Uint8Array | undefined;
  readonly transparency: Uint8Array | undefined;
  readonly data: readonly Uint8Array[];
  readonly whole: boolean;
}

/** Samples per pixel and allowed bit depths by color type. */
const COLORS: Readonly<Record<number, { readonly samples: number; readonly depths: readonly number[] }>> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};

/** First column and row and the steps of the seven passes of Adam7. */
const ADAM7: readonly (readonly [number, number, number, number])[] = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

/** Decodes a PNG to `wanted` channels (0: its own), 8 bits or (`wide`) 16 bits each. Throws INVALID_ARGUMENT in TensorFlow's words. */
export function decodePng(bytes: Uint8Array, wanted: number, wide: boolean): PngPixels {
  const { header, palette, transparency, data, whole } = readChunks(bytes);
  const { width, height, color } = header;
  if (width >= 1 << 27 || height >= 1 << 27 || width * height >= 1 << 29) {
    throw invalid(`PNG size too large for int: ${width} by ${height}`);
  }
  const own = color === 3 ? (transparency === undefined ? 3 : 4) : header.samples;
  const channels = wanted === 0 ? own : wanted;
  if (width * height * Math.max(channels, header.samples) > MAX_ELEMENTS) {
    throw new ServeError('RESOURCE_EXHAUSTED', `a PNG image of ${width} x ${height} pixels is larger than this server decodes`);
  }
  const broken = () => invalid(`Invalid PNG data, size ${bytes.length}`);
  if (!whole) throw broken();
  const passes = header.interlaced ? ADAM7 : ([[0, 0, 1, 1]] as const);
  const sizes = passes.map(([x, y, dx, dy]) => ({ columns: Math.ceil((width - x) / dx), rows: Math.ceil((height - y) / dy) }));
  const bits = header.samples * header.depth;
  const expected = sizes.reduce((sum, { columns, rows }) => sum + (columns > 0 ? rows * (1 + Math.ceil((columns * bits) / 8)) : 0), 0);
  // Deflate packs 1032 bytes into one at the most.
  const given = data.reduce((sum, part) => sum + part.length, 0);
  if (expected > given * 1032) throw broken();
  const packed = inflate(data, expected, broken);
  const samples = new (header.depth === 16 ? Uint16Array : Uint8Array)(width * height * header.samples);
  let at = 0;
  passes.forEach(([x, y, dx, dy], index) => {
    const { columns = 0, rows = 0 } = sizes[index] ?? {};
    if (columns <= 0 || rows <= 0) return;
    const rowBytes = Math.ceil((columns * bits) / 8);
    if (!unfilter(packed, at, rowBytes, rows, Math.max(1, bits >> 3))) throw broken();
    for (let row = 0; row < rows; row++) {
      const from = at + row * (rowBytes + 1) + 1;
      spread(packed, from, columns, header, samples, ((y + row * dy) * width + x) * header.samples, dx * header.samples);
    }
    at += rows * (rowBytes + 1);
  });
  return { height, width, channels, data: convert(samples, header, palette, transparency, channels, wide) };
}

/** A chunk's CRC is over its kind and its body. Broken chunks that an image can do without are passed over. */
function readChunks(bytes: Uint8Array): Chunks {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const uninitialised = () => invalid('Invalid PNG. Failed to initialize decoder.');
  let header: Header | undefined;
  let palette: Uint8Array | undefined;
  let transparency: Uint8Array | undefined;
  let whole = false;
  const data: Uint8Array[] = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (at + 12 + length > bytes.length) {
      if (kind === 'IDAT') data.push(body);
      break;
    }
    const intact = crc32(bytes.subarray(at + 4, at + 8 + length)) === view.getUint32(at + 8 + length);
    const optional = ((bytes[at + 4] ?? 0) & 0x20) !== 0;
    at += 12 + length;
    if (!intact) {
      if (optional) continue;
      if (data.length === 0 && kind !== 'IDAT') throw uninitialised();
      data.push(body);
      break;
    }
    if (header === undefined) {
      if (kind !== 'IHDR') throw uninitialised();
      header = readHeader(body);
      if (header === undefined) throw uninitialised();
    } else if (kind === 'IDAT') data.push(body);
    else if (kind === 'PLTE') palette = body.length % 3 === 0 ? body : palette;
    else if (kind === 'tRNS') transparency = body;
    else if (kind === 'IEND') {
      whole = true;
      break;
    } else if (!optional) throw uninitialised();
  }
  if (header === undefined || data.length === 0 || (header.color === 3 && palette === undefined)) throw uninitialised();
  return { header, palette, transparency, data, whole };
}

function readHeader(body: Uint8Array): Header | undefined {
  if (body.length !== 13) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const [depth = 0, color = 0, compression = 0, filter = 0, interlace = 0] = body.subarray(8);
  const allowed = COLORS[color];
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  if (allowed === undefined || !allowed.depths.includes(depth) || compression !== 0 || filter !== 0 || interlace > 1) return undefined;
  // libpng refuses more than a million pixels a side.
  if (width === 0 || height === 0 || width > 1_000_000 || height > 1_000_000) return undefined;
  return { width, height, depth, color, interlaced: interlace === 1, samples: allowed.samples };
}

function inflate(parts: readonly Uint8Array[], expected: number, broken: () => ServeError): Uint8Array {
  try {
    const data = inflateSync(Buffer.concat(parts), { maxOutputLength: expected + 65536 });
    if (data.length >= expected) return data;
  } catch (cause) {
    throw new ServeError('INVALID_ARGUMENT', broken().message, { cause });
  }
  throw broken();
}

/** Undoes the row filters in place: none, sub, up, average, Paeth. False for a filter that there is not. */
function unfilter(data: Uint8Array, start: number, rowBytes: number, rows: number, step: number): boolean {
  for (let row = 0; row < rows; row++) {
    const from = start + row * (rowBytes + 1) + 1;
    const above = from - rowBytes - 1;
    const filter = data[from - 1] as number;
    if (filter === 1 || (filter === 4 && row === 0)) {
      for (let at = step; at < rowBytes; at++) data[from + at] = (data[from + at] as number) + (data[from + at - step] as number);
    } else if (filter === 2) {
      if (row > 0) for (let at = 0; at < rowBytes; at++) data[from + at] = (data[from + at] as number) + (data[above + at] as number);
    } else if (filter === 3) {
      for (let at = 0; at < rowBytes; at++) {
        const left = at >= step ? (data[from + at - step] as number) : 0;
        const up = row > 0 ? (data[above + at] as number) : 0;
        data[from + at] = (data[from + at] as number) + ((left + up) >> 1);
      }
    } else if (filter === 4) {
      for (let at = 0; at < rowBytes; at++) {
        const left = at >= step ? (data[from + at - step] as number) : 0;
        const corner = at >= step ? (data[above + at - step] as number) : 0;
        data[from + at] = (data[from + at] as number) + paeth(left, data[above + at] as number, corner);
      }
    } else if (filter !== 0) return false;
  }
  return true;
}

function paeth(left: number, up: number, corner: number): number {
  const a = Math.abs(up - corner);
  const b = Math.abs(left - corner);
  const c = Math.abs(left + up - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** Puts the samples of one row of a pass where they belong; a pixel's samples stay together. */
function spread(
  data: Uint8Array,
  from: number,
  columns: number,
  header: Header,
  out: Uint8Array | Uint16Array,
  to: number,
  step: number,
): void {
  const { samples, depth } = header;
  if (depth === 8 && step === samples) {
    out.set(data.subarray(from, from + columns * samples), to);
    return;
  }
  const mask = 2 ** depth - 1;
  for (let column = 0, index = 0; column < columns; column++) {
    for (let part = 0; part < samples; part++, index++) {
      if (depth === 8) out[to + column * step + part] = data[from + index] as number;
      else if (depth === 16) {
        out[to + column * step + part] = ((data[from + 2 * index] as number) << 8) | (data[from + 2 * index + 1] as number);
      } else {
        const bit = index * depth;
        out[to + column * step + part] = ((data[from + (bit >> 3)] as number) >> (8 - depth - (bit & 7))) & mask;
      }
    }
  }
}

function convert(
  samples: Uint8Array | Uint16Array,
  header: Header,
  palette: Uint8Array | undefined,
  transparency: Uint8Array | undefined,
  channels: number,
  wide: boolean,
): Uint8Array | Uint16Array {
  const { depth, color } = header;
  if (depth === 8 && !wide && color !== 3 && channels === header.samples) return samples as Uint8Array;
  const count = header.width * header.height;
  const out = new (wide ? Uint16Array : Uint8Array)(count * channels);
  const full = depth === 16 ? 65535 : 255;
  const scale = depth < 8 && color === 0 ? 255 / (2 ** depth - 1) : 1;
  const size = depth === 16 ? (value: number) => (wide ? value : value >> 8) : (value: number) => (wide ? value * 257 : value);
  const pixel = [0, 0, 0, full];
  // TensorFlow fills in the largest sample of the stored depth, also where samples below 8 bits were scaled up.
  const filled = 2 ** depth - 1;
  const hidden =
    transparency === undefined || color === 3
      ? undefined
      : Array.from({ length: header.samples }, (_, index) => two(transparency, 2 * index));
  for (let index = 0, to = 0; index < count; index++) {
    const from = index * header.samples;
    if (color === 3) {
      const entry = samples[from] as number;
      for (let part = 0; part < 3; part++) pixel[part] = palette?.[3 * entry + part] ?? 0;
      pixel[3] = transparency === undefined ? filled : (transparency[entry] ?? 255);
    } else if (header.samples <= 2) {
      pixel[0] = pixel[1] = pixel[2] = (samples[from] as number) * scale;
      pixel[3] =
        header.samples === 2 ? (samples[from + 1] as number) : hidden === undefined ? filled : samples[from] === hidden[0] ? 0 : full;
    } else {
      for (let part = 0; part < 3; part++) pixel[part] = samples[from + part] as number;
      const seen = hidden === undefined || hidden.some((value, part) => samples[from + part] !== value);
      pixel[3] = header.samples === 4 ? (samples[from + 3] as number) : seen ? full : 0;
    }
    if (channels < 3) out[to++] = size(gray(pixel, depth === 16));
    else for (let part = 0; part < 3; part++) out[to++] = size(pixel[part] as number);
    if (channels === 2 || channels === 4) out[to++] = size(pixel[3] as number);
  }
  return out;
}

function two(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** Luma in 15 bits of fraction; only 16-bit samples are rounded. */
function gray(pixel: readonly number[], rounded: boolean): number {
  const [red = 0, green = 0, blue = 0] = pixel;
  if (red === green && green === blue) return red;
  return Math.floor((red * 9797 + green * 19234 + blue * 3737 + (rounded ? 16384 : 0)) / 32768);
}
