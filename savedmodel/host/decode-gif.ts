/** GIF images to frames, each drawn over the one before, as TensorFlow draws them. */
import { ServeError } from '#mesh/errors.ts';
import { invalid, MAX_ELEMENTS } from './host-tensor.ts';

/** Frames of RGB rows. */
export interface GifFrames {
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  /** [frames, height, width, 3]. */
  readonly data: Uint8Array;
}

interface GifFrame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly interlaced: boolean;
  readonly colors: Uint8Array | undefined;
  readonly codeBits: number;
  readonly data: Uint8Array;
}

/** The first row and the step of the four passes of an interlaced frame. */
const PASSES: readonly (readonly [number, number])[] = [
  [0, 8],
  [4, 8],
  [2, 4],
  [1, 2],
];

/** Decodes all frames, or the first `most` of them. Throws INVALID_ARGUMENT in TensorFlow's words for data without a frame. */
export function decodeGif(bytes: Uint8Array, most: number): GifFrames {
  const broken = (why: string) => invalid(`Invalid GIF data (size ${bytes.length}), ${why}`);
  const frames = readFrames(bytes, broken);
  const width = Math.max(...frames.map((frame) => frame.width));
  const height = Math.max(...frames.map((frame) => frame.height));
  const kept = frames.slice(0, most);
  const size = width * height * 3;
  if (size === 0) throw broken('a frame has no pixels');
  if (size * kept.length > MAX_ELEMENTS) {
    throw new ServeError(
      'RESOURCE_EXHAUSTED',
      `${kept.length} GIF frames of ${width} x ${height} pixels are more than this server decodes`,
    );
  }
  const data = new Uint8Array(size * kept.length);
  kept.forEach((frame, index) => {
    const { left, top, colors } = frame;
    const whole = left === 0 && top === 0 && frame.width === width && frame.height === height;
    if (!whole && index > 0) data.copyWithin(index * size, (index - 1) * size, index * size);
    if (colors === undefined) throw broken(`missing color map for frame ${index}`);
    const pixels = decodePixels(frame);
    for (let y = top; y < Math.min(height, top + frame.height); y++) {
      for (let x = left; x < Math.min(width, left + frame.width); x++) {
        const color = pixels[(y - top) * frame.width + x - left] as number;
        if (3 * color >= colors.length) throw broken(`found color index ${color} outside of color map range ${colors.length / 3}`);
        const to = index * size + (y * width + x) * 3;
        data[to] = colors[3 * color] as number;
        data[to + 1] = colors[3 * color + 1] as number;
        data[to + 2] = colors[3 * color + 2] as number;
      }
    }
  });
  return { frames: kept.length, height, width, data };
}

/** The frames' headers and their data; a frame that is cut off is the last one. */
function readFrames(bytes: Uint8Array, broken: (why: string) => ServeError): GifFrame[] {
  const cut = () => broken('failed to open gif file: Failed to read from given file');
  if (bytes.length < 6) throw cut();
  if (bytes.length < 13) throw broken('failed to open gif file: No screen descriptor detected');
  const table = (at: number, flags: number) => ((flags & 0x80) === 0 ? undefined : bytes.subarray(at, at + 3 * (2 << (flags & 7))));
  const flags = bytes[10] ?? 0;
  const common = table(13, flags);
  let at = 13 + (common === undefined ? 0 : 3 * (2 << (flags & 7)));
  if (at > bytes.length) throw cut();
  const frames: GifFrame[] = [];
  const two = (from: number) => (bytes[from] ?? 0) | ((bytes[from + 1] ?? 0) << 8);
  while (at < bytes.length) {
    const kind = bytes[at++];
    if (kind === 0x3b) break;
    if (kind === 0x21) {
      at = skipBlocks(bytes, at + 1);
      continue;
    }
    if (kind !== 0x2c) {
      if (frames.length === 0) throw broken('failed to slurp gif file: Wrong record type detected');
      break;
    }
    if (at + 9 > bytes.length) break;
    const local = bytes[at + 8] ?? 0;
    const head = { left: two(at), top: two(at + 2), width: two(at + 4), height: two(at + 6), interlaced: (local & 0x40) !== 0 };
    at += 9;
    const own = table(at, local);
    if (own !== undefined) at += 3 * (2 << (local & 7));
    const codeBits = bytes[at] ?? 0;
    const end = skipBlocks(bytes, at + 1);
    const data = joinBlocks(bytes, at + 1);
    at = end;
    if (codeBits < 1 || codeBits > 8) {
      if (frames.length === 0) throw broken('failed to slurp gif file: Image is defective, decoding aborted');
      break;
    }
    // A code of two bits or more stands for 4096 pixels at the most: a frame cannot have more than its data can say.
    if (head.width * head.height > 65536 + data.length * 16384)
      throw broken('failed to slurp gif file: Image is defective, decoding aborted');
    frames.push({ ...head, colors: own ?? common, codeBits, data });
  }
  if (frames.length === 0) {
    const ended = bytes[at - 1] === 0x3b;
    throw broken(`failed to slurp gif file: ${ended ? 'No Image Descriptor detected' : 'Failed to read from given file'}`);
  }
  return frames;
}

function skipBlocks(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length) {
    const size = bytes[at] ?? 0;
    at += 1 + size;
    if (size === 0) break;
  }
  return at;
}

function joinBlocks(bytes: Uint8Array, from: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = from; at < bytes.length; ) {
    const size = bytes[at] ?? 0;
    if (size === 0) break;
    parts.push(bytes.subarray(at + 1, at + 1 + size));
    at += 1 + size;
  }
  return Buffer.concat(parts);
}

/** The color indices of a frame, row by row; zeros where its data end early. */
function decodePixels(frame: GifFrame): Uint8Array {
  const { width, height, data, codeBits, interlaced } = frame;
  const pixels = unpackLzw(data, codeBits, width * height);
  if (!interlaced) return pixels;
  const ordered = new Uint8Array(pixels.length);
  let from = 0;
  for (const [first, step] of PASSES) {
    for (let y = first; y < height; y += step, from += width) ordered.set(pixels.subarray(from, from + width), y * width);
  }
  return ordered;
}

/** LZW with codes of growing width, 12 bits at the most. */
function unpackLzw(data: Uint8Array, codeBits: number, count: number): Uint8Array {
  const out = new Uint8Array(count);
  const clear = 1 << codeBits;
  const prefix = new Uint16Array(4096);
  const suffix = new Uint8Array(4096);
  const length = new Uint16Array(4096).fill(1, 0, clear);
  for (let code = 0; code < clear; code++) suffix[code] = code;
  let size = codeBits + 1;
  let next = clear + 2;
  let previous = -1;
  let buffer = 0;
  let bits = 0;
  let from = 0;
  let to = 0;
  while (to < count) {
    while (bits < size && from < data.length) {
      buffer |= (data[from++] as number) << bits;
      bits += 8;
    }
    if (bits < size) break;
    const code = buffer & ((1 << size) - 1);
    buffer >>>= size;
    bits -= size;
    if (code === clear) {
      size = codeBits + 1;
      next = clear + 2;
      previous = -1;
      continue;
    }
    if (code === clear + 1 || code > next || (previous < 0 && code > clear)) break;
    if (previous >= 0 && next < 4096) {
      prefix[next] = previous;
      length[next] = (length[previous] as number) + 1;
      let root = code === next ? previous : code;
      while (root >= clear) root = prefix[root] as number;
      suffix[next] = suffix[root] as number;
      next++;
      if (next === 1 << size && size < 12) size++;
    } else if (code >= next) break;
    let at = to + (length[code] as number);
    to = Math.min(count, at);
    for (let walk = code, left = length[code] as number; left > 0; left--) {
      at--;
      if (at < count) out[at] = suffix[walk] as number;
      walk = prefix[walk] as number;
    }
    previous = code;
  }
  return out;
}
