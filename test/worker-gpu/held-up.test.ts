/** What others wait for while a suspect is executed alone, on a clock that stands still. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { parseSettings } from '#mesh/config.ts';
import { type BatchId, type ClaimId, type MemberId, newMemberId, type RequestId } from '#mesh/ids.ts';
import { decodeBatchList, encodeBatchList, encodeSubmit, type SubmittedRequest } from '#mesh/messages.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { BATCHER_SETTINGS } from '../../services/batcher/config.ts';
import { startBatcher } from '../../services/batcher/index.ts';
import { WORKER_SETTINGS } from '../../services/worker-gpu/config.ts';
import { startWorker } from '../../services/worker-gpu/index.ts';
import type { Platform } from '../../services/worker-gpu/platforms.ts';
import { assigned, createModelFolder, halfPlusTwo } from './models.ts';
import { errorOf, floatInput, floatsOf, outputsOf, startRig } from './worker-rig.ts';

const FAULTS: Platform = {
  name: 'faults',
  runtime: new URL('./fixtures/fault-runtime.ts', import.meta.url).href,
  recognises: (names) => names.includes('faults'),
};

/** A batcher's way to the worker and back. */
const MOMENT_MS = 50;

const open: (AsyncDisposable | Disposable)[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await (Symbol.asyncDispose in one ? one[Symbol.asyncDispose]() : one[Symbol.dispose]());
});

/** A worker with one servable, and suspects that begin and end when the test says so. */
async function rigWith(options: Parameters<typeof startRig>[0] = {}) {
  const folder = createModelFolder();
  open.push(folder);
  const clock = createFakeClock();
  const rig = await startRig({ clock, ...options });
  open.push(rig);
  const path = folder.version('half', { 'model.onnx': halfPlusTwo() });
  await rig.serve(assigned('half', path));
  const plain = (more: Parameters<typeof rig.part>[1] = {}) => rig.part([floatInput('x', [4])], more);
  /** Resolves once it is being executed; it is until its payload comes. */
  async function suspect() {
    const holder = newMemberId('gateway');
    const asked = Promise.withResolvers<string>();
    const holding = rig.transport.subscribe(rig.subjects.blob(holder), ({ replyTo }) => replyTo !== undefined && asked.resolve(replyTo));
    const claim = { type: 'claim' as const, holder, claimId: 1 as ClaimId, byteLength: 4 };
    const part = rig.part([{ name: 'x', dtype: 'float', shape: [1], payload: claim }]);
    const batchId = rig.send('half', [part], { alone: true });
    const replyTo = await asked.promise;
    holding[Symbol.dispose]();
    return {
      batchId,
      part,
      async end() {
        rig.transport.publish(replyTo, new Uint8Array(4));
        await rig.until(() => rig.readies.find((ready) => ready.batchId === batchId && ready.outcome === 'answered'));
      },
    };
  }
  const outcomes = () => rig.readies.map(({ batchId, outcome }) => [batchId, outcome]);
  return { clock, rig, path, plain, suspect, outcomes };
}

describe('a worker that is asked which batches it does not have', () => {
  test('names those that never came and those that are done, and of no other batcher', async () => {
    const { rig, plain, suspect } = await rigWith();
    const done = rig.send('half', [plain()]);
    await rig.untilReady(done);
    const { batchId: running, end } = await suspect();
    const never = 1000 as BatchId;
    const ask = async (batcherId: MemberId) => {
      const question = encodeBatchList({ batcherId, batchIds: [done, running, never] });
      return decodeBatchList(await rig.transport.request(rig.subjects.missing(rig.worker.id), question, { timeoutMs: 1000 })).batchIds;
    };
    expect(await ask(rig.batcherId)).toEqual([done, never]);
    expect(await ask('batcher-other' as MemberId)).toEqual([done, running, never]);
    await end();
    expect(await ask(rig.batcherId)).toEqual([done, running, never]);
  });
});

describe('a worker whose executors a suspect has to itself', () => {
  test('hands back what waits for a second and what comes then, and says that there is room once the suspect has ended', async () => {
    const { clock, rig, plain, suspect, outcomes } = await rigWith();
    const { batchId: solo, part, end } = await suspect();
    const first = rig.send('half', [plain()]);
    await clock.advance(999);
    expect(outcomes()).toEqual([[solo, 'begun']]);
    await clock.advance(1);
    const announcements = rig.announced.length;
    const second = rig.send('half', [plain()]);
    await clock.advance(10_000);
    expect(outcomes()).toEqual([
      [solo, 'begun'],
      [first, 'refused'],
      [second, 'refused'],
    ]);
    expect(rig.announced).toHaveLength(announcements);
    await end();
    await clock.advance(MOMENT_MS);
    expect(rig.announced).toHaveLength(announcements + 1);
    const third = plain();
    const [answer] = await rig.run('half', [third]);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([4]);
    expect(rig.answers.map(({ requestId }) => requestId)).toEqual([part.requestId, third.requestId]);
    expect(await rig.telemetry.metrics.metrics()).toContain('headrace_worker_refused_batches_total{reason="suspect"} 2');
  });

  test('executes at once what servables wait for', async () => {
    const { clock, rig, plain, suspect } = await rigWith();
    const { end } = await suspect();
    await clock.advance(5000);
    const [answer] = await rig.run('half', [plain({ callers: ['other@1'] })]);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([4]);
    await end();
  });

  test('has nothing left of what it handed back: all tokens are free, and the servable can go', async () => {
    const { clock, rig, plain, suspect } = await rigWith({ args: ['--executors=1'] });
    expect(rig.held('half')?.tokens).toBe(2);
    const { end } = await suspect();
    // With the suspect these are as many as one batcher may have here.
    const batches = [1, 2, 3].map(() => rig.send('half', [plain()]));
    await clock.advance(1000);
    expect((await Promise.all(batches.map(rig.untilReady))).map(({ outcome }) => outcome)).toEqual(['refused', 'refused', 'refused']);
    await end();
    const more = [1, 2, 3, 4].map(() => rig.send('half', [plain()]));
    expect((await Promise.all(more.map(rig.untilReady))).map(({ outcome }) => outcome)).toEqual(new Array(4).fill('answered'));
    rig.assign([]);
    await clock.advance(0);
    await rig.until(() => (rig.held('half') === undefined ? true : undefined));
  });

  test('hands back what was cancelled or reached its deadline meanwhile like the rest, and answers none of it', async () => {
    const { clock, rig, plain, suspect, outcomes } = await rigWith();
    const { batchId: solo, end } = await suspect();
    const gone = plain();
    const late = plain({ budgetMs: 500 });
    const [cancelled, expired] = [rig.send('half', [gone]), rig.send('half', [late])];
    rig.cancel([gone.requestId]);
    await clock.advance(1000);
    rig.cancel([late.requestId]);
    await end();
    expect(outcomes()).toEqual([
      [solo, 'begun'],
      [cancelled, 'refused'],
      [expired, 'refused'],
      [solo, 'answered'],
    ]);
    expect(rig.answers).toHaveLength(1);
  });

  test('drains: hands back what waits, and finishes the suspect', async () => {
    const { clock, rig, plain, suspect, outcomes } = await rigWith();
    const { batchId: solo, end } = await suspect();
    const waiting = rig.send('half', [plain()]);
    await clock.advance(0);
    let left = false;
    const stopping = rig.worker[Symbol.asyncDispose]().then(() => {
      left = true;
    });
    const refused = rig.send('half', [plain()]);
    await clock.advance(1000);
    expect(outcomes()).toEqual([
      [solo, 'begun'],
      [refused, 'refused'],
      [waiting, 'refused'],
    ]);
    expect(left).toBe(false);
    await end();
    await clock.advance(MOMENT_MS);
    await stopping;
  });

  test('stays closed while a suspect that ends its executors is tried again, and opens once it has failed', async () => {
    const folder = createModelFolder();
    open.push(folder);
    const clock = createFakeClock();
    const rig = await startRig({ clock, platforms: [FAULTS], args: ['--executors=1', '--instances=1', '--executor_hang_ms=3000'] });
    open.push(rig);
    await rig.serve(assigned('m', folder.version('m', { faults: '' })));
    const hanging = rig.part([floatInput('x', [-2])]);
    const solo = rig.send('m', [hanging], { alone: true });
    await rig.untilReady(solo);
    await clock.advance(0);
    const waiting = rig.send('m', [rig.part([floatInput('x', [1])])]);
    await clock.advance(1000);
    expect(await rig.untilReady(waiting)).toMatchObject({ outcome: 'refused' });
    await clock.advance(2000);
    await rig.untilLogged('servable loaded again after a death', 1);
    const meanwhile = rig.send('m', [rig.part([floatInput('x', [2])])]);
    expect(await rig.untilReady(meanwhile)).toMatchObject({ outcome: 'refused' });
    await clock.advance(3000);
    await rig.untilLogged('servable loaded again after a death', 2);
    expect(errorOf(rig.answerTo(hanging.requestId)).code).toBe('INTERNAL');
    const [answer] = await rig.run('m', [rig.part([floatInput('x', [3])])]);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([3]);
  });
});

describe('a request behind the suspect of another batcher', () => {
  /** A real batcher beside the one that the test plays, a gateway's way to it, and what it sends to workers. */
  async function startMesh() {
    const { clock, rig, path, suspect } = await rigWith();
    const { values } = parseSettings(BATCHER_SETTINGS, { args: [], env: {} });
    const sent = new Map<MemberId, number>();
    const { transport, subjects } = rig;
    const count = (workerId: MemberId) => {
      sent.set(workerId, 0);
      transport.subscribe(subjects.batch(workerId), () => void sent.set(workerId, (sent.get(workerId) ?? 0) + 1));
    };
    const telemetry = createSilentTelemetry();
    const batcher = await startBatcher({ transport, subjects, clock, telemetry, settings: values, id: 'batcher-b' as MemberId });
    open.push({
      async [Symbol.asyncDispose]() {
        const stopping = batcher[Symbol.asyncDispose]();
        await clock.advance(60_000);
        await stopping;
      },
    });
    await clock.advance(0);
    async function submit(id: number, more: Partial<SubmittedRequest> = {}): Promise<void> {
      const asked: SubmittedRequest = {
        requestId: id as RequestId,
        servable: { name: 'half', version: 1 },
        signature: 'serving_default',
        outputs: ['y'],
        laneKey: 'half',
        rows: 1,
        budgetMs: Number.POSITIVE_INFINITY,
        attempt: 0,
        traceparent: '',
        body: rig.part([floatInput('x', [4])]).body,
        ...more,
      };
      transport.publish(subjects.submit(batcher.id), encodeSubmit({ gatewayId: rig.gatewayId, requests: [asked] }));
      await clock.advance(0);
    }
    async function addWorker(): Promise<MemberId> {
      const { values: settings } = parseSettings(WORKER_SETTINGS, { args: ['--unload_grace_ms=0'], env: {} });
      const worker = await startWorker({ transport, subjects, clock, telemetry, settings });
      open.push(worker);
      count(worker.id);
      const before = rig.announced.length;
      const servables = [assigned('half', path)];
      transport.publish(subjects.assign(worker.id), Buffer.from(JSON.stringify({ fencingToken: 1, revision: 1, servables })));
      await rig.until(() => rig.announced.slice(before).find((detail) => detail.servables[0]?.state === 'AVAILABLE'));
      return worker.id;
    }
    count(rig.workerId);
    return { clock, rig, batcher, sent, submit, addWorker, suspect };
  }
  const REQUEST = 1_000_001;

  test('is answered by another worker after a second', async () => {
    const { clock, rig, batcher, sent, submit, addWorker, suspect } = await startMesh();
    const { end } = await suspect();
    await submit(REQUEST);
    expect(sent.get(rig.workerId)).toBe(2);
    const other = await addWorker();
    await clock.advance(999);
    expect(rig.answers).toEqual([]);
    await clock.advance(1);
    const answer = await rig.until(() => rig.answerTo(REQUEST as RequestId));
    expect(outputsOf(answer).timings.workerId).toBe(other);
    // The other one is not asked again while the suspect is executed.
    await submit(REQUEST + 1);
    await rig.until(() => rig.answerTo((REQUEST + 1) as RequestId));
    expect([sent.get(rig.workerId), sent.get(other)]).toEqual([2, 2]);
    expect(rig.answers.every(({ type }) => type === 'outputs')).toBe(true);
    expect(batcher.quarantined).toEqual([]);
    await end();
  });

  test('waits in its batcher where there is no other worker, is not sent again before the suspect has ended, and is answered then', async () => {
    const { clock, rig, batcher, sent, submit, suspect } = await startMesh();
    const { part, end } = await suspect();
    await submit(REQUEST);
    await clock.advance(30_000);
    await submit(REQUEST + 1, { budgetMs: 10_000 });
    await clock.advance(10_000);
    expect(errorOf(rig.answerTo((REQUEST + 1) as RequestId)).code).toBe('DEADLINE_EXCEEDED');
    await clock.advance(30_000);
    expect(sent.get(rig.workerId)).toBe(2);
    expect(batcher.heldRequests).toBe(1);
    await end();
    await clock.advance(MOMENT_MS);
    const answer = await rig.until(() => rig.answerTo(REQUEST as RequestId));
    await clock.advance(0);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([4]);
    expect(rig.answers.map(({ requestId }) => requestId)).toEqual([REQUEST + 1, part.requestId, REQUEST]);
    expect(sent.get(rig.workerId)).toBe(3);
    expect(batcher.heldRequests).toBe(0);
  });

  test('comes before the next suspect', async () => {
    const { clock, rig, submit, suspect } = await startMesh();
    const first = await suspect();
    await submit(REQUEST);
    await clock.advance(5000);
    await first.end();
    // Its batcher sends the next one as soon as the first has come back.
    const begun = suspect();
    await clock.advance(MOMENT_MS);
    await rig.until(() => rig.answerTo(REQUEST as RequestId));
    await clock.advance(1000);
    const second = await begun;
    expect(rig.answers.map(({ requestId }) => requestId)).toEqual([first.part.requestId, REQUEST]);
    await second.end();
  });
});
