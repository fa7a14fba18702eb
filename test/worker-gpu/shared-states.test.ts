import { describe, expect, test } from '@jest/globals';
import { createSharedStates } from '../../services/worker-gpu/runtimes/shared-states.ts';

/** A maker that counts what it made and what of it was disposed. */
function counted(fail = false) {
  const counts = { made: 0, disposed: 0 };
  const make = async () => {
    counts.made++;
    if (fail) throw new Error('cannot be made');
    return { [Symbol.asyncDispose]: async () => void counts.disposed++ };
  };
  return { counts, make };
}

describe('state that servables share', () => {
  test('is made once, by the first that asks, and disposed with the last', async () => {
    const states = createSharedStates();
    const { counts, make } = counted();
    const [first, second] = [states.open('m'), states.open('m')];
    const both = await Promise.all([first.shared('k', make), second.shared('k', make), second.shared('k', make)]);
    expect(new Set(both).size).toBe(1);
    await first[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    expect(counts).toEqual({ made: 1, disposed: 0 });
    await second[Symbol.asyncDispose]();
    expect(counts).toEqual({ made: 1, disposed: 1 });
  });

  test('is made anew after it was disposed, for another key, and for another module', async () => {
    const states = createSharedStates();
    const { counts, make } = counted();
    const first = states.open('m');
    await first.shared('k', make);
    await first.shared('other', make);
    await states.open('another').shared('k', make);
    expect(counts.made).toBe(3);
    await first[Symbol.asyncDispose]();
    expect(counts.disposed).toBe(2);
    await states.open('m').shared('k', make);
    expect(counts.made).toBe(4);
  });

  test('that cannot be made fails whoever asked, and is tried again by the next', async () => {
    const states = createSharedStates();
    const broken = counted(true);
    const first = states.open('m');
    const outcomes = await Promise.allSettled([first.shared('k', broken.make), states.open('m').shared('k', broken.make)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await first[Symbol.asyncDispose]();
    const { counts, make } = counted();
    const later = states.open('m');
    await later.shared('k', make);
    await later[Symbol.asyncDispose]();
    expect([broken.counts.made, counts]).toEqual([1, { made: 1, disposed: 1 }]);
  });

  test('that cannot be disposed does not keep the rest', async () => {
    const states = createSharedStates();
    const { counts, make } = counted();
    const account = states.open('m');
    await account.shared('bad', () => ({
      [Symbol.dispose]() {
        throw new Error('stuck');
      },
    }));
    await account.shared('good', make);
    await expect(account[Symbol.asyncDispose]()).rejects.toThrow('stuck');
    expect(counts.disposed).toBe(1);
  });

  test('cannot be asked for when the load is over', async () => {
    const account = createSharedStates().open('m');
    await account[Symbol.asyncDispose]();
    await expect(account.shared('k', counted().make)).rejects.toThrow('"k" was asked for after the load had ended');
  });
});
