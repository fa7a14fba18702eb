/** EncodePng: images of 1 to 4 channels, 8 or 16 bits, as PNG files. The pixels are TensorFlow's, the bytes need not be. */
import { crc32, deflateSync } from 'node:zlib';
import { elementCount } from '#mesh/tensor.ts';
import type { HostTensor } from '../host-value.ts';
import { dim, type HostKernels, input, invalid, shapeText, stringTensor } from './host-tensor.ts';

/** EncodePng of [..., height, width, channels]: one file per image. */
export const ENCODE_OPS: HostKernels = {
  EncodePng: (inputs, attrs) => [encode(input(inputs, 0), attrs.has('compression') ? attrs.int('compression') : -1)],
};

/** PNG's color type by the number of channels. */
const COLOR_TYPES: Readonly<Record<number, number>> = { 1: 0, 2: 4, 3: 2, 4: 6 };

function encode(image: HostTensor, compression: number): HostTensor {
  const { shape } = image;
  if (shape.length < 3) throw invalid(`image must be at least rank 3${shapeText(shape)}`);
  if (image.dtype !== 'uint8' && image.dtype !== 'uint16') throw invalid(`image must be uint8 or uint16, not ${image.dtype}`);
  if (compression < -1 || compression > 9) throw invalid(`compression should be in [-1,9], got ${compression}`);
  if (elementCount(shape) === 0) throw invalid(`image must not be empty, got shape ${shapeText(shape)}`);
  const [height, width, channels] = [3, 2, 1].map((back) => dim(shape, shape.length - back)) as [number, number, number];
  const color = COLOR_TYPES[channels];
  if (color === undefined) throw invalid(`image must have 1, 2, 3, or 4 channels, got ${channels}`);
  const batch = shape.slice(0, -3);
  const size = height * width * channels;
  const samples = image.data as Uint8Array | Uint16Array;
  const files = Array.from({ length: elementCount(batch) }, (_, index) =>
    file({ height, width, channels, color, compression }, samples.subarray(index * size, (index + 1) * size)),
  );
  return stringTensor(batch, files);
}

interface Header {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly color: number;
  readonly compression: number;
}

function file({ height, width, channels, color, compression }: Header, samples: Uint8Array | Uint16Array): Uint8Array {
  const bytesEach = samples instanceof Uint16Array ? 2 : 1;
  const rowBytes = width * channels * bytesEach;
  const rows = new Uint8Array(height * (rowBytes + 1));
  for (let row = 0, from = 0; row < height; row++) {
    for (let at = row * (rowBytes + 1) + 1; at < (row + 1) * (rowBytes + 1); at += bytesEach, from++) {
      const value = samples[from] ?? 0;
      if (bytesEach === 2) rows.set([value >> 8, value & 255], at);
      else rows[at] = value;
    }
  }
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, 8 * bytesEach);
  head.setUint8(9, color);
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const packed = deflateSync(rows, { level: compression });
  return new Uint8Array(
    Buffer.concat([signature, chunk('IHDR', new Uint8Array(head.buffer)), chunk('IDAT', packed), chunk('IEND', new Uint8Array(0))]),
  );
}

function chunk(kind: string, body: Uint8Array): Uint8Array {
  const named = Buffer.concat([Buffer.from(kind, 'latin1'), body]);
  const out = Buffer.alloc(named.length + 8);
  out.writeUInt32BE(body.length, 0);
  named.copy(out, 4);
  out.writeUInt32BE(crc32(named), named.length + 4);
  return out;
}
