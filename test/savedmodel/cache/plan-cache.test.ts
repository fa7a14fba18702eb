import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import { createPlanCache, type PlanCache } from '../../../savedmodel/cache/plan-cache.ts';

/** Longer than an entry that was touched may be in use by somebody else. */
const LONG_MS = 10 * 60_000;
const never = new AbortController().signal;
const A = 'a'.repeat(40);
const B = 'b'.repeat(40);
const C = 'c'.repeat(40);

/** Caches of several processes over one folder, on a clock of theirs. */
async function rig(options: { readonly maxBytes?: number } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-cache-'));
  const clock = createFakeClock();
  const caches: PlanCache[] = [];
  return {
    folder,
    clock,
    entries: () => readdirSync(folder).sort(),
    open(): PlanCache {
      // A plan is its text here, and one that says "broken" cannot be run.
      const check = async (plan: string) => {
        if ((await readFile(join(plan, 'plan.json'), 'utf8')).startsWith('broken')) throw new ServeError('DATA_LOSS', 'a broken plan');
      };
      const cache = createPlanCache({ folder, maxBytes: options.maxBytes ?? 0, clock, check });
      caches.push(cache);
      return cache;
    },
    async [Symbol.asyncDispose]() {
      for (const cache of caches) cache[Symbol.dispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const writing =
  (text: string, done: string[] = []) =>
  async (folder: string) => {
    done.push(folder);
    await writeFile(join(folder, 'plan.json'), text);
  };

const outOfSpace = () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });

describe('a cache of plans', () => {
  test('makes a plan once, also for another process', async () => {
    await using one = await rig();
    const made: string[] = [];
    using first = await one.open().obtain(A, never, writing('plan', made));
    using second = await one.open().obtain(A, never, writing('plan', made));
    expect(made).toHaveLength(1);
    expect(second.folder).toBe(first.folder);
    expect(readFileSync(join(second.folder, 'plan.json'), 'utf8')).toBe('plan');
    expect(one.entries()).toEqual([A]);
  });

  test('lets callers of one process that ask at the same time share one making', async () => {
    await using one = await rig();
    const cache = one.open();
    const made: string[] = [];
    const held = await Promise.all(Array.from({ length: 5 }, () => cache.obtain(A, never, writing('plan', made))));
    expect(made).toHaveLength(1);
    expect(new Set(held.map(({ folder }) => folder)).size).toBe(1);
  });

  test('lets processes that make the same plan at the same time both have one, and leaves no litter', async () => {
    await using one = await rig();
    const bothMaking = Promise.withResolvers<void>();
    let making = 0;
    const make = async (folder: string) => {
      if (++making === 2) bothMaking.resolve();
      await bothMaking.promise;
      await writeFile(join(folder, 'plan.json'), 'plan');
    };
    const held = await Promise.all([one.open().obtain(A, never, make), one.open().obtain(A, never, make)]);
    expect(making).toBe(2);
    expect(held.map(({ folder }) => folder)).toEqual([join(one.folder, A), join(one.folder, A)]);
    expect(one.entries()).toEqual([A]);
  });

  test.each<[string, (entry: string) => void]>([
    ['a cut file', (entry) => truncateSync(join(entry, 'plan.json'), 2)],
    ['a missing file', (entry) => rmSync(join(entry, 'plan.json'))],
    ['no list of contents', (entry) => rmSync(join(entry, 'contents.json'))],
    ['a plan that cannot be run', (entry) => writeFileSync(join(entry, 'plan.json'), 'broken')],
  ])('never uses an entry with %s: it is made again', async (_, damage) => {
    await using one = await rig();
    const cache = one.open();
    (await cache.obtain(A, never, writing('unhurt')))[Symbol.dispose]();
    damage(join(one.folder, A));
    expect(await cache.find(A)).toBeNull();
    expect(one.entries()).toEqual([]);
    using again = await cache.obtain(A, never, writing('unhurt'));
    expect(readFileSync(join(again.folder, 'plan.json'), 'utf8')).toBe('unhurt');
  });

  test('fails as the making fails, for everybody who waits for it, and leaves nothing', async () => {
    await using one = await rig();
    const cache = one.open();
    let attempts = 0;
    const make = async (folder: string) => {
      attempts++;
      await writeFile(join(folder, 'half'), 'x');
      throw new ServeError('UNIMPLEMENTED', 'op Foo of node bar');
    };
    const results = await Promise.allSettled([cache.obtain(A, never, make), cache.obtain(A, never, make)]);
    expect(results).toMatchObject([{ reason: { message: 'op Foo of node bar' } }, { reason: { message: 'op Foo of node bar' } }]);
    expect(attempts).toBe(1);
    expect(one.entries()).toEqual([]);
  });

  test('goes on for those who wait when the one who makes gives up', async () => {
    await using one = await rig();
    const cache = one.open();
    const leaving = new AbortController();
    const gaveUp = Promise.withResolvers<never>();
    leaving.signal.addEventListener('abort', () => gaveUp.reject(leaving.signal.reason));
    const first = cache.obtain(A, leaving.signal, () => gaveUp.promise);
    const second = cache.obtain(A, never, writing('plan'));
    leaving.abort(new ServeError('CANCELLED', 'not wanted any more'));
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    using held = await second;
    expect(held.address).toBe(A);
  });
});

test('a caller that gives up does not wait for what another one makes', async () => {
  await using one = await rig();
  const cache = one.open();
  const finish = Promise.withResolvers<void>();
  const making = cache.obtain(A, never, async (folder) => {
    await finish.promise;
    await writeFile(join(folder, 'plan.json'), 'plan');
  });
  const leaving = new AbortController();
  const waiting = cache.obtain(A, leaving.signal, writing('plan'));
  leaving.abort(new ServeError('CANCELLED', 'not wanted any more'));
  await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
  finish.resolve();
  (await making)[Symbol.dispose]();
});

describe('the size of a cache', () => {
  const big = (letter: string) => writing(letter.repeat(1000));

  test('is held by evicting what was not used for the longest time', async () => {
    await using one = await rig({ maxBytes: 2500 });
    const cache = one.open();
    for (const address of [A, B]) {
      (await cache.obtain(address, never, big(address[0] ?? '')))[Symbol.dispose]();
      await one.clock.advance(LONG_MS);
    }
    // Used once more: now B is the one that was not used for the longest time.
    (await cache.find(A))?.[Symbol.dispose]();
    await one.clock.advance(LONG_MS);
    using newest = await cache.obtain(C, never, big('c'));
    expect(one.entries()).toEqual([A, C]);
    expect(newest.byteLength).toBeGreaterThan(1000);
  });

  test('never costs an entry that is in use, here or in another process', async () => {
    await using one = await rig({ maxBytes: 100 });
    const mine = one.open();
    const theirs = one.open();
    using held = await mine.obtain(A, never, big('a'));
    using heldThere = await theirs.obtain(B, never, big('b'));
    // Holders touch what they hold, for as long as they hold it.
    await one.clock.advance(LONG_MS);
    const touched = (address: string) => statSync(join(one.folder, address)).mtimeMs > one.clock.wallNow() - 2 * 60_000;
    while (![A, B].every(touched)) await new Promise((resolve) => setImmediate(resolve));
    using _ = await mine.obtain(C, never, big('c'));
    expect(one.entries()).toEqual([A, B, C]);
    expect([held.folder, heldThere.folder].every((folder) => existsSync(folder))).toBe(true);
  });

  test('counts no leftovers of processes that died: they go once nobody can be at work on them', async () => {
    await using one = await rig({ maxBytes: 1_000_000 });
    const old = join(one.folder, `${A}.making-x`);
    const fresh = join(one.folder, `${B}.making-y`);
    for (const path of [old, fresh]) mkdirSync(path);
    const seconds = one.clock.wallNow() / 1000;
    utimesSync(old, seconds - 3 * 3600, seconds - 3 * 3600);
    utimesSync(fresh, seconds, seconds);
    using _ = await one.open().obtain(C, never, big('c'));
    expect(one.entries()).toEqual([`${B}.making-y`, C]);
  });

  test('concerns its own entries alone: what else lies in the folder stays', async () => {
    await using one = await rig({ maxBytes: 1 });
    const cache = one.open();
    mkdirSync(join(one.folder, 'photos'));
    (await cache.obtain(A, never, big('a')))[Symbol.dispose]();
    await one.clock.advance(LONG_MS);
    using _ = await cache.obtain(C, never, big('c'));
    expect(one.entries()).toEqual([C, 'photos']);
  });
});

describe('a full disk', () => {
  test('is said so, and nothing is left behind', async () => {
    await using one = await rig();
    const cache = one.open();
    const make = async (folder: string) => {
      await writeFile(join(folder, 'half'), 'x');
      throw new ServeError('INTERNAL', 'weights.bin cannot be written', { cause: outOfSpace() });
    };
    await expect(cache.obtain(A, never, make)).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: expect.stringMatching(/^the disk of the import cache .* is full: weights.bin cannot be written; .*--import_cache_dir/),
    });
    expect(one.entries()).toEqual([]);
  });

  test('first costs the plans that nobody uses', async () => {
    await using one = await rig();
    const cache = one.open();
    (await cache.obtain(A, never, writing('unused')))[Symbol.dispose]();
    using used = await cache.obtain(B, never, writing('used'));
    await one.clock.advance(LONG_MS);
    using made = await cache.obtain(C, never, async (folder) => {
      if (one.entries().includes(A)) throw outOfSpace();
      await writeFile(join(folder, 'plan.json'), 'fits now');
    });
    expect(one.entries()).toEqual([B, C]);
    expect([used.address, made.address]).toEqual([B, C]);
  });
});
