import { describe, expect, test } from '@jest/globals';
import { createRandom, SEED } from '../random.ts';
import { readCorpus } from './corpus-file.ts';
import { minimise } from './minimise.ts';
import { mutateInput } from './mutations.ts';
import { agree, type FuzzTarget, orRefused } from './target.ts';
import { loadTarget, TARGET_NAMES } from './targets/index.ts';

const MUTATIONS = 150;

/** Fails with the input in the message: what was found by chance must be found again. */
function hold(target: FuzzTarget, bytes: Uint8Array, why: string): void {
  try {
    target.check(new Uint8Array(bytes));
  } catch (caught) {
    throw new Error(`${why}: ${Buffer.from(bytes).toString('base64')}: ${caught}`, { cause: caught });
  }
}

describe.each(TARGET_NAMES)('%s keeps its promise', (name) => {
  test('for every input that broke it once, or reaches what no other reaches', async () => {
    const target = await loadTarget(name);
    const kept = readCorpus(name);
    expect(kept.length).toBeGreaterThan(0);
    for (const { bytes, why } of kept) hold(target, bytes, why ?? 'reaches more');
  });

  test(`for its seeds, and for changes of what is kept (FUZZ_SEED=${SEED})`, async () => {
    const target = await loadTarget(name);
    const inputs = [...target.seeds(), ...readCorpus(name).map(({ bytes }) => bytes)];
    for (const bytes of target.seeds()) hold(target, bytes, 'a seed');
    const random = createRandom(SEED);
    for (let made = 0; made < MUTATIONS; made++) {
      hold(target, mutateInput(random.pick(inputs), { random, target, others: inputs }), 'a change');
    }
  });
});

describe('the loop', () => {
  test('makes an input as small as what is wrong with it', () => {
    const wrong = (bytes: Uint8Array) => bytes.includes(7) && bytes.includes(9);
    const small = minimise(
      Uint8Array.from({ length: 500 }, (_, index) => index % 251),
      wrong,
    );
    expect([...small].sort()).toEqual([7, 9]);
  });

  test('takes a slip of our own for a fault, wrapped in a refusal or not', () => {
    const slip = () => JSON.parse('{"a":null}').a.b;
    expect(() => orRefused(slip)).toThrow(TypeError);
  });

  test('tells values apart that print alike', () => {
    agree('maps', new Map([['a', 1n]]), new Map([['a', 1n]]));
    expect(() => agree('zeros', [0], [-0])).toThrow(/zeros/);
    expect(() => agree('bytes', Uint8Array.of(1), Uint8Array.of(2))).toThrow(/bytes/);
  });
});
