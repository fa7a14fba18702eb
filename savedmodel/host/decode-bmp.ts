/** Uncompressed BMP images to pixels. */
import { allocate, invalid } from './host-tensor.ts';

/** Rows of pixels of `channels` bytes, top first. */
export interface BmpPixels {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** Decodes a BMP of 8, 24 or 32 bits a pixel to `wanted` channels (0: its own). Throws INVALID_ARGUMENT in TensorFlow's words. */
export function decodeBmp(bytes: Uint8Array, wanted: number): BmpPixels {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 32) {
    throw invalid(
      `Incomplete bmp content, requires at least 32 bytes to find the header size, width, height, and bpp, got ${bytes.length} bytes`,
    );
  }
  const start = view.getInt32(10, true);
  const width = view.getInt32(18, true);
  const tall = view.getInt32(22, true);
  const own = Math.trunc(view.getInt16(28, true) / 8);
  const height = Math.abs(tall);
  if (own !== 1 && own !== 3 && own !== 4) throw invalid(`Number of channels inherent in the image must be 1, 3 or 4, was ${own}`);
  const channels = wanted === 0 ? own : wanted;
  if (width <= 0) throw invalid('Width must be positive');
  if (height === 0) throw invalid('Height must be nonzero');
  if (start < 0) throw invalid('header size must be nonnegative');
  if (width * height >= 268435455) throw invalid('Total possible pixel bytes must be less than 2^30');
  const rowBytes = Math.floor((own * width + 3) / 4) * 4;
  const difference = bytes.length - start - rowBytes * height;
  if (difference !== 0) {
    throw invalid(`Input size should match (header_size + row_size * abs_height) but they differ by ${difference}`);
  }
  const data = allocate('uint8', height * width * channels) as Uint8Array;
  const order = own === 1 ? [0, 0, 0] : [2, 1, 0];
  for (let y = 0, to = 0; y < height; y++) {
    const row = start + rowBytes * (tall > 0 ? height - 1 - y : y);
    for (let x = 0; x < width; x++) {
      const from = row + x * own;
      for (let c = 0; c < Math.min(3, channels); c++) data[to++] = bytes[from + (order[c] ?? 0)] ?? 0;
      if (channels === 4) data[to++] = own === 4 ? (bytes[from + 3] ?? 0) : 255;
    }
  }
  return { height, width, channels, data };
}
