import type { Clock, Timer } from '#mesh/clock.ts';
import type { BatcherDetail, WorkerDetail } from '#mesh/control.ts';
import { type MemberId, newMemberId, type ServableId } from '#mesh/ids.ts';
import { decodeCancel, decodeReady, decodeSubmit, encodeBatch, encodeCancel } from '#mesh/messages.ts';
import { type Member, type Presence, startPresence } from '#mesh/presence.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import { copyBytes, type Transport } from '#mesh/transport.ts';
import { createAnswerOutbox } from './answer-outbox.ts';
import type { BatcherSettings } from './config.ts';
import { createBatcherEvents } from './events.ts';
import { maxMessageBytesOf } from './form-batch.ts';
import { createLanes } from './lanes.ts';
import { createLossInboxes } from './loss-inboxes.ts';
import { createMissingBatches } from './missing-batches.ts';

/** What a batcher runs on. The caller owns all of it and disposes it after the batcher. */
export interface BatcherDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly settings: BatcherSettings;
  /** Default: a new one. */
  readonly id?: MemberId;
  /** This member's presence, announcing a `BatcherDetail`; default: one of its own, which it also ends. */
  readonly presence?: Presence;
}

/**
 * A running batcher. Disposing it drains: it says so, refuses what is new so that gateways resend it elsewhere, finishes what it holds for at
 * most `drainMs`, hands back the rest, and leaves.
 */
export interface Batcher extends AsyncDisposable {
  readonly id: MemberId;
  /** Requests held: queued, or sent and not yet returned. */
  readonly heldRequests: number;
  /** Servables answered UNAVAILABLE at once because they kept ending workers. */
  readonly quarantined: readonly ServableId[];
}

/** Node's timers overflow at 2^31 ms; looking once more than needed costs nothing. */
const LONGEST_TIMER_MS = 1_000_000_000;

/** Starts a batcher: gateways find it by its presence, workers it finds by theirs. */
export async function startBatcher(deps: BatcherDeps): Promise<Batcher> {
  const { transport, subjects, clock, telemetry, settings, id = newMemberId('batcher') } = deps;
  const events = createBatcherEvents(telemetry, id);
  const outbox = createAnswerOutbox(transport, subjects);
  const inboxes = createLossInboxes(transport, `${subjects.ready(id)}.lost`, (batchId) => {
    lanes.undelivered(batchId, clock.now());
    lookSoon();
  });
  const lanes = createLanes({
    id,
    settings,
    events,
    tracing: telemetry.tracing,
    maxMessageBytes: maxMessageBytesOf(transport.maxPayloadBytes),
    ports: {
      send: (workerId, frame) => transport.publish(subjects.batch(workerId), encodeBatch(frame), { replyTo: inboxes.open(frame.batchId) }),
      settled: (batchId, how) => inboxes.close(batchId, how === 'returned'),
      answer: outbox.add,
      drop: (workerId, frame) => transport.publish(subjects.drop(workerId), encodeCancel(frame)),
    },
  });
  const missing = createMissingBatches({
    transport,
    subjects,
    clock,
    id,
    sentTo: lanes.sentTo,
    onMissing(workerId, batchIds) {
      lanes.missing(workerId, batchIds, clock.now());
      lookSoon();
    },
    onUnreadable: events.unreadable,
  });
  let looking = false;
  let stopped = false;
  let timer: Timer | undefined;
  let timerAtMs = Number.POSITIVE_INFINITY;
  let onEmpty: (() => void) | undefined;

  /** Looks at the lanes once the messages of this turn are all in, so that they share batches. */
  function lookSoon(): void {
    if (looking || stopped) return;
    looking = true;
    queueMicrotask(look);
  }

  function look(): void {
    looking = false;
    if (stopped) return;
    const nextMs = lanes.dispatch(clock.now());
    outbox.flush();
    if (lanes.heldRequests === 0) onEmpty?.();
    if (nextMs >= timerAtMs) return;
    timer?.[Symbol.dispose]();
    timerAtMs = nextMs;
    timer = clock.schedule(Math.min(nextMs - clock.now(), LONGEST_TIMER_MS), () => {
      timerAtMs = Number.POSITIVE_INFINITY;
      look();
    });
  }

  /** Subscribes to frames of one kind; what cannot be read is reported and dropped. */
  function listen<Frame>(subject: string, decode: (bytes: Uint8Array) => Frame, accept: (frame: Frame) => void) {
    return transport.subscribe(subject, ({ data }) => {
      let frame: Frame;
      try {
        frame = decode(data);
      } catch (caught) {
        events.unreadable(subject, caught);
        return;
      }
      accept(frame);
      lookSoon();
    });
  }

  const subscriptions: Disposable[] = [
    listen(
      subjects.submit(id),
      (bytes) => decodeSubmit(ownBytes(bytes)),
      (frame) => lanes.submit(frame, clock.now()),
    ),
    listen(subjects.cancel(id), decodeCancel, (frame) => lanes.cancel(frame)),
    listen(subjects.ready(id), decodeReady, (frame) => lanes.ready(frame, clock.now())),
    transport.onConnectionChange((connected) => {
      lanes.connection(connected, clock.now());
      lookSoon();
    }),
    missing,
  ];
  await transport.flush();
  const own = deps.presence === undefined;
  const presence =
    deps.presence ??
    (await startPresence({
      transport,
      subjects,
      clock,
      kind: 'batcher',
      id,
      detail: { draining: false } satisfies BatcherDetail,
      onUnreadable: events.unreadable,
    }));

  function meet({ id: workerId, detail }: Member<WorkerDetail>): void {
    lanes.announced(workerId, detail, clock.now());
    lookSoon();
  }
  subscriptions.push(
    presence.onChange(({ type, member, silence }) => {
      if (member.kind !== 'worker') return;
      if (type === 'reconnected') return missing.ask(member.id);
      if (type !== 'gone') return meet(member as Member<WorkerDetail>);
      lanes.gone(member.id, clock.now(), silence);
      lookSoon();
    }),
  );
  subscriptions.push(
    transport.onConnectionChange((connected) => {
      if (connected) for (const { id: workerId } of presence.members('worker')) missing.ask(workerId);
    }),
  );
  for (const member of presence.members<WorkerDetail>('worker')) meet(member);

  /** Waits until nothing is held, at most `drainMs`. */
  function empty(): Promise<void> {
    if (lanes.heldRequests === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const bound = clock.schedule(settings.drainMs, resolve);
      onEmpty = () => {
        bound[Symbol.dispose]();
        resolve();
      };
    });
  }

  let stopping: Promise<void> | undefined;
  async function stop(): Promise<void> {
    presence.announce({ draining: true } satisfies BatcherDetail);
    events.draining(lanes.heldRequests);
    lanes.drain();
    await empty();
    const leftCount = lanes.heldRequests;
    lanes.handBack();
    look();
    stopped = true;
    timer?.[Symbol.dispose]();
    for (const subscription of subscriptions.reverse()) subscription[Symbol.dispose]();
    inboxes[Symbol.dispose]();
    if (own) await presence[Symbol.asyncDispose]();
    if (transport.connected) await transport.flush();
    events.drained(leftCount);
  }

  return {
    id,
    get heldRequests() {
      return lanes.heldRequests;
    },
    get quarantined() {
      return lanes.quarantined(clock.now());
    },
    [Symbol.asyncDispose]() {
      stopping ??= stop();
      return stopping;
    },
  };
}

/**
 * Bytes that requests may keep. A message is often a small view into a large receive buffer, which a request in its lane would keep alive;
 * one that fills most of its buffer is kept as it is (buffers are never overwritten, by the transport's contract).
 */
function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength * 2 < bytes.buffer.byteLength ? copyBytes(bytes) : bytes;
}
