/** Calls of other servables: what runs here asks any gateway, as a client would, and waits for what it answers. */
import type { BlobStore } from '#mesh/blobs.ts';
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { type ClaimId, createSequence, type MemberId } from '#mesh/ids.ts';
import { type CallReply, decodeCallReply, encodeCallCancel, encodeInferCall } from '#mesh/infer-call.ts';
import { checkWireTensor, type WireTensor } from '#mesh/messages.ts';
import type { MemberChange } from '#mesh/presence.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import type { Transport } from '#mesh/transport.ts';

/** One call. */
export interface MeshCall {
  readonly model: string;
  /** At most one of the two is not null. */
  readonly version: number | null;
  readonly label: string | null;
  /** Empty: the default one. */
  readonly signature: string;
  readonly inputs: NamedTensors;
  /** Empty: all. */
  readonly outputs: readonly string[];
  /** On this worker's clock. */
  readonly deadlineMs: number;
  readonly traceparent: string;
  /** Keys of the servables that wait for the answer, the one that calls last. */
  readonly callers: readonly string[];
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** The client of gateways. Disposing it fails what is under way. */
export interface MeshCalls extends Disposable {
  /** Resolves with the outputs. Rejects with what a client would get, DEADLINE_EXCEEDED, UNAVAILABLE without a gateway, or the signal's reason. */
  infer(call: MeshCall): Promise<NamedTensors>;
  /** Tells of a member that came or went. */
  memberChanged(change: MemberChange): void;
}

/** What it runs on; the caller owns all of it. */
export interface MeshCallsDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly id: MemberId;
  readonly blobs: BlobStore;
  /** Tensors larger than this are fetched by the gateway, in bytes. */
  readonly inlineTensorBytes: number;
  /** Told of every reply that cannot be read; its call fails. */
  readonly onUnreadable: (subject: string, error: ServeError) => void;
}

interface Flight {
  readonly callId: number;
  readonly call: MeshCall;
  readonly inputs: readonly WireTensor[];
  readonly claims: readonly ClaimId[];
  readonly resolve: (outputs: NamedTensors) => void;
  readonly reject: (error: unknown) => void;
  readonly giveUpMs: number;
  gateway: MemberId | undefined;
  sentMs: number;
  stateful: boolean;
  attempt: number;
  retry: Timer | undefined;
  readonly fetching: AbortController;
}

/** How long a call waits for any gateway to be there. */
const NO_GATEWAY_MS = 5000;
const FIRST_BACKOFF_MS = 20;
const LONGEST_BACKOFF_MS = 500;
/** Gateways that may go away with one call. */
const MAX_RESENDS = 4;
/** A gateway that has a call says so within this; a call that nobody has said so of went down with whoever went away. */
const ACCEPTED_WITHIN_MS = 250;
/** After a reconnect: how long what was sent before may stay without an answer until it is sent again. */
const RESEND_AFTER_MS = 2000;
/** A holder that sends no chunk of an output for this long is given up. */
const FETCH_TIMEOUT_MS = 5000;
/** The part of a message that tensors may take. */
const INLINE_SHARE = 0.5;

/** Starts listening for replies. */
export function startMeshCalls(deps: MeshCallsDeps): MeshCalls {
  const { transport, subjects, clock, id, blobs, inlineTensorBytes, onUnreadable } = deps;
  const flights = new Map<number, Flight>();
  const nextCallId = createSequence<number>();

  function wireTensors(inputs: NamedTensors): { readonly tensors: readonly WireTensor[]; readonly claims: readonly ClaimId[] } {
    const claims: ClaimId[] = [];
    let inlineBytes = 0;
    const tensors = [...inputs].map(([name, { dtype, shape, bytes }]): WireTensor => {
      inlineBytes += bytes.byteLength;
      if (bytes.byteLength <= inlineTensorBytes && inlineBytes <= transport.maxPayloadBytes * INLINE_SHARE)
        return { name, dtype, shape, payload: { type: 'inline', bytes } };
      const claim = blobs.hold(bytes);
      claims.push(claim.claimId);
      return { name, dtype, shape, payload: { type: 'claim', ...claim } };
    });
    return { tensors, claims };
  }

  function send(flight: Flight): void {
    const { callId, call, inputs } = flight;
    flight.gateway = undefined;
    flight.sentMs = clock.now();
    flight.retry = undefined;
    const { model, version, label, signature, outputs, traceparent, callers } = call;
    const budgetMs = Math.max(0, call.deadlineMs - clock.now());
    const asked = { workerId: id, callId, model, version, label, signature, outputs, budgetMs, traceparent, callers, inputs };
    try {
      transport.publish(subjects.call, encodeInferCall(asked), { replyTo: subjects.callReply(id, callId) });
    } catch (caught) {
      fail(flight, toServeError(caught));
    }
  }

  function settle(flight: Flight, finish: () => void): void {
    if (!flights.delete(flight.callId)) return;
    flight.retry?.[Symbol.dispose]();
    flight.fetching.abort(new ServeError('CANCELLED', 'nobody waits for the outputs any more'));
    for (const claimId of flight.claims) blobs.release(claimId);
    finish();
  }

  function fail(flight: Flight, error: unknown): void {
    settle(flight, () => flight.reject(error));
  }

  /** Nobody took the call, so nothing was executed. */
  function retryWithoutGateway(flight: Flight): void {
    const backoffMs = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** flight.attempt++);
    if (clock.now() + backoffMs <= flight.giveUpMs) flight.retry = clock.schedule(backoffMs, () => send(flight));
    else fail(flight, new ServeError('UNAVAILABLE', `no gateway is available for a call of ${flight.call.model}`));
  }

  function receive(flight: Flight, reply: CallReply): void {
    switch (reply.type) {
      case 'accepted':
        flight.gateway = reply.gatewayId;
        flight.stateful = reply.stateful;
        return;
      case 'error':
        fail(flight, new ServeError(reply.code, reply.message));
        return;
      case 'outputs':
        void receiveOutputs(flight, reply.outputs);
    }
  }

  async function receiveOutputs(flight: Flight, tensors: readonly WireTensor[]): Promise<void> {
    const { signal } = flight.fetching;
    try {
      const outputs = new Map<string, Tensor>();
      for (const tensor of tensors) {
        checkWireTensor(tensor);
        const { name, dtype, shape, payload } = tensor;
        const bytes = payload.type === 'inline' ? payload.bytes : await blobs.fetch(payload, { signal, timeoutMs: FETCH_TIMEOUT_MS });
        if (payload.type === 'claim') blobs.finished(payload);
        outputs.set(name, { dtype, shape, bytes });
      }
      settle(flight, () => flight.resolve(outputs));
    } catch (caught) {
      fail(flight, toServeError(caught));
    }
  }

  /** Its gateway went away with it. */
  function resend(flight: Flight): void {
    const { model } = flight.call;
    if (flight.stateful) {
      const text = `the gateway went away with a call of ${model}, which keeps state: it may have been executed and is not sent again`;
      fail(flight, new ServeError('UNAVAILABLE', text));
    } else if (flight.attempt++ < MAX_RESENDS) send(flight);
    else fail(flight, new ServeError('UNAVAILABLE', `gateways went away with a call of ${model} ${MAX_RESENDS} times`));
  }

  const silences = new Set<Timer>();
  /** Messages may have been lost in both directions until now: what was sent before and stays silent is sent again. */
  function resendSilent(mayBeLost: (flight: Flight) => boolean): void {
    const now = clock.now();
    const silence = clock.schedule(RESEND_AFTER_MS, () => {
      silences.delete(silence);
      for (const flight of [...flights.values()]) if (flight.sentMs <= now && !flight.stateful && mayBeLost(flight)) resend(flight);
    });
    silences.add(silence);
  }
  const reconnects = transport.onConnectionChange((connected) => connected && resendSilent(() => true));

  const replies = transport.subscribe(subjects.callReply(id, '*'), ({ subject, data, noResponders }) => {
    const flight = flights.get(Number(subject.slice(subject.lastIndexOf('.') + 1)));
    // Answered already, or given up: the first answer won.
    if (flight === undefined) return;
    if (noResponders) return retryWithoutGateway(flight);
    try {
      receive(flight, decodeCallReply(data));
    } catch (caught) {
      const error = toServeError(caught);
      onUnreadable(subject, error);
      fail(flight, error);
    }
  });

  function infer(call: MeshCall): Promise<NamedTensors> {
    return new Promise((resolve, reject) => {
      const { signal } = call;
      if (signal.aborted) return reject(signal.reason);
      const remainingMs = call.deadlineMs - clock.now();
      if (remainingMs <= 0) return reject(overdue(call));
      const abandon = (reason: unknown) =>
        settle(flight, () => {
          if (transport.connected) transport.publish(subjects.callCancel, encodeCallCancel({ workerId: id, callId: flight.callId }));
          flight.reject(reason);
        });
      const late = Number.isFinite(remainingMs) ? clock.schedule(remainingMs, () => abandon(overdue(call))) : undefined;
      const onAbort = () => abandon(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      const ended = () => {
        late?.[Symbol.dispose]();
        signal.removeEventListener('abort', onAbort);
      };
      const { tensors, claims } = wireTensors(call.inputs);
      const flight: Flight = {
        callId: nextCallId(),
        call,
        inputs: tensors,
        claims,
        resolve(outputs) {
          ended();
          resolve(outputs);
        },
        reject(error) {
          ended();
          reject(error);
        },
        giveUpMs: clock.now() + NO_GATEWAY_MS,
        gateway: undefined,
        sentMs: 0,
        stateful: false,
        attempt: 0,
        retry: undefined,
        fetching: new AbortController(),
      };
      flights.set(flight.callId, flight);
      send(flight);
    });
  }

  return {
    infer,
    memberChanged({ type, member }) {
      if (member.kind !== 'gateway') return;
      if (type === 'reconnected') resendSilent(({ gateway }) => gateway === undefined || gateway === member.id);
      if (type !== 'gone') return;
      const now = clock.now();
      for (const flight of [...flights.values()]) {
        const waitsToBeSent = flight.retry !== undefined;
        const wasWithIt = flight.gateway === undefined ? now - flight.sentMs >= ACCEPTED_WITHIN_MS : flight.gateway === member.id;
        if (wasWithIt && !waitsToBeSent) resend(flight);
      }
    },
    [Symbol.dispose]() {
      replies[Symbol.dispose]();
      reconnects[Symbol.dispose]();
      for (const silence of silences) silence[Symbol.dispose]();
      for (const flight of [...flights.values()]) fail(flight, new ServeError('UNAVAILABLE', 'the worker is stopping'));
    },
  };
}

function overdue({ model }: MeshCall): ServeError {
  return new ServeError('DEADLINE_EXCEEDED', `a call of ${model} was not answered within the deadline of the request that waits for it`);
}
