import { afterEach, describe, expect, test } from '@jest/globals';
import { startBlobStore } from '#mesh/blobs.ts';
import { newMemberId } from '#mesh/ids.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';

const stores: AsyncDisposable[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) await store[Symbol.asyncDispose]();
});

function pair(chunkBytes: number) {
  const broker = createMemoryBroker();
  const subjects = createSubjects('test');
  const make = () => startBlobStore({ transport: broker.connect(), subjects, id: newMemberId('member'), chunkBytes });
  const holder = make();
  const fetcher = make();
  stores.push(holder, fetcher);
  return { holder, fetcher };
}

const bytesOf = (length: number) => Uint8Array.from({ length }, (_, index) => (index * 31) & 0xff);
const patience = () => ({ signal: new AbortController().signal, timeoutMs: 1000 });

describe('claims', () => {
  test.each([1, 99, 100, 101, 1000, 12_345])('%i bytes arrive whole in chunks of 100', async (length) => {
    const { holder, fetcher } = pair(100);
    const bytes = bytesOf(length);
    expect(await fetcher.fetch(holder.hold(bytes), patience())).toEqual(bytes);
  });

  test('bytes can be fetched into a place of the caller', async () => {
    const { holder, fetcher } = pair(100);
    const bytes = bytesOf(450);
    const place = new Uint8Array(new SharedArrayBuffer(500), 10, 450);
    await fetcher.fetch(holder.hold(bytes), { ...patience(), into: place });
    expect([...place]).toEqual([...bytes]);
  });

  test('a released claim is not found and holds no memory', async () => {
    const { holder, fetcher } = pair(100);
    const claim = holder.hold(bytesOf(450));
    expect(holder.heldBytes).toBe(450);
    holder.release(claim.claimId);
    holder.release(claim.claimId);
    expect(holder.heldBytes).toBe(0);
    await expect(fetcher.fetch(claim, patience())).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(holder.fetch(claim, patience())).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('the holder lets go when the last fetcher says so', async () => {
    const { holder, fetcher } = pair(100);
    const claim = holder.hold(bytesOf(450));
    await fetcher.fetch(claim, patience());
    fetcher.finished(claim);
    await new Promise((resolve) => setImmediate(resolve));
    expect(holder.heldBytes).toBe(0);
  });

  test('a holder that has gone is unavailable', async () => {
    const { holder, fetcher } = pair(100);
    const claim = holder.hold(bytesOf(450));
    await holder[Symbol.asyncDispose]();
    await expect(fetcher.fetch(claim, patience())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  test('a fetch ends when its caller leaves', async () => {
    const { holder, fetcher } = pair(100);
    const claim = holder.hold(bytesOf(450));
    const controller = new AbortController();
    const fetching = fetcher.fetch(claim, { signal: controller.signal, timeoutMs: 1000 });
    controller.abort(new Error('left'));
    await expect(fetching).rejects.toThrow('left');
  });
});
