import type { Span } from '@opentelemetry/api';
import type { ServeError } from '#mesh/errors.ts';
import type { ClaimId, MemberId, RequestId } from '#mesh/ids.ts';
import type { ByteShare } from './byte-budget.ts';
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
  readonly #cancel: (flight: Flight) => void;
  /** One of the two once it is settled; who wants to know may come before or after. */
  #result: InferResult | undefined = undefined;
  #error: ServeError | undefined = undefined;
  #onResult: ((result: InferResult) => void) | undefined = undefined;
  #onError: ((error: ServeError) => void) | undefined = undefined;
  #answer: Promise<InferResult> | undefined = undefined;
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
  /** What large inputs and outputs take of the gateway's budget. */
  share: ByteShare | undefined = undefined;
  /** Present once a part of a split request has arrived. */
  assembly: RowAssembly | undefined = undefined;
  /** Present while outputs are fetched. */
  fetching: AbortController | undefined = undefined;
  span: Span | undefined = undefined;

  constructor(id: RequestId, request: InferRequest, cancel: (flight: Flight) => void) {
    this.id = id;
    this.request = request;
    this.#cancel = cancel;
  }

  /** Made for those who ask. A rejection that nobody looks at, because the caller has gone, does not stop the process. */
  get answer(): Promise<InferResult> {
    if (this.#answer === undefined) {
      this.#answer = new Promise((resolve, reject) => this.whenSettled(resolve, reject));
      this.#answer.catch(() => {});
    }
    return this.#answer;
  }

  whenSettled(onResult: (result: InferResult) => void, onError: (error: ServeError) => void): void {
    if (this.#result !== undefined) onResult(this.#result);
    else if (this.#error !== undefined) onError(this.#error);
    else {
      this.#onResult = onResult;
      this.#onError = onError;
    }
  }

  /** The answer is there. At most one call of this and `reject` together. */
  resolve(result: InferResult): void {
    this.#result = result;
    this.#onResult?.(result);
  }

  reject(error: ServeError): void {
    this.#error = error;
    this.#onError?.(error);
  }

  cancel(): void {
    this.#cancel(this);
  }
}

const NO_BYTES = new Uint8Array(0);
