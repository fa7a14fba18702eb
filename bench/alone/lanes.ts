/**
 * The batcher's policy and lanes on one core, without network: requests of four gateways go into two lanes, batches come out, workers return
 * them at once. Prints requests per second: of the lanes alone, and with the frames decoded and encoded around them as in a mesh.
 *
 *     node lanes.ts MILLISECONDS
 */
import { parseSettings } from '#mesh/config.ts';
import { DEFAULT_BATCHING, OK_STATUS } from '#mesh/control.ts';
import type { BatchId, MemberId, RequestId, ServableId } from '#mesh/ids.ts';
import { decodeSubmit, encodeBatch, encodeSubmit, type SubmitFrame } from '#mesh/messages.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { BATCHER_SETTINGS } from '../../services/batcher/config.ts';
import { createBatcherEvents } from '../../services/batcher/events.ts';
import { createLanes } from '../../services/batcher/lanes.ts';

const GATEWAYS = 4;
const LANES = 2;
/** Requests that one gateway sends in one frame. */
const FRAME_REQUESTS = 32;
const SERVABLE: ServableId = { name: 'half', version: 1 };

const limitMs = Number(process.argv[2] ?? 1000);
run(200, false);
process.stdout.write(`${JSON.stringify({ lanesPerSecond: run(limitMs, false), withFramesPerSecond: run(limitMs, true) })}\n`);
process.exit(0);

function run(milliseconds: number, withFrames: boolean): number {
  const id = 'batcher-bench' as MemberId;
  const worker = 'worker-bench' as MemberId;
  const sent: BatchId[] = [];
  let dispatched = 0;
  let answered = 0;
  const lanes = createLanes({
    id,
    settings: parseSettings(BATCHER_SETTINGS, { args: [], env: {} }).values,
    ports: {
      send(_, frame) {
        if (withFrames) encodeBatch(frame);
        dispatched += frame.parts.length;
        sent.push(frame.batchId);
      },
      settled() {},
      answer() {
        answered++;
      },
      drop() {},
    },
    events: createBatcherEvents(createSilentTelemetry(), id),
    tracing: null,
    maxMessageBytes: 1024 * 1024,
  });
  const held = {
    id: SERVABLE,
    generation: 1,
    state: 'AVAILABLE',
    status: OK_STATUS,
    tokens: 2,
    estimatedBytes: 0,
    batching: { ...DEFAULT_BATCHING, maxBatchSize: 64 },
    stateful: false,
  } as const;
  lanes.announced(
    worker,
    { fencingToken: 1, assignmentRevision: 1, memoryLimitBytes: 0, servables: [held], draining: false },
    performance.now(),
  );

  const frames = Array.from({ length: GATEWAYS }, (_, gateway) => submitFrame(gateway));
  const encoded = frames.map(encodeSubmit);
  const startedAt = performance.now();
  let now = startedAt;
  while (now - startedAt < milliseconds) {
    for (let gateway = 0; gateway < GATEWAYS; gateway++) {
      const frame = withFrames ? decodeSubmit(encoded[gateway] ?? new Uint8Array(0)) : frames[gateway];
      if (frame !== undefined) lanes.submit(frame, now);
    }
    lanes.dispatch(now);
    // Batches that come back free tokens for what is still queued.
    while (sent.length > 0) {
      for (const batchId of sent.splice(0)) lanes.ready({ workerId: worker, batchId, outcome: 'answered' }, now);
      lanes.dispatch(now);
    }
    now = performance.now();
  }
  if (answered > 0 || lanes.heldRequests > 0)
    throw new Error(`${answered} requests were refused and ${lanes.heldRequests} are held: the figure is void`);
  return (dispatched * 1000) / (now - startedAt);
}

/** Request ids are free again once the request is done, so that the same frame can be sent in every turn. */
function submitFrame(gateway: number): SubmitFrame {
  const requests = Array.from({ length: FRAME_REQUESTS }, (_, index) => ({
    requestId: (gateway * FRAME_REQUESTS + index + 1) as RequestId,
    servable: SERVABLE,
    signature: 'serving_default',
    outputs: ['y'],
    laneKey: `half@1|serving_default|y|lane${index % LANES}`,
    rows: 1,
    budgetMs: 30_000,
    attempt: 0,
    traceparent: '',
    body: new Uint8Array(64),
  }));
  return { gatewayId: `gateway-bench-${gateway}` as MemberId, requests };
}
