/** The header blocks that one connection receives: put together from their frames, read, and recognised. */
import { HeadCache } from './head-cache.ts';
import { type HeaderList, HpackDecoder } from './hpack-decoder.ts';
import { ConnectionError, ERROR, FLAG } from './protocol.ts';

/** Who takes a block once it is whole: `bytes` from `start` to `end`. `flags` are those of its HEADERS frame. */
export type BlockTaker = (flags: number, stream: number, bytes: Buffer, start: number, end: number) => void;

/** A header block that is not complete. */
interface OpenBlock {
  readonly stream: number;
  readonly flags: number;
  readonly parts: Buffer[];
  bytes: number;
}

/** Frames that one header block may be spread over. */
const MOST_PARTS = 128;

/** The state between two frames. */
export class HeadReader {
  readonly #maxListBytes: number;
  readonly #hpack: HpackDecoder;
  readonly #known = new HeadCache<unknown>();
  readonly #take: BlockTaker;
  #block: OpenBlock | undefined = undefined;

  constructor(maxListBytes: number, take: BlockTaker) {
    this.#maxListBytes = maxListBytes;
    this.#hpack = new HpackDecoder(maxListBytes);
    this.#take = take;
  }

  /** True in the middle of a block: then nothing but CONTINUATION may come. */
  get inBlock(): boolean {
    return this.#block !== undefined;
  }

  /** Takes a HEADERS frame. Throws ConnectionError. */
  onHeaders(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id === 0) throw new ConnectionError(ERROR.protocol, 'HEADERS came on no stream');
    let from = start;
    let to = end;
    if ((flags & FLAG.padded) !== 0) {
      from++;
      to -= paddingAt(bytes, start, end);
    }
    if ((flags & FLAG.priority) !== 0) from += 5;
    if (to < from) throw new ConnectionError(ERROR.protocol, 'HEADERS has more padding than payload');
    if ((flags & FLAG.endHeaders) !== 0) this.#take(flags, id, bytes, from, to);
    else this.#block = { stream: id, flags, parts: [Buffer.from(bytes.subarray(from, to))], bytes: to - from };
  }

  /** Takes a CONTINUATION frame. Throws ConnectionError. */
  onContinuation(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    const block = this.#block;
    if (block === undefined || block.stream !== id) throw new ConnectionError(ERROR.protocol, 'CONTINUATION continues nothing');
    block.parts.push(Buffer.from(bytes.subarray(start, end)));
    block.bytes += end - start;
    if (block.bytes > this.#maxListBytes || block.parts.length > MOST_PARTS) {
      throw new ConnectionError(ERROR.enhanceYourCalm, `a header block of ${block.bytes} bytes in ${block.parts.length} frames has no end`);
    }
    if ((flags & FLAG.endHeaders) === 0) return;
    this.#block = undefined;
    this.#take(block.flags, id, Buffer.concat(block.parts), 0, block.bytes);
  }

  /** Reads a block. It must be read whatever becomes of it, or the table is wrong from then on. */
  read(bytes: Buffer, start: number, end: number): HeaderList {
    return this.#hpack.decode(bytes, start, end);
  }

  /** What a request's block means by `meaningOf`, which is not asked again for a block that is known. */
  meaning(bytes: Buffer, start: number, end: number, meaningOf: (list: HeaderList) => unknown): unknown {
    const { generation } = this.#hpack;
    const known = this.#known.find(bytes, start, end, generation);
    if (known !== undefined) return known;
    const head = meaningOf(this.#hpack.decode(bytes, start, end));
    if (this.#hpack.generation === generation) this.#known.keep(bytes, start, end, generation, head);
    return head;
  }
}

/** The bytes of padding at the end of a frame that begins with their number. Throws FRAME_SIZE_ERROR for a frame without that number. */
export function paddingAt(bytes: Buffer, start: number, end: number): number {
  if (start >= end) throw new ConnectionError(ERROR.frameSize, 'a padded frame is empty');
  return bytes[start] as number;
}
