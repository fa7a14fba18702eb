/** Makes an input smaller while it stays interesting. */

const MOST_TRIES = 3000;

/** The smallest input found that `keeps` accepts, by leaving out ever shorter pieces, then by making bytes plain. `input` itself must be accepted. */
export function minimise(input: Uint8Array, keeps: (smaller: Uint8Array) => boolean): Uint8Array {
  let best = input;
  let tries = 0;
  const accept = (candidate: Uint8Array) => {
    if (tries++ >= MOST_TRIES || !keeps(candidate)) return false;
    best = candidate;
    return true;
  };
  for (let size = Math.max(1, best.byteLength >> 1); size >= 1 && tries < MOST_TRIES; size = size === 1 ? 0 : size >> 1) {
    for (let at = 0; at < best.byteLength && tries < MOST_TRIES; ) {
      const without = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (!accept(without)) at += size;
    }
  }
  for (let at = 0; at < best.byteLength && tries < MOST_TRIES; at++) {
    if (best[at] === 0x30) continue;
    const plain = Uint8Array.from(best);
    plain[at] = 0x30;
    accept(plain);
  }
  return best;
}
