import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '#mesh/clock.ts';
import type { ByteBudget } from '../byte-budget.ts';
import type { Exchange, RequestHeaders } from './exchange.ts';
import type { PendingReply } from './model-api.ts';
import { type Reply, send } from './reply.ts';
import type { StallWatch } from './stall-watch.ts';

/** What is read and thrown away of a refused body, so that the client gets to see why. */
const DISCARD_BYTES = 64 * 1024 * 1024;
const DISCARD_MS = 5_000;

/** What an exchange over node:http is made of. */
export interface HttpExchangeParts {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly startedMs: number;
  readonly clock: Clock;
  readonly watch: StallWatch;
  readonly budget: ByteBudget;
}

/** A request that node:http has read. */
export class HttpExchange implements Exchange {
  readonly request: IncomingMessage;
  readonly startedMs: number;
  readonly verb: string;
  readonly url: string;
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  readonly #watch: StallWatch;
  readonly #budget: ByteBudget;
  model = '';
  method = '';
  close = false;
  pending: PendingReply | undefined = undefined;

  constructor({ request, response, startedMs, clock, watch, budget }: HttpExchangeParts) {
    this.request = request;
    this.#response = response;
    this.startedMs = startedMs;
    this.#clock = clock;
    this.#watch = watch;
    this.#budget = budget;
    this.verb = request.method ?? 'GET';
    this.url = request.url ?? '/';
  }

  get headers(): RequestHeaders {
    return this.request.headers;
  }

  get gone(): boolean {
    return this.#response.destroyed;
  }

  send(reply: Reply, { close, refused }: { readonly close: boolean; readonly refused: boolean }): void {
    const response = this.#response;
    send(response, reply, close);
    if (response.writableLength > 0 && !response.destroyed) this.#watchWriting(reply.body.length);
    if (refused && !this.request.complete && !this.close) this.#discardRest();
  }

  /** Closes a connection whose client takes nothing of its answer, which counts as long as it is there. */
  #watchWriting(byteLength: number): void {
    const { socket } = this.#response;
    if (socket === null) return;
    const share = this.#budget.open();
    share.add(byteLength);
    const watching = this.#watch.watch({ progress: () => socket.bytesWritten - socket.writableLength, stalled: () => socket.destroy() });
    this.#response.once('close', () => {
      watching[Symbol.dispose]();
      share[Symbol.dispose]();
    });
  }

  /** Throws away what is left of a refused body, so that the client gets to read why, but not for long. */
  #discardRest(): void {
    const { request } = this;
    const { socket } = request;
    let discarded = 0;
    const timer = this.#clock.schedule(DISCARD_MS, () => socket.destroy());
    request.on('data', (chunk: Buffer) => {
      discarded += chunk.byteLength;
      if (discarded > DISCARD_BYTES) socket.destroy();
    });
    request.once('close', () => timer[Symbol.dispose]());
    request.resume();
  }
}
