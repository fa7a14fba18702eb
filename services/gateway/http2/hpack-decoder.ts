/** Reads header blocks (HPACK, RFC 7541): static and dynamic table, Huffman, size updates, eviction. */
import { STATIC_FIELDS } from './hpack-static.ts';
import { decodeHuffman } from './huffman.ts';
import { ConnectionError, ERROR } from './protocol.ts';

/** One header. Name and value are latin1 text: bytes one by one. Fields of a table are the same object each time they occur. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

/** What a block held. */
export interface HeaderList {
  /** Empty when they were more than may be kept. */
  readonly fields: readonly HeaderField[];
  /** The fields together were larger than the limit. They were read, so that the dynamic table is right, and dropped. */
  readonly tooLarge: boolean;
}

/** What a field costs in a table and in a list besides its texts (RFC 7541, section 4.1). */
const FIELD_OVERHEAD = 32;
const DEFAULT_TABLE_BYTES = 4096;
const STATIC_COUNT = STATIC_FIELDS.length;

/** The reading side of one connection. Errors are of the connection: a block that cannot be read leaves the table unknown. */
export class HpackDecoder {
  readonly #maxListBytes: number;
  /** What our settings allow; the client may choose less. */
  readonly #allowedBytes: number;
  #maxBytes: number;
  #bytes = 0;
  /** A ring: the newest field is at `#newest`, older ones follow. */
  #ring: (HeaderField | undefined)[] = new Array(16).fill(undefined);
  #newest = 0;
  #count = 0;
  #at = 0;
  /** Counts changes of the dynamic table: a block that changed nothing means the same while this stays the same. */
  generation = 0;

  constructor(maxListBytes: number, tableBytes = DEFAULT_TABLE_BYTES) {
    this.#maxListBytes = maxListBytes;
    this.#allowedBytes = tableBytes;
    this.#maxBytes = tableBytes;
  }

  /** Bytes of the dynamic table as RFC 7541 counts them. */
  get tableBytes(): number {
    return this.#bytes;
  }

  /** Reads one whole block. Throws ConnectionError COMPRESSION_ERROR. */
  decode(bytes: Uint8Array, start: number, end: number): HeaderList {
    const fields: HeaderField[] = [];
    let listBytes = 0;
    let sizeUpdateAllowed = true;
    this.#at = start;
    while (this.#at < end) {
      const first = bytes[this.#at] as number;
      let field: HeaderField;
      if (first >= 0x80) {
        field = this.#fieldAt(this.#integer(bytes, end, 7));
      } else if (first >= 0x40) {
        field = this.#literal(bytes, end, 6);
        this.#add(field);
      } else if (first >= 0x20) {
        if (!sizeUpdateAllowed) throw broken('a header block changes the size of its table in the middle');
        this.#resize(this.#integer(bytes, end, 5));
        continue;
      } else {
        field = this.#literal(bytes, end, 4);
      }
      sizeUpdateAllowed = false;
      listBytes += fieldBytes(field);
      if (listBytes <= this.#maxListBytes) fields.push(field);
    }
    const tooLarge = listBytes > this.#maxListBytes;
    return { fields: tooLarge ? [] : fields, tooLarge };
  }

  #literal(bytes: Uint8Array, end: number, prefixBits: number): HeaderField {
    const index = this.#integer(bytes, end, prefixBits);
    const name = index === 0 ? this.#text(bytes, end) : this.#fieldAt(index).name;
    return { name, value: this.#text(bytes, end) };
  }

  #text(bytes: Uint8Array, end: number): string {
    if (this.#at >= end) throw broken('a header block ends where a text was to begin');
    const huffman = (bytes[this.#at] as number) >= 0x80;
    const length = this.#integer(bytes, end, 7);
    const start = this.#at;
    if (length > end - start) throw broken(`a header block ends in a text of ${length} bytes`);
    this.#at = start + length;
    if (huffman) return decodeHuffman(bytes, start, this.#at);
    if (length > 32) return Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('latin1');
    let text = '';
    for (let at = start; at < this.#at; at++) text += String.fromCharCode(bytes[at] as number);
    return text;
  }

  /** Reads an integer (RFC 7541, section 5.1). Nothing here needs more than 28 bits. */
  #integer(bytes: Uint8Array, end: number, prefixBits: number): number {
    const most = (1 << prefixBits) - 1;
    let value = (bytes[this.#at++] as number) & most;
    if (value < most) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= end) throw broken('a header block ends in the middle of a number');
      const byte = bytes[this.#at++] as number;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw broken('a header block holds a number that is too large');
  }

  #fieldAt(index: number): HeaderField {
    if (index <= STATIC_COUNT) {
      const field = STATIC_FIELDS[index - 1];
      if (field === undefined) throw broken('a header block names entry 0 of the table');
      return field;
    }
    const back = index - STATIC_COUNT - 1;
    const field = back < this.#count ? this.#ring[(this.#newest + back) & (this.#ring.length - 1)] : undefined;
    if (field === undefined) throw broken(`a header block names entry ${index} of a table of ${STATIC_COUNT + this.#count}`);
    return field;
  }

  #add(field: HeaderField): void {
    this.generation++;
    const bytes = fieldBytes(field);
    this.#evictTo(this.#maxBytes - bytes);
    // A field larger than the table empties it and is not kept (RFC 7541, section 4.4).
    if (bytes > this.#maxBytes) return;
    if (this.#count === this.#ring.length) this.#grow();
    this.#newest = (this.#newest - 1) & (this.#ring.length - 1);
    this.#ring[this.#newest] = field;
    this.#count++;
    this.#bytes += bytes;
  }

  #resize(maxBytes: number): void {
    if (maxBytes > this.#allowedBytes)
      throw broken(`a header block asks for a table of ${maxBytes} bytes, ${this.#allowedBytes} are allowed`);
    this.generation++;
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
  }

  #evictTo(maxBytes: number): void {
    while (this.#bytes > maxBytes && this.#count > 0) {
      const place = (this.#newest + --this.#count) & (this.#ring.length - 1);
      const field = this.#ring[place];
      if (field !== undefined) this.#bytes -= fieldBytes(field);
      this.#ring[place] = undefined;
    }
  }

  #grow(): void {
    const grown: (HeaderField | undefined)[] = new Array(this.#ring.length * 2).fill(undefined);
    for (let back = 0; back < this.#count; back++) grown[back] = this.#ring[(this.#newest + back) & (this.#ring.length - 1)];
    this.#ring = grown;
    this.#newest = 0;
  }
}

function fieldBytes({ name, value }: HeaderField): number {
  return name.length + value.length + FIELD_OVERHEAD;
}

function broken(why: string): ConnectionError {
  return new ConnectionError(ERROR.compression, why);
}
