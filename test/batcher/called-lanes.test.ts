import { describe, expect, test } from '@jest/globals';
import { held, request, startHarness } from './harness.ts';

/** Longer than a lease and a heartbeat. */
const LEASE_OVER_MS = 1600;

const PIPELINE = { name: 'pipeline', version: 1 };
const caller = (id: number) => request(id, { servable: PIPELINE, laneKey: 'pipeline' });
const called = (id: number) => request(id, { laneKey: 'm called', callers: ['pipeline@1'] });
const both = [held({ tokens: 2 }), held({ id: PIPELINE, tokens: 2 })];

describe('a request that a servable waits for', () => {
  test('passes where a worker is kept free for the one that waits, or has to wait for itself', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const dying = await mesh.addWorker(both, 'worker-a');
    await gateway.submit(caller(1));
    await dying.die();
    const heir = await mesh.addWorker(both, 'worker-b');
    await mesh.clock.advance(LEASE_OVER_MS);
    // The pipeline is a suspect now, alone on the last worker.
    expect(heir.ids()).toEqual([[1]]);
    await gateway.submit(request(2));
    expect(heir.ids()).toEqual([[1]]);
    await gateway.submit(called(3));
    expect(heir.ids()).toEqual([[1], [3]]);
    for (const batch of [...heir.batches].reverse()) await heir.ready(batch);
    expect(heir.ids()).toEqual([[1], [3], [2]]);
    expect(gateway.answers).toEqual([]);
  });

  test('passes while a worker is waited for to become free', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const dying = await mesh.addWorker([held()], 'worker-a');
    await gateway.submit(request(1));
    const heir = await mesh.addWorker(both, 'worker-b');
    await gateway.submit(caller(2));
    await dying.die();
    await mesh.clock.advance(LEASE_OVER_MS);
    // 1 is a suspect, and the last worker has the pipeline on it, which waits for 3.
    expect(heir.ids()).toEqual([[2]]);
    await gateway.submit(called(3));
    expect(heir.ids()).toEqual([[2], [3]]);
    for (const batch of [...heir.batches]) await heir.ready(batch);
    expect(heir.ids()).toEqual([[2], [3], [1]]);
  });

  test('waits for another worker where there is one', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const dying = await mesh.addWorker(both, 'worker-a');
    await gateway.submit(caller(1));
    await dying.die();
    const [kept, other] = [await mesh.addWorker(both, 'worker-b'), await mesh.addWorker(both, 'worker-c')];
    await mesh.clock.advance(LEASE_OVER_MS);
    await gateway.submit(called(2));
    expect([kept.ids(), other.ids()]).toEqual([[[1]], [[2]]]);
  });

  test('passes where others were refused, since it may be what they are refused for, and not once it is refused itself', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const only = await mesh.addWorker(both, 'worker-a');
    await gateway.submit(request(1));
    if (only.batches[0]) await only.ready(only.batches[0], 'refused');
    await gateway.submit(called(2));
    expect(only.ids()).toEqual([[1], [2]]);
    if (only.batches[0]) await only.ready(only.batches[0], 'refused');
    await mesh.clock.advance(1000);
    expect(only.ids()).toEqual([[1], [2]]);
    await only.announce({});
    expect(only.ids().slice(2).flat().sort()).toEqual([1, 2]);
    expect(gateway.errors()).toEqual([]);
  });

  test('goes to a worker that refuses nothing where there is one, also when that is busy', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const refusing = await mesh.addWorker([held()], 'worker-a');
    await gateway.submit(request(1));
    const other = await mesh.addWorker([held()], 'worker-b');
    if (refusing.batches[0]) await refusing.ready(refusing.batches[0], 'refused');
    await gateway.submit(called(2));
    expect([refusing.ids(), other.ids()]).toEqual([[[1]], [[1]]]);
    if (other.batches[0]) await other.ready(other.batches[0]);
    expect([refusing.ids(), other.ids()]).toEqual([[[1]], [[1], [2]]]);
  });

  test('whose worker dies is tried once more beside others, since alone it would wait for who waits for it, and not a third time', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const first = await mesh.addWorker(both, 'worker-a');
    await gateway.submit(called(1));
    const second = await mesh.addWorker(both, 'worker-b');
    await gateway.submit(caller(2));
    await first.die();
    await mesh.clock.advance(LEASE_OVER_MS);
    expect(second.ids()).toEqual([[2], [1]]);
    await second.die();
    await mesh.addWorker(both, 'worker-c');
    await mesh.clock.advance(LEASE_OVER_MS);
    expect(gateway.errors()).toEqual([
      {
        id: 1,
        code: 'INTERNAL',
        message: 'Two workers ended while m@1 executed the request, for which another servable waits; it is not tried again',
        resend: false,
      },
    ]);
  });
});
