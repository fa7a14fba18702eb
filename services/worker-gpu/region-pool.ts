import { ServeError } from '#mesh/errors.ts';
import { grownRegion } from './executor-protocol.ts';

/** Shared buffers that large payloads are fetched into, so that executors read them where they arrived. Kept for reuse up to a bound. */
export interface RegionPool {
  /**
   * A buffer of at least `byteLength`, a power of two; its content is what its last user left. Throws RESOURCE_EXHAUSTED when all that are in use
   * would exceed the limit; one that is alone may be as large as it likes.
   */
  take(byteLength: number): SharedArrayBuffer;
  /** Gives a buffer back; nobody may write to it any more. */
  give(region: SharedArrayBuffer): void;
  /** Says that nobody needs a buffer any more, though somebody may still write to it: it is not used again. */
  drop(region: SharedArrayBuffer): void;
}

/** Makes a pool that keeps at most `keptBytes` of idle buffers, and has at most `limitBytes` in use. */
export function createRegionPool(keptBytes: number, limitBytes: number): RegionPool {
  const idle = new Map<number, SharedArrayBuffer[]>();
  let idleBytes = 0;
  let usedBytes = 0;
  return {
    take(byteLength) {
      const size = 2 ** Math.ceil(Math.log2(Math.max(4096, byteLength)));
      if (usedBytes > 0 && usedBytes + size > limitBytes) {
        const text = `the worker has ${usedBytes} bytes of inputs in memory, and ${size} more exceed its limit of ${limitBytes} (held_input_bytes)`;
        throw new ServeError('RESOURCE_EXHAUSTED', text);
      }
      const kept = idle.get(size)?.pop();
      if (kept !== undefined) idleBytes -= kept.byteLength;
      const region = kept ?? grownRegion(undefined, byteLength);
      usedBytes += region.byteLength;
      return region;
    },
    drop(region) {
      usedBytes -= region.byteLength;
    },
    give(region) {
      usedBytes -= region.byteLength;
      if (idleBytes + region.byteLength > keptBytes) return;
      idleBytes += region.byteLength;
      const sameSize = idle.get(region.byteLength);
      if (sameSize) sameSize.push(region);
      else idle.set(region.byteLength, [region]);
    },
  };
}
