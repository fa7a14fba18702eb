/** Encoded images, as the importer's host kernels decode them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateSync, inflateSync } from 'node:zlib';
import { elementCount } from '#mesh/tensor.ts';
import { stringTensor } from '../../../../savedmodel/host/host-tensor.ts';
import { HOST_OPS } from '../../../../savedmodel/host/index.ts';
import type { HostAttrs } from '../../../../savedmodel/host-value.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

interface Golden {
  readonly op: string;
  readonly in: readonly { readonly v?: readonly string[] }[];
  readonly out?: unknown;
}

const GOLDENS = join(import.meta.dirname, '../../../savedmodel/host');
const SIGNATURES = { png: '\x89PNG', jpeg: '\xff\xd8', gif: 'GIF8' } as const;
const MOST_SEED_BYTES = 1500;
const PNG_HEAD_BYTES = 8;

/** Small whole images that TensorFlow decodes. */
function images(format: keyof typeof SIGNATURES): Uint8Array[] {
  const file = format === 'jpeg' ? 'goldens-jpeg.json' : 'goldens-png-gif.json';
  const goldens = JSON.parse(readFileSync(join(GOLDENS, file), 'utf8')) as readonly Golden[];
  const texts = new Set(goldens.filter(({ out }) => out !== undefined).map((golden) => golden.in[0]?.v?.[0] ?? ''));
  return Array.from(texts, (text) => new Uint8Array(Buffer.from(text, 'base64'))).filter(
    (bytes) => bytes.byteLength <= MOST_SEED_BYTES && Buffer.from(bytes).toString('latin1').startsWith(SIGNATURES[format]),
  );
}

const none = { has: () => false } as unknown as HostAttrs;
const recover = { has: (name: string) => name === 'try_recover_truncated', bool: () => true } as unknown as HostAttrs;

/** As many elements as the shape says, or a refusal. */
function decode(op: string, bytes: Uint8Array, attrs = none): void {
  const kernel = HOST_OPS.get(op);
  if (kernel === undefined) throw new Error(`there is no ${op}`);
  const [image] = orRefused(() => kernel([stringTensor([], [bytes])], attrs)) ?? [];
  if (image !== undefined) agree('elements and shape', image.data.length, elementCount(image.shape));
}

/** A PNG as it comes; and with the checksums of its chunks put right, its pixels taken as packed by us if they are not packed at all. */
function png(bytes: Uint8Array): void {
  decode('DecodePng', bytes);
  decode('DecodeImage', rightChunks(bytes));
}

function rightChunks(bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [bytes.subarray(0, PNG_HEAD_BYTES)];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = PNG_HEAD_BYTES; at + 12 <= bytes.byteLength; ) {
    const length = Math.min(view.getUint32(at), bytes.byteLength - at - 12);
    const type = bytes.subarray(at + 4, at + 8);
    const data = bytes.subarray(at + 8, at + 8 + length);
    const content = Buffer.from(type).toString('latin1') === 'IDAT' ? packed(data) : data;
    const body = Buffer.concat([type, content]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(content.byteLength);
    ends.writeUInt32BE(crc32(body), 4);
    parts.push(ends.subarray(0, 4), body, ends.subarray(4));
    at += 12 + length;
  }
  return new Uint8Array(Buffer.concat(parts));
}

function packed(data: Uint8Array): Uint8Array {
  try {
    inflateSync(data);
    return data;
  } catch {
    return deflateSync(data);
  }
}

/** PNGs whose pixels are not packed, so that changes reach the filters. */
function openPngs(): Uint8Array[] {
  return images('png').map((bytes) => {
    const whole = Buffer.from(bytes);
    const at = whole.indexOf('IDAT');
    if (at < 0) return bytes;
    const length = whole.readUInt32BE(at - 4);
    try {
      const pixels = inflateSync(whole.subarray(at + 4, at + 4 + length));
      const size = Buffer.alloc(4);
      size.writeUInt32BE(pixels.byteLength);
      return new Uint8Array(
        Buffer.concat([whole.subarray(0, at - 4), size, whole.subarray(at, at + 4), pixels, whole.subarray(at + 4 + length)]),
      );
    } catch {
      return bytes;
    }
  });
}

function jpeg(bytes: Uint8Array): void {
  decode('DecodeJpeg', bytes);
  decode('DecodeJpeg', bytes, recover);
  const shape = HOST_OPS.get('ExtractJpegShape');
  orRefused(() => shape?.([stringTensor([], [bytes])], none));
}

/** A BMP of two rows, from the bottom up. */
function bmp(bits: number): Uint8Array {
  const bytes = Buffer.alloc(54 + 2 * 8);
  bytes.write('BM', 'latin1');
  bytes.writeUInt32LE(bytes.byteLength, 2);
  bytes.writeUInt32LE(54, 10);
  bytes.writeUInt32LE(40, 14);
  bytes.writeInt32LE(2, 18);
  bytes.writeInt32LE(2, 22);
  bytes.writeUInt16LE(1, 26);
  bytes.writeUInt16LE(bits, 28);
  return new Uint8Array(bytes);
}

const COVERS = ['savedmodel/host/decode-', 'savedmodel/host/jpeg/'];

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'png',
    format: 'bytes',
    covers: COVERS,
    words: ['IHDR', 'IDAT', 'IEND', 'PLTE', 'tRNS', 'sBIT', 'gAMA'],
    seeds: () => [...openPngs(), ...images('png')],
    check: png,
  },
  {
    name: 'jpeg',
    format: 'bytes',
    covers: COVERS,
    words: [0xc0, 0xc2, 0xc4, 0xda, 0xdb, 0xdd, 0xd9, 0xd0, 0xee, 0xe0].map((marker) => Uint8Array.of(0xff, marker)),
    seeds: () => images('jpeg'),
    check: jpeg,
  },
  {
    name: 'gif',
    format: 'bytes',
    covers: COVERS,
    words: [',', ';', '!\xf9\x04'],
    seeds: () => images('gif'),
    check: (bytes) => decode('DecodeGif', bytes),
  },
  { name: 'bmp', format: 'bytes', covers: COVERS, seeds: () => [bmp(24), bmp(32), bmp(8)], check: (bytes) => decode('DecodeBmp', bytes) },
];
