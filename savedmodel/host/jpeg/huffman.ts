/** Huffman codes of a JPEG and the reader of entropy-coded bits. */
import { damaged } from './damaged.ts';

const LOOKAHEAD = 9;

/** A Huffman table made ready: short codes by one look-up, longer ones by their length's range. */
export interface HuffmanTable {
  /** For each LOOKAHEAD bits: length of the code in the high byte and its symbol in the low one, or 0 for a longer code. */
  readonly short: Uint16Array;
  /** Per length (index 1 to 16) the largest code, -1 without one; index 17 is larger than every code. */
  readonly largest: Int32Array;
  /** Per length what to add to a code to find its symbol. */
  readonly offset: Int32Array;
  readonly symbols: Uint8Array;
}

/** Makes a table of the counts per length (16) and the symbols. Throws INVALID_ARGUMENT for counts that are no prefix code. */
export function huffmanTable(counts: Uint8Array, symbols: Uint8Array): HuffmanTable {
  const short = new Uint16Array(1 << LOOKAHEAD);
  const largest = new Int32Array(18).fill(-1);
  const offset = new Int32Array(18);
  let code = 0;
  let at = 0;
  for (let length = 1; length <= 16; length++) {
    const count = counts[length - 1] ?? 0;
    if (code + count > 1 << length) throw damaged('a Huffman table with too many codes');
    offset[length] = at - code;
    if (count > 0) largest[length] = code + count - 1;
    for (let index = 0; index < count; index++, code++, at++) {
      if (length > LOOKAHEAD) continue;
      const entry = (length << 8) | (symbols[at] ?? 0);
      const from = code << (LOOKAHEAD - length);
      short.fill(entry, from, from + (1 << (LOOKAHEAD - length)));
    }
    code <<= 1;
  }
  largest[17] = 0xfffff;
  return { short, largest, offset, symbols };
}

/**
 * Bits of one scan. Stuffed zeros are taken out. At a marker the reader stands still and gives zeros: `starved` says that it had to.
 * Running out of bytes throws, or counts as an end marker where truncated images are to be recovered.
 */
export class BitReader {
  /** Where the next byte is; at a marker's 0xFF once `marker` is set. */
  at: number;
  /** The marker that was met, 0 as long as there is none. */
  marker = 0;
  /** True once more bits were asked for than came before the marker. */
  starved = false;
  readonly #data: Uint8Array;
  readonly #recover: boolean;
  #buffer = 0;
  #count = 0;

  constructor(data: Uint8Array, at: number, recover: boolean) {
    this.#data = data;
    this.at = at;
    this.#recover = recover;
  }

  /** The symbol of the next code; 0 for a code that the table does not have, as libjpeg gives. */
  decode(table: HuffmanTable): number {
    if (this.#count < 16) this.#fill();
    const entry = table.short[(this.#buffer >>> (this.#count - LOOKAHEAD)) & ((1 << LOOKAHEAD) - 1)] ?? 0;
    if (entry !== 0) {
      this.#take(entry >> 8);
      return entry & 0xff;
    }
    const window = (this.#buffer >>> (this.#count - 16)) & 0xffff;
    let length = LOOKAHEAD + 1;
    while (length <= 16 && window >>> (16 - length) > (table.largest[length] ?? -1)) length++;
    if (length > 16) {
      this.#take(16);
      return 0;
    }
    this.#take(length);
    return table.symbols[(window >>> (16 - length)) + (table.offset[length] ?? 0)] ?? 0;
  }

  /** The next `size` bits (0 to 16) as an unsigned number. */
  bits(size: number): number {
    if (size === 0) return 0;
    if (this.#count < size) this.#fill();
    const value = (this.#buffer >>> (this.#count - size)) & ((1 << size) - 1);
    this.#take(size);
    return value;
  }

  /** The next `size` bits as JPEG codes a difference: values below half the range are negative. */
  signed(size: number): number {
    if (size === 0) return 0;
    const value = this.bits(size);
    return value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
  }

  /** Forgets the bits that are left of a byte. */
  align(): void {
    this.#buffer = 0;
    this.#count = 0;
    this.#padding = 0;
  }

  /** Zero bits in the buffer that were not in the data: they stand last. */
  #padding = 0;

  #take(size: number): void {
    this.#count -= size;
    if (this.#count < this.#padding) {
      this.#padding = this.#count;
      this.starved = true;
    }
  }

  /** Brings the buffer to 17 bits or more. */
  #fill(): void {
    const data = this.#data;
    while (this.#count <= 16) {
      let byte = 0;
      if (this.marker === 0) {
        const next = this.#byte();
        if (next === 0xff) {
          const from = this.at - 1;
          let second = this.#byte();
          while (second === 0xff) second = this.#byte();
          if (second === 0) byte = 0xff;
          else {
            this.marker = second < 0 ? 0xd9 : second;
            this.at = second < 0 ? data.length : from;
          }
        } else if (next < 0) this.marker = 0xd9;
        else byte = next;
      }
      if (this.marker !== 0) this.#padding += 8;
      this.#buffer = ((this.#buffer & 0xffff) << 8) | byte;
      this.#count += 8;
    }
  }

  /** The next byte; -1 at the end of data that are to be recovered. */
  #byte(): number {
    const byte = this.#data[this.at];
    if (byte === undefined) {
      if (this.#recover) return -1;
      throw damaged('data that end in the middle');
    }
    this.at++;
    return byte;
  }
}
