import { describe, expect, test } from '@jest/globals';
import { startBlobStore } from '#mesh/blobs.ts';
import { createFakeClock } from '#mesh/clock.ts';
import type { MemberId } from '#mesh/ids.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { startHeldOutputs } from '../../services/worker-gpu/held-outputs.ts';

async function startHolder(limitBytes = 1000) {
  const stack = new AsyncDisposableStack();
  const clock = createFakeClock();
  const broker = createMemoryBroker();
  const store = async (id: string) =>
    stack.use(startBlobStore({ transport: stack.use(await broker.connect()), subjects: createSubjects('test'), id: id as MemberId }));
  const blobs = await store('worker-1');
  const gateway = await store('gateway-1');
  const seen: number[] = [];
  const held = stack.use(startHeldOutputs({ blobs, clock, limitBytes, onChange: (bytes) => seen.push(bytes) }));
  return { clock, gateway, held, seen, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe('held outputs', () => {
  test('leave nothing behind once their gateway has them, not even a timer', async () => {
    await using rig = await startHolder();
    const claims = Array.from({ length: 5 }, () => rig.held.hold(new Uint8Array(100)));
    expect(rig.clock.sleepers).toBe(5);
    for (const claim of claims) rig.gateway.finished(claim);
    await rig.clock.advance(0);
    expect(rig.clock.sleepers).toBe(0);
    expect(rig.held.heldBytes).toBe(0);
    expect(rig.seen.at(-1)).toBe(0);
  });

  test('go after a minute that nobody asked for them', async () => {
    await using rig = await startHolder();
    rig.held.hold(new Uint8Array(100));
    await rig.clock.advance(60_000);
    expect(rig.held.heldBytes).toBe(0);
    expect(rig.clock.sleepers).toBe(0);
  });

  test('go the oldest first when there is no room', async () => {
    await using rig = await startHolder(250);
    const [first, second] = [rig.held.hold(new Uint8Array(100)), rig.held.hold(new Uint8Array(100))];
    rig.held.hold(new Uint8Array(100));
    expect(rig.held.heldBytes).toBe(200);
    const fetched = (claim: typeof first) => rig.gateway.fetch(claim, { signal: new AbortController().signal, timeoutMs: 1000 });
    await expect(fetched(first)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await fetched(second)).byteLength).toBe(100);
    expect(rig.clock.sleepers).toBe(2);
  });
});
