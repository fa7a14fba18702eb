/** Gathers the requests of one turn of the event loop and sends those for one batcher in one message. */
import type { Clock } from '#mesh/clock.ts';
import { type ServeError, toServeError } from '#mesh/errors.ts';
import type { MemberId, RequestId } from '#mesh/ids.ts';
import { encodeCancel, encodeSubmit, type SubmittedRequest } from '#mesh/messages.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';
import type { Flight } from './flight.ts';

/** Requests and cancellations on their way to batchers, held until the end of the turn. Disposing it sends what is still wanted. */
export interface SubmitOutbox extends Disposable {
  /** Frames stay below this; one request larger than it travels alone. */
  readonly maxFrameBytes: number;
  /** Sends a flight at the end of the turn, if it is then still queued for this batcher. */
  add(batcher: MemberId, flight: Flight): void;
  /** Tells a batcher at the end of the turn that nobody waits for a request. */
  cancel(batcher: MemberId, requestId: RequestId): void;
}

/** What frames are sent with, and who hears of those that reached nobody or could not be sent. */
export interface SubmitOutboxDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly id: MemberId;
  /** A frame with these requests reached nobody. */
  readonly onNoResponders: (batcher: MemberId, requestIds: readonly RequestId[]) => void;
  /** A request could not be sent. */
  readonly onTrouble: (flight: Flight, error: ServeError) => void;
}

/** What is to go to one batcher. */
interface Post {
  flights: Flight[];
  cancelled: RequestId[];
}

interface SentFrame {
  readonly batcher: MemberId;
  readonly requestIds: readonly RequestId[];
}

const MAX_FRAME_BYTES = 1024 * 1024;
/** Left free below the transport's limit for headers and what the size estimate misses. */
const FRAME_SLACK_BYTES = 4096;
/**
 * Frames remembered for "no responders", which comes back within a round trip to the broker. Each has a reply subject of its own, used in
 * turn: a subscription per frame would cost a message, a wildcard would slow every delivery.
 */
const REMEMBERED_FRAMES = 256;

/** Makes an outbox for the gateway `id`, subscribed to the subjects on which undelivered frames come back. */
export function createSubmitOutbox(deps: SubmitOutboxDeps): SubmitOutbox {
  const { transport, subjects, clock, id, onNoResponders, onTrouble } = deps;
  const maxFrameBytes = Math.min(MAX_FRAME_BYTES, transport.maxPayloadBytes) - FRAME_SLACK_BYTES;
  const posts = new Map<MemberId, Post>();
  const sent: (SentFrame | undefined)[] = new Array(REMEMBERED_FRAMES).fill(undefined);
  const replySubjects = sent.map((_, slot) => `${subjects.answer(id)}.undelivered.${slot}`);
  let nextSlot = 0;
  let scheduled: NodeJS.Immediate | undefined;

  const subscriptions = replySubjects.map((subject, slot) =>
    transport.subscribe(subject, (message) => {
      const frame = sent[slot];
      if (!message.noResponders || frame === undefined) return;
      sent[slot] = undefined;
      onNoResponders(frame.batcher, frame.requestIds);
    }),
  );

  function postFor(batcher: MemberId): Post {
    // Not a microtask: those run after each socket's read, an immediate after the reads of all sockets that were ready.
    scheduled ??= setImmediate(flush);
    let post = posts.get(batcher);
    if (post === undefined) {
      post = { flights: [], cancelled: [] };
      posts.set(batcher, post);
    }
    return post;
  }

  function flush(): void {
    scheduled = undefined;
    const now = clock.now();
    for (const [batcher, post] of posts) {
      const { flights, cancelled } = post;
      // A batcher that was not used for a whole turn is forgotten; members come and go.
      if (flights.length === 0 && cancelled.length === 0) posts.delete(batcher);
      post.flights = [];
      post.cancelled = [];
      if (flights.length > 0) submit(batcher, flights, now);
      if (cancelled.length > 0) publishCancelled(batcher, cancelled);
    }
  }

  function submit(batcher: MemberId, flights: readonly Flight[], now: number): void {
    let frame: Flight[] = [];
    let frameBytes = 0;
    for (const flight of flights) {
      if (flight.state !== 'queued' || flight.batcher !== batcher) continue;
      const bytes = sizeOf(flight);
      if (frame.length > 0 && frameBytes + bytes > maxFrameBytes) {
        publish(batcher, frame, now);
        frame = [];
        frameBytes = 0;
      }
      frame.push(flight);
      frameBytes += bytes;
    }
    if (frame.length > 0) publish(batcher, frame, now);
  }

  function publish(batcher: MemberId, flights: readonly Flight[], now: number): void {
    const requests: SubmittedRequest[] = new Array(flights.length);
    const requestIds: RequestId[] = new Array(flights.length);
    for (const [index, flight] of flights.entries()) {
      flight.state = 'submitted';
      requestIds[index] = flight.id;
      requests[index] = submitted(flight, now);
    }
    const slot = nextSlot++ % REMEMBERED_FRAMES;
    sent[slot] = { batcher, requestIds };
    try {
      transport.publish(subjects.submit(batcher), encodeSubmit({ gatewayId: id, requests }), { replyTo: replySubjects[slot] ?? '' });
    } catch (caught) {
      sent[slot] = undefined;
      const error = toServeError(caught);
      for (const flight of flights) onTrouble(flight, error);
    }
  }

  function publishCancelled(batcher: MemberId, requestIds: readonly RequestId[]): void {
    // A closed transport has nobody to tell; the batcher drops the work by its deadline.
    if (transport.connected) transport.publish(subjects.cancel(batcher), encodeCancel({ gatewayId: id, requestIds }));
  }

  return {
    maxFrameBytes,
    add: (batcher, flight) => void postFor(batcher).flights.push(flight),
    cancel: (batcher, requestId) => void postFor(batcher).cancelled.push(requestId),
    [Symbol.dispose]() {
      if (scheduled !== undefined) clearImmediate(scheduled);
      // Cancellations of the last turn still go out.
      flush();
      for (const subscription of subscriptions) subscription[Symbol.dispose]();
    },
  };
}

function submitted(flight: Flight, now: number): SubmittedRequest {
  const { request } = flight;
  return {
    requestId: flight.id,
    servable: request.servable.id,
    signature: request.signatureName,
    outputs: request.outputs,
    laneKey: flight.laneKey,
    rows: flight.rows,
    budgetMs: Math.max(0, request.deadlineMs - now),
    attempt: flight.attempt,
    traceparent: flight.traceparent,
    callers: request.callers,
    body: flight.body,
  };
}

/** At most this many bytes in a frame. */
function sizeOf({ body, laneKey, request }: Flight): number {
  let characters = laneKey.length + request.servable.id.name.length + request.signatureName.length;
  for (const output of request.outputs) characters += 4 + output.length;
  for (const caller of request.callers ?? []) characters += 4 + caller.length;
  return 128 + 3 * characters + body.byteLength;
}
