/** Decodes one scan, sequential or progressive, into the coefficients of its components. */
import { damaged } from './damaged.ts';
import { type Component, type Frame, type ScanTables, ZIGZAG } from './frame.ts';
import { BitReader, type HuffmanTable } from './huffman.ts';

/** Where a scan's data are. */
export interface ScanSource {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly recover: boolean;
}

interface ScanComponent {
  readonly component: Component;
  readonly dc: HuffmanTable | undefined;
  readonly ac: HuffmanTable | undefined;
  predicted: number;
}

/** Spectral selection and successive approximation. */
interface Band {
  readonly start: number;
  readonly end: number;
  readonly high: number;
  readonly low: number;
}

type BlockDecoder = (part: ScanComponent, coefficients: Int16Array, offset: number) => void;

/** Decodes a scan whose header is `header`; says where its data end. Data that stop at a marker leave zeros, as in libjpeg. */
export function decodeScan(
  frame: Frame,
  header: Uint8Array,
  tables: ScanTables,
  quant: readonly (Uint16Array | undefined)[],
  source: ScanSource,
): { readonly at: number; readonly componentCount: number } {
  const count = header[0] ?? 0;
  if (count < 1 || count > 4 || header.length !== 4 + 2 * count) throw damaged('a scan header of bad length');
  const band: Band = {
    start: header[1 + 2 * count] ?? 0,
    end: header[2 + 2 * count] ?? 0,
    high: (header[3 + 2 * count] ?? 0) >> 4,
    low: (header[3 + 2 * count] ?? 0) & 15,
  };
  if (frame.progressive) checkBand(band, count);
  const needsDc = !frame.progressive || (band.start === 0 && band.high === 0);
  const needsAc = !frame.progressive || band.start > 0;
  const parts = Array.from({ length: count }, (_, index): ScanComponent => {
    const id = header[1 + 2 * index] ?? 0;
    const choice = header[2 + 2 * index] ?? 0;
    const component = frame.components.find((one) => one.id === id);
    if (component === undefined) throw damaged('a scan of an unknown component');
    component.quant ??= quant[component.quantIndex];
    if (component.quant === undefined) throw damaged('no quantisation table');
    const dc = tables.dc[choice >> 4];
    const ac = tables.ac[choice & 15];
    if ((needsDc && dc === undefined) || (needsAc && ac === undefined)) throw damaged('no Huffman table');
    return { component, dc, ac, predicted: 0 };
  });
  if (new Set(parts.map((part) => part.component)).size !== count) throw damaged('a scan with a component twice');
  if (count > 1 && parts.reduce((sum, part) => sum + part.component.h * part.component.v, 0) > 10) throw damaged('MCUs of too many blocks');
  const reader = new BitReader(source.bytes, source.at, source.recover);
  const progressive = new ProgressiveBlocks(reader, band);
  const decode: BlockDecoder = !frame.progressive
    ? (part, coefficients, offset) => sequentialBlock(reader, part, coefficients, offset)
    : progressive.decoder();
  const restarts = new Restarts(reader, source.bytes, tables.restartInterval, () => {
    for (const part of parts) part.predicted = 0;
    progressive.endOfBandRun = 0;
  });
  const [only] = parts;
  if (count === 1 && only !== undefined) {
    const { columns, rows, stride, coefficients } = only.component;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        restarts.beforeMcu();
        if (!reader.starved) decode(only, coefficients, (row * stride + column) * 64);
      }
    }
  } else {
    const mcuColumns = Math.ceil(frame.width / (8 * frame.maxH));
    const mcuRows = Math.ceil(frame.height / (8 * frame.maxV));
    for (let row = 0; row < mcuRows; row++) {
      for (let column = 0; column < mcuColumns; column++) {
        restarts.beforeMcu();
        if (reader.starved) continue;
        for (const part of parts) {
          const { h, v, stride, coefficients } = part.component;
          for (let y = 0; y < v; y++)
            for (let x = 0; x < h; x++) decode(part, coefficients, ((row * v + y) * stride + column * h + x) * 64);
        }
      }
    }
  }
  return { at: reader.at, componentCount: count };
}

function checkBand(band: Band, count: number): void {
  const dc = band.start === 0;
  const wrong =
    (dc ? band.end !== 0 : band.end < band.start || band.end > 63 || count !== 1) ||
    (band.high !== 0 && band.low !== band.high - 1) ||
    band.low > 13;
  if (wrong) throw damaged('bad progression parameters');
}

/** Passes over restart markers, every `interval` MCUs. */
class Restarts {
  readonly #reader: BitReader;
  readonly #bytes: Uint8Array;
  readonly #interval: number;
  readonly #reset: () => void;
  #left: number;
  #next = 0;

  constructor(reader: BitReader, bytes: Uint8Array, interval: number, reset: () => void) {
    this.#reader = reader;
    this.#bytes = bytes;
    this.#interval = interval;
    this.#reset = reset;
    this.#left = interval;
  }

  beforeMcu(): void {
    if (this.#interval === 0) return;
    if (this.#left === 0) {
      this.#restart();
      this.#left = this.#interval;
    }
    this.#left--;
  }

  /** The expected marker is taken; with another one the data up to the next restart are zeros. */
  #restart(): void {
    const reader = this.#reader;
    reader.align();
    let at = reader.at;
    if (reader.marker === 0) {
      at = this.#bytes.indexOf(0xff, at);
      while (at >= 0 && (this.#bytes[at + 1] === 0 || this.#bytes[at + 1] === 0xff)) at = this.#bytes.indexOf(0xff, at + 1);
      if (at < 0 || at + 1 >= this.#bytes.length) throw damaged('data that end in the middle');
    } else while (this.#bytes[at + 1] === 0xff) at++;
    if (this.#bytes[at + 1] === 0xd0 + this.#next) {
      reader.at = at + 2;
      reader.marker = 0;
      reader.starved = false;
    } else {
      reader.at = at;
      reader.marker = this.#bytes[at + 1] ?? 0xd9;
    }
    this.#next = (this.#next + 1) & 7;
    this.#reset();
  }
}

function sequentialBlock(reader: BitReader, part: ScanComponent, coefficients: Int16Array, offset: number): void {
  const { dc, ac } = part;
  if (dc === undefined || ac === undefined) return;
  part.predicted += reader.signed(reader.decode(dc));
  coefficients[offset] = part.predicted;
  for (let index = 1; index < 64; index++) {
    const symbol = reader.decode(ac);
    const size = symbol & 15;
    if (size === 0) {
      if (symbol !== 0xf0) break;
      index += 15;
      continue;
    }
    index += symbol >> 4;
    coefficients[offset + (ZIGZAG[index] ?? 63)] = reader.signed(size);
  }
}

/** The four kinds of block of a progressive scan. */
class ProgressiveBlocks {
  endOfBandRun = 0;
  readonly #reader: BitReader;
  readonly #band: Band;

  constructor(reader: BitReader, band: Band) {
    this.#reader = reader;
    this.#band = band;
  }

  decoder(): BlockDecoder {
    const { start, high } = this.#band;
    if (start === 0) {
      if (high === 0) return (part, coefficients, offset) => this.#dcFirst(part, coefficients, offset);
      return (_, coefficients, offset) => this.#dcRefine(coefficients, offset);
    }
    if (high === 0) return (part, coefficients, offset) => this.#acFirst(part, coefficients, offset);
    return (part, coefficients, offset) => this.#acRefine(part, coefficients, offset);
  }

  #dcFirst(part: ScanComponent, coefficients: Int16Array, offset: number): void {
    if (part.dc === undefined) return;
    part.predicted += this.#reader.signed(this.#reader.decode(part.dc));
    coefficients[offset] = part.predicted << this.#band.low;
  }

  #dcRefine(coefficients: Int16Array, offset: number): void {
    if (this.#reader.bits(1) === 1) coefficients[offset] = (coefficients[offset] ?? 0) | (1 << this.#band.low);
  }

  #acFirst(part: ScanComponent, coefficients: Int16Array, offset: number): void {
    if (this.endOfBandRun > 0) {
      this.endOfBandRun--;
      return;
    }
    const reader = this.#reader;
    const { start, end, low } = this.#band;
    if (part.ac === undefined) return;
    for (let index = start; index <= end; index++) {
      const symbol = reader.decode(part.ac);
      const run = symbol >> 4;
      const size = symbol & 15;
      if (size !== 0) {
        index += run;
        coefficients[offset + (ZIGZAG[index] ?? 63)] = reader.signed(size) << low;
      } else if (run === 15) index += 15;
      else {
        this.endOfBandRun = (1 << run) + reader.bits(run) - 1;
        break;
      }
    }
  }

  #acRefine(part: ScanComponent, coefficients: Int16Array, offset: number): void {
    const reader = this.#reader;
    const { start, end, low } = this.#band;
    if (part.ac === undefined) return;
    let index = start;
    if (this.endOfBandRun === 0) {
      for (; index <= end; index++) {
        const symbol = reader.decode(part.ac);
        let run = symbol >> 4;
        let value = 0;
        if ((symbol & 15) !== 0) value = reader.bits(1) === 1 ? 1 << low : -1 << low;
        else if (run !== 15) {
          this.endOfBandRun = (1 << run) + reader.bits(run);
          break;
        }
        for (; index <= end; index++) {
          const at = offset + (ZIGZAG[index] ?? 63);
          if (coefficients[at] !== 0) this.#refine(coefficients, at);
          else if (run-- === 0) break;
        }
        if (value !== 0) coefficients[offset + (ZIGZAG[index] ?? 63)] = value;
      }
    }
    if (this.endOfBandRun > 0) {
      for (; index <= end; index++) {
        const at = offset + (ZIGZAG[index] ?? 63);
        if (coefficients[at] !== 0) this.#refine(coefficients, at);
      }
      this.endOfBandRun--;
    }
  }

  /** One more bit of a coefficient that is not zero. */
  #refine(coefficients: Int16Array, at: number): void {
    const value = coefficients[at] ?? 0;
    const bit = 1 << this.#band.low;
    if (this.#reader.bits(1) === 1 && (Math.abs(value) & bit) === 0) coefficients[at] = value + (value > 0 ? bit : -bit);
  }
}
