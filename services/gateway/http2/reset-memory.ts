/** The streams that we reset last: what a client sent on them before it heard of it is no error of its. */
export class ResetMemory {
  #ids: Int32Array | undefined = undefined;
  #next = 0;

  /** Remembers a stream, and forgets the one that was added longest ago. */
  add(id: number): void {
    this.#ids ??= new Int32Array(REMEMBERED);
    this.#ids[this.#next] = id;
    this.#next = (this.#next + 1) % REMEMBERED;
  }

  /** True for a stream that is remembered. */
  has(id: number): boolean {
    return this.#ids?.includes(id) ?? false;
  }
}

const REMEMBERED = 1024;
