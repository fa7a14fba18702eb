import { describe, expect, test } from '@jest/globals';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import fc from 'fast-check';
import { startBlobStore } from '#mesh/blobs.ts';
import { createFakeClock } from '#mesh/clock.ts';
import type { ServeError } from '#mesh/errors.ts';
import { type ClaimId, newMemberId } from '#mesh/ids.ts';
import type { Answer } from '#mesh/messages.ts';
import { startPresence } from '#mesh/presence.ts';
import { createTelemetry, type Tracing } from '#mesh/telemetry.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import type { PendingInference } from '../../services/gateway/core.ts';
import { type InferClientEvents, startInferClient } from '../../services/gateway/infer-client.ts';
import { makeReconnectable } from '../mesh/reconnectable.ts';
import {
  type Fault,
  floats,
  readFloats,
  request,
  servable,
  settle,
  startTestBatcher,
  strings,
  subjects,
  type TestBatcher,
} from './half-mesh.ts';

/** A client and as many batchers as there are options, on one fake clock. */
async function startMesh(
  batcherOptions: readonly { readonly fault?: Fault; readonly splitRows?: number; readonly inlineBytes?: number }[] = [{}],
  settings: { readonly inlineTensorBytes?: number; readonly maxInFlightRequests?: number } = {},
  tracing: Tracing | null = null,
) {
  const clock = createFakeClock();
  const broker = createMemoryBroker();
  const transport = broker.connect();
  const reconnectable = makeReconnectable(transport);
  const id = newMemberId('gateway');
  const resends: string[] = [];
  const events: InferClientEvents = {
    answered: () => {},
    resent: (reason) => void resends.push(reason),
    answerUnreadable: () => void resends.push('unreadable'),
  };
  const blobs = startBlobStore({ transport, subjects, id, chunkBytes: 1000 });
  const presence = await startPresence({ transport, subjects, clock, kind: 'gateway', id, detail: { routingRevision: 0 } });
  const client = startInferClient({
    transport: reconnectable.transport,
    subjects,
    clock,
    presence,
    blobs,
    id,
    tracing,
    events,
    settings: { inlineTensorBytes: 65_536, maxInFlightRequests: 100, resendAfterMs: 2000, ...settings },
  });
  const batchers: TestBatcher[] = [];
  const addBatcher = async (options: (typeof batcherOptions)[number] = {}) => {
    const batcher = await startTestBatcher({ transport: broker.connect(), clock, ...options });
    batchers.push(batcher);
    await settle();
    return batcher;
  };
  for (const options of batcherOptions) await addBatcher(options);
  return { clock, client, blobs, batchers, addBatcher, resends, transport, id, reconnect: reconnectable.reconnect };
}

/** The batcher that got the request, and the other one. */
function holderOf(batchers: readonly TestBatcher[]): { readonly holder: TestBatcher; readonly other: TestBatcher } {
  const holder = batchers.find(({ received }) => received.length > 0);
  const other = batchers.find((batcher) => batcher !== holder);
  if (!holder || !other) throw new Error('one of two batchers was expected to hold the request');
  return { holder, other };
}

async function outcome(pending: PendingInference): Promise<string> {
  return pending.answer.then(
    () => 'answered',
    (error: ServeError) => `${error.code}: ${error.message}`,
  );
}

/** The state of a promise now. */
async function isPending(pending: PendingInference): Promise<boolean> {
  await settle();
  const nothing = {};
  return (await Promise.race([pending.answer.catch(() => undefined), Promise.resolve(nothing)])) === nothing;
}

describe('infer client', () => {
  test('an answer carries the outputs and the timings of the batch', async () => {
    const { client } = await startMesh();
    const { outputs, timings } = await client.infer(request(floats([1, 2, 5]))).answer;
    expect(readFloats(outputs.get('y') as never)).toEqual([2.5, 3, 4.5]);
    expect(outputs.get('y')?.shape).toEqual([3]);
    expect(timings.executedMs).toBe(2);
    expect(client.inFlight).toBe(0);
  });

  test('all requests of a turn for one batcher leave in one frame', async () => {
    const { client, batchers } = await startMesh();
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => client.infer(request(floats([n]))).answer));
    expect(answers.map(({ outputs }) => readFloats(outputs.get('y') as never)[0])).toEqual(Array.from({ length: 50 }, (_, n) => n / 2 + 2));
    expect(batchers[0]?.frames).toBe(1);
    expect(batchers[0]?.received).toHaveLength(50);
  });

  test('frames stay below the size limit', async () => {
    const { client, batchers } = await startMesh([{}], { inlineTensorBytes: 1_000_000 });
    const big = floats(new Array(75_000).fill(1), [1, 75_000]);
    await Promise.all(Array.from({ length: 6 }, () => client.infer(request(big)).answer));
    expect(batchers[0]?.frames).toBe(2);
  });

  test('one lane has one owner among many batchers', async () => {
    const { client, batchers } = await startMesh([{}, {}, {}]);
    for (let n = 0; n < 10; n++) await client.infer(request(floats([n]))).answer;
    expect(batchers.map(({ received }) => received.length).sort()).toEqual([0, 0, 10]);
  });

  test('tensors above the inline limit are fetched from the gateway and released with the answer', async () => {
    const { client, blobs } = await startMesh([{ inlineBytes: 100 }], { inlineTensorBytes: 100 });
    const values = Array.from({ length: 3000 }, (_, n) => n);
    const pending = client.infer(request(floats(values, [3000, 1])));
    expect(blobs.heldBytes).toBe(12_000);
    const { outputs } = await pending.answer;
    expect(readFloats(outputs.get('y') as never)).toEqual(values.map((x) => x / 2 + 2));
    expect(blobs.heldBytes).toBe(0);
  });

  test('parts of a split request come back as one answer, numbers and strings, inline and fetched', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        fc.boolean(),
        async (rows, splitRows, text, claims) => {
          const { client } = await startMesh([{ splitRows, inlineBytes: claims ? 3 : 65_536 }]);
          const values = Array.from({ length: rows }, (_, n) => n);
          const pending = client.infer(request(text ? strings(values.map(String)) : floats(values)));
          const y = (await pending.answer).outputs.get('y');
          expect(y?.shape).toEqual([rows]);
          const expected = text ? strings(values.map((n) => `${n}!`)) : floats(values.map((x) => x / 2 + 2));
          expect(Buffer.from(y?.bytes ?? [])).toEqual(Buffer.from(expected.bytes));
        },
      ),
      { numRuns: 30 },
    );
  });

  test('parts of two executions, cut differently and in any order, make one answer', async () => {
    const { client, batchers } = await startMesh([{ fault: () => null }]);
    const pending = client.infer(request(floats([0, 1, 2, 3, 4])));
    await settle();
    const [batcher] = batchers;
    const part = (rowStart: number, values: readonly number[]): Answer => ({
      type: 'outputs',
      requestId: batcher?.received[0]?.requestId as never,
      rowStart,
      rowCount: values.length,
      totalRows: 5,
      timings: { queuedMs: 0, executedMs: 0, batchRows: 1, workerId: newMemberId('worker') },
      outputs: [{ name: 'y', dtype: 'float', shape: [values.length], payload: { type: 'inline', bytes: floats(values).bytes } }],
    });
    batcher?.answer([part(3, [13, 14])]);
    batcher?.answer([part(2, [12, 13])]);
    batcher?.answer([part(0, [10])]);
    expect(await isPending(pending)).toBe(true);
    batcher?.answer([part(1, [11, 12])]);
    expect(readFloats((await pending.answer).outputs.get('y') as never)).toEqual([10, 11, 12, 13, 14]);
  });

  test('a part that does not fit its request is an error, not a wrong answer', async () => {
    const { client, batchers } = await startMesh([{ fault: () => null }]);
    const pending = client.infer(request(floats([0, 1, 2])));
    await settle();
    batchers[0]?.answer([
      {
        type: 'outputs',
        requestId: batchers[0]?.received[0]?.requestId as never,
        rowStart: 2,
        rowCount: 2,
        totalRows: 3,
        timings: { queuedMs: 0, executedMs: 0, batchRows: 1, workerId: newMemberId('worker') },
        outputs: [],
      },
    ]);
    expect(await outcome(pending)).toBe('DATA_LOSS: a worker answered rows [2, 4) of 3, the request has 3');
  });

  test('the first answer wins and later ones are ignored', async () => {
    const { client, batchers } = await startMesh([{ fault: () => null }]);
    const pending = client.infer(request(floats([1])));
    await settle();
    const requestId = batchers[0]?.received[0]?.requestId as never;
    batchers[0]?.answer([
      { type: 'error', requestId, code: 'OUT_OF_RANGE', message: 'first', resend: false },
      { type: 'error', requestId, code: 'INTERNAL', message: 'second', resend: false },
    ]);
    expect(await outcome(pending)).toBe('OUT_OF_RANGE: first');
    expect(client.inFlight).toBe(0);
  });

  test('a request whose batcher goes away is sent to the next owner', async () => {
    const { client, batchers, resends } = await startMesh([{ fault: () => null }, { fault: () => null }]);
    const pending = client.infer(request(floats([1])));
    await settle();
    const { holder, other } = holderOf(batchers);
    await holder[Symbol.asyncDispose]();
    await settle();
    expect(other.received.map(({ attempt }) => attempt)).toEqual([1]);
    expect(resends).toEqual(['batcher-gone']);
    expect(await isPending(pending)).toBe(true);
  });

  test('a message that reaches nobody is sent to another batcher at once', async () => {
    const { client, batchers, resends } = await startMesh([{}, {}]);
    await client.infer(request(floats([1]))).answer;
    const { holder, other } = holderOf(batchers);
    holder.stopListening();
    await client.infer(request(floats([1]))).answer;
    expect(other.received).toHaveLength(1);
    expect(resends).toEqual(['no-responders']);
  });

  test('an error that asks for a resend goes to another batcher with the next attempt', async () => {
    const refuse: Fault = ({ requestId, attempt }) =>
      attempt === 0 ? [{ type: 'error', requestId, code: 'UNAVAILABLE', message: 'draining', resend: true }] : 'compute';
    const { client, batchers } = await startMesh([{ fault: refuse }, { fault: refuse }]);
    expect(await outcome(client.infer(request(floats([1]))))).toBe('answered');
    expect(batchers.map(({ received }) => received.map(({ attempt }) => attempt)).sort()).toEqual([[0], [1]]);
  });

  test('resends are bounded and end with the last error', async () => {
    const { client, clock, batchers } = await startMesh([
      { fault: ({ requestId }) => [{ type: 'error', requestId, code: 'UNAVAILABLE', message: 'no worker', resend: true }] },
    ]);
    const pending = client.infer(request(floats([1])));
    await clock.advance(20_000);
    expect(await outcome(pending)).toBe('UNAVAILABLE: no worker');
    expect(batchers[0]?.received).toHaveLength(13);
  });

  test('a stateful servable is never sent twice', async () => {
    const { client, batchers } = await startMesh([{ fault: () => null }, {}]);
    const lanes = Array.from({ length: 8 }, (_, n) =>
      client.infer(request(floats(new Array(n + 1).fill(1), [1, n + 1]), { servable: servable({ stateful: true }) })),
    );
    await settle();
    await batchers[0]?.[Symbol.asyncDispose]();
    await settle();
    const outcomes = await Promise.all(lanes.map(outcome));
    expect(
      outcomes.filter((one) => one.startsWith('UNAVAILABLE: the batcher went away with a request to half version 1, which keeps state')),
    ).toHaveLength(batchers[0]?.received.length ?? -1);
    expect(batchers[1]?.received.every(({ attempt }) => attempt === 0)).toBe(true);
  });

  test('without a batcher a request waits for one', async () => {
    const { client, addBatcher } = await startMesh([]);
    const pending = client.infer(request(floats([1])));
    expect(await isPending(pending)).toBe(true);
    await addBatcher();
    expect(await outcome(pending)).toBe('answered');
  });

  test.each([
    ['five seconds', Number.POSITIVE_INFINITY, 5000],
    ['its deadline', 1500, 1500],
  ])('without a batcher a request gives up after %s', async (_, deadlineMs, givesUpMs) => {
    const { client, clock } = await startMesh([]);
    const pending = client.infer(request(floats([1]), { deadlineMs: clock.now() + deadlineMs }));
    await clock.advance(givesUpMs - 10);
    expect(await isPending(pending)).toBe(true);
    await clock.advance(20);
    expect(await outcome(pending)).toBe('UNAVAILABLE: no batcher is available');
  });

  test('a deadline ends a request, and its answer comes too late', async () => {
    const { client, clock, batchers } = await startMesh([{ fault: () => null }]);
    const pending = client.infer(request(floats([1]), { deadlineMs: 50 }));
    const patient = client.infer(request(floats([1]), { deadlineMs: 5000 }));
    await clock.advance(49);
    expect(batchers[0]?.received[0]?.budgetMs).toBe(50);
    expect(await isPending(pending)).toBe(true);
    await clock.advance(2);
    expect(await outcome(pending)).toBe('DEADLINE_EXCEEDED: Timed out waiting for notification');
    expect(await isPending(patient)).toBe(true);
    expect(client.inFlight).toBe(1);
    await clock.advance(5000);
    expect(await outcome(patient)).toBe('DEADLINE_EXCEEDED: Timed out waiting for notification');
  });

  test('a thousand deadlines are each kept to within their own number in ms', async () => {
    const { client, clock } = await startMesh([{ fault: () => null }], { maxInFlightRequests: 1000 });
    const all = Array.from({ length: 1000 }, (_, n) => client.infer(request(floats([1]), { deadlineMs: 1000 + n })));
    await clock.advance(1502);
    expect(client.inFlight).toBeLessThanOrEqual(500);
    expect(client.inFlight).toBeGreaterThan(450);
    await clock.advance(1000);
    expect(client.inFlight).toBe(0);
    await Promise.all(all.map(outcome));
  });

  test('a cancelled request is dropped everywhere', async () => {
    const { client, batchers, blobs } = await startMesh([{ fault: () => null }], { inlineTensorBytes: 0 });
    const sent = client.infer(request(floats([1])));
    await settle();
    const unsent = client.infer(request(floats([2])));
    sent.cancel();
    unsent.cancel();
    expect(await outcome(sent)).toBe('CANCELLED: the caller has gone');
    expect(await outcome(unsent)).toBe('CANCELLED: the caller has gone');
    await settle();
    expect(batchers[0]?.received).toHaveLength(1);
    expect(batchers[0]?.cancelled).toEqual([batchers[0]?.received[0]?.requestId]);
    expect(client.inFlight).toBe(0);
    expect(blobs.heldBytes).toBe(0);
  });

  test('requests beyond the limit are refused at once', async () => {
    const { client } = await startMesh([{ fault: () => null }], { maxInFlightRequests: 2 });
    const held = [client.infer(request(floats([1]))), client.infer(request(floats([2])))];
    expect(await outcome(client.infer(request(floats([3]))))).toBe(
      'RESOURCE_EXHAUSTED: the gateway holds 2 requests, its limit (max_in_flight_requests)',
    );
    for (const pending of held) pending.cancel();
    expect(await Promise.all(held.map(outcome))).toEqual(new Array(2).fill('CANCELLED: the caller has gone'));
  });

  test('after a reconnect what stays silent is sent again, once', async () => {
    const { client, clock, batchers, reconnect, resends } = await startMesh([
      { fault: ({ attempt }) => (attempt === 0 ? null : 'compute') },
    ]);
    const pending = client.infer(request(floats([1])));
    await settle();
    reconnect();
    await clock.advance(1999);
    expect(batchers[0]?.received).toHaveLength(1);
    await clock.advance(2);
    expect(await outcome(pending)).toBe('answered');
    expect(resends).toEqual(['reconnected']);
  });

  test('after a batcher reconnected, what it has and stays silent is sent again, and what another has is not', async () => {
    const { client, clock, batchers, resends } = await startMesh([
      { fault: ({ attempt }) => (attempt === 0 ? null : 'compute') },
      { fault: ({ attempt }) => (attempt === 0 ? null : 'compute') },
    ]);
    const pending = Array.from({ length: 16 }, (_, index) => client.infer(request(floats(new Array(index + 1).fill(1), [1, index + 1]))));
    await settle();
    const held = batchers.map(({ received }) => received.length);
    expect(Math.min(...held)).toBeGreaterThan(0);
    batchers[0]?.reconnect();
    await settle();
    await clock.advance(2001);
    expect(batchers.map(({ received }) => received.length)).toEqual([2 * (held[0] ?? 0), held[1]]);
    expect(resends).toEqual(new Array(held[0]).fill('reconnected'));
    for (const one of pending) one.cancel();
    await Promise.all(pending.map(outcome));
  });

  test('a merely slow mesh gets no second copy', async () => {
    const { client, clock, batchers } = await startMesh([{ fault: () => null }]);
    const pending = client.infer(request(floats([1])));
    await clock.advance(60_000);
    expect(batchers[0]?.received).toHaveLength(1);
    pending.cancel();
    expect(await outcome(pending)).toBe('CANCELLED: the caller has gone');
  });

  test('outputs whose holder has let go of them are computed again', async () => {
    const vanished = { type: 'claim', holder: newMemberId('worker'), claimId: 1 as ClaimId, byteLength: 4 } as const;
    const fault: Fault = ({ requestId, attempt }) =>
      attempt > 0
        ? 'compute'
        : [
            {
              type: 'outputs',
              requestId,
              rowStart: 0,
              rowCount: 1,
              totalRows: 1,
              timings: { queuedMs: 0, executedMs: 0, batchRows: 1, workerId: vanished.holder },
              outputs: [{ name: 'y', dtype: 'float', shape: [1], payload: vanished }],
            },
          ];
    const { client, resends, clock } = await startMesh([{ fault }]);
    const pending = client.infer(request(floats([1])));
    await clock.advance(100);
    expect(readFloats((await pending.answer).outputs.get('y') as never)).toEqual([2.5]);
    expect(resends).toEqual(['outputs-lost']);
  });

  test('bytes that are no answer are reported and disturb nobody', async () => {
    const { client, transport, id, resends } = await startMesh();
    transport.publish(subjects.answer(id), new Uint8Array([9, 9, 9]));
    expect(await outcome(client.infer(request(floats([1]))))).toBe('answered');
    expect(resends).toEqual(['unreadable']);
  });

  test('with tracing every request is one server span under its caller, and the batcher continues it', async () => {
    const exporter = new InMemorySpanExporter();
    const telemetry = createTelemetry({
      service: 't',
      logLevel: 'silent',
      otlpEndpoint: '',
      spanProcessor: new SimpleSpanProcessor(exporter),
    });
    const { client, batchers } = await startMesh([{}], {}, telemetry.tracing);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await client.infer(request(floats([1]), { traceparent })).answer;
    const [span] = exporter.getFinishedSpans();
    expect(span?.name).toBe('predict');
    expect(span?.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
    expect(span?.attributes).toMatchObject({ 'headrace.model': 'half', 'headrace.version': 1, 'headrace.signature': 'serving_default' });
    expect(batchers[0]?.received[0]?.traceparent).toBe(`00-0af7651916cd43dd8448eb211c80319c-${span?.spanContext().spanId}-01`);
  });

  test('closing fails what is in flight', async () => {
    const { client } = await startMesh([{ fault: () => null }]);
    const pending = client.infer(request(floats([1])));
    await client[Symbol.asyncDispose]();
    expect(await outcome(pending)).toBe('UNAVAILABLE: the gateway is stopping');
    expect(await outcome(client.infer(request(floats([1]))))).toBe('UNAVAILABLE: the gateway is stopping');
  });

  test('a drain ends with the last answer or at its bound', async () => {
    const { client, clock } = await startMesh([{ fault: () => null }]);
    await client.drain(1000);
    const pending = client.infer(request(floats([1])));
    const drained = client.drain(1000).then(() => clock.now());
    await clock.advance(300);
    pending.cancel();
    expect(await drained).toBe(300);
    const late = client.infer(request(floats([1])));
    const bounded = client.drain(1000).then(() => clock.now());
    await clock.advance(1500);
    expect(await bounded).toBe(1300);
    late.cancel();
    expect(await outcome(late)).toBe('CANCELLED: the caller has gone');
  });
});
