import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { StateStore } from '#mesh/state-store.ts';

/** A store, and how time passes for its leases. */
export interface StoreUnderTest extends AsyncDisposable {
  readonly store: StateStore;
  /** Lets this much time pass. */
  pass(ms: number): Promise<void>;
}

/** What `mesh/state-store.ts` promises, run over an implementation. */
export function stateStoreContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`state store contract: ${name}`, () => {
    let under: StoreUnderTest;
    let store: StateStore;
    let tag = 0;
    beforeAll(async () => {
      under = await open();
      store = under.store;
    });
    afterAll(async () => {
      await under[Symbol.asyncDispose]();
    });
    const fresh = () => `test-${++tag}`;

    test('finds nothing under a key never written', async () => {
      expect(await store.get(fresh())).toBeNull();
    });

    test('returns what was put, with revisions that grow by one', async () => {
      const key = fresh();
      expect(await store.put(key, { a: [1, 'é', null] }, { expected: 0 })).toBe(1);
      expect(await store.put(key, 'second', { expected: 1 })).toBe(2);
      expect(await store.get(key)).toEqual({ value: 'second', revision: 2 });
    });

    test('refuses a put that expects another revision, and changes nothing', async () => {
      const key = fresh();
      await store.put(key, 'first', { expected: 0 });
      await expect(store.put(key, 'lost', { expected: 0 })).rejects.toMatchObject({
        code: 'ABORTED',
        message: `${key} is at revision 1, the write expected revision 0`,
      });
      await expect(store.put(key, 'lost', { expected: 7 })).rejects.toMatchObject({ code: 'ABORTED' });
      expect(await store.get(key)).toEqual({ value: 'first', revision: 1 });
    });

    test('lets exactly one of many concurrent writers win', async () => {
      const key = fresh();
      const tries = await Promise.allSettled(Array.from({ length: 20 }, (_, index) => store.put(key, index, { expected: 0 })));
      expect(tries.filter((one) => one.status === 'fulfilled').length).toBe(1);
    });

    test('removes by revision', async () => {
      const key = fresh();
      await store.put(key, 1, { expected: 0 });
      await expect(store.remove(key, { expected: 2 })).rejects.toMatchObject({ code: 'ABORTED' });
      await store.remove(key, { expected: 1 });
      expect(await store.get(key)).toBeNull();
      await store.remove(key, { expected: 0 });
      expect(await store.put(key, 2, { expected: 0 })).toBe(1);
    });

    test('lists a prefix in byte order of keys, and nothing else', async () => {
      const root = fresh();
      for (const tail of ['/b', '/a', '/é', '/a/deep', 'x']) await store.put(root + tail, tail, { expected: 0 });
      const listed = await store.list(`${root}/`);
      expect(listed.map(({ key, value, revision }) => ({ key, value, revision }))).toEqual(
        ['/a', '/a/deep', '/b', '/é'].map((tail) => ({ key: root + tail, value: tail, revision: 1 })),
      );
    });

    test('gives a lease to one holder at a time and lets it renew under the same token', async () => {
      const lease = fresh();
      const token = await store.acquireLease(lease, 'a', 60_000);
      expect(token).toBeGreaterThan(0);
      expect(await store.acquireLease(lease, 'b', 60_000)).toBeNull();
      expect(await store.acquireLease(lease, 'a', 60_000)).toBe(token);
    });

    test('gives an expired lease to the next with a higher token', async () => {
      const lease = fresh();
      const first = await store.acquireLease(lease, 'a', 100);
      await under.pass(150);
      const second = await store.acquireLease(lease, 'b', 60_000);
      expect(second).toBeGreaterThan(first ?? Number.POSITIVE_INFINITY);
      expect(await store.acquireLease(lease, 'a', 100)).toBeNull();
    });

    test('gives a released lease away at once, and ignores a release by somebody else', async () => {
      const lease = fresh();
      const first = await store.acquireLease(lease, 'a', 60_000);
      await store.releaseLease(lease, 'b');
      expect(await store.acquireLease(lease, 'b', 60_000)).toBeNull();
      await store.releaseLease(lease, 'a');
      await store.releaseLease(lease, 'a');
      expect(await store.acquireLease(lease, 'b', 60_000)).toBeGreaterThan(first ?? Number.POSITIVE_INFINITY);
    });

    test('refuses writes under an old fencing token, before it looks at the revision', async () => {
      const lease = fresh();
      const key = fresh();
      const old = (await store.acquireLease(lease, 'a', 60_000)) ?? 0;
      await store.put(key, 'by a', { expected: 0, fencing: { lease, token: old } });
      await store.releaseLease(lease, 'a');
      const token = (await store.acquireLease(lease, 'b', 60_000)) ?? 0;
      const stale = { expected: 1, fencing: { lease, token: old } };
      await expect(store.put(key, 'by a again', stale)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
      await expect(store.remove(key, stale)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
      expect(await store.put(key, 'by b', { expected: 1, fencing: { lease, token } })).toBe(2);
    });

    test('keeps a reader and a writer apart', async () => {
      const key = fresh();
      const value = { list: [1] };
      await store.put(key, value, { expected: 0 });
      value.list.push(2);
      expect((await store.get(key))?.value).toEqual({ list: [1] });
    });
  });
}
