import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { type HeldServable, OK_STATUS, type WorkerDetail } from '#mesh/control.ts';
import { diffDetail, patchDetail } from '#mesh/detail-patch.ts';
import { newMemberId } from '#mesh/ids.ts';
import { startPresence } from '#mesh/presence.ts';
import { createSubjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';

const SERVABLES = 1000;

function held(index: number, more: Partial<HeldServable> = {}): HeldServable {
  const facts = { generation: 1, state: 'LOADING', status: OK_STATUS, tokens: 0, estimatedBytes: 10, batching: null } as const;
  return { id: { name: `m${index}`, version: 1 }, stateful: false, ...facts, ...more };
}

function workerDetail(servables: readonly HeldServable[], assignmentRevision = 1): WorkerDetail {
  return { fencingToken: 1, assignmentRevision, memoryLimitBytes: 0, servables, draining: false };
}

/** A worker that holds many servables, a batcher that watches it, and what crosses the broker. */
async function rig(maxPayloadBytes?: number) {
  const clock = createFakeClock();
  const subjects = createSubjects('test');
  const broker = createMemoryBroker();
  const id = newMemberId('worker');
  const sizes: number[] = [];
  const questions: string[] = [];
  let deaf = false;
  const connect = (): Transport => {
    const inner = broker.connect();
    const publish: Transport['publish'] = (subject, data, options) => {
      if (data.byteLength > inner.maxPayloadBytes || data.byteLength > (maxPayloadBytes ?? Number.POSITIVE_INFINITY))
        throw new Error(`${data.byteLength} bytes`);
      sizes.push(data.byteLength);
      inner.publish(subject, data, options);
    };
    return Object.create(inner, {
      publish: { value: publish },
      maxPayloadBytes: { value: maxPayloadBytes ?? inner.maxPayloadBytes },
    });
  };
  const servables = Array.from({ length: SERVABLES }, (_, index) => held(index));
  const worker = await startPresence({ transport: connect(), subjects, clock, kind: 'worker', id, detail: workerDetail(servables) });
  const ears = broker.connect();
  const transport: Transport = Object.create(ears, {
    subscribe: {
      value: (subject: string, handler: Parameters<Transport['subscribe']>[1]) =>
        ears.subscribe(subject, (message) => {
          if (!deaf) handler(message);
        }),
    },
    request: {
      value: (...args: Parameters<Transport['request']>) => {
        questions.push(args[0]);
        return ears.request(...args);
      },
    },
  });
  const batcher = await startPresence({
    transport,
    subjects,
    clock,
    kind: 'batcher',
    id: newMemberId('batcher'),
    detail: { draining: false },
  });
  await clock.advance(300);
  sizes.length = 0;
  questions.length = 0;
  return {
    clock,
    worker,
    servables,
    sizes,
    questions,
    seen: () => batcher.members<WorkerDetail>('worker')[0]?.detail,
    hear(does: boolean) {
      deaf = !does;
    },
  };
}

describe('a worker with a thousand servables', () => {
  test('tells what became of one in less than 1 KB, and nobody asks for the rest', async () => {
    const { clock, worker, servables, sizes, questions, seen } = await rig();
    const next = servables.map((one, index) => (index === 500 ? held(500, { state: 'AVAILABLE' }) : one));
    worker.announce(workerDetail(next, 2));
    await clock.advance(0);
    expect(seen()).toEqual(workerDetail(next, 2));
    expect(Math.max(...sizes)).toBeLessThan(1024);
    expect(questions).toEqual([]);
  });

  test('costs little more for a thousand changes than their own size', async () => {
    const { clock, worker, servables, sizes, seen } = await rig();
    let now: readonly HeldServable[] = servables;
    for (let index = 0; index < SERVABLES; index++) {
      now = now.map((one, at) => (at === index ? held(index, { state: 'AVAILABLE' }) : one));
      worker.announce(workerDetail(now));
      await clock.advance(0);
    }
    expect(seen()?.servables.every(({ state }) => state === 'AVAILABLE')).toBe(true);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(SERVABLES * 1024);
  });

  test('is asked for everything by whoever missed a change', async () => {
    const { clock, worker, servables, questions, seen, hear } = await rig();
    hear(false);
    worker.announce(workerDetail(servables.slice(1)));
    await clock.advance(0);
    hear(true);
    const next = servables.slice(2);
    worker.announce(workerDetail(next));
    await clock.advance(0);
    expect(seen()).toEqual(workerDetail(next));
    expect(questions.length).toBe(1);
  });

  test('answers in pieces where its detail is larger than a message', async () => {
    const { seen, servables } = await rig(32 * 1024);
    expect(seen()).toEqual(workerDetail(servables));
  });
});

describe('the change of a detail', () => {
  const before = workerDetail(Array.from({ length: 100 }, (_, index) => held(index)));

  test('leads from one to the next, whatever came, went or changed', () => {
    const kept = before.servables.filter((_, index) => index % 3 !== 0);
    const changed = kept.map((one, index) => (index % 5 === 0 ? { ...one, tokens: 4 } : one));
    const after = workerDetail([...changed, held(200), held(201)], 7);
    const patch = diffDetail('worker', before, after);
    expect(patch).toBeDefined();
    if (patch === undefined) return;
    const reached = patchDetail(before, patch);
    expect(reached).toEqual(after);
    expect(reached.servables[1]).toBe(before.servables[2]);
    expect(patch.servables.length).toBeLessThan(20);
  });

  test('is not told of a short list, nor by members of another kind', () => {
    const short = workerDetail([held(1)]);
    expect(diffDetail('worker', short, workerDetail([held(2)]))).toBeUndefined();
    expect(diffDetail('batcher', before, before)).toBeUndefined();
    expect(diffDetail('worker', { models: 1 }, { models: 2 })).toBeUndefined();
  });
});
