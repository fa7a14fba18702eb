/** JPEG images to pixels, bit for bit as TensorFlow decodes them with libjpeg. */
import { damaged } from './damaged.ts';
import { type Jpeg, readJpeg } from './frame.ts';
import type { DctMethod } from './idct.ts';
import { planeOf, type RowReader, rowReader } from './planes.ts';

/** What DecodeJpeg's attributes ask for. */
export interface JpegOptions {
  /** 0 for what the image has (CMYK becomes RGB), 1 for gray, 3 for RGB. */
  readonly channels: number;
  readonly ratio: 1 | 2 | 4 | 8;
  readonly fancyUpscaling: boolean;
  readonly method: DctMethod;
  /** Take truncated images, with gray where the data are missing. */
  readonly recover: boolean;
  readonly crop?: { readonly y: number; readonly x: number; readonly height: number; readonly width: number };
}

/** Rows of pixels, `channels` bytes each. */
export interface Pixels {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** How the components are to be read. */
type ColorSpace = 'gray' | 'ycc' | 'rgb' | 'cmyk' | 'ycck';

/** Decodes a JPEG. Throws INVALID_ARGUMENT in TensorFlow's words for damaged data and for a crop window that does not fit. */
export function decodeJpeg(bytes: Uint8Array, options: JpegOptions): Pixels {
  const jpeg = readJpeg(bytes, { recover: options.recover, headerOnly: false });
  const { frame } = jpeg;
  const size = (8 / options.ratio) as 8 | 4 | 2 | 1;
  const fullWidth = Math.ceil(frame.width / options.ratio);
  const fullHeight = Math.ceil(frame.height / options.ratio);
  const crop = options.crop ?? { y: 0, x: 0, height: fullHeight, width: fullWidth };
  const inside =
    crop.width > 0 &&
    crop.height > 0 &&
    crop.x >= 0 &&
    crop.y >= 0 &&
    crop.y + crop.height <= fullHeight &&
    crop.x + crop.width <= fullWidth;
  if (!inside) throw damaged('no such crop window');
  const space = colorSpace(jpeg);
  const channels = options.channels === 0 ? Math.min(3, frame.components.length) : options.channels;
  if (channels !== 1 && channels !== 3) throw damaged('two components');
  const alignment = size * (frame.components.length === 1 ? 1 : frame.maxH);
  const from = crop.x - (crop.x % alignment);
  const count = crop.x + crop.width - from;
  const reading = { size, method: options.method, columns: { from, count } };
  const luma = channels === 1 && (space === 'gray' || space === 'ycc') ? 1 : frame.components.length;
  const rows = frame.components.slice(0, luma).map((component) => {
    const plane = planeOf(component, frame, reading);
    return rowReader(plane, count, options.fancyUpscaling && size > 1);
  });
  const data = new Uint8ClampedArray(crop.height * crop.width * channels);
  const write = rowWriter(space, channels, jpeg.adobe !== undefined, rows);
  for (let y = 0; y < crop.height; y++) write(crop.y + y, crop.x - from, crop.width, data, y * crop.width * channels);
  return { height: crop.height, width: crop.width, channels, data: new Uint8Array(data.buffer) };
}

/** Height, width and channels by the header alone. Throws INVALID_ARGUMENT. */
export function jpegShape(bytes: Uint8Array): readonly [number, number, number] {
  const jpeg = readJpeg(bytes, { recover: false, headerOnly: true });
  return [jpeg.frame.height, jpeg.frame.width, jpeg.frame.components.length];
}

/** As libjpeg guesses: the JFIF marker, the Adobe marker's transform, the components' ids. */
function colorSpace(jpeg: Jpeg): ColorSpace {
  const { components } = jpeg.frame;
  if (components.length === 1) return 'gray';
  if (components.length === 4) return jpeg.adobe === undefined || jpeg.adobe === 0 ? 'cmyk' : 'ycck';
  if (components.length !== 3) throw damaged(`${components.length} components`);
  if (jpeg.jfif) return 'ycc';
  if (jpeg.adobe !== undefined) return jpeg.adobe === 0 ? 'rgb' : 'ycc';
  return String.fromCharCode(...components.map((component) => component.id)) === 'RGB' ? 'rgb' : 'ycc';
}

type RowWriter = (y: number, skipped: number, count: number, out: Uint8ClampedArray, to: number) => void;

function rowWriter(space: ColorSpace, channels: number, adobe: boolean, rows: readonly RowReader[]): RowWriter {
  const [first, second, third, fourth] = rows;
  if (first === undefined) throw damaged('no components');
  if (second === undefined || third === undefined) {
    return (y, skipped, count, out, to) => {
      const gray = first(y);
      for (let x = 0; x < count; x++) for (let c = 0; c < channels; c++) out[to + x * channels + c] = gray[skipped + x] as number;
    };
  }
  if (fourth !== undefined) {
    if (channels !== 3) throw damaged('four components, which do not become gray');
    const inks = space === 'ycck';
    return (y, skipped, count, out, to) => {
      const [a, b, c, k] = [first(y), second(y), third(y), fourth(y)];
      const color = new Uint8ClampedArray(3);
      for (let x = skipped, at = to; x < skipped + count; x++, at += 3) {
        if (inks) rgbOfYcc(a[x] as number, b[x] as number, c[x] as number, color, 0);
        else color.set([a[x] as number, b[x] as number, c[x] as number]);
        const black = k[x] as number;
        for (let part = 0; part < 3; part++) {
          const ink = inks ? 255 - (color[part] as number) : (color[part] as number);
          out[at + part] = adobe ? Math.floor((black * ink) / 255) : Math.floor(((255 - black) * (255 - ink)) / 255);
        }
      }
    };
  }
  if (space === 'ycc') {
    return (y, skipped, count, out, to) => {
      const [luma, blue, red] = [first(y), second(y), third(y)];
      for (let x = skipped, at = to; x < skipped + count; x++, at += 3) {
        rgbOfYcc(luma[x] as number, blue[x] as number, red[x] as number, out, at);
      }
    };
  }
  return (y, skipped, count, out, to) => {
    const [red, green, blue] = [first(y), second(y), third(y)];
    for (let x = skipped, at = to; x < skipped + count; x++) {
      const [r, g, b] = [red[x] as number, green[x] as number, blue[x] as number];
      if (channels === 1) out[at++] = (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16;
      else {
        out[at++] = r;
        out[at++] = g;
        out[at++] = b;
      }
    }
  };
}

/** One pixel of luma and chroma as RGB at `out[at]`, with 16 bits of fraction; `out` clamps. */
function rgbOfYcc(luma: number, cb: number, cr: number, out: Uint8ClampedArray, at: number): void {
  const blue = cb - 128;
  const red = cr - 128;
  out[at] = luma + ((91881 * red + 32768) >> 16);
  out[at + 1] = luma + ((-22554 * blue - 46802 * red + 32768) >> 16);
  out[at + 2] = luma + ((116130 * blue + 32768) >> 16);
}
