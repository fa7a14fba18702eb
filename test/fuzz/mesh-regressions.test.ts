/** Messages that once stopped a process, silenced a worker for good or mixed up callers: each by its name. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { startBlobStore } from '#mesh/blobs.ts';
import { ByteWriter, utf8 } from '#mesh/bytes.ts';
import { createFakeClock, createSystemClock } from '#mesh/clock.ts';
import { type BatchId, type ClaimId, type MemberId, newMemberId } from '#mesh/ids.ts';
import {
  type BatchPart,
  checkWireTensor,
  decodeSubmit,
  decodeTensors,
  encodeSubmit,
  encodeTensors,
  type WireTensor,
} from '#mesh/messages.ts';
import { type Presence, startPresence } from '#mesh/presence.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { assigned, createModelFolder, halfPlusTwo } from '../worker-gpu/models.ts';
import { errorOf, floatInput, floatsOf, outputsOf, startRig } from '../worker-gpu/worker-rig.ts';

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of disposables.splice(0)) await one[Symbol.asyncDispose]();
});
const subjects = createSubjects('test');

async function halfRig(more: Parameters<typeof assigned>[2] = {}) {
  const rig = await startRig();
  const folder = createModelFolder();
  disposables.push(rig, { [Symbol.asyncDispose]: async () => folder[Symbol.dispose]() });
  await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() }), more));
  return rig;
}

describe('heartbeats', () => {
  async function listener() {
    const broker = createMemoryBroker();
    const clock = createFakeClock();
    const unreadable: string[] = [];
    const presence: Presence = await startPresence({
      transport: broker.connect(),
      subjects,
      clock,
      kind: 'batcher',
      id: newMemberId('batcher'),
      detail: { draining: false },
      onUnreadable: (_, error) => unreadable.push(error.code),
    });
    disposables.push(presence);
    return { line: broker.connect(), clock, presence, unreadable };
  }

  test.each([
    ['not JSON', '{'],
    ['null', 'null'],
    ['a list', '[]'],
    ['no id', '{"kind":"worker","revision":1,"detail":{}}'],
    ['an id that is a wildcard', '{"kind":"worker","id":"*","revision":1}'],
    ['an id of two subjects', '{"kind":"worker","id":"a.b","revision":1}'],
    ['a kind that does not exist', '{"kind":"__proto__","id":"a","revision":1,"detail":{}}'],
    ['a worker without servables', '{"kind":"worker","id":"a","revision":1,"detail":{"draining":false}}'],
    ['a revision that is no number', '{"kind":"batcher","id":"a","revision":"9","detail":{"draining":false}}'],
  ])('%s is dropped and reported', async (_, text) => {
    const { line, clock, presence, unreadable } = await listener();
    line.publish(subjects.presence, utf8(text));
    await clock.advance(0);
    expect(unreadable).toEqual(['DATA_LOSS']);
    expect(presence.members('worker')).toEqual([]);
  });

  test('a made-up revision does not outlive the next word of the member itself', async () => {
    const { line, clock, presence } = await listener();
    const id = newMemberId('batcher');
    disposables.push(await startPresence({ transport: line, subjects, clock, kind: 'batcher', id, detail: { draining: false } }));
    line.publish(subjects.presence, utf8(JSON.stringify({ kind: 'batcher', id, revision: 99, detail: { draining: true } })));
    await clock.advance(0);
    const seen = () => presence.members('batcher').find((member) => member.id === id)?.detail;
    await clock.advance(300);
    expect(seen()).toEqual({ draining: false });
  });
});

describe('questions for chunks', () => {
  const chunk = (start: number, length: number) => new ByteWriter(24).f64(1).f64(start).f64(length).finish();

  test.each([
    ['cut off', chunk(0, 10).slice(0, 5)],
    ['empty', new Uint8Array(0)],
    ['with a start that is not a number', chunk(Number.NaN, 10)],
    ['before the start', chunk(-5, 10)],
    ['of no bytes', chunk(0, 0)],
    ['of 1e300 bytes', chunk(0, 1e300)],
  ])('one %s is dropped, and the next is answered', async (_, question) => {
    const broker = createMemoryBroker();
    const unreadable: string[] = [];
    const id = newMemberId('gateway');
    const onUnreadable = (_subject: string, error: { readonly code: string }) => unreadable.push(error.code);
    const holder = startBlobStore({ transport: broker.connect(), subjects, id, onUnreadable });
    const fetcher = startBlobStore({ transport: broker.connect(), subjects, id: newMemberId('worker') });
    disposables.push(holder, fetcher);
    broker.connect().publish(subjects.blob(id), question, { replyTo: 'test.nobody' });
    const claim = holder.hold(Uint8Array.of(1, 2, 3));
    const signal = new AbortController().signal;
    expect(await fetcher.fetch(claim, { signal, timeoutMs: 1000 })).toEqual(Uint8Array.of(1, 2, 3));
    expect(unreadable).toEqual(['DATA_LOSS']);
  });
});

describe('frames', () => {
  const request = {
    requestId: 1 as never,
    servable: { name: 'm', version: 1 },
    signature: 's',
    outputs: ['y'],
    laneKey: 'k',
    rows: 1,
    budgetMs: 10,
    attempt: 0,
    traceparent: '',
    body: new Uint8Array(0),
  };

  test.each(['', '*', 'a.b', 'a b', 'a\r\nPUB x 0', 'a'.repeat(129)])(
    'a gateway named %j is refused: answers go to a subject of that name',
    (name) => {
      expect(() => decodeSubmit(encodeSubmit({ gatewayId: name as MemberId, requests: [request] }))).toThrow(/are no id/);
    },
  );

  test('a budget that is not a number is refused: no comparison would ever end it', () => {
    const frame = { gatewayId: 'gateway-1' as MemberId, requests: [{ ...request, budgetMs: Number.NaN }] };
    expect(() => decodeSubmit(encodeSubmit(frame))).toThrow(/not a number/);
  });

  test.each([Number.NaN, -1, 0.5, 1e300, Number.POSITIVE_INFINITY])('a dimension of %d is refused', (dim) => {
    const body = encodeTensors([{ name: 'x', dtype: 'float', shape: [dim], payload: { type: 'inline', bytes: new Uint8Array(4) } }]);
    expect(() => decodeTensors(body)).toThrow(/size/);
  });

  test('a tensor whose bytes do not fit its shape is refused before anybody indexes them', () => {
    const tensor = (dtype: WireTensor['dtype'], bytes: number): WireTensor => ({
      name: 'y',
      dtype,
      shape: [3],
      payload: { type: 'inline', bytes: new Uint8Array(bytes) },
    });
    expect(() => checkWireTensor(tensor('float', 8))).toThrow(/does not have 8 bytes/);
    expect(() => checkWireTensor(tensor('string', 15))).toThrow(/does not have 15 bytes/);
    checkWireTensor(tensor('float', 12));
    checkWireTensor(tensor('string', 16));
  });
});

describe('batches', () => {
  test('parts whose rows contradict each other are refused whole: no row reaches another caller', async () => {
    const rig = await halfRig({ batching: null });
    const parts: BatchPart[] = [
      rig.part([floatInput('x', [1])], { rowCount: 0, totalRows: 0 }),
      rig.part([floatInput('x', [100])], { rowCount: 0, totalRows: 0 }),
    ];
    const answers = await rig.run('half', parts);
    expect(answers.map((answer) => errorOf(answer).code)).toEqual(['DATA_LOSS', 'DATA_LOSS']);
    const beyond = await rig.run('half', [rig.part([floatInput('x', [1, 2])], { rowStart: 1, rowCount: 2, totalRows: 2 })]);
    expect(errorOf(beyond[0]).code).toBe('DATA_LOSS');
    expect(floatsOf(outputsOf(await rig.ask('half', [floatInput('x', [2])])).outputs[0])).toEqual([3]);
  });

  test('four thousand million rows of padding are not executed', async () => {
    const rig = await halfRig();
    const [answer] = await rig.run('half', [rig.part([floatInput('x', [2, 4])])], { executeRows: 0xffffffff });
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([3, 4]);
  });

  test('a claim on more bytes than there are in the world fails its own request only', async () => {
    const rig = await halfRig();
    const payload = { type: 'claim' as const, holder: rig.gatewayId, claimId: 77 as ClaimId, byteLength: 2 ** 52 };
    const [greedy, neighbour] = await rig.run('half', [
      rig.part([{ name: 'x', dtype: 'float', shape: [1], payload }], { rowCount: 1, totalRows: 1 }),
      rig.part([floatInput('x', [2])]),
    ]);
    expect(errorOf(greedy).code).toBe('INVALID_ARGUMENT');
    expect(floatsOf(outputsOf(neighbour).outputs[0])).toEqual([3]);
  });

  test('a worker that refused a batch for want of room says afterwards that it has some', async () => {
    const rig = await halfRig();
    const told = rig.announced.length;
    const nobody = { type: 'claim' as const, holder: rig.batcherId, claimId: 1 as ClaimId, byteLength: 4 };
    // Nobody answers for these claims, so the batches stay until their holder is given up.
    rig.transport.subscribe(rig.subjects.blob(rig.batcherId), () => {});
    const ids: BatchId[] = [];
    for (let batch = 0; batch < 200; batch++) {
      const part = rig.part([{ name: 'x', dtype: 'float', shape: [1], payload: nobody }], { rowCount: 1, totalRows: 1, budgetMs: 500 });
      ids.push(rig.send('half', [part]));
    }
    await rig.until(() => (rig.readies.some(({ outcome }) => outcome === 'refused') ? true : undefined));
    await rig.until(() => (rig.announced.length > told ? true : undefined));
    expect(rig.held('half')?.tokens).toBeGreaterThan(0);
  });
});

describe('timers', () => {
  test('a delay beyond what Node can count does not fire at once', async () => {
    const clock = createSystemClock();
    let fired = false;
    using _timer = clock.schedule(2 ** 40, () => {
      fired = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(fired).toBe(false);
  });

  test('a question with a timeout beyond that waits for its answer', async () => {
    const broker = createMemoryBroker();
    const transport = broker.connect();
    transport.subscribe('test.slow', ({ replyTo }) => {
      setTimeout(() => replyTo && transport.publish(replyTo, Uint8Array.of(7)), 20);
    });
    expect(await transport.request('test.slow', new Uint8Array(0), { timeoutMs: 2 ** 40 })).toEqual(Uint8Array.of(7));
  });
});
