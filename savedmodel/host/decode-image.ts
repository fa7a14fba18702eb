/** DecodeJpeg, DecodePng, DecodeGif, DecodeBmp and DecodeImage: one kernel that looks at the bytes, as in TensorFlow. */
import { ServeError } from '#mesh/errors.ts';
import type { HostAttrs, HostData, HostTensor } from '../host-value.ts';
import { decodeBmp } from './decode-bmp.ts';
import { decodeGif } from './decode-gif.ts';
import { decodePng } from './decode-png.ts';
import { fromNumbers, type HostKernels, input, int32s, invalid, numbers, shapeText, strings } from './host-tensor.ts';
import { damaged } from './jpeg/damaged.ts';
import { decodeJpeg, type JpegOptions, jpegShape } from './jpeg/decode-jpeg.ts';

type ImageOp = 'DecodeJpeg' | 'DecodeAndCropJpeg' | 'DecodePng' | 'DecodeGif' | 'DecodeBmp' | 'DecodeImage';

/** The decoders of images: uint8 [height, width, channels], with frames in front where a GIF is decoded whole; uint16 and float where asked for. */
export const IMAGE_OPS: HostKernels = {
  DecodeJpeg: (inputs, attrs) => [decode('DecodeJpeg', inputs, attrs)],
  DecodeAndCropJpeg: (inputs, attrs) => [decode('DecodeAndCropJpeg', inputs, attrs)],
  DecodePng: (inputs, attrs) => [decode('DecodePng', inputs, attrs)],
  DecodeGif: (inputs, attrs) => [decode('DecodeGif', inputs, attrs)],
  DecodeBmp: (inputs, attrs) => [decode('DecodeBmp', inputs, attrs)],
  DecodeImage: (inputs, attrs) => [decode('DecodeImage', inputs, attrs)],
  ExtractJpegShape: (inputs, attrs) => [extractShape(inputs, attrs)],
};

type Format = 'JPEG' | 'PNG' | 'GIF' | 'BMP';

function contents(inputs: readonly HostTensor[]): Uint8Array {
  const tensor = input(inputs, 0);
  if (tensor.shape.length !== 0) throw invalid(`\`contents\` must be scalar but got shape${shapeText(tensor.shape)}`);
  const bytes = strings(tensor)[0];
  if (bytes === undefined || bytes.length === 0) throw invalid('Input is empty.');
  return bytes;
}

function formatOf(bytes: Uint8Array): Format {
  const start = String.fromCharCode(...bytes.subarray(0, 12));
  if (start.startsWith('\xff\xd8\xff')) return 'JPEG';
  if (start.startsWith('\x89PNG\r\n\x1a\n')) return 'PNG';
  if (start.startsWith('GIF8')) return 'GIF';
  if (start.startsWith('BM')) return 'BMP';
  if (start.startsWith('RIFF') && start.slice(8) === 'WEBP' && bytes.length > 12) {
    throw new ServeError('UNIMPLEMENTED', 'WebP images are not supported');
  }
  if (start.startsWith('\xff\x0a') || start === '\0\0\0\x0cJXL \r\n\x87\n') {
    throw new ServeError('UNIMPLEMENTED', 'JPEG XL images are not supported');
  }
  throw invalid('Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.');
}

function decode(op: ImageOp, inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const dtype = attrs.has('dtype') ? attrs.dtype('dtype') : 'uint8';
  const channels = op === 'DecodeGif' ? 3 : attrs.has('channels') ? attrs.int('channels') : 0;
  if (![0, 1, 3, 4].includes(channels)) throw invalid(`\`channels\` must be 0, 1, 3 or 4 but got ${channels}`);
  const bytes = contents(inputs);
  const format = formatOf(bytes);
  if (format === 'JPEG' && channels === 4) throw invalid('JPEG does not support 4 channels');
  if (format === 'GIF' && channels !== 0 && channels !== 3) throw invalid(`channels must be 0 or 3 for GIF, got ${channels}`);
  if (format === 'BMP' && channels === 1) throw invalid('`channels` must be 0, 3 or 4 for BMP, but got 1');
  if (op === 'DecodeAndCropJpeg' && format !== 'JPEG')
    throw invalid(`DecodeAndCropJpeg operation can run on JPEG only, but detected ${format}.`);
  if (op === 'DecodeBmp' && format !== 'BMP') {
    throw invalid(
      `Trying to decode ${format} format using DecodeBmp op. Use \`decode_${format.toLowerCase()}\` or \`decode_image\` instead.`,
    );
  }
  if (format === 'BMP') {
    if (op !== 'DecodeBmp' && op !== 'DecodeImage') {
      throw invalid(`Trying to decode BMP format using a wrong op. Use \`decode_bmp\` or \`decode_image\` instead. Op used: ${op}`);
    }
    const { height, width, channels: found, data } = decodeBmp(bytes, channels);
    return asDtype(dtype, [height, width, found], data);
  }
  if (format === 'GIF') return gif(op, bytes, attrs, dtype);
  if (format === 'PNG') {
    const { height, width, channels: found, data } = decodePng(bytes, channels, dtype !== 'uint8');
    const shape = op === 'DecodeGif' ? [1, height, width, found] : [height, width, found];
    if (dtype !== 'float') return { dtype, shape, data };
    return fromNumbers(
      'float',
      shape,
      Float64Array.from(data, (value) => value * Math.fround(1 / 65535)),
    );
  }
  const { height, width, channels: found, data } = decodeJpeg(bytes, jpegOptions(op, inputs, attrs, channels));
  return asDtype(dtype, op === 'DecodeGif' ? [1, height, width, found] : [height, width, found], data);
}

/** Bytes as the dtype of DecodeImage: uint16 by 256, float by 1/255. */
function asDtype(dtype: HostTensor['dtype'], shape: readonly number[], data: Uint8Array): HostTensor {
  if (dtype === 'uint8') return { dtype, shape, data };
  const values: HostData =
    dtype === 'uint16' ? Uint16Array.from(data, (value) => value * 256) : Float32Array.from(data, (value) => value * Math.fround(1 / 255));
  return { dtype, shape, data: values };
}

function gif(op: ImageOp, bytes: Uint8Array, attrs: HostAttrs, dtype: HostTensor['dtype']): HostTensor {
  const still = op === 'DecodeImage' && attrs.has('expand_animations') && !attrs.bool('expand_animations');
  const { frames, height, width, data } = decodeGif(bytes, still ? 1 : Number.POSITIVE_INFINITY);
  if (op === 'DecodeGif' || (op === 'DecodeImage' && !still)) return asDtype(dtype, [frames, height, width, 3], data);
  if (!still && frames > 1) {
    throw invalid(`Got ${frames} frames, but animated gifs can only be decoded by tf.io.decode_gif or tf.io.decode_image`);
  }
  return asDtype(dtype, [height, width, 3], data);
}

function jpegOptions(op: ImageOp, inputs: readonly HostTensor[], attrs: HostAttrs, channels: number): JpegOptions {
  if (op !== 'DecodeJpeg' && op !== 'DecodeAndCropJpeg') {
    return { channels, ratio: 1, fancyUpscaling: true, method: 'fast', recover: false };
  }
  const ratio = attrs.has('ratio') ? attrs.int('ratio') : 1;
  if (ratio !== 1 && ratio !== 2 && ratio !== 4 && ratio !== 8) throw invalid(`ratio must be 1, 2, 4, or 8, got ${ratio}`);
  const method = attrs.has('dct_method') ? attrs.text('dct_method') : '';
  if (method !== '' && method !== 'INTEGER_FAST' && method !== 'INTEGER_ACCURATE') {
    throw invalid("dct_method must be one of {'', 'INTEGER_FAST', 'INTEGER_ACCURATE'}");
  }
  const options = {
    channels,
    ratio,
    fancyUpscaling: !attrs.has('fancy_upscaling') || attrs.bool('fancy_upscaling'),
    method: method === 'INTEGER_ACCURATE' ? 'accurate' : 'fast',
    recover: attrs.has('try_recover_truncated') && attrs.bool('try_recover_truncated'),
  } as const;
  if (op === 'DecodeJpeg') return options;
  const window = input(inputs, 1);
  if (window.shape.length !== 1) throw invalid(`crop_window must be 1-D, got shape ${shapeText(window.shape)}`);
  const [y, x, height, width] = Array.from(numbers(window));
  if (y === undefined || x === undefined || height === undefined || width === undefined || window.shape[0] !== 4) {
    throw invalid(`crop_size must have four elements ${shapeText(window.shape)}`);
  }
  return { ...options, crop: { y, x, height, width } };
}

function extractShape(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const tensor = input(inputs, 0);
  const bytes = strings(tensor)[0];
  if (bytes === undefined || tensor.shape.length !== 0) throw invalid(`contents must be scalar, got shape ${shapeText(tensor.shape)}`);
  const dtype = attrs.has('output_type') ? attrs.dtype('output_type') : 'int32';
  try {
    const shape = jpegShape(bytes);
    return dtype === 'int32' ? int32s([3], shape) : fromNumbers(dtype, [3], shape);
  } catch (cause) {
    if (!(cause instanceof ServeError) || cause.message !== damaged('').message) throw cause;
    throw new ServeError('INVALID_ARGUMENT', `Invalid JPEG data, size ${bytes.length}`, { cause });
  }
}
