/**
 * The REST edge: one HTTP server for TensorFlow Serving's API (handled here, on the raw request, for speed and for its own ideas of a path),
 * and through fastify for everything else: health, metrics, configuration. Connections are first those of `plain-connections.ts`, which reads
 * what nearly all clients send; node:http reads the rest.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import fastify from 'fastify';
import type { Clock } from '#mesh/clock.ts';
import { ServeError, type StatusCode } from '#mesh/errors.ts';
import type { Signature } from '#mesh/signature.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { NamedTensors } from '#mesh/tensor.ts';
import { type ByteBudget, createByteBudget } from '../byte-budget.ts';
import type { GatewayCore } from '../core.ts';
import type { ExamplesApi } from '../examples-api.ts';
import { addAdminRoutes } from './admin-routes.ts';
import { createAnswering } from './answering.ts';
import { HttpExchange } from './http-exchange.ts';
import { createModelApi } from './model-api.ts';
import { createPlainConnections } from './plain-connections.ts';
import { emptyReply } from './reply.ts';
import { readBody } from './request-body.ts';
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
  /** What large bodies and answers count against; default: a budget without a limit. */
  readonly budget?: ByteBudget;
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
/** How long a connection waits for its next request. */
const KEEP_ALIVE_MS = 65_000;

/** Starts listening. Rejects when the port cannot be bound. */
export async function startRestServer(deps: RestServerDeps): Promise<RestServer> {
  const { clock, settings, budget = createByteBudget(Number.POSITIVE_INFINITY) } = deps;
  const watch = startStallWatch(clock, settings.bodyTimeoutMs);
  const api = createModelApi(deps);
  const answering = createAnswering(deps, api, () => draining);
  let inFlight = 0;
  let draining = false;
  let onIdle: (() => void) | undefined;

  function isOwn(request: IncomingMessage): boolean {
    const url = request.url ?? '';
    if (request.method === 'OPTIONS') return !API_PATH.test(url);
    if (url === '/v1/models' && request.method === 'GET') return true;
    return !API_PATH.test(url) || url === settings.metricsPath || OWN_PATH.test(url);
  }

  /** Answers one request of TensorFlow Serving's API that came through node:http. */
  function handle(exchange: HttpExchange): void {
    const { request, verb, url } = exchange;
    try {
      if (verb === 'OPTIONS') {
        const allowed = HAS_ORIGIN.test(request.headers.origin ?? '');
        const reply = emptyReply(allowed ? 200 : 400, 'text/html; charset=ISO-8859-1');
        answering.finish(exchange, reply, allowed ? 'OK' : 'FAILED_PRECONDITION');
        return;
      }
      const target = parseTarget(verb, url);
      if (target.type === 'malformed') throw new ServeError('INVALID_ARGUMENT', `Malformed request: ${verb} ${url}`);
      exchange.model = target.model;
      if (target.type === 'inference') {
        exchange.method = target.method;
        readBody(request, { maxBytes: settings.maxBodyBytes, watch, budget }, (body) => answering.infer(exchange, target, body));
      } else if (target.type === 'unreadable-version') answering.finish(exchange, emptyReply(400, 'application/json'), 'INVALID_ARGUMENT');
      else answering.finish(exchange, api.document(target), 'OK');
    } catch (caught) {
      answering.fail(exchange, caught);
    }
  }

  function settled(): void {
    if (inFlight + plain.inFlight === 0) onIdle?.();
  }

  let handOver: (socket: Socket) => void = () => {};
  const plain = createPlainConnections({
    clock,
    answering,
    watch,
    budget,
    maxBodyBytes: settings.maxBodyBytes,
    reserved: settings.metricsPath,
    firstByteMs: settings.bodyTimeoutMs,
    keepAliveMs: KEEP_ALIVE_MS,
    handOver: (socket) => handOver(socket),
    onSettled: settled,
  });

  const app = fastify({
    logger: false,
    serverFactory: (route) => {
      const made = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) => {
        inFlight++;
        const exchange = isOwn(request) ? undefined : new HttpExchange({ request, response, startedMs: clock.now(), clock, watch, budget });
        response.on('close', () => {
          // Without an answer yet: the client has gone, and nobody wants one any more.
          exchange?.pending?.cancel();
          inFlight--;
          settled();
        });
        if (exchange === undefined) route(request, response);
        else handle(exchange);
      });
      // A head that never ends is a stall as well.
      made.headersTimeout = settings.bodyTimeoutMs;
      // Connections come here first, and to node:http's own listener when they need it.
      const listeners = made.listeners('connection') as ((this: Server, socket: Socket) => void)[];
      made.removeAllListeners('connection');
      made.on('connection', plain.accept);
      handOver = (socket) => {
        for (const listener of listeners) listener.call(made, socket);
      };
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
      plain.drain();
      if (inFlight + plain.inFlight > 0) {
        await new Promise<void>((resolve) => {
          const timer = clock.schedule(DRAIN_MS, resolve);
          onIdle = () => {
            timer[Symbol.dispose]();
            resolve();
          };
        });
      }
      server.closeAllConnections();
      plain[Symbol.dispose]();
      await closed;
      watch[Symbol.dispose]();
      await app.close();
    },
  };
}

function listen(server: Server, { port, host }: RestServerSettings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
