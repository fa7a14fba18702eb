/** From a request with its whole body to its one answer, reported: the same for every kind of connection. */
import { ServeError, type StatusCode, toServeError } from '#mesh/errors.ts';
import type { Exchange } from './exchange.ts';
import type { InferenceTarget, ModelApi } from './model-api.ts';
import { errorReply, type Reply } from './reply.ts';
import type { BodyResult } from './request-body.ts';
import type { RestServerDeps } from './server.ts';

/** Answers requests, each once. */
export interface Answering {
  /** Runs a model on what became of the body. Never throws. */
  infer(exchange: Exchange, target: InferenceTarget, body: BodyResult): void;
  /** Answers with an error, whatever was thrown. */
  fail(exchange: Exchange, caught: unknown): void;
  /** Sends the answer, whatever it is, and reports it. */
  finish(exchange: Exchange, answer: Reply, code: StatusCode | 'OK'): void;
}

const CORS_HEADERS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Methods': 'POST, GET',
  'Access-Control-Allow-Headers': 'Content-Type',
};

/** Makes the answers of a server. `draining`: connections end with their answers from now on. */
export function createAnswering(deps: RestServerDeps, api: ModelApi, draining: () => boolean): Answering {
  const { core, clock, settings, events, telemetry } = deps;
  const withCors = new WeakMap<NonNullable<Reply['headers']>, NonNullable<Reply['headers']>>();

  /** The headers of an answer with those for browsers; the same object again for the same headers. */
  function corsHeaders(headers: Reply['headers']): NonNullable<Reply['headers']> {
    if (headers === undefined) return CORS_HEADERS;
    let joined = withCors.get(headers);
    if (joined === undefined) {
      joined = { ...headers, ...CORS_HEADERS };
      withCors.set(headers, joined);
    }
    return joined;
  }

  function infer(exchange: Exchange, target: InferenceTarget, body: BodyResult): void {
    if (body.type === 'body') {
      try {
        let settled = false;
        const pending = api.infer(target, body.bytes, exchange.headers, (reply, caught) => {
          settled = true;
          if (reply === undefined) fail(exchange, caught);
          else finish(exchange, reply, 'OK');
        });
        if (settled) return;
        exchange.pending = pending;
        // Gone while its body was inflated: nothing else would tell.
        if (exchange.gone) pending.cancel();
      } catch (caught) {
        fail(exchange, caught);
      }
    } else if (body.type === 'refused') fail(exchange, body.error);
    else if (body.type === 'gone') fail(exchange, new ServeError('CANCELLED', 'the client closed the connection'));
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
    const { verb, url } = exchange;
    if (!(caught instanceof ServeError))
      telemetry.log.error({ err: caught, method: verb, url }, 'a REST request failed in a way that is a bug');
    finish(exchange, errorReply(error), error.code);
  }

  function finish(exchange: Exchange, answer: Reply, code: StatusCode | 'OK'): void {
    const { model, method, startedMs } = exchange;
    const finishedMs = clock.now();
    const known = model !== '' && (code === 'OK' || core.models().includes(model));
    // Reported first: with the answer sent, a connection may go on to its next request.
    events.requestFinished({ model: known ? model : null, method, code, startedMs, finishedMs });
    const reply = settings.enableCors ? { ...answer, headers: corsHeaders(answer.headers) } : answer;
    exchange.pending = undefined;
    exchange.send(reply, { close: exchange.close || draining(), refused: code !== 'OK' });
  }

  return { infer, fail, finish };
}
