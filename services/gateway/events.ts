/** What the gateway reports: TensorFlow Serving's metrics under its names, ours, and the log lines. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { ServeError, StatusCode } from '#mesh/errors.ts';
import { HotCounter, HotHistogram, hotMetric } from '#mesh/hot-metrics.ts';
import type { AnswerTimings } from '#mesh/messages.ts';
import { createRareReport } from '#mesh/rare-report.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { InferRequest } from './core.ts';
import type { InferClientEvents, ResendReason } from './infer-client.ts';

/** A request that a protocol has answered. */
export interface FinishedRequest {
  /** As the client named it; null when it named none. */
  readonly model: string | null;
  /** The API's name: `predict`, `classify`, …; empty for what runs no model. */
  readonly method: string;
  readonly code: StatusCode | 'OK';
  /** Instants on the gateway's Clock, in ms. */
  readonly startedMs: number;
  readonly finishedMs: number;
}

/** What a protocol reports. */
export interface ProtocolEvents {
  requestFinished(request: FinishedRequest): void;
}

/** Everything a gateway reports: each call writes its metrics and its log line together. */
export interface GatewayEvents extends InferClientEvents {
  readonly rest: ProtocolEvents;
  readonly grpc: ProtocolEvents;
  /** Examples of an answered Classify, Regress or MultiInference. */
  examplesAnswered(model: string, exampleCount: number): void;
  routingTrouble(error: ServeError): void;
  /** A message that is not an answer cannot be read. */
  messageUnreadable(fact: { readonly subject: string; readonly error: ServeError }): void;
  portOpened(fact: { readonly entrypoint: 'gRPC' | 'REST'; readonly address: string }): void;
  portsEqual(port: number): void;
  drainStarted(inFlight: number): void;
}

/** Where reports go, and what the gauges read whenever metrics are collected. */
export interface GatewayEventsDeps {
  readonly telemetry: Telemetry;
  /** True for models of the routing table. Other names share one label value, so that clients cannot make new ones. */
  readonly isKnown: (model: string) => boolean;
  readonly inFlight: () => number;
  readonly heldBytes: () => number;
  readonly payloadBytes?: () => number;
}

/** The `model_name` of requests for models that are not there. */
export const UNKNOWN_MODEL = '(unknown)';
/** TF Serving's buckets of request latencies: 10 µs times 1.8^i. */
const LATENCY_BUCKETS = exponential(10, 1.8, 33);
const EXAMPLE_BUCKETS = exponential(1, 2, 20);

/** Makes the gateway's metrics in the process's registry (or finds them there) and the functions that write them. */
export function createGatewayEvents({ telemetry, isKnown, inFlight, heldBytes, payloadBytes = () => 0 }: GatewayEventsDeps): GatewayEvents {
  const { log, metrics } = telemetry;
  const requestCount = hotCounter(metrics, ':tensorflow:serving:request_count', ['model_name', 'status']);
  const requestLatency = latencies(metrics, ':tensorflow:serving:request_latency', ['model_name', 'API', 'entrypoint']);
  const runtimeLatency = latencies(metrics, ':tensorflow:serving:runtime_latency', ['model_name', 'API', 'runtime']);
  const exampleCounts = histogram(metrics, ':tensorflow:serving:request_example_counts', ['model'], EXAMPLE_BUCKETS);
  const exampleTotal = counter(metrics, ':tensorflow:serving:request_example_count_total', ['model']);
  const resends = counter(metrics, 'headrace_gateway_resends_total', ['reason']);
  const queued = latencies(metrics, 'headrace_gateway_queued_microseconds', ['model_name']);
  gauge(metrics, 'headrace_gateway_requests_in_flight', inFlight);
  gauge(metrics, 'headrace_gateway_held_bytes', heldBytes);
  gauge(metrics, 'headrace_gateway_payload_bytes', payloadBytes);

  function label(model: string | null): string {
    if (model === null || model === '') return '';
    return isKnown(model) ? model : UNKNOWN_MODEL;
  }

  function protocol(entrypoint: 'REST' | 'GRPC'): ProtocolEvents {
    return {
      requestFinished({ model, method, code, startedMs, finishedMs }) {
        const name = label(model);
        requestCount.series(name, code).value++;
        if (code === 'OK') requestLatency.series(name, method, entrypoint).observe((finishedMs - startedMs) * 1000);
      },
    };
  }

  return {
    rest: protocol('REST'),
    grpc: protocol('GRPC'),
    answered({ servable, signature }: InferRequest, timings: AnswerTimings) {
      const { name } = servable.id;
      runtimeLatency.series(name, apiOf(signature.method), 'ONNX').observe(timings.executedMs * 1000);
      queued.series(name).observe(timings.queuedMs * 1000);
    },
    resent(reason: ResendReason) {
      resends.labels(reason).inc();
      log.debug({ reason }, 'request sent again');
    },
    answerUnreadable: createRareReport((error, times) => log.error({ err: error, times }, 'an answer from a worker cannot be read')),
    messageUnreadable: createRareReport(({ subject, error }, times) =>
      log.error({ subject, error: error.message, times }, 'a message cannot be read'),
    ),
    examplesAnswered(model, exampleCount) {
      exampleCounts.labels(model).observe(exampleCount);
      exampleTotal.labels(model).inc(exampleCount);
    },
    routingTrouble(error) {
      log.debug({ code: error.code, problem: error.message }, 'routing table not compared; the last one stays in force');
    },
    portOpened({ entrypoint, address }) {
      if (entrypoint === 'gRPC') log.info({ address }, `Running gRPC ModelServer at ${address} ...`);
      else log.info({ address }, `Exporting HTTP/REST API at:${address} ...`);
    },
    portsEqual(port) {
      log.error({ port }, 'rest_api_port must differ from port: the REST API is not started');
    },
    drainStarted(count) {
      log.info({ inFlight: count }, 'gateway draining');
    },
  };
}

/** `Predict`, `Classify` or `Regress`, from a signature's method. */
function apiOf(method: string): string {
  if (method === 'tensorflow/serving/predict') return 'Predict';
  const last = method.slice(method.lastIndexOf('/') + 1);
  return last === '' ? 'Predict' : `${last[0]?.toUpperCase()}${last.slice(1)}`;
}

function hotCounter(registry: Registry, name: string, labelNames: readonly string[]): HotCounter {
  return hotMetric(registry, name, HotCounter, () => new HotCounter(name, labelNames));
}

/** Microseconds. */
function latencies(registry: Registry, name: string, labelNames: readonly string[]): HotHistogram {
  return hotMetric(registry, name, HotHistogram, () => new HotHistogram(name, labelNames, LATENCY_BUCKETS));
}

function counter(registry: Registry, name: string, labelNames: string[]): Counter<string> {
  const existing = registry.getSingleMetric(name);
  return existing instanceof Counter ? existing : new Counter({ name, help: name, labelNames, registers: [registry] });
}

function histogram(registry: Registry, name: string, labelNames: string[], buckets: number[]): Histogram<string> {
  const existing = registry.getSingleMetric(name);
  return existing instanceof Histogram ? existing : new Histogram({ name, help: name, labelNames, buckets, registers: [registry] });
}

/** A gauge that asks when it is scraped. A second gateway in one process adds to the first. */
function gauge(registry: Registry, name: string, read: () => number): void {
  if (registry.getSingleMetric(name) !== undefined) return;
  new Gauge({
    name,
    help: name,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

function exponential(start: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => start * factor ** index);
}
