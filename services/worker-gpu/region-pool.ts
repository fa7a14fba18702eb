import { grownRegion } from './executor-protocol.ts';

/** Shared buffers that large payloads are fetched into, so that executors read them where they arrived. Kept for reuse up to a bound. */
export interface RegionPool {
  /** A buffer of at least `byteLength`, a power of two; its content is what its last user left. */
  take(byteLength: number): SharedArrayBuffer;
  /** Gives a buffer back; nobody may write to it any more. */
  give(region: SharedArrayBuffer): void;
}

/** Makes a pool that keeps at most `keptBytes` of idle buffers. */
export function createRegionPool(keptBytes: number): RegionPool {
  const idle = new Map<number, SharedArrayBuffer[]>();
  let idleBytes = 0;
  return {
    take(byteLength) {
      const size = 2 ** Math.ceil(Math.log2(Math.max(4096, byteLength)));
      const region = idle.get(size)?.pop();
      if (region === undefined) return grownRegion(undefined, byteLength);
      idleBytes -= region.byteLength;
      return region;
    },
    give(region) {
      if (idleBytes + region.byteLength > keptBytes) return;
      idleBytes += region.byteLength;
      const sameSize = idle.get(region.byteLength);
      if (sameSize) sameSize.push(region);
      else idle.set(region.byteLength, [region]);
    },
  };
}
