import { Counter, Gauge, Histogram, type MetricConfiguration, type Registry } from 'prom-client';
import type { ServeError, StatusCode } from '#mesh/errors.ts';
import { HotHistogram, hotMetric } from '#mesh/hot-metrics.ts';
import type { MemberId, ServableId } from '#mesh/ids.ts';
import { createRareReport } from '#mesh/rare-report.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { CallCount } from './executor-protocol.ts';

/** What a worker reports. Each writes its metric and its log line. */
export interface WorkerEvents {
  started(fact: { readonly memoryLimitBytes: number; readonly sharedExecutors: number }): void;
  draining(fact: { readonly batches: number }): void;
  stopped(): void;
  assigned(fact: {
    readonly fencingToken: number;
    readonly revision: number;
    readonly servables: number;
    readonly accepted: boolean;
  }): void;
  loadedServables(count: number): void;
  loadedOn(fact: {
    readonly id: ServableId;
    readonly executor: string;
    readonly provider: string;
    readonly remarks: readonly string[];
  }): void;
  loaded(fact: { readonly id: ServableId; readonly generation: number; readonly tookMs: number; readonly estimatedBytes: number }): void;
  loadFailed(fact: { readonly id: ServableId; readonly attempt: number; readonly final: boolean; readonly error: ServeError }): void;
  /** A runtime could not let go of a servable; its memory may not come back. */
  /** A SavedModel was imported by this worker; `byteLength`: of the result. */
  imported(fact: { readonly folder: string; readonly tookMs: number; readonly byteLength: number }): void;
  /** A servable's call of another one has ended; `id`: the one that called. */
  servableCalled(fact: { readonly id: ServableId; readonly code: StatusCode | 'OK' }): void;
  /** A line that user code writes. */
  userCodeLogged(fact: {
    readonly module: string;
    readonly message: string;
    readonly facts: Readonly<Record<string, string | number | boolean>>;
  }): void;
  unloadFailed(fact: { readonly id: ServableId; readonly error: ServeError }): void;
  unloaded(fact: { readonly id: ServableId; readonly generation: number; readonly tookMs: number }): void;
  servableLost(fact: { readonly id: ServableId; readonly error: ServeError }): void;
  /** `userCode`: the code of a user that it is put down to; `breach`: what that did. */
  executorDied(fact: {
    readonly kind: string;
    readonly reason: string;
    readonly breach: string;
    readonly id: ServableId | undefined;
    readonly userCode: string | undefined;
  }): void;
  /** Code of users ran; `failed`: which failed, and how. */
  userCodeCalled(fact: {
    readonly calls: readonly CallCount[];
    readonly failed: { readonly name: string; readonly code: StatusCode } | undefined;
  }): void;
  /** What code of users wrote to its standard output or error. */
  userCodeWrote(text: string): void;
  servableRestored(fact: { readonly kind: string; readonly id: ServableId | undefined }): void;
  warmedUp(fact: { readonly path: string; readonly status: string; readonly records: number; readonly tookMs: number }): void;
  batchRun(fact: { readonly id: ServableId; readonly rows: number; readonly executedRows: number; readonly tookMs: number }): void;
  batchFailed(fact: { readonly id: ServableId; readonly parts: number; readonly retriedApart: boolean; readonly error: ServeError }): void;
  /** `suspect`: it would have waited too long for what has to be executed alone. */
  batchRefused(fact: { readonly id: ServableId; readonly reason: 'not-held' | 'draining' | 'full' | 'lost' | 'suspect' }): void;
  partDropped(fact: { readonly id: ServableId; readonly reason: 'deadline' | 'cancelled' | 'payload' }): void;
  heldOutputs(bytes: number): void;
  answerUnsent(fact: { readonly gatewayId: MemberId; readonly error: Error }): void;
  messageUnreadable(fact: { readonly subject: string; readonly error: ServeError }): void;
}

/** Rows of a batch or of its padding, in powers of two as TF Serving counts them. */
const ROW_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];
const SECOND_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** TF Serving's buckets of microseconds: Exponential(10, 1.8, 33). */
const MICROS_BUCKETS = Array.from({ length: 33 }, (_, power) => 10 * 1.8 ** power);

/** What code of users writes is cut to so many characters. */
const LONGEST_TEXT = 2000;

/** Makes the events of one worker. Workers of one process share their metrics. */
export function createEvents(telemetry: Telemetry, workerId: MemberId): WorkerEvents {
  const log = telemetry.log.child({ workerId });
  const metrics = createMetrics(telemetry.metrics);
  const labels = (id: ServableId) => ({ model: id.name, version: String(id.version) });
  return {
    started: (fact) => log.info(fact, 'worker started'),
    draining: (fact) => log.info(fact, 'worker draining'),
    stopped: () => log.info('worker stopped'),
    assigned: (fact) =>
      log[fact.accepted ? 'debug' : 'warn'](fact, fact.accepted ? 'assignment taken' : 'assignment of an earlier leadership ignored'),
    loadedServables: (count) => metrics.loadedServables.set({ worker: workerId }, count),
    loadedOn: ({ id, remarks, ...fact }) => {
      log[remarks.length > 0 ? 'warn' : 'debug']({ ...labels(id), ...fact, remarks }, 'servable loaded on an executor');
    },
    loaded({ id, ...fact }) {
      metrics.loads.inc({ ...labels(id), code: 'OK' });
      log.info({ ...labels(id), ...fact }, 'Successfully loaded servable version');
    },
    loadFailed({ id, error, ...fact }) {
      metrics.loads.inc({ ...labels(id), code: error.code });
      log.error({ ...labels(id), ...fact, code: error.code, error: error.message }, 'servable failed to load');
    },
    imported: (fact) => log.info(fact, 'a SavedModel was imported here: no cache had it'),
    servableCalled: ({ id, code }) => metrics.servableCalls.inc({ ...labels(id), code }),
    userCodeLogged: ({ module, message, facts }) => log.info({ module, said: message, ...facts }, 'servable module says'),
    unloadFailed: ({ id, error }) => log.error({ ...labels(id), error: error.message }, 'a servable could not be unloaded cleanly'),
    unloaded: ({ id, ...fact }) => log.info({ ...labels(id), ...fact }, 'servable unloaded'),
    servableLost: ({ id, error }) => log.error({ ...labels(id), error: error.message }, 'servable lost'),
    executorDied({ kind, reason, breach, id, userCode }) {
      metrics.executorDeaths.inc({ kind });
      if (userCode !== undefined) metrics.userCodeBreaches.inc({ name: userCode, breach });
      log.error({ kind, reason, ...(id ? labels(id) : {}), ...(userCode === undefined ? {} : { userCode, breach }) }, 'executor died');
    },
    userCodeCalled({ calls, failed }) {
      for (const { name, count, tookMs } of calls) {
        metrics.userCodeCalls.inc({ name }, count);
        metrics.userCodeSeconds.inc({ name }, tookMs / 1000);
      }
      if (failed) metrics.userCodeFailures.inc(failed);
    },
    userCodeWrote: createRareReport((text, times) => log.warn({ text: text.trimEnd().slice(0, LONGEST_TEXT), times }, 'user code wrote')),
    servableRestored: ({ kind, id }) => log.info({ kind, ...(id ? labels(id) : {}) }, 'servable loaded again after a death'),
    warmedUp({ path, status, records, tookMs }) {
      metrics.warmupRecords.inc(records);
      metrics.warmupLatency.observe({ model_path: path, status }, tookMs * 1000);
      log.info({ path, status, records, tookMs }, 'servable warmed up');
    },
    batchRun({ id, rows, executedRows, tookMs }) {
      const version = String(id.version);
      metrics.batchSeconds.series(id.name, version).observe(tookMs / 1000);
      metrics.batchRows.series(id.name, version).observe(rows);
      if (executedRows > rows) metrics.paddedRows.series(id.name, version).observe(executedRows - rows);
    },
    batchFailed({ id, error, ...fact }) {
      metrics.batchFailures.inc({ ...labels(id), code: error.code });
      log.debug({ ...labels(id), ...fact, code: error.code, error: error.message }, 'batch failed');
    },
    batchRefused({ id, reason }) {
      metrics.refusals.inc({ reason });
      log.debug({ ...labels(id), reason }, 'batch refused');
    },
    partDropped: ({ id, reason }) => metrics.dropped.inc({ ...labels(id), reason }),
    heldOutputs: (bytes) => metrics.heldBytes.set({ worker: workerId }, bytes),
    answerUnsent: ({ gatewayId, error }) => log.warn({ gatewayId, error: error.message }, 'answer could not be sent'),
    messageUnreadable: createRareReport(({ subject, error }, times) =>
      log.error({ subject, error: error.message, times }, 'message could not be read'),
    ),
  };
}

function createMetrics(registry: Registry) {
  const once = <Metric>(name: string, make: () => Metric): Metric => (registry.getSingleMetric(name) as Metric | undefined) ?? make();
  const at = <Label extends string>(name: string, help: string, labelNames: readonly Label[]): MetricConfiguration<Label> => ({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
  });
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    once(name, () => new Counter(at(name, help, labelNames)));
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    once(name, () => new Gauge(at(name, help, labelNames)));
  const histogram = <Label extends string>(name: string, help: string, labelNames: readonly Label[], buckets: number[]) =>
    once(name, () => new Histogram({ ...at(name, help, labelNames), buckets }));
  /** Observed for every batch. */
  const hotHistogram = (name: string, help: string, labelNames: readonly string[], buckets: readonly number[]) =>
    hotMetric(registry, name, HotHistogram, () => new HotHistogram(name, labelNames, buckets, help));
  const servable = ['model', 'version'] as const;
  return {
    batchSeconds: hotHistogram('headrace_worker_batch_seconds', 'Time an executor spent on a batch, in seconds', servable, SECOND_BUCKETS),
    batchRows: hotHistogram('headrace_worker_batch_rows', 'Rows of requests in an executed batch', servable, ROW_BUCKETS),
    paddedRows: hotHistogram('headrace_worker_batch_padding_rows', 'Rows added to a batch to reach an allowed size', servable, ROW_BUCKETS),
    batchFailures: counter('headrace_worker_batch_failures_total', 'Batches that failed', [...servable, 'code']),
    refusals: counter('headrace_worker_refused_batches_total', 'Batches returned unexecuted', ['reason']),
    dropped: counter('headrace_worker_dropped_parts_total', 'Requests in batches that were not executed', [...servable, 'reason']),
    loads: counter('headrace_worker_loads_total', 'Attempts to load a servable', [...servable, 'code']),
    loadedServables: gauge('headrace_worker_loaded_servables', 'Servables in memory', ['worker']),
    executorDeaths: counter('headrace_worker_executor_deaths_total', 'Executor threads that died or hung', ['kind']),
    servableCalls: counter('headrace_worker_servable_calls_total', 'Calls of other servables, by the one that called', [
      ...servable,
      'code',
    ]),
    userCodeCalls: counter('headrace_worker_user_code_calls_total', 'Calls of code of users that ended', ['name']),
    userCodeSeconds: counter('headrace_worker_user_code_seconds_total', 'Time in code of users, in seconds', ['name']),
    userCodeFailures: counter('headrace_worker_user_code_failures_total', 'Calls of code of users that failed', ['name', 'code']),
    userCodeBreaches: counter(
      'headrace_worker_user_code_breaches_total',
      'Executors that code of users broke: by ending them, or by a limit of time or memory',
      ['name', 'breach'],
    ),
    heldBytes: gauge('headrace_worker_held_output_bytes', 'Bytes of outputs that wait for their gateways', ['worker']),
    warmupLatency: histogram(
      ':tensorflow:serving:model_warmup_latency',
      'Time of a warmup, in microseconds',
      ['model_path', 'status'],
      MICROS_BUCKETS,
    ),
    warmupRecords: counter(':tensorflow:serving:model_warmup_records_read', 'Warmup records replayed', []),
  };
}
