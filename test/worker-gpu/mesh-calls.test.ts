import { describe, expect, test } from '@jest/globals';
import { startBlobStore } from '#mesh/blobs.ts';
import { createFakeClock, createSystemClock } from '#mesh/clock.ts';
import type { SettingsOf } from '#mesh/config.ts';
import { ServeError } from '#mesh/errors.ts';
import { newMemberId } from '#mesh/ids.ts';
import { startPresence } from '#mesh/presence.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { GATEWAY_SETTINGS } from '../../services/gateway/config.ts';
import { startGateway } from '../../services/gateway/index.ts';
import { type MeshCall, startMeshCalls } from '../../services/worker-gpu/mesh-calls.ts';
import { type Fault, floats, readFloats, settle, startTestBatcher, subjects } from '../gateway/half-mesh.ts';
import { routedModel, routedVersion, startTestRegistry } from '../gateway/test-registry.ts';
import { freePort } from '../servers/server-process.ts';

const defaults = Object.fromEntries(Object.entries(GATEWAY_SETTINGS).map(([key, setting]) => [key, setting.default])) as SettingsOf<
  typeof GATEWAY_SETTINGS
>;

/** A gateway over batchers of the test's, and the calls of one worker. */
async function startCalls(options: { readonly fault?: Fault; readonly stateful?: boolean } = {}) {
  const { fault, stateful = false } = options;
  const clock = createSystemClock();
  const broker = createMemoryBroker();
  const stack = new AsyncDisposableStack();
  const table = ['half', 'ident'].map((name) => routedModel(name, [routedVersion(2, { stateful }), routedVersion(1)], { old: 1 }));
  stack.use(startTestRegistry(broker.connect(), table));
  const batcher = stack.use(await startTestBatcher({ transport: broker.connect(), clock, inlineBytes: 1000, ...(fault && { fault }) }));
  const openGateway = async () =>
    startGateway({
      transport: broker.connect(),
      subjects,
      clock,
      telemetry: createSilentTelemetry(),
      settings: { ...defaults, port: await freePort(), restApiPort: 0 },
    });
  const transport = broker.connect();
  const id = newMemberId('worker');
  const onUnreadable = (subject: string, error: Error) => {
    throw new Error(`${subject}: ${error.message}`);
  };
  const blobs = stack.use(startBlobStore({ transport, subjects, id, chunkBytes: 1000, onUnreadable }));
  const calls = stack.use(startMeshCalls({ transport, subjects, clock, id, blobs, inlineTensorBytes: 1000, onUnreadable }));
  const detail = { fencingToken: 0, assignmentRevision: 0, memoryLimitBytes: 0, servables: [], draining: false };
  const presence = stack.use(await startPresence({ transport, subjects, clock, kind: 'worker', id, detail }));
  stack.use(presence.onChange(calls.memberChanged));
  const call = (change: Partial<MeshCall> = {}): MeshCall => ({
    model: 'half',
    version: null,
    label: null,
    signature: '',
    inputs: new Map([['x', floats([1, 4])]]),
    outputs: [],
    deadlineMs: clock.now() + 20_000,
    traceparent: '',
    callers: ['pipeline@1'],
    signal: new AbortController().signal,
    ...change,
  });
  return { clock, batcher, transport, blobs, calls, presence, openGateway, call, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const valuesOf = async (outputs: ReturnType<ReturnType<typeof startMeshCalls>['infer']>) => readFloats((await outputs).get('y') as never);

describe('a servable that calls another one', () => {
  test('gets what a client would get: the latest version, one by number, one by label, and the texts of errors', async () => {
    await using mesh = await startCalls();
    await using _gateway = await mesh.openGateway();
    const { calls, call, batcher } = mesh;
    expect(await valuesOf(calls.infer(call()))).toEqual([2.5, 4]);
    await calls.infer(call({ version: 1 }));
    await calls.infer(call({ label: 'old' }));
    expect(batcher.received.map(({ servable }) => servable.version)).toEqual([2, 1, 1]);
    await expect(calls.infer(call({ model: 'nope' }))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: 'Servable not found for request: Latest(nope)',
    });
    await expect(calls.infer(call({ outputs: ['z'] }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(calls.infer(call({ inputs: new Map() }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(calls.infer(call({ signature: 'other' }))).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  });

  test('sends and gets tensors larger than a message, and nobody holds them afterwards', async () => {
    await using mesh = await startCalls();
    await using _gateway = await mesh.openGateway();
    const values = Array.from({ length: 50_000 }, (_, index) => index);
    const { calls, call, blobs, batcher } = mesh;
    const outputs = calls.infer(call({ model: 'ident', inputs: new Map([['x', floats(values)]]) }));
    expect(blobs.heldBytes).toBe(200_000);
    expect(await valuesOf(outputs)).toEqual(values);
    expect(blobs.heldBytes).toBe(0);
    await settle();
    expect(batcher.blobs.heldBytes).toBe(0);
  });

  test('tells who waits, is refused when a call comes back to one of them, and when the row of calls is too long', async () => {
    await using mesh = await startCalls();
    await using _gateway = await mesh.openGateway();
    const { calls, call, batcher } = mesh;
    await calls.infer(call({ callers: ['a@1', 'half@1'] }));
    expect(batcher.received[0]?.callers).toEqual(['a@1', 'half@1']);
    await expect(calls.infer(call({ callers: ['a@1', 'half@2', 'b@1'] }))).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: 'servables call each other in a circle: half@2 calls b@1 calls half@2',
    });
    const row = Array.from({ length: 8 }, (_, index) => `m${index}@1`);
    await expect(calls.infer(call({ callers: row }))).rejects.toThrow('half@2 would be the 9th servable in a row of calls, 8 is the most');
    expect(batcher.received).toHaveLength(1);
  });

  test('ends with its deadline, and the work that nobody waits for is dropped', async () => {
    await using mesh = await startCalls({ fault: () => null });
    await using _gateway = await mesh.openGateway();
    const { calls, call, clock, batcher } = mesh;
    await expect(calls.infer(call({ deadlineMs: clock.now() + 50 }))).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(batcher.received[0]?.budgetMs).toBeLessThanOrEqual(50);
    const gone = new AbortController();
    const waiting = calls.infer(call({ signal: gone.signal }));
    while (batcher.received.length < 2) await settle();
    gone.abort(new ServeError('CANCELLED', 'the callers have gone'));
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED', message: 'the callers have gone' });
    while (batcher.cancelled.length < 2) await settle();
    expect(batcher.cancelled).toEqual(batcher.received.map(({ requestId }) => requestId));
    await expect(calls.infer(call({ signal: gone.signal }))).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  test.each([
    ['asks another gateway when the first goes away', false],
    ['does not ask twice what keeps state', true],
  ])('%s', async (_, stateful) => {
    let swallow = true;
    await using mesh = await startCalls({ stateful, fault: () => (swallow ? null : 'compute') });
    const { calls, call, batcher, presence } = mesh;
    await using _gateway = await mesh.openGateway();
    const outputs = valuesOf(calls.infer(call()));
    outputs.catch(() => {});
    while (batcher.received.length === 0) await settle();
    swallow = false;
    while (presence.members('gateway').length === 0) await settle();
    // As if the gateway had died and another one had come: the call goes to whoever is there now.
    for (const member of presence.members('gateway')) calls.memberChanged({ type: 'gone', member });
    if (stateful) await expect(outputs).rejects.toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining('keeps state') });
    else expect(await outputs).toEqual([2.5, 4]);
    expect(batcher.received).toHaveLength(stateful ? 1 : 2);
    // What the gateway still held of it ends, so that it can leave.
    const answers = batcher.received.map(
      ({ requestId }) => ({ requestId, type: 'error', code: 'ABORTED', message: '', resend: false }) as const,
    );
    batcher.answer(answers);
  });

  test('asks again when a gateway goes away that has not even said that it has the call', async () => {
    await using mesh = await startCalls();
    const { calls, call, transport } = mesh;
    // Takes calls and never says so: as one that dies with them.
    using deaf = transport.subscribe(subjects.call, () => {}, { group: 'gateways' });
    const outputs = valuesOf(calls.infer(call()));
    await settle();
    deaf[Symbol.dispose]();
    await using _gateway = await mesh.openGateway();
    const gone = { type: 'gone', member: { kind: 'gateway', id: newMemberId('gateway'), detail: {} } } as const;
    const { promise: later, resolve } = Promise.withResolvers<void>();
    mesh.clock.schedule(300, resolve);
    await later;
    calls.memberChanged(gone);
    expect(await outputs).toEqual([2.5, 4]);
  });

  test('waits a while for a gateway to be there, and is UNAVAILABLE without one', async () => {
    const clock = createFakeClock();
    const transport = createMemoryBroker().connect();
    const id = newMemberId('worker');
    await using blobs = startBlobStore({ transport, subjects, id });
    const onUnreadable = () => {};
    using calls = startMeshCalls({ transport, subjects, clock, id, blobs, inlineTensorBytes: 1000, onUnreadable });
    const { signal } = new AbortController();
    const outcome = calls
      .infer({
        model: 'half',
        version: null,
        label: null,
        signature: '',
        inputs: new Map(),
        outputs: [],
        deadlineMs: Number.POSITIVE_INFINITY,
        traceparent: '',
        callers: ['a@1'],
        signal,
      })
      .catch((error: unknown) => error);
    await clock.advance(4000);
    expect(clock.sleepers).toBe(1);
    await clock.advance(2000);
    expect(await outcome).toMatchObject({ code: 'UNAVAILABLE', message: 'no gateway is available for a call of half' });
    expect(clock.sleepers).toBe(0);
  });
});
