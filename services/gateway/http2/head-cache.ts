/**
 * Remembers what header blocks meant. Clients send the same few bytes for each call of a method, and a block that leaves the dynamic table
 * alone means the same for as long as the table stays the same.
 */
export class HeadCache<Head> {
  readonly #entries: { readonly block: Buffer; readonly generation: number; readonly head: Head }[] = [];
  #next = 0;

  /** What the bytes from `start` to `end` meant, if that is known. */
  find(bytes: Buffer, start: number, end: number, generation: number): Head | undefined {
    for (const entry of this.#entries) {
      if (entry.generation === generation && entry.block.length === end - start && same(entry.block, bytes, start)) return entry.head;
    }
    return undefined;
  }

  /** Remembers one more, in place of the one that was remembered first. */
  keep(bytes: Buffer, start: number, end: number, generation: number, head: Head): void {
    if (end - start > MOST_BYTES) return;
    this.#entries[this.#next] = { block: Buffer.from(bytes.subarray(start, end)), generation, head };
    this.#next = (this.#next + 1) % PLACES;
  }
}

const PLACES = 8;
const MOST_BYTES = 1024;

function same(block: Buffer, bytes: Buffer, start: number): boolean {
  for (let index = block.length - 1; index >= 0; index--) if (block[index] !== bytes[start + index]) return false;
  return true;
}
