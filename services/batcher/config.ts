import type { Declaration, SettingsOf } from '#mesh/config.ts';

/** The batcher's settings. None may change while it runs; batch sizes and timeouts are per servable and come with the workers' presence. */
export const BATCHER_SETTINGS = {
  drainMs: {
    name: 'batcher_drain_ms',
    type: 'int',
    default: 10_000,
    min: 0,
    max: 3_600_000,
    group: 'Headrace',
    treatment: 'honoured',
    help: 'How long a stopping batcher finishes the requests it holds, in ms; what is still queued then is handed back for another batcher.',
  },
  maxQueuedRequests: {
    name: 'batcher_max_queued_requests',
    type: 'int',
    default: 4096,
    min: 1,
    max: 1_000_000,
    group: 'Headrace',
    treatment: 'honoured',
    help: 'Requests that a lane of a servable without batching may hold; more are refused with UNAVAILABLE. With batching the bound is max_enqueued_batches * max_batch_size rows.',
  },
  maxHeldBytes: {
    name: 'batcher_max_held_bytes',
    type: 'int',
    default: 512 * 1024 * 1024,
    min: 1024 * 1024,
    max: Number.MAX_SAFE_INTEGER,
    group: 'Headrace',
    treatment: 'honoured',
    help: 'Bytes of requests that one batcher may hold over all lanes, queued or sent and not yet answered; more are refused with UNAVAILABLE.',
  },
  maxBatchBytes: {
    name: 'batcher_max_batch_bytes',
    type: 'int',
    default: 16 * 1024 * 1024,
    min: 1024,
    max: 1024 * 1024 * 1024,
    group: 'Headrace',
    treatment: 'honoured',
    help: 'Bytes of inline tensors after which a batch is closed. Never more than fits one message of the transport, whatever is set here.',
  },
  noWorkerWaitMs: {
    name: 'batcher_no_worker_wait_ms',
    type: 'int',
    default: 5000,
    min: 0,
    max: 3_600_000,
    group: 'Headrace',
    treatment: 'honoured',
    help: 'How long a request waits, within its deadline, while no worker serves its servable, in ms; then it is answered UNAVAILABLE.',
  },
  quarantineCrashes: {
    name: 'batcher_quarantine_crashes',
    type: 'int',
    default: 3,
    min: 1,
    max: 1000,
    group: 'Headrace',
    treatment: 'honoured',
    help: 'Workers that requests of a servable may end within 60 s before the servable is quarantined. Counted once a request ended one while it was alone on it.',
  },
  quarantineMs: {
    name: 'batcher_quarantine_ms',
    type: 'int',
    default: 30_000,
    min: 0,
    max: 86_400_000,
    group: 'Headrace',
    treatment: 'honoured',
    help: 'How long a quarantined servable is answered UNAVAILABLE at once, in ms.',
  },
} as const satisfies Declaration;

/** A batcher's settings after flags, environment and file were read and checked. Fixed while the process runs. */
export type BatcherSettings = SettingsOf<typeof BATCHER_SETTINGS>;
