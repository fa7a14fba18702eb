/**
 * The gateway's edge to the mesh itself: servables call other servables through it. A call is checked, sent and answered by the same core as a
 * request over REST or gRPC.
 */
import type { BlobStore } from '#mesh/blobs.ts';
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { type ClaimId, type MemberId, servableKey } from '#mesh/ids.ts';
import { type CallReply, decodeCallCancel, decodeInferCall, encodeCallReply, type InferCall, MAX_CALLERS } from '#mesh/infer-call.ts';
import { checkWireTensor, type WireTensor } from '#mesh/messages.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import type { Transport } from '#mesh/transport.ts';
import { chooseNamedServable, predictSignature } from './choose-servable.ts';
import type { GatewayCore, PendingInference, ResolvedServable } from './core.ts';
import { validateInputs, wantedOutputs } from './validate-inputs.ts';

/** What the edge runs on; the caller owns all of it. */
export interface CallEdgeDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly id: MemberId;
  readonly core: GatewayCore;
  readonly blobs: BlobStore;
  /** Tensors larger than this are fetched, in bytes. */
  readonly inlineTensorBytes: number;
  /** Told of every message that cannot be read; it is dropped. */
  readonly onUnreadable: (subject: string, error: ServeError) => void;
}

/** A call under way. */
interface Call {
  readonly aborting: AbortController;
  pending: PendingInference | undefined;
}

/** Gateways share the calls: each goes to one of them. */
const GROUP = 'gateways';
/** A holder that sends no chunk of a tensor for this long is given up. */
const FETCH_TIMEOUT_MS = 5000;
/** How long a worker has for fetching an output. */
const HELD_MS = 60_000;
/** The part of a message that tensors may take. */
const INLINE_SHARE = 0.5;

/** Starts answering calls. Disposing it ends those under way. */
export function startCallEdge(deps: CallEdgeDeps): Disposable {
  const { transport, subjects, clock, id, core, blobs, inlineTensorBytes, onUnreadable } = deps;
  const calls = new Map<string, Call>();
  const held = new Map<ClaimId, Timer>();

  async function answer(bytes: Uint8Array): Promise<void> {
    const asked = decodeInferCall(bytes);
    const key = `${asked.workerId} ${asked.callId}`;
    const call: Call = { aborting: new AbortController(), pending: undefined };
    calls.set(key, call);
    const reply = (content: CallReply) => send(asked, content);
    try {
      const deadlineMs = clock.now() + asked.budgetMs;
      const servable = chooseNamedServable(core, { present: true, name: asked.model, version: asked.version, label: asked.label });
      checkCallers(asked, servable);
      reply({ type: 'accepted', gatewayId: id, stateful: servable.stateful });
      const { signatureName, signature } = predictSignature(servable, asked.signature, false);
      const inputs = validateInputs(signature, await openInputs(asked, call), 'all');
      const outputs = wantedOutputs(signature, asked.outputs);
      const { traceparent, callers } = asked;
      call.pending = core.infer({ servable, signatureName, signature, inputs, outputs, deadlineMs, traceparent, callers });
      const result = await call.pending.answer;
      reply({ type: 'outputs', outputs: wireTensors(result.outputs) });
    } catch (caught) {
      if (call.aborting.signal.aborted) return;
      const { code, message } = toServeError(caught);
      reply({ type: 'error', code, message });
    } finally {
      calls.delete(key);
    }
  }

  /** The inputs with their bytes: large ones stayed at the worker. */
  async function openInputs({ inputs }: InferCall, { aborting: { signal } }: Call): Promise<NamedTensors> {
    const opened = new Map<string, Tensor>();
    for (const tensor of inputs) {
      checkWireTensor(tensor);
      const { name, dtype, shape, payload } = tensor;
      const bytes = payload.type === 'inline' ? payload.bytes : await blobs.fetch(payload, { signal, timeoutMs: FETCH_TIMEOUT_MS });
      opened.set(name, { dtype, shape, bytes });
    }
    signal.throwIfAborted();
    return opened;
  }

  function wireTensors(outputs: NamedTensors): readonly WireTensor[] {
    let inlineBytes = 0;
    return [...outputs].map(([name, { dtype, shape, bytes }]): WireTensor => {
      inlineBytes += bytes.byteLength;
      if (bytes.byteLength <= inlineTensorBytes && inlineBytes <= transport.maxPayloadBytes * INLINE_SHARE)
        return { name, dtype, shape, payload: { type: 'inline', bytes } };
      const claim = blobs.hold(bytes);
      // The worker says when it has them; this is for the one that cannot any more.
      held.set(
        claim.claimId,
        clock.schedule(HELD_MS, () => release(claim.claimId)),
      );
      return { name, dtype, shape, payload: { type: 'claim', ...claim } };
    });
  }

  function release(claimId: ClaimId): void {
    held.get(claimId)?.[Symbol.dispose]();
    held.delete(claimId);
    blobs.release(claimId);
  }

  function send({ workerId, callId }: InferCall, content: CallReply): void {
    // A worker that cannot be reached runs out of its own time.
    if (transport.connected) transport.publish(subjects.callReply(workerId, callId), encodeCallReply(content));
  }

  const subscriptions = [
    transport.subscribe(
      subjects.call,
      ({ data }) => void answer(data).catch((caught) => onUnreadable(subjects.call, toServeError(caught))),
      { group: GROUP },
    ),
    transport.subscribe(subjects.callCancel, ({ data }) => {
      try {
        const { workerId, callId } = decodeCallCancel(data);
        const call = calls.get(`${workerId} ${callId}`);
        call?.aborting.abort(new ServeError('CANCELLED', 'the caller has gone'));
        call?.pending?.cancel();
      } catch (caught) {
        onUnreadable(subjects.callCancel, toServeError(caught));
      }
    }),
  ];
  return {
    [Symbol.dispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]();
      for (const call of calls.values()) {
        call.aborting.abort(new ServeError('UNAVAILABLE', 'the gateway is stopping'));
        call.pending?.cancel();
      }
      for (const claimId of [...held.keys()]) release(claimId);
    },
  };
}

/**
 * Refuses calls that go round in a circle: every servable in it would wait for the next, and the executors of the first are taken. Rows of
 * calls end at a bound, so that a mistake costs that many executors and not all.
 */
function checkCallers({ callers }: InferCall, { id }: ResolvedServable): void {
  const key = servableKey(id);
  if (callers.includes(key)) {
    const circle = [...callers.slice(callers.indexOf(key)), key].join(' calls ');
    throw new ServeError('FAILED_PRECONDITION', `servables call each other in a circle: ${circle}`);
  }
  if (callers.length >= MAX_CALLERS)
    throw new ServeError(
      'FAILED_PRECONDITION',
      `${key} would be the ${callers.length + 1}th servable in a row of calls, ${MAX_CALLERS} is the most`,
    );
}
