/** Writes grey pictures as PNG (ISO/IEC 15948), with nothing but node:zlib. */
import { crc32, deflateSync } from 'node:zlib';

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** An 8-bit grey PNG. `pixels` has shape [height, width], 0 black to 255 white. */
export function encodeGreyPng(pixels: Uint8Array, size: { readonly width: number; readonly height: number }): Uint8Array {
  const { width, height } = size;
  if (pixels.length !== width * height) throw new RangeError(`${pixels.length} pixels are not ${width} x ${height}`);
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits per sample; the colour type (0, grey) and the three method bytes that follow stay 0
  const lines = new Uint8Array(height * (width + 1)); // each line starts with its filter, 0: none
  for (let y = 0; y < height; y++) lines.set(pixels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', new Uint8Array(header.buffer)),
    chunk('IDAT', deflateSync(lines, { level: 9 })),
    chunk('IEND', new Uint8Array(0)),
  ]);
}

/** Length, type, data, and the CRC of type and data; numbers big-endian. */
function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}
