/** Joins a handler that knows bytes and our own types to a unary method of the port: cancellation, status, metrics. */
import type { Clock } from '#mesh/clock.ts';
import { type ServeError, toServeError } from '#mesh/errors.ts';
import type { ResolvedServable } from '../core.ts';
import type { ProtocolEvents } from '../events.ts';
import type { UnaryExchange, UnaryMethod } from './port.ts';

/** One call, as a handler sees it. */
export type UnaryCall = Pick<UnaryExchange, 'request' | 'deadlineMs' | 'traceparent' | 'model'>;

/** What a call is answered with. */
export interface Reply {
  readonly message: Uint8Array;
  /** The servable that answered, whose version goes into the initial metadata; null: none did. */
  readonly servable: ResolvedServable | null;
}

/** A call under way. */
export interface PendingReply {
  /** Calls one of the two once, perhaps at once, and never throws. A promise would cost every call of the hot path several objects. */
  whenSettled(onReply: (message: Uint8Array, servable: ResolvedServable | null) => void, onError: (caught: unknown) => void): void;
  cancel(): void;
}

/** May throw instead of returning. */
export type UnaryHandler = (call: UnaryCall) => PendingReply;

/** The clock that calls are timed by, and who hears of each finished call. */
export interface UnaryDeps {
  readonly clock: Clock;
  readonly events: ProtocolEvents;
}

/** Makes the method. `api` is the API label of the metrics, or null for methods that TensorFlow Serving does not count. */
export function createUnary({ clock, events }: UnaryDeps): (api: string | null, handler: UnaryHandler) => UnaryMethod {
  return (api, handler) => ({
    streaming: 'unary',
    handle(call) {
      const startedMs = clock.now();
      const finish = (code: ServeError['code'] | 'OK') => {
        if (api !== null) events.requestFinished({ model: call.model, method: api, code, startedMs, finishedMs: clock.now() });
      };
      const fail = (caught: unknown) => {
        const error = toServeError(caught);
        call.cancellable = null;
        finish(error.code);
        call.fail(error);
      };
      let pending: PendingReply;
      try {
        pending = handler(call);
      } catch (caught) {
        fail(caught);
        return;
      }
      call.cancellable = pending;
      pending.whenSettled((message, servable) => {
        call.cancellable = null;
        finish('OK');
        call.reply(message, servable);
      }, fail);
    },
  });
}

/** A reply that comes by a promise. `answer` rejects with what `toServeError` understands. */
export function byPromise(answer: Promise<Reply>, cancel: () => void): PendingReply {
  return {
    whenSettled: (onReply, onError) => void answer.then(({ message, servable }) => onReply(message, servable), onError),
    cancel,
  };
}

/** A reply that is ready, or will be, without anything to cancel. */
export function uncancellable(answer: Promise<Reply>): PendingReply {
  return byPromise(answer, () => {});
}

/** A reply at hand. */
export function at(message: Uint8Array): PendingReply {
  return { whenSettled: (onReply) => onReply(message, null), cancel: () => {} };
}
