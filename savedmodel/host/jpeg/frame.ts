/** The markers of a JPEG: tables, frame header, scans. Scans are decoded into coefficients as they come. */
import { ServeError } from '#mesh/errors.ts';
import { damaged } from './damaged.ts';
import { type HuffmanTable, huffmanTable } from './huffman.ts';
import { decodeScan } from './scan.ts';

/** Natural position of the coefficient at each zigzag position; positions beyond 63 (in damaged data) fall on the last one. */
export const ZIGZAG = Uint8Array.from([
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57,
  50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63,
  63, 63, 63, 63, 63, 63, 63, 63, 63,
]);

/** One component of the frame. */
export interface Component {
  readonly id: number;
  /** Sampling factors, 1 to 4. */
  readonly h: number;
  readonly v: number;
  readonly quantIndex: number;
  /** Blocks that hold samples of the image. */
  readonly columns: number;
  readonly rows: number;
  /** Blocks per row in `coefficients`: whole MCUs. */
  readonly stride: number;
  /** 64 per block in natural order; empty when only the header is read. */
  readonly coefficients: Int16Array;
  /** The quantisation table (natural order) as it stood when the component's first scan began. */
  quant: Uint16Array | undefined;
}

/** What the header says. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly progressive: boolean;
  readonly maxH: number;
  readonly maxV: number;
  readonly components: readonly Component[];
}

/** A JPEG whose scans are decoded, and what decides its colors. */
export interface Jpeg {
  readonly frame: Frame;
  readonly jfif: boolean;
  /** The transform of the Adobe marker, undefined without that marker. */
  readonly adobe: number | undefined;
}

/** Tables that scans use, by index. */
export interface ScanTables {
  readonly dc: (HuffmanTable | undefined)[];
  readonly ac: (HuffmanTable | undefined)[];
  restartInterval: number;
}

/** TensorFlow refuses images of 2^29 samples; this holds coefficients of two bytes and refuses earlier. */
const MAX_SAMPLES = 1 << 27;
/** Images up to this many samples are decoded however few bytes claim them. */
const ALWAYS_ALLOWED = 1 << 24;
/** More scans than any encoder writes: what keeps a small hostile file from costing minutes. */
const MAX_SCANS = 200;

/** How to read. */
export interface ReadOptions {
  /** Treat the end of the data as the end of the image, and what is missing as zeros. */
  readonly recover: boolean;
  /** Stop at the first scan: sizes only. */
  readonly headerOnly: boolean;
}

/** Reads a JPEG. Throws INVALID_ARGUMENT for data that libjpeg refuses, UNIMPLEMENTED for arithmetic coding and lossless frames. */
export function readJpeg(bytes: Uint8Array, options: ReadOptions): Jpeg {
  const quant: (Uint16Array | undefined)[] = [];
  const tables: ScanTables = { dc: [], ac: [], restartInterval: 0 };
  let frame: Frame | undefined;
  let jfif = false;
  let adobe: number | undefined;
  let scans = 0;
  let complete = false;
  let at = 2;
  for (;;) {
    at = nextMarker(bytes, at, options.recover && scans > 0);
    const marker = bytes[at - 1] ?? 0xd9;
    if (at > bytes.length || marker === 0xd9) break;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;
    if (marker === 0xd8) throw damaged('a second start of image');
    const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    if (length < 2) throw damaged('a marker of bad length');
    if (at + length > bytes.length) {
      if (options.recover && scans > 0) break;
      throw damaged('data that end in the middle');
    }
    const body = bytes.subarray(at + 2, at + length);
    at += length;
    switch (marker) {
      case 0xdb:
        readQuantisation(body, quant);
        break;
      case 0xc4:
        readHuffman(body, tables);
        break;
      case 0xdd:
        if (body.length !== 2) throw damaged('a restart interval of bad length');
        tables.restartInterval = ((body[0] ?? 0) << 8) | (body[1] ?? 0);
        break;
      case 0xe0:
        if (body.length >= 14 && latin(body, 5) === 'JFIF\0') jfif = true;
        break;
      case 0xee:
        if (body.length >= 12 && latin(body, 5) === 'Adobe') adobe = body[11];
        break;
      case 0xc0:
      case 0xc1:
      case 0xc2:
        if (frame !== undefined) throw damaged('two frames');
        frame = readFrame(body, marker === 0xc2, bytes.length, options);
        break;
      case 0xda: {
        if (frame === undefined) throw damaged('a scan before the frame');
        if (complete) throw damaged('a scan after the last one');
        if (options.headerOnly) return { frame, jfif, adobe };
        if (++scans > MAX_SCANS) throw damaged(`more than ${MAX_SCANS} scans`);
        const scan = decodeScan(frame, body, tables, quant, { bytes, at, recover: options.recover });
        at = scan.at;
        complete = !frame.progressive && scan.componentCount === frame.components.length;
        break;
      }
      default:
        if (marker >= 0xc3 && marker <= 0xcf && marker !== 0xc8 && marker !== 0xcc) {
          throw new ServeError('UNIMPLEMENTED', 'JPEG images of arithmetic coding, lossless or hierarchical frames are not supported');
        }
        if (marker < 0xc0 || (marker >= 0xf0 && marker <= 0xfd)) throw damaged(`the unknown marker ${marker}`);
    }
  }
  if (frame === undefined || scans === 0) throw damaged('no scan');
  return { frame, jfif, adobe };
}

/** The place after the next marker's code; garbage before it is passed over. Beyond the end of the data: throws, or says so by a place behind it. */
function nextMarker(bytes: Uint8Array, from: number, recover: boolean): number {
  let at = from;
  for (;;) {
    at = bytes.indexOf(0xff, at);
    if (at < 0) break;
    while (bytes[at] === 0xff) at++;
    if (at >= bytes.length) break;
    if (bytes[at] !== 0) return at + 1;
  }
  if (recover) return bytes.length + 1;
  throw damaged('no end');
}

function latin(bytes: Uint8Array, count: number): string {
  return String.fromCharCode(...bytes.subarray(0, count));
}

function readQuantisation(body: Uint8Array, quant: (Uint16Array | undefined)[]): void {
  for (let at = 0; at < body.length; ) {
    const head = body[at++] ?? 0;
    const wide = head >> 4 !== 0;
    if ((head & 15) > 3) throw damaged('a quantisation table of bad index');
    if (at + (wide ? 128 : 64) > body.length) throw damaged('a quantisation table that is cut off');
    const table = new Uint16Array(64);
    for (let index = 0; index < 64; index++) {
      const value = wide ? ((body[at] ?? 0) << 8) | (body[at + 1] ?? 0) : (body[at] ?? 0);
      at += wide ? 2 : 1;
      table[ZIGZAG[index] ?? 0] = value;
    }
    quant[head & 15] = table;
  }
}

function readHuffman(body: Uint8Array, tables: ScanTables): void {
  for (let at = 0; at < body.length; ) {
    if (at + 17 > body.length) throw damaged('a Huffman table that is cut off');
    const head = body[at] ?? 0;
    const counts = body.subarray(at + 1, at + 17);
    const total = counts.reduce((sum, count) => sum + count, 0);
    at += 17;
    if (total > 256 || at + total > body.length) throw damaged('a Huffman table that is cut off');
    if ((head & 0xef) > 3) throw damaged('a Huffman table of bad index');
    const symbols = body.slice(at, at + total);
    at += total;
    const isDc = (head & 0x10) === 0;
    if (isDc && symbols.some((symbol) => symbol > 15)) throw damaged('a Huffman table of bad symbols');
    (isDc ? tables.dc : tables.ac)[head & 3] = huffmanTable(counts, symbols);
  }
}

function readFrame(body: Uint8Array, progressive: boolean, size: number, options: ReadOptions): Frame {
  const [precision = 0, h1 = 0, h0 = 0, w1 = 0, w0 = 0, count = 0] = body;
  const height = (h1 << 8) | h0;
  const width = (w1 << 8) | w0;
  if (body.length !== 6 + 3 * count) throw damaged('a frame header of bad length');
  if (height === 0 || width === 0 || count === 0) throw damaged('no pixels');
  if (height > 65500 || width > 65500) throw damaged('too many pixels');
  if (precision !== 8) throw new ServeError('UNIMPLEMENTED', `JPEG images of ${precision} bits are not supported`);
  if (count > 4) throw damaged(`${count} components`);
  const heads = Array.from({ length: count }, (_, index) => {
    const [id = 0, sampling = 0, quantIndex = 0] = body.subarray(6 + 3 * index, 9 + 3 * index);
    const [h, v] = [sampling >> 4, sampling & 15];
    if (h < 1 || h > 4 || v < 1 || v > 4) throw damaged('bad sampling factors');
    return { id, h, v, quantIndex };
  });
  const maxH = Math.max(...heads.map((head) => head.h));
  const maxV = Math.max(...heads.map((head) => head.v));
  const mcuColumns = Math.ceil(width / (8 * maxH));
  const mcuRows = Math.ceil(height / (8 * maxV));
  const blocks = heads.reduce((sum, head) => sum + head.h * head.v, 0) * mcuColumns * mcuRows;
  if (!options.headerOnly) {
    // A block takes a bit at the least, so more blocks than bits means that the data are not there.
    if (blocks * 64 > ALWAYS_ALLOWED && blocks > size * 8) throw damaged('far fewer data than pixels');
    if (blocks * 64 > MAX_SAMPLES) {
      if (width * height * count >= 1 << 29) throw damaged('too many pixels');
      throw new ServeError('RESOURCE_EXHAUSTED', `a JPEG image of ${width} x ${height} pixels is larger than this server decodes`);
    }
  }
  const components = heads.map((head) => ({
    ...head,
    columns: Math.ceil((width * head.h) / (8 * maxH)),
    rows: Math.ceil((height * head.v) / (8 * maxV)),
    stride: mcuColumns * head.h,
    coefficients: new Int16Array(options.headerOnly ? 0 : mcuColumns * mcuRows * head.h * head.v * 64),
    quant: undefined,
  }));
  return { width, height, progressive, maxH, maxV, components };
}
