/** Seeded randomness for fuzz tests. The seed is in the test's name and the same each time; FUZZ_SEED=<number> looks elsewhere. */
export interface Random {
  /** A whole number from 0 to `below` - 1. */
  below(below: number): number;
  pick<Item>(items: readonly Item[]): Item;
  chance(probability: number): boolean;
  bytes(count: number): Uint8Array;
}

export const SEED = Number(process.env.FUZZ_SEED ?? 20_261_121);

export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  // Mulberry32.
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const random: Random = {
    below: (below) => Math.floor(next() * below),
    pick(items) {
      const item = items[random.below(items.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
    chance: (probability) => next() < probability,
    bytes: (count) => Uint8Array.from({ length: count }, () => random.below(256)),
  };
  return random;
}

/** Lengths, counts and doubles that readers trip over. */
const ABSURD_DOUBLES = [Number.NaN, -1, -0, 1e300, -1e300, Number.POSITIVE_INFINITY, 2 ** 53, 0.5, 2 ** 31, 2 ** 32];

/** A broken copy of `bytes`: cut, flipped, overwritten with absurd numbers, stretched, or replaced. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const kind = random.below(7);
  if (bytes.byteLength === 0 || kind === 0) return random.bytes(random.below(64));
  if (kind === 1) return bytes.slice(0, random.below(bytes.byteLength));
  const broken = Buffer.from(bytes);
  if (kind === 2) return Buffer.concat([broken, random.bytes(1 + random.below(16))]);
  const at = random.below(broken.byteLength);
  if (kind === 3 && broken.byteLength >= 8) broken.writeDoubleLE(random.pick(ABSURD_DOUBLES), random.below(broken.byteLength - 7));
  else if (kind === 4 && broken.byteLength >= 4)
    broken.writeUInt32LE(random.pick([0, 1, 0x7fffffff, 0xffffffff, 0x80000000]), random.below(broken.byteLength - 3));
  else if (kind === 5)
    for (let flips = 0; flips < 1 + random.below(8); flips++) broken[random.below(broken.byteLength)] = random.below(256);
  else broken[at] = (broken[at] ?? 0) ^ (1 << random.below(8));
  return broken;
}
