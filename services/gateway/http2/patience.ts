import { ConnectionError, ERROR } from './protocol.ts';

/** What costs us more than it says costs a client some of our patience. */
export const PRICE = {
  /** A frame that asks for nothing: PING, PRIORITY, WINDOW_UPDATE, an unknown one, empty DATA. */
  frame: 1,
  settings: 10,
  /** A stream that ends before it is answered, by the client or by its fault (CVE-2023-44487, CVE-2025-8671). */
  reset: 5,
} as const;

/** What pays for it. */
export const WAGE = {
  /** An answered call: the frames around it, and two cancelled ones. */
  answer: 10,
  /** A frame of an answer: the window updates of a client that sends them one by one. */
  frame: 3,
} as const;

const MOST = 10_000;
const PER_MS = 1;

/**
 * How much more a connection puts up with: it grows with time and with what is answered, and is spent by frames that only keep us busy.
 * A client whose calls all time out may go on for two thousand of them, and then for 200 in a second.
 */
export class Patience {
  #left = MOST;

  /** Throws ENHANCE_YOUR_CALM when it is at its end. */
  spend(price: number): void {
    this.#left -= price;
    if (this.#left < 0) throw new ConnectionError(ERROR.enhanceYourCalm, 'too many frames that ask for nothing, or streams that are reset');
  }

  /** Something useful was done. */
  earn(wage: number): void {
    if (this.#left < MOST) this.#left += wage;
  }

  /** Time has passed. */
  rest(elapsedMs: number): void {
    this.#left = Math.min(MOST, this.#left + elapsedMs * PER_MS);
  }
}
