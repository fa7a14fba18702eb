/** Joins a handler that knows bytes and our own types to a unary gRPC method: deadline, cancellation, trace, status, metrics. */
import { type handleUnaryCall, Metadata, type ServerErrorResponse, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import type { Clock } from '#mesh/clock.ts';
import { type ServeError, STATUS, toServeError } from '#mesh/errors.ts';
import type { ResolvedServable } from '../core.ts';
import type { ProtocolEvents } from '../events.ts';

/** One call, as a handler sees it. */
export interface UnaryCall {
  /** The request message. */
  readonly request: Uint8Array;
  /** The client's deadline as an instant on the gateway's Clock; Infinity: none. */
  readonly deadlineMs: number;
  /** The client's W3C traceparent; empty without one. */
  readonly traceparent: string;
  /** The handler writes the model's name here as soon as it knows it, for the metrics. */
  model: string | null;
}

/** What a call is answered with. */
export interface Reply {
  readonly message: Uint8Array;
  /** The servable that answered, whose version goes into the initial metadata; null: none did. */
  readonly servable: ResolvedServable | null;
}

/** A call under way. `answer` rejects with what `toServeError` understands. */
export interface PendingReply {
  readonly answer: Promise<Reply>;
  cancel(): void;
}

/** May throw instead of returning. */
export type UnaryHandler = (call: UnaryCall) => PendingReply;

/** The clock that deadlines are told on, and who hears of each finished call. */
export interface UnaryDeps {
  readonly clock: Clock;
  readonly events: ProtocolEvents;
}

/** The initial metadata that names the version that answered. */
export const VERSION_HEADER = 'x-headrace-model-version';
/** TensorFlow Serving cuts status messages here. */
const MAX_MESSAGE_CHARACTERS = 1024;

/** Makes grpc-js's handler. `api` is the API label of the metrics, or null for methods that TensorFlow Serving does not count. */
export function createUnary({
  clock,
  events,
}: UnaryDeps): (api: string | null, handler: UnaryHandler) => handleUnaryCall<Buffer, Uint8Array> {
  const versions = new WeakMap<ResolvedServable, Metadata>();

  function versionMetadata(servable: ResolvedServable): Metadata {
    let metadata = versions.get(servable);
    if (metadata === undefined) {
      metadata = new Metadata();
      metadata.set(VERSION_HEADER, String(servable.id.version));
      versions.set(servable, metadata);
    }
    return metadata;
  }

  return (api, handler) => (call, callback) => {
    const startedMs = clock.now();
    const context: UnaryCall = {
      request: call.request,
      deadlineMs: deadlineOf(call, clock, startedMs),
      traceparent: traceparentOf(call),
      model: null,
    };
    const finish = (code: ServeError['code'] | 'OK') => {
      if (api !== null) events.requestFinished({ model: context.model, method: api, code, startedMs, finishedMs: clock.now() });
    };
    const fail = (caught: unknown) => {
      const error = toServeError(caught);
      finish(error.code);
      callback(statusOf(error));
    };
    // Let go of with the answer: Node holds on to a finished stream, and so to what its listeners see, longer than to what it held for us.
    let pending: PendingReply | undefined;
    try {
      pending = handler(context);
    } catch (caught) {
      fail(caught);
      return;
    }
    call.on('cancelled', () => pending?.cancel());
    pending.answer.then(
      (reply) => {
        pending = undefined;
        answer(call, callback, reply, finish);
      },
      (caught) => {
        pending = undefined;
        fail(caught);
      },
    );
  };

  function answer(
    call: ServerUnaryCall<Buffer, Uint8Array>,
    callback: sendUnaryData<Uint8Array>,
    { message, servable }: Reply,
    finish: (code: 'OK') => void,
  ): void {
    finish('OK');
    if (servable !== null && !call.cancelled) call.sendMetadata(versionMetadata(servable));
    callback(null, message);
  }
}

/** A reply that is ready, or will be, without anything to cancel. */
export function uncancellable(answer: Promise<Reply>): PendingReply {
  return { answer, cancel: () => {} };
}

/** A reply at hand. */
export function at(message: Uint8Array): PendingReply {
  return uncancellable(Promise.resolve({ message, servable: null }));
}

/** The gRPC status of an error, its message cut as TensorFlow Serving cuts it. */
export function statusOf(error: ServeError): ServerErrorResponse {
  const { message } = error;
  const cut = message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS)}...TRUNCATED` : message;
  // Half a character, such as one cut in two here, cannot be written into a header.
  const details = cut.toWellFormed();
  return { name: 'ServeError', message: details, code: STATUS[error.code].number, details };
}

function deadlineOf(call: ServerUnaryCall<Buffer, Uint8Array>, clock: Clock, nowMs: number): number {
  const deadline = call.getDeadline();
  const instant = typeof deadline === 'number' ? deadline : deadline.getTime();
  return Number.isFinite(instant) ? nowMs + (instant - clock.wallNow()) : Number.POSITIVE_INFINITY;
}

function traceparentOf(call: ServerUnaryCall<Buffer, Uint8Array>): string {
  const [value] = call.metadata.get('traceparent');
  return typeof value === 'string' ? value : '';
}
