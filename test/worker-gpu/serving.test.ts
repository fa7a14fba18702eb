import { afterEach, describe, expect, test } from '@jest/globals';
import type { Claim } from '#mesh/blobs.ts';
import { createFakeClock } from '#mesh/clock.ts';
import { DEFAULT_BATCHING } from '#mesh/control.ts';
import type { ServeError } from '#mesh/errors.ts';
import { type ClaimId, newMemberId } from '#mesh/ids.ts';
import { affine, assigned, createModelFolder, halfPlusTwo, lookup, sumOfRows } from './models.ts';
import { errorOf, floatInput, floatsOf, input, outputsOf, startRig } from './worker-rig.ts';

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

describe('a worker that serves', () => {
  test('loads what it is assigned, and answers a batch row by row', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    const parts = [rig.part([floatInput('x', [1, 2])]), rig.part([floatInput('x', [5])])];
    const [first, second] = await rig.run('half', parts);
    expect(floatsOf(outputsOf(first).outputs[0])).toEqual([2.5, 3]);
    expect(floatsOf(outputsOf(second).outputs[0])).toEqual([4.5]);
    expect(outputsOf(first)).toMatchObject({ rowStart: 0, rowCount: 2, totalRows: 2, timings: { batchRows: 3, workerId: rig.workerId } });
  });

  test('executes what must be alone while nothing else is, and says when it begins', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    // A payload that comes when it is told to keeps a batch under way.
    const holder = newMemberId('gateway');
    const asked = Promise.withResolvers<string>();
    open.push(rig.transport.subscribe(rig.subjects.blob(holder), ({ replyTo }) => replyTo !== undefined && asked.resolve(replyTo)));
    const claim = { type: 'claim' as const, holder, claimId: 1 as ClaimId, byteLength: 4 };
    const slow = rig.send('half', [rig.part([{ name: 'x', dtype: 'float', shape: [1], payload: claim }])]);
    const replyTo = await asked.promise;
    const solo = rig.send('half', [rig.part([floatInput('x', [2])])], { alone: true });
    const later = rig.send('half', [rig.part([floatInput('x', [4])])]);
    const urgent = rig.send('half', [rig.part([floatInput('x', [6])], { callers: ['other@1'] })]);
    await rig.untilReady(urgent);
    expect(rig.readies.map(({ batchId }) => batchId)).toEqual([urgent]);
    rig.transport.publish(replyTo, new Uint8Array(4));
    await rig.untilReady(later);
    expect(rig.readies.map(({ batchId, outcome }) => [batchId, outcome])).toEqual([
      [urgent, 'answered'],
      [slow, 'answered'],
      [solo, 'begun'],
      [solo, 'answered'],
      [later, 'answered'],
    ]);
    expect(rig.answers.every(({ type }) => type === 'outputs')).toBe(true);
  });

  test('runs a request that cannot share a batch as it is, scalars too', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('affine', folder.version('affine', { 'model.onnx': affine(2, 1, []) })));
    const answer = outputsOf(await rig.ask('affine', [floatInput('x', [3], [])]));
    expect(answer.outputs[0]).toMatchObject({ name: 'y', dtype: 'float', shape: [] });
    expect(floatsOf(answer.outputs[0])).toEqual([7]);
  });

  test('takes only the rows of a split request that the batch names', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    const [answer] = await rig.run('half', [rig.part([floatInput('x', [0, 2, 4, 6])], { rowStart: 1, rowCount: 2 })]);
    expect(outputsOf(answer)).toMatchObject({ rowStart: 1, rowCount: 2, totalRows: 4 });
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([3, 4]);
  });

  test('pads to the rows asked for and cuts the padding off', async () => {
    const { rig, folder } = await rigWith();
    const batching = { ...DEFAULT_BATCHING, allowedBatchSizes: [4] };
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() }), { batching }));
    const [answer] = await rig.run('half', [rig.part([floatInput('x', [8])])], { executeRows: 4 });
    expect(outputsOf(answer).timings.batchRows).toBe(4);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([6]);
  });

  test('an output that does not follow the rows fails with precondition, named', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('sum', folder.version('sum', { 'model.onnx': sumOfRows() })));
    const answers = await rig.run('sum', [rig.part([floatInput('x', [1, 2])]), rig.part([floatInput('x', [3])])]);
    // Alone, the second has one row in and one row out.
    expect(errorOf(answers[0]).code).toBe('FAILED_PRECONDITION');
    expect(errorOf(answers[0]).message).toMatch(
      /^Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors: y has shape \[1\], 2 rows/,
    );
    expect(floatsOf(outputsOf(answers[1]).outputs[0])).toEqual([3]);
  });

  test('one bad request does not fail its neighbours', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('lookup', folder.version('lookup', { 'model.onnx': lookup() })));
    const index = (value: bigint) => rig.part([input('i', 'int64', [1], new Uint8Array(BigInt64Array.of(value).buffer))]);
    const answers = await rig.run('lookup', [index(0n), index(9n), index(2n)]);
    expect(floatsOf(outputsOf(answers[0]).outputs[0])).toEqual([10]);
    expect(errorOf(answers[1])).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(errorOf(answers[1]).message).toContain('out of data bounds, idx=9');
    expect(floatsOf(outputsOf(answers[2]).outputs[0])).toEqual([30]);
  });

  test('a request past its deadline is answered so and not executed; its neighbour is', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    const answers = await rig.run('half', [rig.part([floatInput('x', [1])], { budgetMs: 0 }), rig.part([floatInput('x', [2])])]);
    expect(errorOf(answers[0]).code).toBe('DEADLINE_EXCEEDED');
    expect(floatsOf(outputsOf(answers[1]).outputs[0])).toEqual([3]);
    expect(outputsOf(answers[1]).timings.batchRows).toBe(1);
  });

  test('a cancelled request is not answered', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    // Its payload is with a holder that never answers, so that the batch waits until it is cancelled.
    const claim = rig.blobs.hold(new Uint8Array(8));
    const silent = { ...claim, holder: 'gateway-silent' as typeof claim.holder };
    rig.transport.subscribe(rig.subjects.blob(silent.holder), () => {});
    const part = rig.part([{ name: 'x', dtype: 'float', shape: [2], payload: { type: 'claim', ...silent } }]);
    const batch = rig.send('half', [part]);
    rig.cancel([part.requestId]);
    expect(await rig.untilReady(batch)).toMatchObject({ outcome: 'answered' });
    expect(rig.answerTo(part.requestId)).toBeUndefined();
  });

  test('a batch of a servable that is not held comes back refused', async () => {
    const { rig } = await rigWith();
    const batch = rig.send('nobody', [rig.part([floatInput('x', [1])])]);
    expect(await rig.untilReady(batch)).toEqual({ workerId: rig.workerId, batchId: batch, outcome: 'refused' });
  });

  test('fetches a claimed payload, and holds a large output until it is fetched', async () => {
    const { rig, folder } = await rigWith({ args: ['--inline_tensor_bytes=1000'] });
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    const values = Float32Array.from({ length: 300_000 }, (_, index) => index);
    const claim = rig.blobs.hold(new Uint8Array(values.buffer));
    const [answer] = await rig.run('half', [
      rig.part([{ name: 'x', dtype: 'float', shape: [values.length], payload: { type: 'claim', ...claim } }]),
    ]);
    const [output] = outputsOf(answer).outputs;
    if (output?.payload.type !== 'claim') throw new Error('not a claim');
    expect(output.payload.holder).toBe(rig.workerId);
    const bytes = await rig.blobs.fetch(output.payload, { signal: new AbortController().signal, timeoutMs: 1000 });
    expect(new Float32Array(bytes.slice().buffer)[299_999]).toBe(299_999 / 2 + 2);
    rig.blobs.finished(output.payload);
    await expect(rig.blobs.fetch(output.payload, { signal: new AbortController().signal, timeoutMs: 1000 })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('a payload that its holder has let go of fails that request only', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    const claim = rig.blobs.hold(new Uint8Array(4));
    rig.blobs.release(claim.claimId);
    const answers = await rig.run('half', [
      rig.part([{ name: 'x', dtype: 'float', shape: [1], payload: { type: 'claim', ...claim } }]),
      rig.part([floatInput('x', [4])]),
    ]);
    expect(errorOf(answers[0]).code).toBe('NOT_FOUND');
    expect(floatsOf(outputsOf(answers[1]).outputs[0])).toEqual([4]);
  });

  test('many answers for one gateway are sent in frames below the transport limit', async () => {
    const frames: number[] = [];
    const { rig, folder } = await rigWith({
      wrapTransport: (transport) =>
        Object.create(transport, {
          maxPayloadBytes: { value: 64 * 1024 },
          connected: { get: () => transport.connected },
          publish: {
            value: (...[subject, data, options]: Parameters<typeof transport.publish>) => {
              if (subject.endsWith('.answer')) frames.push(data.byteLength);
              transport.publish(subject, data, options);
            },
          },
        }),
    });
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': affine(0.5, 2, ['N', 1000]) })));
    const parts = Array.from({ length: 40 }, (_, index) => rig.part([floatInput('x', new Array(1000).fill(index), [1, 1000])]));
    const answers = await rig.run('half', parts);
    expect(answers.map((answer) => floatsOf(outputsOf(answer).outputs[0])[999])).toEqual(parts.map((_, index) => index / 2 + 2));
    expect(frames.length).toBeGreaterThan(2);
    expect(Math.max(...frames)).toBeLessThan(64 * 1024);
  });

  test('a batcher that sends more than its tokens allow is refused', async () => {
    const { rig, folder } = await rigWith({ args: ['--executors=1'] });
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    expect(rig.held('half')?.tokens).toBe(2);
    const batches = Array.from({ length: 6 }, () => rig.send('half', [rig.part([floatInput('x', [1])])]));
    const outcomes = await Promise.all(batches.map(rig.untilReady));
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['answered', 'answered', 'answered', 'answered', 'refused', 'refused']);
  });

  test('continues the trace of every request of a batch', async () => {
    const spans: { readonly name: string; readonly parent: string | undefined }[] = [];
    const { rig, folder } = await rigWith({
      spanProcessor: {
        onStart() {},
        onEnd: (span) => void spans.push({ name: span.name, parent: span.parentSpanContext?.spanId }),
        forceFlush: async () => {},
        shutdown: async () => {},
      },
    });
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    const traced = (id: string) => rig.part([floatInput('x', [1])], { traceparent: `00-0af7651916cd43dd8448eb211c80319c-${id}-01` });
    await rig.run('half', [traced('00000000000000a1'), traced('00000000000000b2')]);
    expect(spans).toEqual([
      { name: 'worker.batch', parent: '00000000000000a1' },
      { name: 'worker.batch', parent: '00000000000000b2' },
    ]);
  });

  test('counts batches, rows and loads', async () => {
    const { rig, folder } = await rigWith();
    const batching = { ...DEFAULT_BATCHING, allowedBatchSizes: [8] };
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() }), { batching }));
    await rig.run('half', [rig.part([floatInput('x', [1, 2, 3])])], { executeRows: 8 });
    const metrics = await rig.telemetry.metrics.metrics();
    expect(metrics).toContain('headrace_worker_batch_seconds_count{model="half",version="1"} 1');
    expect(metrics).toContain('headrace_worker_batch_rows_sum{model="half",version="1"} 3');
    expect(metrics).toContain('headrace_worker_batch_padding_rows_sum{model="half",version="1"} 5');
    expect(metrics).toContain('headrace_worker_loads_total{model="half",version="1",code="OK"} 1');
    expect(metrics).toContain(`headrace_worker_loaded_servables{worker="${rig.workerId}"} 1`);
  });

  test('drops a large output that nobody fetches within a minute, and the oldest when there are too many', async () => {
    const clock = createFakeClock();
    const { rig, folder } = await rigWith({ clock, args: ['--inline_tensor_bytes=1000', '--held_output_bytes=10000'] });
    await rig.serve(assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo() })));
    const held: Claim[] = [];
    for (let request = 0; request < 3; request++) {
      const [answer] = await rig.run('half', [rig.part([floatInput('x', new Array(1000).fill(1))])]);
      const payload = outputsOf(answer).outputs[0]?.payload;
      if (payload?.type === 'claim') held.push(payload);
    }
    const found = (claim: Claim) =>
      rig.blobs.fetch(claim, { signal: new AbortController().signal, timeoutMs: 1000 }).then(
        (bytes) => bytes.byteLength,
        (error: ServeError) => error.code,
      );
    expect(await Promise.all(held.map(found))).toEqual(['NOT_FOUND', 4000, 4000]);
    await clock.advance(60_000);
    expect(await Promise.all(held.map(found))).toEqual(['NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND']);
  });
});
