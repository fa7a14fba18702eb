/** The Philox 4x32-10 generator of TensorFlow and the distributions that are drawn from it, number for number. */

/** Numbers of 32 bits in groups of four, by a counter of 128 bits. */
export class Philox {
  readonly #key: readonly [number, number];
  readonly #counter = new Uint32Array(4);
  readonly #group = new Uint32Array(4);
  #used = 4;

  constructor(key: bigint, counter: readonly [bigint, bigint]) {
    this.#key = [Number(key & 0xffffffffn), Number((key >> 32n) & 0xffffffffn)];
    counter.forEach((half, index) => {
      this.#counter[2 * index] = Number(half & 0xffffffffn);
      this.#counter[2 * index + 1] = Number((half >> 32n) & 0xffffffffn);
    });
  }

  /** The next number, from 0 to 2^32 - 1. */
  next(): number {
    if (this.#used === 4) {
      this.#fill();
      this.skip(1);
      this.#used = 0;
    }
    return this.#group[this.#used++] as number;
  }

  /** Passes over whole groups, and what is left of the current one. */
  skip(groups: number): void {
    this.#used = 4;
    let carry = groups;
    for (let index = 0; index < 4 && carry > 0; index++) {
      const sum = (this.#counter[index] as number) + carry;
      this.#counter[index] = sum % 2 ** 32;
      carry = Math.floor(sum / 2 ** 32);
    }
  }

  #fill(): void {
    let [key0, key1] = this.#key;
    let [a, b, c, d] = this.#counter as unknown as [number, number, number, number];
    for (let round = 0; round < 10; round++) {
      const first = high(0xd2511f53, a);
      const second = high(0xcd9e8d57, c);
      const [low0, low1] = [Math.imul(0xd2511f53, a), Math.imul(0xcd9e8d57, c)];
      a = (second ^ b ^ key0) >>> 0;
      c = (first ^ d ^ key1) >>> 0;
      b = low1 >>> 0;
      d = low0 >>> 0;
      key0 = (key0 + 0x9e3779b9) >>> 0;
      key1 = (key1 + 0xbb67ae85) >>> 0;
    }
    this.#group.set([a, b, c, d]);
  }
}

/** The upper 32 bits of a product of two 32-bit numbers. */
function high(a: number, b: number): number {
  const [a1, a0, b1, b0] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const other = a0 * b1 + (middle % 65536);
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(other / 65536)) >>> 0;
}

/** The generator of a stateless op's seed of two numbers. */
export function philoxOfSeed(seed: readonly [bigint, bigint]): Philox {
  const { key, counter } = keyAndCounter(seed);
  return new Philox(key, [0n, counter]);
}

/** What a stateless op's seed becomes: the key and the upper half of the counter. */
export function keyAndCounter([first, second]: readonly [bigint, bigint]): { readonly key: bigint; readonly counter: bigint } {
  const mixer = new Philox(0x02461e29_3ec8f720n, [BigInt.asUintN(64, first), BigInt.asUintN(64, second)]);
  const pair = () => BigInt(mixer.next()) | (BigInt(mixer.next()) << 32n);
  const key = pair();
  return { key, counter: pair() };
}

/** Uniform in [0, 1) with the bits of the dtype: 23 for float, 52 for double, 10 for half. */
export function uniform(generator: Philox, dtype: 'float' | 'double' | 'half'): number {
  if (dtype === 'float') return (generator.next() & 0x7fffff) / 2 ** 23;
  if (dtype === 'half') return (generator.next() & 0x3ff) / 2 ** 10;
  const upper = generator.next() & 0xfffff;
  return (upper * 2 ** 32 + generator.next()) / 2 ** 52;
}

/** Two numbers of the standard normal distribution. */
export function normalPair(generator: Philox, dtype: 'float' | 'double'): readonly [number, number] {
  const distance = Math.max(uniform(generator, dtype), 1e-7);
  const angle = 2 * Math.PI * uniform(generator, dtype);
  const radius = Math.sqrt(-2 * Math.log(distance));
  return [radius * Math.sin(angle), radius * Math.cos(angle)];
}
