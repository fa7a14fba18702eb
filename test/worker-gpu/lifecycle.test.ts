import { afterEach, describe, expect, test } from '@jest/globals';
import { DEFAULT_BATCHING } from '#mesh/control.ts';
import type { RequestId } from '#mesh/ids.ts';
import type { Platform } from '../../services/worker-gpu/platforms.ts';
import { affine, assigned, createModelFolder, halfPlusTwo } from './models.ts';
import { floatInput, floatsOf, outputsOf, startRig } from './worker-rig.ts';

const open: (AsyncDisposable | Disposable)[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await (Symbol.asyncDispose in one ? one[Symbol.asyncDispose]() : one[Symbol.dispose]());
});

async function rigWith(options: Parameters<typeof startRig>[0] = {}) {
  const folder = createModelFolder();
  open.push(folder);
  const rig = await startRig(options);
  open.push(rig);
  return { rig, folder };
}

describe.each([
  ['shared', []],
  ['dedicated', ['--shared_executor_max_bytes=0']],
])('on %s executors', (_kind, args) => {
  test('generations are swapped under load: every batch is answered by one of the two', async () => {
    const { rig, folder } = await rigWith({ args: ['--executors=2', '--instances=2', ...args] });
    const generation = (number: number) =>
      assigned('m', folder.version(`m${number}`, { 'model.onnx': affine(1, number) }), { generation: number });
    await rig.serve(generation(1));
    let sending = true;
    const offsets: number[] = [];
    const answered = [0, 0, 0];
    const client = async (index: number) => {
      while (sending) {
        const [answer] = await rig.run('m', [rig.part([floatInput('x', [0])])]);
        offsets.push(floatsOf(outputsOf(answer).outputs[0])[0] ?? Number.NaN);
        answered[index] = (answered[index] ?? 0) + 1;
      }
    };
    const clients = answered.map((_, index) => client(index));
    for (const number of [2, 3, 4]) {
      await rig.serve(generation(number));
      const before = [...answered];
      // Each client had one batch under way; what comes after that is of the new generation.
      await rig.until(() => (answered.every((count, index) => count >= (before[index] ?? 0) + 2) ? true : undefined));
    }
    sending = false;
    await Promise.all(clients);
    expect(offsets.every((offset) => [1, 2, 3, 4].includes(offset))).toBe(true);
    expect(offsets.at(-1)).toBe(4);
    expect(rig.readies.every(({ outcome }) => outcome === 'answered')).toBe(true);
    // Announced as available all the while, and never two at once.
    const states = rig.announced.flatMap(({ servables }) => servables.map(({ state }) => state));
    expect(states.slice(states.indexOf('AVAILABLE')).every((state) => state === 'AVAILABLE')).toBe(true);
  });

  test('what is taken away is unloaded after the batches that use it', async () => {
    const { rig, folder } = await rigWith({ args });
    await rig.serve(assigned('m', folder.version('m', { 'model.onnx': halfPlusTwo() })));
    const part = rig.part([floatInput('x', [2])]);
    const batch = rig.send('m', [part]);
    rig.assign([]);
    expect(await rig.untilReady(batch)).toMatchObject({ outcome: 'answered' });
    expect(floatsOf(outputsOf(rig.answerTo(part.requestId)).outputs[0])).toEqual([3]);
    await rig.until(() => (rig.announced.at(-1)?.servables.length === 0 ? true : undefined));
    const states = rig.announced.flatMap(({ servables }) => servables.map(({ state }) => state));
    expect([...new Set(states)]).toEqual(['START', 'LOADING', 'AVAILABLE', 'UNLOADING', 'END']);
  });
});

describe('a worker', () => {
  test('announces tokens for what runs and what is ready, bounded by numBatchThreads', async () => {
    const { rig, folder } = await rigWith({ args: ['--executors=2'] });
    const path = folder.version('m', { 'model.onnx': halfPlusTwo() });
    const threads = (numBatchThreads: number) => ({ batching: { ...DEFAULT_BATCHING, numBatchThreads } });
    await rig.serve(
      assigned('free', path),
      assigned('both', path, threads(2)),
      assigned('many', path, threads(9)),
      assigned('fewer', path, threads(1)),
      assigned('one', path, { run: { instances: 1 } }),
    );
    expect(['free', 'both', 'many', 'fewer', 'one'].map((name) => rig.held(name)?.tokens)).toEqual([4, 3, 4, 1, 2]);
  });

  test('reads the batching of a version from its own file when told to', async () => {
    const { rig, folder } = await rigWith();
    const files = { 'model.onnx': halfPlusTwo() };
    const text = 'max_batch_size { value: 8 } batch_timeout_micros { value: 500 }';
    const batching = { ...DEFAULT_BATCHING, numBatchThreads: 7, threadPoolName: 'global' };
    await rig.serve(
      assigned('with', folder.version('with', { ...files, 'batching_params.pbtxt': text }), { perModelBatching: true, batching }),
      assigned('without', folder.version('without', files), { perModelBatching: true, batching }),
    );
    expect(rig.held('with')?.batching).toMatchObject({
      maxBatchSize: 8,
      batchTimeoutMicros: 500,
      numBatchThreads: 7,
      threadPoolName: 'global',
    });
    expect(rig.held('without')?.batching).toBeNull();
  });

  test('refuses a servable beyond its memory limit and serves what fits', async () => {
    const { rig, folder } = await rigWith({ args: ['--memory_limit_bytes=3000', '--executors=1'] });
    const small = assigned('small', folder.version('small', { 'model.onnx': halfPlusTwo() }));
    rig.assign([small, assigned('big', folder.version('big', { 'model.onnx': halfPlusTwo(), 'weights.bin': new Uint8Array(10_000) }))]);
    const big = await rig.untilHeld('big', ({ state }) => state === 'END');
    expect(big.status.code).toBe('RESOURCE_EXHAUSTED');
    expect(big.status.message).toMatch(
      /^Insufficient resources to load servable \{name: big version: 1\}: it needs an estimated 1\d{4} bytes/,
    );
    await rig.untilHeld('small', ({ state }) => state === 'AVAILABLE');
  });

  test('an execution provider that is not there falls through to the next, and says so in the log', async () => {
    const { rig, folder } = await rigWith({ args: ['--executors=1'] });
    const path = folder.version('m', { 'model.onnx': halfPlusTwo() });
    await rig.serve(assigned('m', path, { run: { executionProviders: ['no-such-provider', 'cpu'] } }));
    const line = rig.logged.find(({ msg }) => msg === 'servable loaded on an executor');
    expect(line).toMatchObject({
      model: 'm',
      provider: 'cpu',
      remarks: [expect.stringContaining('execution provider no-such-provider cannot be used')],
    });
  });

  test('drains: finishes its batches, refuses new ones, says so, and leaves', async () => {
    const slow: Platform = {
      name: 'slow',
      runtime: new URL('./fixtures/fault-runtime.ts', import.meta.url).href,
      recognises: (names) => names.includes('faults'),
    };
    const { rig, folder } = await rigWith({ platforms: [slow] });
    await rig.serve(assigned('m', folder.version('m', { faults: '' })));
    const last = rig.part([floatInput('x', [1])]);
    const lastBatch = rig.send('m', [last]);
    const taken = rig.until(() => (rig.worker.detail().draining ? true : undefined));
    await new Promise<void>((resolve) => queueMicrotask(resolve));
    const left = rig.worker[Symbol.asyncDispose]();
    const lateBatch = rig.send('m', [rig.part([floatInput('x', [2])])]);
    await left;
    await taken;
    expect(await rig.untilReady(lastBatch)).toMatchObject({ outcome: 'answered' });
    expect(floatsOf(outputsOf(rig.answerTo(last.requestId)).outputs[0])).toEqual([1]);
    expect(await rig.untilReady(lateBatch)).toMatchObject({ outcome: 'refused' });
    expect(rig.announced.some(({ draining }) => draining)).toBe(true);
  });

  test('a message that cannot be read is logged and does no harm', async () => {
    const { rig, folder } = await rigWith();
    rig.transport.publish(rig.subjects.batch(rig.workerId), Uint8Array.of(99, 1, 2));
    rig.transport.publish(rig.subjects.assign(rig.workerId), Uint8Array.of(0x7b));
    await rig.serve(assigned('m', folder.version('m', { 'model.onnx': halfPlusTwo() })));
    expect(rig.logged.filter(({ msg }) => msg === 'message could not be read')).toHaveLength(2);
  });

  test('a cancellation of what it does not hold does no harm', async () => {
    const { rig, folder } = await rigWith();
    rig.cancel([12_345 as RequestId]);
    await rig.serve(assigned('m', folder.version('m', { 'model.onnx': halfPlusTwo() })));
    const [answer] = await rig.run('m', [rig.part([floatInput('x', [2])])]);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([3]);
  });
});
