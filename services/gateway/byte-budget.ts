import { ServeError } from '#mesh/errors.ts';

/** How much memory payloads take in a gateway: bodies being read, inputs and outputs of requests, answers being written. */
export interface ByteBudget {
  /** Bytes of all shares together. */
  readonly takenBytes: number;
  /** Opens an empty share. */
  open(): ByteShare;
}

/** What one payload has of a budget. Disposing it gives it back; twice does nothing. */
export interface ByteShare extends Disposable {
  /**
   * Makes the share this large. Throws RESOURCE_EXHAUSTED, and leaves it as it was, when all shares together would exceed the limit; one that has
   * the budget to itself may be as large as it likes. Small payloads count nothing.
   */
  grow(byteLength: number): void;
  /** Makes the share larger by what is here already and cannot be refused: the next ones are. */
  add(byteLength: number): void;
}

/** Payloads up to this size are not counted: there is a bound on their number (`max_in_flight_requests`), and they pass when large ones do not. */
export const UNCOUNTED_BYTES = 256 * 1024;

/** Makes the budget of a gateway. */
export function createByteBudget(limitBytes: number): ByteBudget {
  let takenBytes = 0;
  return {
    get takenBytes() {
      return takenBytes;
    },
    open() {
      let ownBytes = 0;
      return {
        grow(byteLength) {
          if (byteLength <= UNCOUNTED_BYTES || byteLength <= ownBytes) return;
          const others = takenBytes - ownBytes;
          if (others > 0 && others + byteLength > limitBytes) {
            const text = `the gateway holds payloads of ${others} bytes, and ${byteLength} more exceed its limit of ${limitBytes} (max_in_flight_bytes)`;
            throw new ServeError('RESOURCE_EXHAUSTED', text);
          }
          takenBytes += byteLength - ownBytes;
          ownBytes = byteLength;
        },
        add(byteLength) {
          if (byteLength <= UNCOUNTED_BYTES) return;
          takenBytes += byteLength;
          ownBytes += byteLength;
        },
        [Symbol.dispose]() {
          takenBytes -= ownBytes;
          ownBytes = 0;
        },
      };
    },
  };
}
