/** One request of TensorFlow Serving's API and its way back, whoever carries it. */
import type { PendingReply } from './model-api.ts';
import type { Reply } from './reply.ts';

/** A request's headers by name in lower case. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A request and what is known of it so far. Mutated in place: it is made, or used again, for every request. */
export interface Exchange {
  /** The instant it arrived, on the gateway's Clock. */
  readonly startedMs: number;
  readonly verb: string;
  /** The request target as the client wrote it. */
  readonly url: string;
  readonly headers: RequestHeaders;
  /** The client has gone. */
  readonly gone: boolean;
  /** As the client named it; empty when it named none. */
  model: string;
  /** The metrics' word for what is asked; empty for what runs no model. */
  method: string;
  /** The connection ends with the answer. */
  close: boolean;
  /** Present while a model runs. */
  pending: PendingReply | undefined;
  /** Sends the answer, unless one was sent or the client has gone. `refused`: the body may not have been read to its end. */
  send(reply: Reply, options: { readonly close: boolean; readonly refused: boolean }): void;
}
