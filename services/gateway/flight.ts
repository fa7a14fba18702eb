import type { Span } from '@opentelemetry/api';
import type { ClaimId, MemberId, RequestId } from '#mesh/ids.ts';
import type { InferRequest, InferResult, PendingInference } from './core.ts';
import type { RowAssembly } from './row-assembly.ts';

/**
 * Where a request is:
 * - `queued`: in the outbox of `batcher`, to be sent at the end of this turn.
 * - `submitted`: sent to `batcher`.
 * - `parked`: nobody has it; it is sent again at `retryAtMs`, or as soon as there is a batcher when that is Infinity.
 * - `done`: answered, failed or cancelled; nothing happens to it any more.
 */
export type FlightState = 'queued' | 'submitted' | 'parked' | 'done';

/** One request from `infer` to its answer. One object, mutated in place: it is made for every request. */
export class Flight implements PendingInference {
  readonly id: RequestId;
  readonly request: InferRequest;
  readonly answer: Promise<InferResult>;
  readonly resolve: (result: InferResult) => void;
  readonly reject: (reason: Error) => void;
  readonly #cancel: (flight: Flight) => void;
  laneKey = '';
  rows = 0;
  /** The encoded inputs, kept for resending. */
  body: Uint8Array = NO_BYTES;
  traceparent = '';
  state: FlightState = 'queued';
  batcher: MemberId | undefined = undefined;
  attempt = 0;
  /** The next instant at which something is due: the deadline, a resend, giving up. Infinity: nothing. */
  wakeMs = Number.POSITIVE_INFINITY;
  retryAtMs = Number.POSITIVE_INFINITY;
  /** When the wait for any batcher at all ends. */
  giveUpAtMs = Number.POSITIVE_INFINITY;
  /** Set after the connection was lost: without an answer until then the request is sent again. */
  suspectAtMs = Number.POSITIVE_INFINITY;
  /** Inputs that stay here until the end. */
  claims: readonly ClaimId[] | undefined = undefined;
  /** Present once a part of a split request has arrived. */
  assembly: RowAssembly | undefined = undefined;
  /** Present while outputs are fetched. */
  fetching: AbortController | undefined = undefined;
  span: Span | undefined = undefined;

  constructor(id: RequestId, request: InferRequest, cancel: (flight: Flight) => void) {
    const { promise, resolve, reject } = Promise.withResolvers<InferResult>();
    this.id = id;
    this.request = request;
    this.answer = promise;
    this.resolve = resolve;
    this.reject = reject;
    this.#cancel = cancel;
  }

  cancel(): void {
    this.#cancel(this);
  }
}

const NO_BYTES = new Uint8Array(0);
