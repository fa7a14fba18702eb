import { Counter, Gauge, type Metric, type Registry } from 'prom-client';
import { HotCounter, HotHistogram, hotMetric } from '#mesh/hot-metrics.ts';
import type { MemberId } from '#mesh/ids.ts';
import { createRareReport } from '#mesh/rare-report.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { RefusalReason } from './admission.ts';
import type { CloseReason } from './batch-policy.ts';
import type { LaneGroup } from './lane-group.ts';

/** Why requests went back to their lanes. */
export type RequeueReason = 'refused' | 'undelivered' | 'worker-lost' | 'missing' | 'suspect';

/** What the batcher reports: each event is one function that writes metric and log together. */
export interface BatcherEvents {
  batchClosed(batch: {
    readonly group: LaneGroup;
    readonly workerId: MemberId;
    readonly reason: CloseReason | 'suspect';
    readonly requestCount: number;
    /** 0 for a request that cannot share a batch. */
    readonly rows: number;
    readonly executeRows: number;
  }): void;
  /** A request (or part of one) left its lane in a batch after `queuedMs`. */
  dequeued(group: LaneGroup, queuedMs: number): void;
  /** A request is answered with an error by the batcher itself. */
  refused(group: LaneGroup, reason: RefusalReason, message: string): void;
  /** A resent request that is held already. */
  duplicate(group: LaneGroup): void;
  requeued(group: LaneGroup, reason: RequeueReason, requestCount: number): void;
  workerLost(worker: { readonly workerId: MemberId; readonly batchCount: number; readonly excused: boolean }): void;
  quarantined(group: LaneGroup, quarantine: { readonly crashCount: number; readonly forMs: number }): void;
  /** Requests held in lanes changed by this much since the last call. */
  queuedChanged(by: number): void;
  /** A message that cannot be read: another version, or broken. */
  unreadable(subject: string, problem: unknown): void;
  draining(heldCount: number): void;
  drained(leftCount: number): void;
}

/** Reports to the process's telemetry. Batchers that share one registry share the metrics in it. */
export function createBatcherEvents({ log, metrics }: Telemetry, id: MemberId): BatcherEvents {
  const logger = log.child({ batcher: id });
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    shared(metrics, name, () => new Counter<Label>({ name, help, labelNames: [...labelNames], registers: [metrics] }));
  // What is counted for every batch or request.
  const hotCounter = (name: string, help: string, labelNames: readonly string[] = []) =>
    hotMetric(metrics, name, HotCounter, () => new HotCounter(name, labelNames, help));
  const histogram = (name: string, help: string, buckets: readonly number[], labelNames: readonly string[] = []) =>
    hotMetric(metrics, name, HotHistogram, () => new HotHistogram(name, labelNames, buckets, help));

  const queuingLatency = histogram(
    ':tensorflow:serving:batching_session:queuing_latency',
    'Microseconds that a request waited in its lane.',
    exponential(100, 1.2, 52),
    ['thread_pool_name'],
  );
  const wrappedRuns = hotCounter(':tensorflow:serving:batching_session:wrapped_run_count', 'Batches sent for execution.').series();
  const sizes = exponential(1, 2, 14);
  const padding = histogram(':tensorflow:serving:batching_session:padding_size', 'Rows added to reach an allowed batch size.', sizes, [
    'execution_batch_size',
  ]);
  const inputSize = histogram(':tensorflow:serving:batching_session:input_batch_size', 'Rows of a batch before padding.', sizes).series();
  const processedSize = histogram(
    ':tensorflow:serving:batching_session:processed_batch_size',
    'Rows of a batch after padding.',
    sizes,
  ).series();
  const queued = shared(
    metrics,
    'headrace_batcher_queued_requests',
    () => new Gauge({ name: 'headrace_batcher_queued_requests', help: 'Requests waiting in lanes.', registers: [metrics] }),
  );
  const batches = hotCounter('headrace_batcher_batches_total', 'Batches sent to workers, by why they were closed.', [
    'model',
    'version',
    'reason',
  ]);
  const batchRows = histogram('headrace_batcher_batch_rows', 'Rows of a batch before padding.', sizes, ['model', 'version']);
  const refusals = counter('headrace_batcher_refused_total', 'Requests answered with an error by the batcher.', [
    'model',
    'version',
    'reason',
  ]);
  const requeues = counter('headrace_batcher_requeued_total', 'Requests put back into their lanes.', ['model', 'version', 'reason']);
  const duplicates = counter('headrace_batcher_duplicates_total', 'Resent requests that were held already.', ['model', 'version']);
  const lostWorkers = counter('headrace_batcher_lost_workers_total', 'Workers lost with batches under way.', ['excused']);
  const quarantines = counter('headrace_batcher_quarantines_total', 'Servables quarantined because they kept ending workers.', [
    'model',
    'version',
  ]);
  const logUnreadable = createRareReport<{ readonly subject: string; readonly problem: unknown }>(({ subject, problem }, times) =>
    logger.warn({ subject, err: problem, times }, 'message not readable'),
  );
  const unreadables = counter('headrace_batcher_unreadable_messages_total', 'Messages that could not be decoded.');

  return {
    batchClosed({ group, workerId, reason, requestCount, rows, executeRows }) {
      batches.series(group.id.name, group.version, reason).value++;
      wrappedRuns.value++;
      if (rows > 0) {
        batchRows.series(group.id.name, group.version).observe(rows);
        inputSize.observe(rows);
        processedSize.observe(executeRows);
        padding.series(String(executeRows)).observe(executeRows - rows);
      }
      if (logger.isLevelEnabled('debug'))
        logger.debug({ servable: group.key, worker: workerId, reason, requestCount, rows, executeRows }, 'batch closed');
    },
    dequeued(group, queuedMs) {
      queuingLatency.series(group.batching?.threadPoolName ?? 'unbatched').observe(queuedMs * 1000);
    },
    refused(group, reason, message) {
      refusals.inc({ model: group.id.name, version: group.version, reason });
      if (logger.isLevelEnabled('debug')) logger.debug({ servable: group.key, reason, answer: message }, 'request refused');
    },
    duplicate(group) {
      duplicates.inc({ model: group.id.name, version: group.version });
    },
    requeued(group, reason, requestCount) {
      requeues.inc({ model: group.id.name, version: group.version, reason }, requestCount);
      logger.info({ servable: group.key, reason, requestCount }, 'requests put back');
    },
    workerLost({ workerId, batchCount, excused }) {
      lostWorkers.inc({ excused: String(excused) });
      logger.warn({ worker: workerId, batchCount, excused }, 'worker lost with batches under way');
    },
    quarantined(group, { crashCount, forMs }) {
      quarantines.inc({ model: group.id.name, version: group.version });
      logger.error({ servable: group.key, crashCount, forMs }, 'servable quarantined');
    },
    queuedChanged(by) {
      queued.inc(by);
    },
    unreadable(subject, problem) {
      unreadables.inc();
      logUnreadable({ subject, problem });
    },
    draining(heldCount) {
      logger.info({ heldCount }, 'batcher drains');
    },
    drained(leftCount) {
      logger.info({ leftCount }, 'batcher left');
    },
  };
}

/** The metric of this name in the registry, made when it is not there: registering a name twice throws. */
function shared<M extends Metric>(registry: Registry, name: string, make: () => M): M {
  return (registry.getSingleMetric(name) as M | undefined) ?? make();
}

/** TensorFlow's exponential buckets: `count` bounds from `start`, each `factor` times the one before. */
function exponential(start: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, power) => start * factor ** power);
}
