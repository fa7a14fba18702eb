import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { createMemoryStateStore } from '#mesh/state-store-memory.ts';
import { createRedisStateStore } from '#mesh/state-store-redis.ts';
import { hasRedisServer, startRedisServer } from '../servers/redis-server.ts';
import { freePort } from '../servers/server-process.ts';
import { stateStoreContract } from './state-store.contract.ts';

stateStoreContract('memory', async () => {
  const clock = createFakeClock();
  const store = createMemoryStateStore({ clock });
  return { store, pass: (ms) => clock.advance(ms), [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
});

/** Redis expires leases by its own clock: real time passes. */
const reallyPass = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

describe('Redis state store without a server', () => {
  test('rejects with unavailable within its bound, and names the server without its password', async () => {
    const port = await freePort();
    await using store = createRedisStateStore({
      url: `redis://:secret@127.0.0.1:${port}`,
      prefix: 't',
      timeoutMs: 100,
      onTrouble: () => {},
    });
    await expect(store.get('x')).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: `the state store at redis://127.0.0.1:${port} cannot be reached: no connection within 100 ms`,
    });
  });
});

if (hasRedisServer) {
  stateStoreContract('Redis', async () => {
    const server = await startRedisServer();
    const store = createRedisStateStore({ url: server.url, prefix: 'contract', onTrouble: () => {} });
    return {
      store,
      pass: reallyPass,
      async [Symbol.asyncDispose]() {
        await store[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  });

  describe('Redis state store', () => {
    test('keeps meshes of different prefixes apart', async () => {
      await using server = await startRedisServer();
      await using one = createRedisStateStore({ url: server.url, prefix: 'one', onTrouble: () => {} });
      await using two = createRedisStateStore({ url: server.url, prefix: 'two', onTrouble: () => {} });
      await one.put('key', 1, { expected: 0 });
      expect(await two.get('key')).toBeNull();
      expect(await two.list('')).toEqual([]);
      expect(await two.acquireLease('lead', 'b', 60_000)).toBeGreaterThan(0);
      expect(await one.acquireLease('lead', 'a', 60_000)).toBeGreaterThan(0);
    });

    test('never hands out a lower fencing token, not even when it comes back empty', async () => {
      await using server = await startRedisServer();
      await using store = createRedisStateStore({ url: server.url, prefix: 't', onTrouble: () => {} });
      const before = (await store.acquireLease('lead', 'a', 60_000)) ?? Number.POSITIVE_INFINITY;
      await server.stop();
      await server.start();
      expect(await store.acquireLease('lead', 'b', 60_000)).toBeGreaterThanOrEqual(before);
    });

    test('is unavailable while its server is down and works again after', async () => {
      await using server = await startRedisServer();
      await using store = createRedisStateStore({ url: server.url, prefix: 't', timeoutMs: 1000, onTrouble: () => {} });
      await store.put('key', 1, { expected: 0 });
      await server.stop();
      await expect(store.put('key', 2, { expected: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await server.start();
      expect(await store.get('key')).toBeNull();
      expect(await store.put('key', 3, { expected: 0 })).toBe(1);
    });
  });
} else {
  test.skip('Redis state store: redis-server is not installed', () => {});
}
