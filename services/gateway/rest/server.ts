/**
 * The REST edge: one HTTP server for TensorFlow Serving's API (handled here, on the raw request, for speed and for its own ideas of a path),
 * and through fastify for everything else: health, metrics, configuration.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import type { Clock } from '#mesh/clock.ts';
import { ServeError, type StatusCode, toServeError } from '#mesh/errors.ts';
import type { Signature } from '#mesh/signature.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { NamedTensors } from '#mesh/tensor.ts';
import type { GatewayCore } from '../core.ts';
import type { ExamplesApi } from '../examples-api.ts';
import { addAdminRoutes } from './admin-routes.ts';
import { createModelApi, type InferenceTarget, type PendingReply } from './model-api.ts';
import { emptyReply, errorReply, type Reply, send } from './reply.ts';
import { type BodyResult, readBody } from './request-body.ts';
import { startStallWatch } from './stall-watch.ts';
import { parseTarget } from './target.ts';

/** What the REST edge reports. */
export interface RestEvents {
  /**
   * Every request under TensorFlow Serving's paths, once answered. `model` is null when no model of that name is known (so that labels stay
   * few); `method` is predict, classify, regress or empty; instants are of the Clock.
   */
  requestFinished(event: {
    readonly model: string | null;
    readonly method: string;
    readonly code: StatusCode | 'OK';
    readonly startedMs: number;
    readonly finishedMs: number;
  }): void;
}

/** The settings of one REST server. */
export interface RestServerSettings {
  /** 0: any free port. */
  readonly port: number;
  readonly host: string;
  /** Budget of each inference, from the moment its body is there. */
  readonly timeoutMs: number;
  readonly enableCors: boolean;
  /** Where Prometheus metrics are served; null: nowhere. */
  readonly metricsPath: string | null;
  /** The largest body, as sent. */
  readonly maxBodyBytes: number;
  /** How long a client may neither send nor take a byte in the middle of a message. */
  readonly bodyTimeoutMs: number;
}

/** What a REST server needs; all of it is owned by the caller. */
export interface RestServerDeps {
  readonly core: GatewayCore;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly settings: RestServerSettings;
  readonly events: RestEvents;
  readonly examples: ExamplesApi;
  /** Throws ServeError when names, dtypes or shapes do not fit the signature. */
  readonly validateInputs: (signature: Signature, inputs: NamedTensors) => NamedTensors;
}

/** A listening server. Disposing drains: nothing new is accepted, what is in flight has ten seconds. */
export interface RestServer extends AsyncDisposable {
  readonly port: number;
}

const DRAIN_MS = 10_000;
const API_PATH = /^\/v1\//i;
/** Our own paths under /v1, which TensorFlow Serving calls malformed. */
const OWN_PATH = /^\/v1\/(?:models\/[^/:?]+\/ready|config(?:[/:][^?]*)?)(?:\?.*)?$/;
const HAS_ORIGIN = /https?:\/\//;
const CORS_HEADERS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Methods': 'POST, GET',
  'Access-Control-Allow-Headers': 'Content-Type',
};

/** One request of TensorFlow Serving's API and what is known of it so far. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly startedMs: number;
  /** As the client named it; empty when it named none. */
  model: string;
  /** The metrics' word for what is asked; empty for what runs no model. */
  method: string;
  /** The connection ends with the answer. */
  close: boolean;
  /** Present while a model runs. */
  pending: PendingReply | undefined;
}

/** Starts listening. Rejects when the port cannot be bound. */
export async function startRestServer(deps: RestServerDeps): Promise<RestServer> {
  const { core, clock, settings, events, telemetry } = deps;
  const watch = startStallWatch(clock, settings.bodyTimeoutMs);
  const api = createModelApi(deps);
  let inFlight = 0;
  let draining = false;
  let onIdle: (() => void) | undefined;

  function isOwn(request: IncomingMessage): boolean {
    const url = request.url ?? '';
    if (request.method === 'OPTIONS') return !API_PATH.test(url);
    if (url === '/v1/models' && request.method === 'GET') return true;
    return !API_PATH.test(url) || url === settings.metricsPath || OWN_PATH.test(url);
  }

  /** Answers one request of TensorFlow Serving's API. */
  function handle(exchange: Exchange): void {
    const { request } = exchange;
    const { method = 'GET', url = '/' } = request;
    try {
      if (method === 'OPTIONS') {
        const allowed = HAS_ORIGIN.test(request.headers.origin ?? '');
        finish(exchange, emptyReply(allowed ? 200 : 400, 'text/html; charset=ISO-8859-1'), allowed ? 'OK' : 'FAILED_PRECONDITION');
        return;
      }
      const target = parseTarget(method, url);
      if (target.type === 'malformed') throw new ServeError('INVALID_ARGUMENT', `Malformed request: ${method} ${url}`);
      exchange.model = target.model;
      if (target.type === 'inference') {
        exchange.method = target.method;
        readBody(request, settings.maxBodyBytes, watch, (body) => infer(exchange, target, body));
      } else if (target.type === 'unreadable-version') finish(exchange, emptyReply(400, 'application/json'), 'INVALID_ARGUMENT');
      else finish(exchange, api.document(target), 'OK');
    } catch (caught) {
      fail(exchange, caught);
    }
  }

  function infer(exchange: Exchange, target: InferenceTarget, body: BodyResult): void {
    if (body.type === 'body') {
      try {
        const pending = api.infer(target, body.bytes, exchange.request);
        exchange.pending = pending;
        pending.answer.then(
          (reply) => finish(exchange, reply, 'OK'),
          (caught) => fail(exchange, caught),
        );
        // Gone while its body was inflated: nothing else would tell.
        if (exchange.response.destroyed) pending.cancel();
      } catch (caught) {
        fail(exchange, caught);
      }
    } else if (body.type === 'gone') fail(exchange, new ServeError('CANCELLED', 'the client closed the connection'));
    else if (body.type === 'stalled') {
      const text = `no byte of the body came for ${settings.bodyTimeoutMs} ms (rest_api_body_timeout_in_ms)`;
      exchange.close = true;
      finish(exchange, errorReply(new ServeError('DEADLINE_EXCEEDED', text), 408), 'DEADLINE_EXCEEDED');
    } else {
      const text = `the body is larger than ${settings.maxBodyBytes} bytes (rest_api_max_body_bytes)`;
      finish(exchange, { ...errorReply(new ServeError('RESOURCE_EXHAUSTED', text), 413), headers: {} }, 'RESOURCE_EXHAUSTED');
    }
  }

  function fail(exchange: Exchange, caught: unknown): void {
    const error = toServeError(caught);
    const { method, url } = exchange.request;
    if (!(caught instanceof ServeError)) telemetry.log.error({ err: caught, method, url }, 'a REST request failed in a way that is a bug');
    finish(exchange, errorReply(error), error.code);
  }

  /** Sends the answer, whatever it is, and reports it. */
  function finish(exchange: Exchange, answer: Reply, code: StatusCode | 'OK'): void {
    const { request, response, model, method, startedMs } = exchange;
    const close = exchange.close || draining;
    exchange.pending = undefined;
    const reply = settings.enableCors ? { ...answer, headers: { ...answer.headers, ...CORS_HEADERS } } : answer;
    send(response, reply, close);
    if (response.writableLength > 0 && !response.destroyed) watchWriting(response);
    if (code !== 'OK' && !request.complete && !exchange.close) discardRest(request);
    const known = model !== '' && (code === 'OK' || core.models().includes(model));
    events.requestFinished({ model: known ? model : null, method, code, startedMs, finishedMs: clock.now() });
  }

  /** Closes a connection whose client takes nothing of its answer. */
  function watchWriting(response: ServerResponse): void {
    const { socket } = response;
    if (socket === null) return;
    const watching = watch.watch({ progress: () => socket.bytesWritten - socket.writableLength, stalled: () => socket.destroy() });
    response.once('close', () => watching[Symbol.dispose]());
  }

  /** Throws away what is left of a refused body, so that the client gets to read why, but not for long. */
  function discardRest(request: IncomingMessage): void {
    let discarded = 0;
    const { socket } = request;
    const timer = clock.schedule(DISCARD_MS, () => socket.destroy());
    request.on('data', (chunk: Buffer) => {
      discarded += chunk.byteLength;
      if (discarded > DISCARD_BYTES) socket.destroy();
    });
    request.once('close', () => timer[Symbol.dispose]());
    request.resume();
  }

  const app = fastify({
    logger: false,
    serverFactory: (route) => {
      const made = createServer({ keepAliveTimeout: 65_000, requestTimeout: 0 }, (request, response) => {
        inFlight++;
        const exchange: Exchange | undefined = isOwn(request)
          ? undefined
          : { request, response, startedMs: clock.now(), model: '', method: '', close: draining, pending: undefined };
        response.on('close', () => {
          // Without an answer yet: the client has gone, and nobody wants one any more.
          exchange?.pending?.cancel();
          inFlight--;
          if (inFlight === 0) onIdle?.();
        });
        if (exchange === undefined) route(request, response);
        else handle(exchange);
      });
      // A head that never ends is a stall as well.
      made.headersTimeout = settings.bodyTimeoutMs;
      return made;
    },
  });
  addAdminRoutes(app, deps, () => draining);
  await app.ready();
  const server = app.server as Server;
  await listen(server, settings);

  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      if (draining) return;
      draining = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      if (inFlight > 0) {
        await new Promise<void>((resolve) => {
          const timer = clock.schedule(DRAIN_MS, resolve);
          onIdle = () => {
            timer[Symbol.dispose]();
            resolve();
          };
        });
      }
      server.closeAllConnections();
      await closed;
      watch[Symbol.dispose]();
      await app.close();
    },
  };
}

/** What is read and thrown away of a refused body, so that the client gets to see why. */
const DISCARD_BYTES = 64 * 1024 * 1024;
const DISCARD_MS = 5_000;

function listen(server: Server, { port, host }: RestServerSettings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
