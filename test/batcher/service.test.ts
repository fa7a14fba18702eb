import { describe, expect, test } from '@jest/globals';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { decodeTensors, encodeBatch } from '#mesh/messages.ts';
import { createTelemetry } from '#mesh/telemetry.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { batching, held, inputsOf, request, SERVABLE, settingsWith, startHarness, valuesOf } from './harness.ts';

const slow = { batchTimeoutMicros: 10_000 };

describe('batcher', () => {
  test('a frame is taken in whole before a batch is closed', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    await mesh.addGateway().submit(request(1), request(2), request(3));
    expect(worker.ids()).toEqual([[1, 2, 3]]);
    expect(worker.batches[0]).toMatchObject({ batcherId: mesh.batcher.id, servable: SERVABLE, executeRows: 3, padRagged: false });
  });

  test('frames of several gateways in one turn share a batch', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    await Promise.all([mesh.addGateway('gateway-a').submit(request(1)), mesh.addGateway('gateway-b').submit(request(1, { rows: 2 }))]);
    expect(worker.batches.map(({ parts }) => parts.map(({ gatewayId, totalRows }) => [gatewayId, totalRows]))).toEqual([
      [
        ['gateway-a', 1],
        ['gateway-b', 2],
      ],
    ]);
  });

  test('a busy worker gets the next batch when it returns its token, filled to the limit', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    for (const id of [2, 3, 4, 5, 6, 7]) await gateway.submit(request(id));
    expect(worker.ids()).toEqual([[1]]);
    for (let round = 0; round < 3; round++) for (const batch of [...worker.batches]) await worker.ready(batch);
    expect(worker.ids()).toEqual([[1], [2, 3, 4, 5], [6, 7]]);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('requests pass through byte for byte, with the time they waited and the time they have left', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2, { budgetMs: 100, body: inputsOf([1.5, -2]), rows: 2, traceparent: 'trace' }));
    await mesh.clock.advance(30);
    for (const batch of [...worker.batches]) await worker.ready(batch);
    const part = worker.batches[0]?.parts[0];
    expect(part).toMatchObject({ queuedMs: 30, budgetMs: 70, rowStart: 0, rowCount: 2, totalRows: 2, traceparent: 'trace' });
    expect(valuesOf(decodeTensors(part?.body ?? new Uint8Array(0))[0])).toEqual([1.5, -2]);
  });

  test('different lanes never share a batch and take turns', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ batching: batching({ maxBatchSize: 2 }) })]);
    const gateway = mesh.addGateway();
    const other = { laneKey: 'other', signature: 'other', outputs: ['z', 'y'] };
    await gateway.submit(request(1), request(2), request(3), request(4), request(5, other), request(6, other));
    while (worker.batches[0]) await worker.ready(worker.batches[0]);
    expect(worker.ids()).toEqual([
      [1, 2],
      [5, 6],
      [3, 4],
    ]);
    expect(worker.received.map(({ signature, outputs }) => [signature, outputs])).toEqual([
      ['serving_default', ['y']],
      ['other', ['z', 'y']],
      ['serving_default', ['y']],
    ]);
  });

  test('while the worker is busy, a spare token waits for the delay and not for more', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 2, batching: batching({ maxBatchSize: 4, ...slow }) })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2));
    await mesh.clock.advance(5);
    await gateway.submit(request(3));
    await mesh.clock.advance(4);
    expect(worker.ids()).toEqual([[1]]);
    await mesh.clock.advance(1);
    expect(worker.ids()).toEqual([[1], [2, 3]]);
  });

  test('a near deadline closes a batch before its delay is over', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 2, batching: batching({ maxBatchSize: 4, batchTimeoutMicros: 1_000_000 }) })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2, { budgetMs: 50 }), request(3));
    await mesh.clock.advance(47);
    expect(worker.ids()).toEqual([[1]]);
    await mesh.clock.advance(1);
    expect(worker.ids()).toEqual([[1], [2, 3]]);
    expect(worker.batches[1]?.parts[0]?.budgetMs).toBe(2);
  });

  test('batches are padded to the next allowed size', async () => {
    await using mesh = await startHarness();
    const limits = batching({ maxBatchSize: 8, allowedBatchSizes: [2, 8], padVariableLengthInputs: true });
    const worker = await mesh.addWorker([held({ batching: limits })]);
    await mesh.addGateway().submit(request(1, { rows: 3 }));
    expect(worker.batches[0]).toMatchObject({ executeRows: 8, padRagged: true });
  });

  test('a request that cannot share a batch goes alone, in order', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 3 })]);
    await mesh.addGateway().submit(request(1, { rows: 0 }), request(2, { rows: 0 }), request(3), request(4));
    expect(worker.ids()).toEqual([[1], [2], [3, 4]]);
    expect(worker.batches[0]).toMatchObject({ executeRows: 0, parts: [{ rowStart: 0, rowCount: 0, totalRows: 0 }] });
    expect(worker.batches[2]?.executeRows).toBe(2);
  });

  test('with batching off every request goes alone', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 2, batching: null })]);
    await mesh.addGateway().submit(request(1, { rows: 500 }), request(2), request(3));
    expect(worker.ids()).toEqual([[1], [2]]);
    expect(worker.batches[0]).toMatchObject({ executeRows: 0, parts: [{ rowStart: 0, rowCount: 0, totalRows: 0 }] });
  });

  test('a request that does not fit waits for the next batch', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 2 })]);
    await mesh.addGateway().submit(request(1, { rows: 3 }), request(2, { rows: 2 }), request(3));
    expect(worker.ids()).toEqual([[1], [2, 3]]);
  });

  test('a large request is split to fill batches', async () => {
    await using mesh = await startHarness();
    const limits = batching({ maxBatchSize: 8, maxExecutionBatchSize: 4, enableLargeBatchSplitting: true });
    const worker = await mesh.addWorker([held({ tokens: 4, batching: limits })]);
    await mesh.addGateway().submit(request(1), request(2, { rows: 9 }), request(3));
    const cuts = worker.received.map(({ parts }) => parts.map((part) => [part.requestId, part.rowStart, part.rowCount, part.totalRows]));
    expect(cuts).toEqual([
      [
        [1, 0, 1, 1],
        [2, 0, 3, 9],
      ],
      [[2, 3, 4, 9]],
      [
        [2, 7, 2, 9],
        [3, 0, 1, 1],
      ],
    ]);
    for (const batch of [...worker.batches]) await worker.ready(batch);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test("a request larger than a batch is refused in TensorFlow Serving's words", async () => {
    await using mesh = await startHarness();
    await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1, { rows: 5 }));
    const message = 'Task size 5 is larger than maximum input batch size 4';
    expect(gateway.errors()).toEqual([{ id: 1, code: 'INVALID_ARGUMENT', message, resend: false }]);
  });

  test('a request larger than a batch is refused also when the worker came after it', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1, { rows: 5 }), request(2));
    const worker = await mesh.addWorker();
    expect(gateway.errors().map(({ id, code }) => [id, code])).toEqual([[1, 'INVALID_ARGUMENT']]);
    expect(worker.ids()).toEqual([[2]]);
  });

  test('a full lane refuses at once, and all refusals of a turn travel in one frame', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ batching: batching({ maxBatchSize: 1, maxEnqueuedBatches: 2 }) })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2), request(3), request(4), request(5));
    const message =
      'The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and max_enqueued_batches is 2';
    expect(gateway.errors()).toEqual([4, 5].map((id) => ({ id, code: 'UNAVAILABLE', message, resend: false })));
    expect(gateway.frames).toEqual([2]);
    expect(worker.ids()).toEqual([[1]]);
  });

  test('bytes held are bounded over all lanes, and freed when batches return', async () => {
    await using mesh = await startHarness({ settings: { maxHeldBytes: 20_000 } });
    const worker = await mesh.addWorker([held({ batching: null })]);
    const gateway = mesh.addGateway();
    const large = (id: number) => request(id, { body: new Uint8Array(9_000), laneKey: `lane ${id}` });
    await gateway.submit(large(1), large(2), large(3));
    expect(gateway.errors().map(({ id, code }) => [id, code])).toEqual([[3, 'UNAVAILABLE']]);
    expect(gateway.errors()[0]?.message).toContain('its limit is 20000 (batcher_max_held_bytes)');
    if (worker.batches[0]) await worker.ready(worker.batches[0]);
    await gateway.submit(large(4));
    expect(gateway.errors()).toHaveLength(1);
  });

  test('a batch never exceeds a message of the transport', async () => {
    await using mesh = await startHarness({ maxPayloadBytes: 8192 });
    const worker = await mesh.addWorker([held({ tokens: 9, batching: batching({ maxBatchSize: 100 }) })]);
    const gateway = mesh.addGateway();
    const ids = [1, 2, 3, 4, 5];
    await gateway.submit(...ids.map((id) => request(id, { body: new Uint8Array(2000) })));
    expect(worker.ids().flat()).toEqual(ids);
    expect(worker.received.length).toBeGreaterThan(1);
    for (const batch of worker.received) expect(encodeBatch(batch).byteLength).toBeLessThanOrEqual(8192);
    await gateway.submit(request(6, { body: new Uint8Array(8000) }));
    expect(gateway.errors().map(({ id, code }) => [id, code])).toEqual([[6, 'INVALID_ARGUMENT']]);
  });

  test('batches go to the idle worker, then to the one with most free tokens, and in turn among equals', async () => {
    await using mesh = await startHarness();
    const one = held({ tokens: 2, batching: null });
    const workers = [await mesh.addWorker([one], 'worker-a'), await mesh.addWorker([{ ...one, tokens: 3 }], 'worker-b')];
    const gateway = mesh.addGateway();
    for (const id of [1, 2, 3, 4, 5, 6]) await gateway.submit(request(id));
    expect(workers.map((worker) => worker.ids().flat().length)).toEqual([2, 3]);
    expect(workers.map((worker) => worker.ids().flat()[0]).sort()).toEqual([1, 2]);
    await using even = await startHarness();
    const equals = [await even.addWorker([one]), await even.addWorker([one])];
    const client = even.addGateway();
    for (const id of [1, 2, 3, 4]) {
      await client.submit(request(id));
      for (const worker of equals) for (const batch of [...worker.batches]) await worker.ready(batch);
    }
    expect(equals.map((worker) => worker.ids().flat().length)).toEqual([2, 2]);
  });

  test('a worker gets as many batches at once as it offers tokens', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 2, batching: batching({ maxBatchSize: 1 }) })]);
    await mesh.addGateway().submit(request(1), request(2), request(3));
    expect(worker.ids()).toEqual([[1], [2]]);
  });

  test('an expired request never reaches a worker', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2, { budgetMs: 20 }), request(3), request(4, { budgetMs: 0 }));
    await mesh.clock.advance(20);
    const message = 'Timed out waiting for notification';
    expect(gateway.errors()).toEqual([4, 2].map((id) => ({ id, code: 'DEADLINE_EXCEEDED', message, resend: false })));
    if (worker.batches[0]) await worker.ready(worker.batches[0]);
    expect(worker.ids()).toEqual([[1], [3]]);
  });

  test('a cancelled request leaves silently; one that was sent is dropped at its worker', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(9));
    await gateway.submit(request(2), request(3));
    await gateway.cancel(1, 2, 77);
    expect(worker.drops).toEqual([{ gatewayId: gateway.id, requestIds: [1] }]);
    if (worker.batches[0]) await worker.ready(worker.batches[0]);
    expect(worker.ids()).toEqual([[1, 9], [3]]);
    expect(gateway.answers).toEqual([]);
  });

  test('a resent request that waits is not queued twice', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(2));
    await gateway.submit(request(2, { attempt: 1 }));
    while (worker.batches[0]) await worker.ready(worker.batches[0]);
    expect(worker.ids()).toEqual([[1], [2]]);
    await gateway.submit(request(2, { attempt: 2 }));
    expect(worker.ids()).toEqual([[1], [2], [2]]);
  });

  test('a request resent while a worker has it is executed again only after that', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 2 })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1, { budgetMs: 500 }), request(2));
    await gateway.submit(request(1, { attempt: 1, budgetMs: 400 }));
    expect(worker.ids()).toEqual([[1, 2]]);
    await mesh.clock.advance(100);
    while (worker.batches[0]) await worker.ready(worker.batches[0]);
    expect(worker.ids()).toEqual([[1, 2], [1]]);
    expect(worker.received[1]?.parts[0]?.budgetMs).toBe(300);
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('a resent request to a stateful servable is not executed twice', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ stateful: true })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(request(1, { attempt: 1 }));
    while (worker.batches[0]) await worker.ready(worker.batches[0]);
    expect(worker.ids()).toEqual([[1]]);
  });

  test('a draining worker gets nothing new and keeps what it has', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 2, batching: null })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await worker.announce({ draining: true });
    await gateway.submit(request(2));
    if (worker.batches[0]) await worker.ready(worker.batches[0]);
    expect(worker.ids()).toEqual([[1]]);
    const next = await mesh.addWorker();
    expect(next.ids()).toEqual([[2]]);
    expect(gateway.answers).toEqual([]);
  });

  test('without a worker a request waits a while, and its deadline if that is earlier', async () => {
    await using mesh = await startHarness({ settings: { noWorkerWaitMs: 5000 } });
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(2, { budgetMs: 1000 }));
    await mesh.clock.advance(1000);
    expect(gateway.errors().map(({ id, code }) => [id, code])).toEqual([[2, 'DEADLINE_EXCEEDED']]);
    await mesh.clock.advance(3999);
    expect(gateway.errors()).toHaveLength(1);
    await mesh.clock.advance(1);
    const message = 'No worker serves m@1; waited 5000 ms for one';
    expect(gateway.errors()[1]).toEqual({ id: 1, code: 'UNAVAILABLE', message, resend: false });
    expect(mesh.batcher.heldRequests).toBe(0);
  });

  test('a worker that comes in time gets what waited for it', async () => {
    await using mesh = await startHarness();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(2));
    await mesh.clock.advance(3000);
    const worker = await mesh.addWorker();
    expect(worker.ids()).toEqual([[1, 2]]);
    await mesh.clock.advance(10_000);
    expect(gateway.answers).toEqual([]);
  });

  test('batches follow the limits of the newest announcement', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker();
    const gateway = mesh.addGateway();
    await gateway.submit(request(1));
    await gateway.submit(...[2, 3, 4, 5].map((id) => request(id)));
    await worker.announce({ servables: [held({ batching: batching({ maxBatchSize: 2 }) })] });
    while (worker.batches[0]) await worker.ready(worker.batches[0]);
    expect(worker.ids()).toEqual([[1], [2, 3], [4, 5]]);
  });

  test('a message that cannot be read is counted and disturbs nothing', async () => {
    await using telemetry = createTelemetry({ service: 'test', logLevel: 'silent', otlpEndpoint: '' });
    await using mesh = await startHarness({ telemetry });
    const worker = await mesh.addWorker();
    for (const subject of [
      mesh.subjects.submit(mesh.batcher.id),
      mesh.subjects.ready(mesh.batcher.id),
      mesh.subjects.cancel(mesh.batcher.id),
    ])
      mesh.transport.publish(subject, new Uint8Array([99, 1, 2]));
    await mesh.addGateway().submit(request(1));
    expect(worker.ids()).toEqual([[1]]);
    expect(await telemetry.metrics.metrics()).toContain('headrace_batcher_unreadable_messages_total 3');
  });

  test('two batchers share one registry, and metrics tell what happened', async () => {
    await using telemetry = createTelemetry({ service: 'test', logLevel: 'silent', otlpEndpoint: '' });
    await using mesh = await startHarness({ telemetry });
    await using _other = await startHarness({ telemetry });
    const limits = batching({ maxBatchSize: 4, allowedBatchSizes: [4], threadPoolName: 'pool' });
    const worker = await mesh.addWorker([held({ batching: limits })]);
    const gateway = mesh.addGateway();
    await gateway.submit(request(1), request(2), request(3));
    await gateway.submit(request(4), request(5, { rows: 9 }));
    const text = await telemetry.metrics.metrics();
    for (const line of [
      'headrace_batcher_batches_total{model="m",version="1",reason="idle-worker"} 1',
      'headrace_batcher_batch_rows_sum{model="m",version="1"} 3',
      'headrace_batcher_queued_requests 1',
      'headrace_batcher_refused_total{model="m",version="1",reason="too-large"} 1',
      ':tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name="pool"} 3',
      ':tensorflow:serving:batching_session:padding_size_sum{execution_batch_size="4"} 1',
      ':tensorflow:serving:batching_session:input_batch_size_sum 3',
      ':tensorflow:serving:batching_session:processed_batch_size_sum 4',
      ':tensorflow:serving:batching_session:wrapped_run_count 1',
    ])
      expect(text).toContain(line);
    expect(text).toContain('queuing_latency_bucket{le="100",thread_pool_name="pool"} 3');
    expect(worker.batches[0]?.executeRows).toBe(4);
  });

  test('a span of the queue stands between the caller and the worker', async () => {
    const exporter = new InMemorySpanExporter();
    await using telemetry = createTelemetry({
      service: 'test',
      logLevel: 'silent',
      otlpEndpoint: '',
      spanProcessor: new SimpleSpanProcessor(exporter),
    });
    await using mesh = await startHarness({ telemetry });
    const worker = await mesh.addWorker();
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    await mesh.addGateway().submit(request(1, { traceparent: `00-${traceId}-b7ad6b7169203331-01` }));
    const [span] = exporter.getFinishedSpans();
    expect(span?.name).toBe('batcher.queue');
    expect(span?.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
    expect(worker.batches[0]?.parts[0]?.traceparent).toBe(`00-${traceId}-${span?.spanContext().spanId}-01`);
  });
});

describe('lanes nobody uses', () => {
  test('are forgotten after a minute, and at once when somebody makes up many', async () => {
    const { createLanes } = await import('../../services/batcher/lanes.ts');
    const { createBatcherEvents } = await import('../../services/batcher/events.ts');
    const { createSilentTelemetry } = await import('#mesh/telemetry.ts');
    const id = (await import('#mesh/ids.ts')).newMemberId('batcher');
    const broker = createMemoryBroker().connect();
    const sent: number[] = [];
    const lanes = createLanes({
      id,
      settings: settingsWith(),
      events: createBatcherEvents(createSilentTelemetry(), id),
      tracing: null,
      maxMessageBytes: broker.maxPayloadBytes,
      ports: { send: (_, { batchId }) => void sent.push(batchId), settled() {}, answer() {}, drop() {} },
    });
    const detail = {
      fencingToken: 1,
      assignmentRevision: 1,
      memoryLimitBytes: 0,
      draining: false,
      servables: [held({ tokens: 1_000_000 })],
    };
    lanes.announced(id, detail, 0);
    for (let index = 1; index <= 25_000; index++) {
      lanes.submit({ gatewayId: id, requests: [request(index, { laneKey: `lane ${index}` })] }, index / 1000);
      lanes.dispatch(index / 1000);
    }
    expect(sent).toHaveLength(25_000);
    expect(lanes.laneCount).toBeLessThanOrEqual(10_000);
    expect(lanes.dispatch(100_000)).toBeGreaterThan(100_000);
    expect(lanes.laneCount).toBe(0);
  });
});
