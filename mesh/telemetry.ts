/** Logs, metrics and traces, made once per process and handed to every service in it. */
import { type Context, context, type Span, type SpanKind, type Tracer, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider, type SpanProcessor } from '@opentelemetry/sdk-trace-node';
import { type Logger, pino } from 'pino';
import { Registry } from 'prom-client';

export type { Logger } from 'pino';

/** The three ways to see inside a process. */
export interface Telemetry extends AsyncDisposable {
  readonly log: Logger;
  /** Prometheus metrics of the process. */
  readonly metrics: Registry;
  /** Null when traces go nowhere: the request path then makes no spans. */
  readonly tracing: Tracing | null;
}

/** Spans over process boundaries. */
export interface Tracing {
  /** Starts a span under a W3C `traceparent` (empty: a new trace). The caller ends it. */
  start(name: string, options: { readonly traceparent: string; readonly kind?: SpanKind; readonly startTimeMs?: number }): Span;
  /** The traceparent under which the next hop continues. */
  traceparentOf(span: Span): string;
}

/** Where logs and spans go. */
export interface TelemetryOptions {
  /** `service.name` of traces and the `service` field of logs. */
  readonly service: string;
  readonly logLevel: string;
  /** Where spans go, such as `http://collector:4318`; empty: no tracing. */
  readonly otlpEndpoint: string;
  /** Instead of OTLP, for tests. */
  readonly spanProcessor?: SpanProcessor;
  /** Where log lines go; default standard output. */
  readonly logTo?: { write(line: string): void };
}

/** Makes the telemetry of a process. Disposing it sends the last spans. */
export function createTelemetry(options: TelemetryOptions): Telemetry {
  const log = pino(
    { level: options.logLevel, base: { service: options.service }, timestamp: pino.stdTimeFunctions.isoTime },
    options.logTo ?? pino.destination(1),
  );
  const metrics = new Registry();
  const processor =
    options.spanProcessor ??
    (options.otlpEndpoint === ''
      ? undefined
      : new BatchSpanProcessor(new OTLPTraceExporter({ url: `${options.otlpEndpoint.replace(/\/$/, '')}/v1/traces` })));
  if (processor === undefined) return { log, metrics, tracing: null, [Symbol.asyncDispose]: async () => {} };
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': options.service }),
    spanProcessors: [processor],
  });
  return {
    log,
    metrics,
    tracing: createTracing(provider.getTracer('headrace')),
    [Symbol.asyncDispose]: () => provider.shutdown(),
  };
}

/** A telemetry that keeps nothing: for tests and tools. */
export function createSilentTelemetry(): Telemetry {
  return createTelemetry({ service: 'test', logLevel: 'silent', otlpEndpoint: '' });
}

const PROPAGATOR = new W3CTraceContextPropagator();

function createTracing(tracer: Tracer): Tracing {
  return {
    start(name, { traceparent, kind, startTimeMs }) {
      const parent = traceparent === '' ? context.active() : extract(traceparent);
      return tracer.startSpan(
        name,
        { ...(kind === undefined ? {} : { kind }), ...(startTimeMs === undefined ? {} : { startTime: startTimeMs }) },
        parent,
      );
    },
    traceparentOf(span) {
      const carrier: { traceparent?: string } = {};
      PROPAGATOR.inject(trace.setSpan(context.active(), span), carrier, {
        set: (into, key, value) => {
          if (key === 'traceparent') into.traceparent = value;
        },
      });
      return carrier.traceparent ?? '';
    },
  };
}

function extract(traceparent: string): Context {
  return PROPAGATOR.extract(
    context.active(),
    { traceparent },
    { get: (carrier, key) => (carrier as Record<string, string>)[key], keys: Object.keys },
  );
}
