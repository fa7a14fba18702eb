import { describe, expect, test } from '@jest/globals';
import type { Transport } from '#mesh/transport.ts';
import { makeReconnectable } from '../mesh/reconnectable.ts';
import { batching, held, request, type ScriptedWorker, startHarness } from './harness.ts';

/** Longer than a lease and a heartbeat. */
const LEASE_OVER_MS = 1600;

async function finishAll(workers: readonly ScriptedWorker[]): Promise<void> {
  for (let batch = next(workers); batch; batch = next(workers)) await batch.worker.ready(batch.frame);
}

function next(workers: readonly ScriptedWorker[]) {
  for (const worker of workers) if (worker.batches[0]) return { worker, frame: worker.batches[0] };
  return undefined;
}

describe('a worker that', () => {
  test('refuses a batch has it put back in order for another, and is asked again only after it announced anew', async () => {
    await using mesh = await startHarness();
    const first = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(2));
    await gateway.submit(request(3));
    if (first.batches[0]) await first.ready(first.batches[0], 'refused');
    expect(first.ids()).toEqual([[1, 2]]);
    const second = await mesh.addWorker();
    expect(second.ids()).toEqual([[1, 2, 3]]);
    await first.announce({});
    await gateway.submit(request(4));
    expect(first.ids()).toEqual([[1, 2], [4]]);
    expect(gateway.answers).toEqual([]);
  });

  test('refuses what waits too long there has it answered by another, and nothing is held against the requests', async () => {
    await using mesh = await startHarness({ settings: { quarantineCrashes: 1 } });
    const gateway = mesh.addGateway();
    const workers = [await mesh.addWorker([held()], 'worker-a'), await mesh.addWorker([held()], 'worker-b')];
    await gateway.submit(request(1));
    const [holder] = workers.filter(({ batches }) => batches.length > 0);
    const other = workers.find((worker) => worker !== holder);
    const frame = holder?.batches[0];
    if (!frame || !holder || !other) throw new Error('nobody has the request');
    await mesh.clock.advance(1000);
    await holder.ready(frame, 'refused');
    expect(other.received).toMatchObject([{ alone: false, parts: [{ requestId: 1, queuedMs: 1000 }] }]);
    await gateway.submit(request(2));
    await finishAll([other]);
    expect([holder.ids(), other.ids()]).toEqual([[[1]], [[1], [2]]]);
    expect(gateway.errors()).toEqual([]);
    expect(mesh.batcher.quarantined).toEqual([]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('refuses for as long as it likes is waited for within the deadlines: it serves, so nobody is told that no worker does', async () => {
    await using mesh = await startHarness({ settings: { noWorkerWaitMs: 5000 } });
    const gateway = mesh.addGateway();
    const only = await mesh.addWorker([held({ tokens: 2, batching: null })]);
    await gateway.submit(request(1), request(2, { budgetMs: 30_000 }));
    for (const frame of [...only.batches]) await only.ready(frame, 'refused');
    await gateway.submit(request(3));
    await mesh.clock.advance(100_000);
    expect(only.ids()).toEqual([[1], [2]]);
    expect(gateway.errors()).toMatchObject([{ id: 2, code: 'DEADLINE_EXCEEDED' }]);
    // It announces something else, and has no room yet: what it may take is offered once more, and no more than that.
    await only.announce({});
    for (const frame of [...only.batches]) await only.ready(frame, 'refused');
    await mesh.clock.advance(100_000);
    expect(only.ids()).toEqual([[1], [2], [1], [3]]);
    await only.announce({});
    await finishAll([only]);
    expect(only.ids().slice(4)).toEqual([[1], [3]]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('refuses, and then says that it serves no longer, counts as gone from then on', async () => {
    await using mesh = await startHarness({ settings: { noWorkerWaitMs: 5000 } });
    const gateway = mesh.addGateway();
    const only = await mesh.addWorker();
    await gateway.submit(request(1));
    if (only.batches[0]) await only.ready(only.batches[0], 'refused');
    await mesh.clock.advance(10_000);
    expect(gateway.errors()).toEqual([]);
    await only.announce({ servables: [] });
    await mesh.clock.advance(5000);
    expect(gateway.errors()).toMatchObject([{ id: 1, code: 'UNAVAILABLE', message: 'No worker serves m@1; waited 15000 ms for one' }]);
  });

  test('cannot be reached has its batch sent to another at once, and nobody is suspected', async () => {
    await using mesh = await startHarness();
    const deaf = await mesh.addWorker([held()], 'worker-a');
    deaf.deafen();
    const other = await mesh.addWorker([held()], 'worker-b');
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(2));
    await gateway.submit(request(3));
    await finishAll([other]);
    expect(other.ids()).toEqual([[1, 2], [3]]);
    expect(gateway.answers).toEqual([]);
  });

  test('can be reached again gets batches again', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    worker.deafen();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    expect(mesh.batcher.heldRequests).toBe(1);
    const heard: number[] = [];
    mesh.transport.subscribe(mesh.subjects.batch(worker.id), ({ data }) => void heard.push(data.byteLength));
    await mesh.clock.advance(200);
    expect(heard).toHaveLength(1);
  });

  test('dies has its requests retried one by one, apart from each other', async () => {
    await using mesh = await startHarness();
    const dying = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(2), request(3));
    await dying.die();
    const heir = await mesh.addWorker([held({ tokens: 4 })]);
    await mesh.clock.advance(LEASE_OVER_MS);
    expect(heir.ids()).toEqual([[1]]);
    await gateway.submit(request(4), request(5));
    expect(heir.ids()).toEqual([[1]]);
    await finishAll([heir]);
    expect(heir.ids()).toEqual([[1], [2], [3], [4, 5]]);
    expect(gateway.answers).toEqual([]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('is thought dead while the broker stands still for longer than a lease keeps its batch', async () => {
    let still = false;
    const heldBack: (() => void)[] = [];
    const onTransport = (transport: Transport): Transport => ({
      maxPayloadBytes: transport.maxPayloadBytes,
      connected: true,
      publish: (...message) => void (still ? heldBack.push(() => transport.publish(...message)) : transport.publish(...message)),
      subscribe: (subject, handler, how) => transport.subscribe(subject, (message) => void (still || handler(message)), how),
      request: (...question) => transport.request(...question),
      flush: () => transport.flush(),
      onConnectionChange: (listener) => transport.onConnectionChange(listener),
      [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
    });
    await using mesh = await startHarness({ onTransport, settings: { quarantineCrashes: 1 } });
    const workers = [await mesh.addWorker([held()], 'worker-a'), await mesh.addWorker([held()], 'worker-b')];
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2));
    still = true;
    await mesh.clock.advance(5000);
    still = false;
    for (const send of heldBack.splice(0)) send();
    await mesh.clock.advance(900);
    expect(workers.map((worker) => worker.ids())).toEqual([[[1]], [[2]]]);
    await finishAll(workers);
    expect(gateway.errors()).toEqual([]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('dies is noticed by the next batch that finds nobody, before its lease ends', async () => {
    await using mesh = await startHarness();
    const dying = await mesh.addWorker([held({ tokens: 2, batching: null })], 'worker-a');
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await dying.die();
    await gateway.submit(request(2));
    const heir = await mesh.addWorker([held({ tokens: 2, batching: null })], 'worker-b');
    await mesh.clock.advance(600);
    await finishAll([heir]);
    expect(heir.ids().flat().sort()).toEqual([1, 2]);
    expect(mesh.clock.now()).toBeLessThan(1000);
  });

  test('dies leaves the healthy traffic of the others flowing while suspects are tried', async () => {
    await using mesh = await startHarness();
    const dying = await mesh.addWorker([held()], 'worker-a');
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(2), request(3), request(4));
    await dying.die();
    const others = [await mesh.addWorker([held({ tokens: 2 })], 'worker-b'), await mesh.addWorker([held({ tokens: 2 })], 'worker-c')];
    await mesh.clock.advance(LEASE_OVER_MS);
    expect(others.map((worker) => worker.ids())).toEqual([[[1]], []]);
    await gateway.submit(request(5), request(6));
    expect(others.map((worker) => worker.ids())).toEqual([[[1]], [[5, 6]]]);
    await finishAll(others);
    expect(others[0]?.ids().slice(0, 4)).toEqual([[1], [2], [3], [4]]);
  });

  test('dies twice under one request has that one answered INTERNAL, and the others succeed', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const first = await mesh.addWorker();
    await gateway.submit(request(1), request(2), request(3));
    await first.die();
    const second = await mesh.addWorker();
    await mesh.clock.advance(LEASE_OVER_MS);
    if (second.batches[0]) await second.ready(second.batches[0]);
    expect(second.ids()).toEqual([[1], [2]]);
    await second.die();
    const third = await mesh.addWorker();
    await mesh.clock.advance(LEASE_OVER_MS);
    await finishAll([third]);
    expect(third.ids()).toEqual([[3]]);
    const message = 'The request ended two workers while m@1 executed it, the second time alone; it is not tried again';
    expect(gateway.errors()).toEqual([{ id: 2, code: 'INTERNAL', message, resend: false }]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('falls silent with others is no evidence against what it executed, though the same request was on all of them', async () => {
    await using mesh = await startHarness({ settings: { quarantineCrashes: 1 } });
    const gateway = mesh.addGateway();
    const [first, second, third] = [
      await mesh.addWorker([held()], 'worker-a'),
      await mesh.addWorker([held()], 'worker-b'),
      await mesh.addWorker([held()], 'worker-c'),
    ];
    // One crash that is its own worker's alone, so that the next alone would be the second.
    await gateway.submit(request(1));
    const holder = [first, second, third].find((worker) => worker.batches.length > 0);
    const others = [first, second, third].filter((worker) => worker !== holder);
    if (!holder) throw new Error('nobody has the request');
    holder.freeze();
    await mesh.clock.advance(LEASE_OVER_MS);
    expect(others.flatMap((worker) => worker.ids())).toEqual([[1]]);
    // Both others at once: their leases end one after the other, and the request is tried on whoever still seems to live.
    for (const worker of others) worker.freeze();
    await mesh.clock.advance(2 * LEASE_OVER_MS);
    expect(gateway.errors()).toEqual([]);
    const heir = await mesh.addWorker([held()], 'worker-d');
    await finishAll([heir]);
    expect(heir.ids()).toEqual([[1]]);
    expect(gateway.errors()).toEqual([]);
    expect(mesh.batcher.quarantined).toEqual([]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('falls silent with others each time is no excuse for ever: such a request takes four workers, and no fifth', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    for (let round = 1; round <= 4; round++) {
      const worker = await mesh.addWorker([held()], `worker-${round}`);
      const bystander = await mesh.addWorker([], `bystander-${round}`);
      if (round === 1) await gateway.submit(request(1));
      expect(worker.ids()).toEqual([[1]]);
      expect(gateway.errors()).toEqual([]);
      worker.freeze();
      bystander.freeze();
      await mesh.clock.advance(LEASE_OVER_MS);
    }
    const message = 'The request ended 4 workers while m@1 executed it, the last time alone; it is not tried again';
    expect(gateway.errors()).toEqual([{ id: 1, code: 'INTERNAL', message, resend: false }]);
  });

  test('dies with two batches under way is not blamed on a single request of either', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const single = [held({ tokens: 2, batching: null })];
    const first = await mesh.addWorker(single);
    await gateway.submit(request(1), request(2));
    await first.die();
    const second = await mesh.addWorker(single);
    await mesh.clock.advance(LEASE_OVER_MS);
    await finishAll([second]);
    expect(second.ids()).toEqual([[1], [2]]);
    expect(gateway.answers).toEqual([]);
  });

  test('dies with a part of a split request has all its parts retried alone', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const limits = batching({ maxBatchSize: 2, maxExecutionBatchSize: 2, enableLargeBatchSplitting: true });
    const first = await mesh.addWorker([held({ batching: limits })]);
    await gateway.submit(request(1), request(2, { rows: 4 }), request(3));
    expect(first.ids()).toEqual([[1, 2]]);
    await first.die();
    await mesh.clock.advance(LEASE_OVER_MS);
    const second = await mesh.addWorker([held({ batching: limits })]);
    await finishAll([second]);
    const cuts = second.received.map(({ parts }) => parts.map((part) => [part.requestId, part.rowStart, part.rowCount]));
    expect(cuts).toEqual([[[1, 0, 1]], [[2, 0, 1]], [[2, 1, 2]], [[2, 3, 1]], [[3, 0, 1]]]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('says good-bye while draining has what is left sent to another, without suspicion', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const leaving = await mesh.addWorker();
    await gateway.submit(request(1), request(2));
    await leaving.announce({ draining: true });
    await leaving.leave();
    const heir = await mesh.addWorker();
    expect(heir.ids()).toEqual([[1, 2]]);
  });

  test('died is not asked to return its token: late frames change nothing', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const slow = await mesh.addWorker([held()], 'worker-a');
    await gateway.submit(request(1));
    const [frame] = slow.batches;
    if (!frame) throw new Error('no batch');
    await slow.leave();
    const heir = await mesh.addWorker([held()], 'worker-b');
    await slow.ready(frame);
    expect(heir.ids()).toEqual([[1]]);
    expect(mesh.batcher.heldRequests).toBe(1);
    await finishAll([heir]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });
});

describe('a request that is to be executed alone', () => {
  test('is not suspected further when its worker dies before it began: others were being executed there', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const first = await mesh.addWorker();
    await gateway.submit(request(1), request(2));
    await first.die();
    for (let death = 0; death < 4; death++) {
      const busy = await mesh.addWorker();
      busy.occupy();
      await mesh.clock.advance(LEASE_OVER_MS);
      expect(busy.batches).toMatchObject([{ alone: true, parts: [{ requestId: 1 }] }]);
      await busy.die();
    }
    const last = await mesh.addWorker();
    await mesh.clock.advance(LEASE_OVER_MS);
    await finishAll([last]);
    expect(last.ids()).toEqual([[1], [2]]);
    expect(gateway.errors()).toEqual([]);
    expect(mesh.batcher.quarantined).toEqual([]);
  });
});

describe('a request that is to be executed alone and is refused', () => {
  test('goes to another worker, and waits for the same where there is none', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const dying = await mesh.addWorker([held()], 'worker-a');
    await gateway.submit(request(1), request(2));
    await dying.die();
    const refusing = await mesh.addWorker([held()], 'worker-b');
    await mesh.clock.advance(LEASE_OVER_MS);
    if (refusing.batches[0]) await refusing.ready(refusing.batches[0], 'refused');
    await mesh.clock.advance(60_000);
    expect(refusing.ids()).toEqual([[1]]);
    const other = await mesh.addWorker([held()], 'worker-c');
    await finishAll([other]);
    expect(other.received).toMatchObject([
      { alone: true, parts: [{ requestId: 1 }] },
      { alone: true, parts: [{ requestId: 2 }] },
    ]);
    expect(gateway.errors()).toEqual([]);
  });
});

describe('a stateful servable', () => {
  test('is never executed twice: a lost batch is answered UNAVAILABLE', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const dying = await mesh.addWorker([held({ stateful: true })]);
    await gateway.submit(request(1), request(2));
    await dying.die();
    const heir = await mesh.addWorker([held({ stateful: true })]);
    await mesh.clock.advance(LEASE_OVER_MS);
    const message = 'worker-2 was lost while it executed the request; m@1 keeps state, so the request is not executed again';
    expect(gateway.errors()).toEqual([1, 2].map((id) => ({ id, code: 'UNAVAILABLE', message, resend: false })));
    expect(heir.ids()).toEqual([]);
  });

  test('is sent again when nobody took the batch', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    const deaf = await mesh.addWorker([held({ stateful: true })]);
    deaf.deafen();
    await gateway.submit(request(1));
    const heir = await mesh.addWorker([held({ stateful: true })]);
    expect(heir.ids()).toEqual([[1]]);
  });
});

describe('a servable that keeps crashing', () => {
  test('is quarantined for a while, and only that one', async () => {
    await using mesh = await startHarness({ settings: { quarantineCrashes: 3, quarantineMs: 10_000 } });
    const gateway = mesh.addGateway();
    const other = { id: { name: 'other', version: 7 } };
    const alone = { servable: other.id, laneKey: 'other' };
    for (let crash = 1; crash <= 3; crash++) {
      const worker = await mesh.addWorker([held()]);
      await gateway.submit(request(10 * crash), request(10 * crash + 1));
      await worker.die();
      await mesh.clock.advance(LEASE_OVER_MS);
    }
    expect(mesh.batcher.quarantined).toEqual([{ name: 'm', version: 1 }]);
    const worker = await mesh.addWorker([held(), held(other)]);
    const before = gateway.errors().length;
    await gateway.submit(request(90), request(91, alone));
    expect(worker.ids()).toEqual([[91]]);
    expect(gateway.errors().slice(before)).toEqual([
      {
        id: 90,
        code: 'UNAVAILABLE',
        message: expect.stringMatching(/^m@1 is quarantined for another \d+ ms: it ended 3 workers within a minute$/),
        resend: false,
      },
    ]);
    expect(mesh.batcher.heldRequests).toBe(1);
    await mesh.clock.advance(10_000);
    await gateway.submit(request(92));
    expect(worker.ids()).toEqual([[91], [92]]);
    expect(mesh.batcher.quarantined).toEqual([]);
  });

  test('is not quarantined for crashes that are more than a minute apart', async () => {
    await using mesh = await startHarness({ settings: { quarantineCrashes: 3 } });
    const gateway = mesh.addGateway();
    for (const id of [1, 2]) {
      // A request that ends two workers: two crashes of this servable.
      for (const crash of ['first', 'second']) {
        const worker = await mesh.addWorker([held()], `worker-${id}-${crash}`);
        if (crash === 'first') await gateway.submit(request(id));
        expect(worker.ids()).toEqual([[id]]);
        await worker.die();
        await mesh.clock.advance(LEASE_OVER_MS);
      }
      await mesh.clock.advance(60_000);
    }
    expect(gateway.errors().map(({ code }) => code)).toEqual(['INTERNAL', 'INTERNAL']);
    expect(mesh.batcher.quarantined).toEqual([]);
  });

  test('is told apart from one whose workers die of something else: what is executed again and succeeds blames nobody', async () => {
    await using mesh = await startHarness({ settings: { quarantineCrashes: 2 } });
    const gateway = mesh.addGateway();
    for (let death = 1; death <= 5; death++) {
      const worker = await mesh.addWorker();
      await gateway.submit(request(10 * death), request(10 * death + 1));
      await worker.die();
      const heir = await mesh.addWorker();
      await mesh.clock.advance(LEASE_OVER_MS);
      await finishAll([heir]);
      await heir.leave();
    }
    expect(gateway.errors()).toEqual([]);
    expect(mesh.batcher.quarantined).toEqual([]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });
});

describe('a broker that was away', () => {
  test('blames nobody, and what workers do not have is sent again', async () => {
    let reconnect: (() => void) | undefined;
    const onTransport = (plain: Transport): Transport => {
      const made = makeReconnectable(plain);
      reconnect = made.reconnect;
      return made.transport;
    };
    await using mesh = await startHarness({ onTransport, settings: { quarantineCrashes: 1 } });
    const worker = await mesh.addWorker([held({ tokens: 2 })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(2));
    worker.forget();
    await gateway.submit(request(3));
    reconnect?.();
    await mesh.settle();
    expect(worker.ids()).toEqual([[1, 2], [3], [1, 2]]);
    expect(mesh.batcher.quarantined).toEqual([]);
  });
});

describe('a worker whose connection was gone for a moment', () => {
  test('gets again what it does not have, at once, and keeps what it has', async () => {
    await using mesh = await startHarness({ settings: { quarantineCrashes: 1 } });
    const worker = await mesh.addWorker([held({ tokens: 2 })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    worker.forget();
    await gateway.submit(request(2));
    await worker.reconnect();
    expect(worker.ids()).toEqual([[1], [2], [1]]);
    await worker.reconnect();
    expect(worker.received).toHaveLength(3);
    // Both tokens are there again.
    for (const batch of [...worker.batches]) await worker.ready(batch);
    await gateway.submit(request(3));
    await gateway.submit(request(4));
    expect(worker.ids().slice(3)).toEqual([[3], [4]]);
    expect(mesh.batcher.heldRequests).toBe(2);
    expect(mesh.batcher.quarantined).toEqual([]);
  });

  test('is asked until it answers, and no longer once it is gone', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    await mesh.addGateway().submit(request(1));
    worker.forget();
    worker.deafen();
    await worker.reconnect();
    expect(worker.ids()).toEqual([[1]]);
    const questions: number[] = [];
    using _listening = mesh.transport.subscribe(mesh.subjects.missing(worker.id), () => void questions.push(mesh.clock.now()));
    await mesh.clock.advance(250);
    expect(questions).toHaveLength(1);
    await worker.leave();
    await mesh.clock.advance(5000);
    expect(questions).toHaveLength(1);
  });

  test('is not asked to execute twice what keeps state', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ stateful: true })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    worker.forget();
    await worker.reconnect();
    expect(worker.ids()).toEqual([[1]]);
    expect(gateway.errors()).toMatchObject([{ id: 1, code: 'UNAVAILABLE', resend: false }]);
  });
});

describe('a batcher that drains', () => {
  test('refuses what is new for another to take, finishes what it holds, and leaves', async () => {
    const mesh = await startHarness();
    const worker = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2));
    let left = false;
    const stopping = mesh.batcher[Symbol.asyncDispose]().then(() => {
      left = true;
    });
    await gateway.submit(request(3));
    const message = 'batcher-1 is draining: another batcher takes the request';
    expect(gateway.errors()).toEqual([{ id: 3, code: 'UNAVAILABLE', message, resend: true }]);
    await finishAll([worker]);
    await mesh.settle();
    expect(worker.ids()).toEqual([[1], [2]]);
    expect(left).toBe(true);
    await stopping;
    await mesh[Symbol.asyncDispose]();
  });

  test('hands back what is still queued when its time is over', async () => {
    const mesh = await startHarness({ settings: { drainMs: 300 } });
    const worker = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2), request(3));
    const stopping = mesh.batcher[Symbol.asyncDispose]();
    await mesh.clock.advance(299);
    expect(gateway.answers).toEqual([]);
    await mesh.clock.advance(1);
    await stopping;
    expect(gateway.errors().map(({ id, code, resend }) => [id, code, resend])).toEqual([
      [2, 'UNAVAILABLE', true],
      [3, 'UNAVAILABLE', true],
    ]);
    expect(worker.ids()).toEqual([[1]]);
    await mesh[Symbol.asyncDispose]();
  });
});
