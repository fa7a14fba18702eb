/**
 * Sends requests through the mesh and waits for their answers. All requests of a turn for one batcher leave in one message; answers come back
 * from workers on the gateway's own subject. What was lost on the way is sent again while the deadline allows; the first answer wins.
 */
import { nextTick } from 'node:process';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import type { BlobStore } from '#mesh/blobs.ts';
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError, STATUS, toServeError } from '#mesh/errors.ts';
import { IdTable } from '#mesh/id-table.ts';
import { type ClaimId, createSequence, type MemberId, type RequestId } from '#mesh/ids.ts';
import { type Answer, type AnswerTimings, checkWireTensor, decodeAnswers, encodeTensors, type WireTensor } from '#mesh/messages.ts';
import type { Presence } from '#mesh/presence.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Tracing } from '#mesh/telemetry.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import type { Message, Transport } from '#mesh/transport.ts';
import { type ByteBudget, createByteBudget } from './byte-budget.ts';
import type { InferRequest, InferResult, PendingInference } from './core.ts';
import { Flight } from './flight.ts';
import { createLaneFinder } from './lane-key.ts';
import { createLiveBatchers } from './live-batchers.ts';
import { type OutputsAnswer, RowAssembly } from './row-assembly.ts';
import { createSubmitOutbox } from './submit-outbox.ts';

/** The client side of a request. Disposing it answers what is still in flight with UNAVAILABLE. */
export interface InferClient extends AsyncDisposable {
  /** Sends a request. Never throws: what is wrong comes by the answer. */
  infer(request: InferRequest): PendingInference;
  /** Requests that wait for an answer. */
  readonly inFlight: number;
  /** True when a batcher can take requests. */
  readonly hasBatcher: boolean;
  /** Resolves when nothing is in flight, or after `boundMs`. */
  drain(boundMs: number): Promise<void>;
}

/** Why a request was sent again; a metric's label. */
export type ResendReason = 'batcher-gone' | 'no-responders' | 'refused' | 'outputs-lost' | 'reconnected';

/** What the client reports. */
export interface InferClientEvents {
  answered(request: InferRequest, timings: AnswerTimings): void;
  resent(reason: ResendReason): void;
  /** An answer frame that cannot be read. */
  answerUnreadable(error: ServeError): void;
}

/** What the client runs on; the caller owns all of it. */
export interface InferClientDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly presence: Presence;
  readonly blobs: BlobStore;
  readonly id: MemberId;
  readonly tracing: Tracing | null;
  readonly events: InferClientEvents;
  /** What large inputs and outputs count against; default: a budget without a limit. */
  readonly budget?: ByteBudget;
  readonly settings: {
    /** Tensors larger than this stay at the gateway as claims. */
    readonly inlineTensorBytes: number;
    readonly maxInFlightRequests: number;
    /** How long after a reconnect a request that was sent before it stays silent until it is sent again. */
    readonly resendAfterMs: number;
  };
}

/** How long a request waits for any batcher to appear. */
const NO_BATCHER_MS = 5000;
/** Resends of one request, after which its last error is the answer. */
const MAX_RESENDS = 12;
const FIRST_BACKOFF_MS = 10;
const LONGEST_BACKOFF_MS = 500;
/** A holder that sends no chunk of an output for this long is given up. */
const FETCH_TIMEOUT_MS = 5000;
/** The longest a timer is set: Node's timers overflow at 2^31 ms. */
const LONGEST_TIMER_MS = 1_000_000_000;
/** TensorFlow's words for a run that took longer than its timeout. */
const DEADLINE_TEXT = 'Timed out waiting for notification';

/** Starts listening for answers. */
export function startInferClient(deps: InferClientDeps): InferClient {
  const {
    transport,
    subjects,
    clock,
    presence,
    blobs,
    id,
    tracing,
    events,
    settings,
    budget = createByteBudget(Number.POSITIVE_INFINITY),
  } = deps;
  const flights = new IdTable<RequestId, Flight>();
  const nextRequestId = createSequence<RequestId>();
  const findLane = createLaneFinder();
  const batchers = createLiveBatchers({ presence, clock, onReturn: dispatchParked });
  const outbox = createSubmitOutbox({ transport, subjects, clock, id, onNoResponders, onTrouble: onUnsent });
  /** A request's inline tensors together stay below this, so that a request always fits a message. */
  const maxInlineBytes = Math.min(outbox.maxFrameBytes, transport.maxPayloadBytes) / 2;
  let parkedCount = 0;
  let timer: Timer | undefined;
  let timerAtMs = Number.POSITIVE_INFINITY;
  let stopped = false;
  let onIdle: (() => void) | undefined;
  let arrived: Message[] = [];

  function infer(request: InferRequest): PendingInference {
    const flight = new Flight(nextRequestId(), request, cancel);
    if (flights.size >= settings.maxInFlightRequests) {
      refuse(flight, 'RESOURCE_EXHAUSTED', `the gateway holds ${flights.size} requests, its limit (max_in_flight_requests)`);
      return flight;
    }
    if (stopped) {
      refuse(flight, 'UNAVAILABLE', 'the gateway is stopping');
      return flight;
    }
    flights.set(flight.id, flight);
    try {
      const lane = findLane(request);
      flight.laneKey = lane.key;
      flight.rows = lane.rows;
      flight.body = encodeTensors(wireTensors(flight));
      flight.traceparent = tracing === null ? request.traceparent : startSpan(tracing, flight);
      dispatch(flight, batchers.ownerOf(flight.laneKey));
    } catch (caught) {
      fail(flight, toServeError(caught));
    }
    return flight;
  }

  /** Inputs as they travel: small ones inline, large ones as claims on the blob store. */
  function wireTensors(flight: Flight): WireTensor[] {
    const tensors: WireTensor[] = [];
    let claims: ClaimId[] | undefined;
    let inlineBytes = 0;
    let claimedBytes = 0;
    for (const [name, { dtype, shape, bytes }] of flight.request.inputs) {
      if (bytes.byteLength <= settings.inlineTensorBytes && inlineBytes + bytes.byteLength <= maxInlineBytes) {
        inlineBytes += bytes.byteLength;
        tensors.push({ name, dtype, shape, payload: { type: 'inline', bytes } });
        continue;
      }
      claimedBytes += bytes.byteLength;
      flight.share ??= budget.open();
      flight.share.grow(claimedBytes);
      const claim = blobs.hold(bytes);
      claims ??= [];
      claims.push(claim.claimId);
      flight.claims = claims;
      tensors.push({
        name,
        dtype,
        shape,
        payload: { type: 'claim', holder: claim.holder, claimId: claim.claimId, byteLength: claim.byteLength },
      });
    }
    return tensors;
  }

  /** Hands a flight to a batcher, or parks it until there is one. */
  function dispatch(flight: Flight, batcher: MemberId | undefined): void {
    if (flight.state === 'parked') parkedCount--;
    flight.retryAtMs = Number.POSITIVE_INFINITY;
    flight.suspectAtMs = Number.POSITIVE_INFINITY;
    flight.batcher = batcher;
    if (batcher !== undefined) {
      flight.state = 'queued';
      outbox.add(batcher, flight);
    } else {
      flight.state = 'parked';
      parkedCount++;
      flight.giveUpAtMs = Math.min(flight.giveUpAtMs, clock.now() + NO_BATCHER_MS);
    }
    planWake(flight);
  }

  function planWake(flight: Flight): void {
    const givingUpMs = flight.state === 'parked' ? flight.giveUpAtMs : Number.POSITIVE_INFINITY;
    flight.wakeMs = Math.min(flight.request.deadlineMs, flight.retryAtMs, flight.suspectAtMs, givingUpMs);
    if (flight.wakeMs < timerAtMs) wakeBy(flight.wakeMs);
  }

  function wakeBy(atMs: number): void {
    timer?.[Symbol.dispose]();
    timerAtMs = atMs;
    timer = clock.schedule(Math.min(LONGEST_TIMER_MS, Math.ceil(Math.max(0, atMs - clock.now()))), sweep);
  }

  /**
   * Does what is due. One timer serves all requests: it is set for the earliest instant when it was planned, so a sweep is rare unless
   * requests do time out, and then its pause grows with their number to bound its cost.
   */
  function sweep(): void {
    timer = undefined;
    timerAtMs = Number.POSITIVE_INFINITY;
    const now = clock.now();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const flight of flights.values()) {
      if (flight.wakeMs <= now) wake(flight, now);
      if (flight.state !== 'done' && flight.wakeMs < nextMs) nextMs = flight.wakeMs;
    }
    if (nextMs < timerAtMs) wakeBy(Math.max(nextMs, now + flights.size / 1000));
  }

  function wake(flight: Flight, now: number): void {
    const homeless = flight.state === 'parked' && flight.retryAtMs === Number.POSITIVE_INFINITY;
    if (homeless && now >= Math.min(flight.giveUpAtMs, flight.request.deadlineMs)) {
      fail(flight, new ServeError('UNAVAILABLE', 'no batcher is available'));
    } else if (now >= flight.request.deadlineMs) {
      fail(flight, new ServeError('DEADLINE_EXCEEDED', DEADLINE_TEXT));
    } else if (now >= flight.suspectAtMs) {
      resend(flight, 'reconnected', lost(flight));
    } else if (now >= flight.retryAtMs) {
      dispatch(flight, batchers.ownerOf(flight.laneKey));
    }
  }

  /** Sends a request again, to another batcher when there is one; else to the same after a pause. */
  function resend(flight: Flight, reason: ResendReason, error: ServeError): void {
    const executedOnce = flight.request.servable.stateful && reason !== 'no-responders';
    if (executedOnce || flight.attempt >= MAX_RESENDS) {
      fail(flight, error);
      return;
    }
    flight.attempt++;
    events.resent(reason);
    const holderIsThere = reason === 'refused' || reason === 'outputs-lost';
    const other = flight.attempt === 1 ? batchers.ownerWithout(flight.laneKey, flight.batcher) : undefined;
    if (holderIsThere && other === undefined) pause(flight);
    else dispatch(flight, holderIsThere ? other : batchers.ownerOf(flight.laneKey));
  }

  function pause(flight: Flight): void {
    flight.state = 'parked';
    parkedCount++;
    flight.suspectAtMs = Number.POSITIVE_INFINITY;
    flight.retryAtMs = clock.now() + Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (flight.attempt - 1));
    planWake(flight);
  }

  function dispatchParked(): void {
    if (parkedCount === 0 || !batchers.some) return;
    for (const flight of flights.values()) {
      if (flight.state === 'parked' && flight.retryAtMs === Number.POSITIVE_INFINITY) {
        dispatch(flight, batchers.ownerOf(flight.laneKey));
      }
    }
  }

  function onBatcherGone(batcher: MemberId): void {
    for (const flight of flights.values()) {
      if (flight.batcher !== batcher) continue;
      flight.giveUpAtMs = Number.POSITIVE_INFINITY;
      if (flight.state === 'queued') dispatch(flight, batchers.ownerOf(flight.laneKey));
      else if (flight.state === 'submitted') resend(flight, 'batcher-gone', lost(flight));
    }
  }

  /** A frame reached nobody: its requests were not executed. */
  function onNoResponders(batcher: MemberId, requestIds: readonly RequestId[]): void {
    batchers.shun(batcher);
    for (const requestId of requestIds) {
      const flight = flights.get(requestId);
      if (flight?.state === 'submitted' && flight.batcher === batcher) {
        resend(flight, 'no-responders', new ServeError('UNAVAILABLE', 'no batcher is available'));
      }
    }
  }

  function onUnsent(flight: Flight, error: ServeError): void {
    fail(flight, error);
  }

  /** Our connection to the broker was gone, or that of a batcher: messages may be lost in both directions, and what stays silent is sent again. */
  function onReconnect(batcher?: MemberId): void {
    const suspectAtMs = clock.now() + settings.resendAfterMs;
    for (const flight of flights.values()) {
      if (flight.state !== 'submitted' || flight.request.servable.stateful) continue;
      if (batcher !== undefined && flight.batcher !== batcher) continue;
      flight.suspectAtMs = suspectAtMs;
      planWake(flight);
    }
  }

  /**
   * Answers are dealt with at the end of the turn. Their worker says right after them that it has room; where batcher and worker share this
   * process, its next batch then starts before the answers of this one are written out, which may take a ms, not after.
   */
  function onAnswers(message: Message): void {
    if (arrived.push(message) === 1) nextTick(receiveArrived);
  }

  function receiveArrived(): void {
    const messages = arrived;
    arrived = [];
    for (const message of messages) receiveAnswers(message);
  }

  function receiveAnswers(message: Message): void {
    let answers: readonly Answer[];
    try {
      ({ answers } = decodeAnswers(message.data));
    } catch (caught) {
      events.answerUnreadable(toServeError(caught));
      return;
    }
    for (const answer of answers) {
      const flight = flights.get(answer.requestId);
      // Unknown: answered already, timed out or cancelled. The first answer won.
      if (flight !== undefined) receive(flight, answer);
    }
  }

  function receive(flight: Flight, answer: Answer): void {
    if (answer.type === 'error') {
      const error = new ServeError(answer.code, answer.message);
      if (!answer.resend) fail(flight, error);
      else if (flight.state === 'submitted') resend(flight, 'refused', error);
      return;
    }
    try {
      for (const tensor of answer.outputs) checkWireTensor(tensor);
    } catch (caught) {
      fail(flight, toServeError(caught));
      return;
    }
    const whole = answer.rowCount === answer.totalRows;
    if (answer.outputs.some((tensor) => tensor.payload.type === 'claim')) {
      void receiveClaims(flight, answer, whole);
      return;
    }
    try {
      if (whole) succeed(flight, { outputs: inlineOutputs(answer.outputs), timings: answer.timings });
      else {
        flight.assembly ??= new RowAssembly(flight.rows);
        if (flight.assembly.add(answer)) succeed(flight, flight.assembly.finish());
      }
    } catch (caught) {
      fail(flight, toServeError(caught));
    }
  }

  /** Takes an answer whose outputs, or some of them, stayed at the worker. */
  async function receiveClaims(flight: Flight, answer: OutputsAnswer, whole: boolean): Promise<void> {
    flight.fetching ??= new AbortController();
    const { signal } = flight.fetching;
    flight.share ??= budget.open();
    for (const { payload } of answer.outputs) if (payload.type === 'claim') flight.share.add(payload.byteLength);
    const fetchPayload = ({ payload }: WireTensor, into: Uint8Array | undefined): Promise<Uint8Array> | Uint8Array =>
      payload.type === 'inline'
        ? payload.bytes
        : blobs.fetch(payload, { signal, timeoutMs: FETCH_TIMEOUT_MS, ...(into === undefined ? {} : { into }) });
    try {
      if (whole) {
        const outputs = new Map<string, Tensor>();
        for (const tensor of answer.outputs) {
          outputs.set(tensor.name, { dtype: tensor.dtype, shape: tensor.shape, bytes: await fetchPayload(tensor, undefined) });
        }
        releaseOutputs(answer);
        succeed(flight, { outputs, timings: answer.timings });
        return;
      }
      flight.assembly ??= new RowAssembly(flight.rows);
      const { assembly } = flight;
      const complete = await assembly.addFetched(answer, async (tensor, into) => fetchPayload(tensor, into));
      releaseOutputs(answer);
      if (complete) succeed(flight, assembly.finish());
    } catch (caught) {
      const error = toServeError(caught);
      // The worker went away with its outputs. Another attempt may already be under way: then there is nothing to do.
      if (flight.state === 'submitted' && STATUS[error.code].retryable) resend(flight, 'outputs-lost', error);
      else if (flight.state === 'submitted' && (error.code === 'NOT_FOUND' || error.code === 'DEADLINE_EXCEEDED'))
        resend(flight, 'outputs-lost', new ServeError('UNAVAILABLE', error.message, { cause: error }));
      else if (flight.state === 'submitted') fail(flight, error);
    }
  }

  function releaseOutputs(answer: OutputsAnswer): void {
    for (const { payload } of answer.outputs) if (payload.type === 'claim') blobs.finished(payload);
  }

  function cancel(flight: Flight): void {
    if (flight.state === 'done') return;
    if (flight.state === 'submitted' && flight.batcher !== undefined) outbox.cancel(flight.batcher, flight.id);
    fail(flight, new ServeError('CANCELLED', 'the caller has gone'));
  }

  function succeed(flight: Flight, result: InferResult): void {
    if (flight.state === 'done') return;
    end(flight);
    flight.span?.end();
    events.answered(flight.request, result.timings);
    flight.resolve(result);
  }

  function fail(flight: Flight, error: ServeError): void {
    if (flight.state === 'done') return;
    // Parts of a split request, or a copy at a batcher that is merely slow, would be executed for nobody.
    if (flight.state === 'submitted' && flight.batcher !== undefined && flight.assembly !== undefined)
      outbox.cancel(flight.batcher, flight.id);
    end(flight);
    flight.span
      ?.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
      .setAttribute('rpc.grpc.status_code', STATUS[error.code].number);
    flight.span?.end();
    flight.reject(error);
  }

  function end(flight: Flight): void {
    if (flight.state === 'parked') parkedCount--;
    flight.state = 'done';
    flights.delete(flight.id);
    if (flight.claims !== undefined) for (const claimId of flight.claims) blobs.release(claimId);
    flight.share?.[Symbol.dispose]();
    flight.fetching?.abort(new ServeError('CANCELLED', 'nobody waits for the outputs any more'));
    if (flights.size === 0) onIdle?.();
  }

  const subscription = transport.subscribe(subjects.answer(id), onAnswers);
  const changes = presence.onChange(({ type, member }) => {
    if (member.kind !== 'batcher') return;
    if (type === 'reconnected') return onReconnect(member.id);
    batchers.refresh();
    if (type === 'gone') onBatcherGone(member.id);
    dispatchParked();
  });
  const reconnects = transport.onConnectionChange((connected) => {
    if (connected) onReconnect();
  });

  return {
    infer,
    get inFlight() {
      return flights.size;
    },
    get hasBatcher() {
      return batchers.some && presence.hearsItself;
    },
    drain(boundMs) {
      if (flights.size === 0) return Promise.resolve();
      return new Promise((resolve) => {
        const bound = clock.schedule(boundMs, () => settle());
        const settle = () => {
          bound[Symbol.dispose]();
          onIdle = undefined;
          resolve();
        };
        onIdle = settle;
      });
    },
    async [Symbol.asyncDispose]() {
      stopped = true;
      for (const flight of [...flights.values()]) fail(flight, new ServeError('UNAVAILABLE', 'the gateway is stopping'));
      timer?.[Symbol.dispose]();
      changes[Symbol.dispose]();
      reconnects[Symbol.dispose]();
      subscription[Symbol.dispose]();
      outbox[Symbol.dispose]();
    },
  };
}

function refuse(flight: Flight, code: 'RESOURCE_EXHAUSTED' | 'UNAVAILABLE', message: string): void {
  flight.state = 'done';
  flight.reject(new ServeError(code, message));
}

function lost(flight: Flight): ServeError {
  const { id, stateful } = flight.request.servable;
  return new ServeError(
    'UNAVAILABLE',
    stateful
      ? `the batcher went away with a request to ${id.name} version ${id.version}, which keeps state: it may have been executed and is not sent again`
      : `the batcher went away with the request ${flight.attempt + 1} times`,
  );
}

function inlineOutputs(tensors: readonly WireTensor[]): NamedTensors {
  const outputs = new Map<string, Tensor>();
  for (const { name, dtype, shape, payload } of tensors) {
    if (payload.type === 'inline') outputs.set(name, { dtype, shape, bytes: payload.bytes });
  }
  return outputs;
}

/** One server span per request, ended with its answer. Returns the traceparent for the next hop. */
function startSpan(tracing: Tracing, flight: Flight): string {
  const { servable, signature, signatureName, traceparent } = flight.request;
  const span = tracing.start(signature.method.slice(signature.method.lastIndexOf('/') + 1) || 'predict', {
    traceparent,
    kind: SpanKind.SERVER,
  });
  span.setAttributes({ 'headrace.model': servable.id.name, 'headrace.version': servable.id.version, 'headrace.signature': signatureName });
  flight.span = span;
  return tracing.traceparentOf(span);
}
