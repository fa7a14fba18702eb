/**
 * Who is there. Every member publishes a heartbeat on one subject; a member not heard from for `leaseMs` is gone. A heartbeat carries the
 * revision of the member's `detail` (what it holds, whether it drains); whoever has an older one asks the member for it, so that a detail
 * larger than a heartbeat travels only when it changed. Of a long one only the change travels, to all who have the revision before.
 *
 * A member hears its own heartbeats back, by the same way as those of the others. While it does not, the silence of others says nothing about
 * them: the broker stands still, the connection is down, or this process was stopped. It judges nobody then.
 *
 * Presence is a hint that makes failures quick to see, never a lock: leadership and desired state are in the StateStore.
 */
import { fromUtf8, utf8 } from './bytes.ts';
import type { Clock, Timer } from './clock.ts';
import type { WorkerDetail } from './control.ts';
import { checkMemberDetail, checkWorkerPatch } from './control-reader.ts';
import { diffDetail, patchDetail, type WorkerDetailPatch } from './detail-patch.ts';
import { count, objectOf, oneOf, optional, orNull, readDocument, text } from './document-shape.ts';
import { ServeError, toServeError } from './errors.ts';
import { isMemberId, type MemberId } from './ids.ts';
import type { Subjects } from './subjects.ts';
import type { Transport } from './transport.ts';

/** The kinds of processes in a mesh. */
export type MemberKind = 'gateway' | 'batcher' | 'worker' | 'registry';

/** A member as others see it. */
export interface Member<Detail = unknown> {
  readonly kind: MemberKind;
  readonly id: MemberId;
  readonly detail: Detail;
}

/** Who this member is and how quickly silence counts. */
export interface PresenceOptions {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly kind: MemberKind;
  readonly id: MemberId;
  /** What this member announces first. */
  readonly detail: unknown;
  /** Between heartbeats; default 250 ms. */
  readonly heartbeatMs?: number;
  /** Without a heartbeat for this long a member is gone; default 1000 ms, and at least three heartbeats. */
  readonly leaseMs?: number;
  /** Throws for a detail that a member of this kind cannot announce; it is dropped then. Default: `checkMemberDetail`. */
  readonly checkDetail?: (kind: MemberKind, detail: unknown) => void;
  /** Told of every message that cannot be read; it is dropped. */
  readonly onUnreadable?: (subject: string, error: ServeError) => void;
}

/** A membership view and this member's own announcement. Disposing it says good-bye at once. */
export interface Presence extends AsyncDisposable {
  /** True while this member's own heartbeats come back to it, within a lease: false means that it is cut off, or the broker stands still. */
  readonly hearsItself: boolean;
  /** Live members of a kind, this one included, ordered by id. */
  members<Detail>(kind: MemberKind): readonly Member<Detail>[];
  /** Replaces what this member announces and tells everybody at once. */
  announce(detail: unknown): void;
  /** Calls `listener` after a member came, changed its detail, reconnected, or went (`gone`: lease ended, or it said good-bye). */
  onChange(listener: (change: MemberChange) => void): Disposable;
}

/**
 * One change of the membership view. `reconnected`: the member lost its connection to the broker for less than a lease and has it back; what was
 * on its way to it or from it may be lost.
 */
export interface MemberChange {
  readonly type: 'came' | 'changed' | 'gone' | 'reconnected';
  readonly member: Member;
  /** Of a member whose lease ended. Absent when it said good-bye. */
  readonly silence?: Silence;
}

/** How a lease ended. */
export interface Silence {
  /** When the member was heard last, on this process' clock. */
  readonly sinceMs: number;
  /** Another member of its kind that is still there has been silent for about as long: one cause may have hit both. */
  readonly shared: boolean;
}

/** Members fell silent together when that was within this part of a lease. */
const TOGETHER = 0.3;

interface Heartbeat {
  readonly kind: MemberKind;
  readonly id: MemberId;
  readonly revision: number;
  readonly detail?: unknown;
  /** What leads from the revision before to this one. */
  readonly patch?: WorkerDetailPatch;
  /** In an answer, for a detail too large for one message: a piece of its JSON text, and where the next one starts (null: it is the last). */
  readonly piece?: string;
  readonly next?: number | null;
  readonly leaving?: true;
  /** How often the member has lost the broker and had it back; absent: never. */
  readonly reconnects?: number;
}

interface Seen {
  member: Member;
  revision: number;
  heardAtMs: number;
  reconnects: number;
}

const heartbeatShape = objectOf<Heartbeat>({
  kind: oneOf('gateway', 'batcher', 'worker', 'registry'),
  id: (value, path) => {
    if (!isMemberId(value)) throw new ServeError('DATA_LOSS', `${path} is no member's id`);
  },
  revision: count,
  detail: optional(() => {}),
  patch: optional(checkWorkerPatch),
  piece: optional(text),
  next: optional(orNull(count)),
  leaving: optional((value, path) => {
    if (value !== true) throw new ServeError('DATA_LOSS', `${path} is not true`);
  }),
  reconnects: optional(count),
});

/** Details up to this size travel in the heartbeat that announces them; larger ones are asked for. */
const INLINE_DETAIL_BYTES = 32 * 1024;
/** A detail that is read in pieces has an end: this is room for a hundred thousand servables. */
const MAX_DETAIL_CHARS = 64 * 2 ** 20;

/** Starts announcing this member and watching the others. */
export async function startPresence(options: PresenceOptions): Promise<Presence> {
  const {
    transport,
    subjects,
    clock,
    kind,
    id,
    heartbeatMs = 250,
    leaseMs = 1000,
    checkDetail = checkMemberDetail,
    onUnreadable,
  } = options;
  const seen = new Map<MemberId, Seen>();
  const listeners = new Set<(change: MemberChange) => void>();
  let revision = 1;
  let detail = options.detail;
  let stopped = false;
  let timer: Timer | undefined;
  /** When a heartbeat of our own was heard last. */
  let heardSelfMs = clock.now();
  let reconnects = 0;

  const emit = (change: MemberChange) => {
    for (const listener of [...listeners]) listener(change);
  };

  function readHeartbeat(bytes: Uint8Array): Heartbeat {
    const read = readDocument<Heartbeat>(bytes, 'heartbeat', heartbeatShape);
    if (read.detail !== undefined) checkDetail(read.kind, read.detail);
    return read;
  }

  function accept(heard: Heartbeat): void {
    const known = seen.get(heard.id);
    if (heard.leaving) {
      if (!known) return;
      seen.delete(heard.id);
      emit({ type: 'gone', member: known.member });
      return;
    }
    if (known) hear(known, heard.reconnects ?? 0);
    if (known?.revision === heard.revision) return;
    // A member never counts down: what we have of it is not its own. It says itself what is right.
    if (known && known.revision > heard.revision) return void ask(heard);
    if (heard.detail !== undefined) {
      put(heard, heard.detail);
      return;
    }
    if (heard.patch !== undefined && known?.revision === heard.revision - 1 && known.member.kind === 'worker') {
      put(heard, patchDetail(known.member.detail as WorkerDetail, heard.patch));
      return;
    }
    void ask(heard);
  }

  function hear(known: Seen, itsReconnects: number): void {
    known.heardAtMs = clock.now();
    const before = known.reconnects;
    known.reconnects = itsReconnects;
    if (itsReconnects > before) emit({ type: 'reconnected', member: known.member });
  }

  const asking = new Set<MemberId>();
  async function ask(heard: Heartbeat): Promise<void> {
    if (asking.has(heard.id)) return;
    asking.add(heard.id);
    try {
      const answer = await describe(heard.id);
      if (!stopped && answer?.detail !== undefined) replace(answer);
    } catch (caught) {
      // The member may have gone between its heartbeat and the question; its next heartbeat asks again. Anything else is a bug.
      const error = toServeError(caught);
      if (error.code === 'INTERNAL') throw caught;
      if (error.code === 'DATA_LOSS') onUnreadable?.(subjects.describe(heard.id), error);
    } finally {
      asking.delete(heard.id);
    }
  }

  /** What a member says of itself; undefined when that changed while it was read in pieces. */
  async function describe(memberId: MemberId): Promise<Heartbeat | undefined> {
    let read = '';
    let first: Heartbeat | undefined;
    for (let from: number | null = 0; from !== null; ) {
      const bytes = await transport.request(subjects.describe(memberId), utf8(from === 0 ? '' : String(from)), { timeoutMs: leaseMs });
      const answer = readHeartbeat(bytes);
      if (answer.id !== memberId) throw new ServeError('DATA_LOSS', `${memberId} answered as ${answer.id}`);
      first ??= answer;
      if (answer.revision !== first.revision) return undefined;
      if (answer.piece === undefined) return answer;
      read += answer.piece;
      if (read.length > MAX_DETAIL_CHARS)
        throw new ServeError('DATA_LOSS', `${memberId} answers with more than ${MAX_DETAIL_CHARS} characters`);
      const next: number | null = answer.next ?? null;
      if (next !== null && next <= from) throw new ServeError('DATA_LOSS', `${memberId} answers with pieces that do not end`);
      from = next;
    }
    if (first === undefined) return undefined;
    const rest = `"revision":${first.revision},"reconnects":${first.reconnects ?? 0},"detail":${read}`;
    return readHeartbeat(utf8(`{"kind":"${first.kind}","id":"${first.id}",${rest}}`));
  }

  /** The answer to whoever asks what this member is. */
  function describeSelf(from: number): Uint8Array {
    const whole = utf8(JSON.stringify({ kind, id, revision, reconnects, detail } satisfies Heartbeat));
    if (from === 0 && whole.byteLength <= transport.maxPayloadBytes) return whole;
    const all = JSON.stringify(detail);
    // A character takes up to three bytes, and twice as many where it is escaped.
    const until = from + Math.floor(transport.maxPayloadBytes / 8);
    const next = until < all.length ? until : null;
    return utf8(JSON.stringify({ kind, id, revision, reconnects, piece: all.slice(from, until), next } satisfies Heartbeat));
  }

  /** Takes a member's own word, also against a higher revision that somebody else made up. */
  function replace(own: Heartbeat): void {
    const known = seen.get(own.id);
    if (known && known.revision > own.revision) known.revision = -1;
    put(own, own.detail);
  }

  function put(heard: Pick<Heartbeat, 'id' | 'kind' | 'revision' | 'reconnects'>, newDetail: unknown): void {
    const { id: memberId } = heard;
    const known = seen.get(memberId);
    if (known && known.revision >= heard.revision) return;
    const member: Member = { kind: heard.kind, id: memberId, detail: newDetail };
    seen.set(memberId, {
      member,
      revision: heard.revision,
      heardAtMs: clock.now(),
      reconnects: Math.max(heard.reconnects ?? 0, known?.reconnects ?? 0),
    });
    // A newcomer knows nobody yet: it need not wait for the next heartbeat.
    if (!known && memberId !== id && !stopped) beat(true);
    emit({ type: known ? 'changed' : 'came', member });
  }

  function beat(withDetail: boolean, leaving = false, patch?: WorkerDetailPatch): void {
    // Nobody would hear it; after a reconnect everything is announced again.
    if (!transport.connected) return;
    const inline = JSON.stringify(patch ?? (withDetail ? detail : '')).length <= INLINE_DETAIL_BYTES;
    const heartbeat: Heartbeat = {
      kind,
      id,
      revision,
      ...(withDetail && inline ? { detail } : {}),
      ...(patch !== undefined && inline ? { patch } : {}),
      ...(leaving ? { leaving: true as const } : {}),
      ...(reconnects > 0 ? { reconnects } : {}),
    };
    transport.publish(subjects.presence, utf8(JSON.stringify(heartbeat)));
  }

  /** The time in which we did not hear ourselves is held against nobody; after a whole lease of it everybody begins anew. */
  function acceptOwn(): void {
    const now = clock.now();
    const deafMs = now - heardSelfMs;
    heardSelfMs = now;
    if (deafMs <= leaseMs / 2) return;
    for (const one of seen.values()) one.heardAtMs = deafMs > leaseMs ? now : Math.min(now, one.heardAtMs + deafMs);
  }

  function tick(): void {
    if (stopped) return;
    const now = clock.now();
    beat(false);
    if (now - heardSelfMs <= leaseMs / 2) {
      for (const [memberId, { member, heardAtMs }] of seen) {
        if (memberId === id || now - heardAtMs <= leaseMs) continue;
        seen.delete(memberId);
        const alike = (one: Seen) => one.member.kind === member.kind && one.heardAtMs <= heardAtMs + TOGETHER * leaseMs;
        emit({ type: 'gone', member, silence: { sinceMs: heardAtMs, shared: [...seen.values()].some(alike) } });
      }
    }
    timer = clock.schedule(heartbeatMs, tick);
  }

  const subscriptions = [
    transport.subscribe(subjects.presence, (message) => {
      let heard: Heartbeat;
      try {
        heard = readHeartbeat(message.data);
      } catch (caught) {
        onUnreadable?.(subjects.presence, toServeError(caught));
        return;
      }
      if (heard.id === id) acceptOwn();
      else accept(heard);
    }),
    transport.subscribe(subjects.describe(id), (message) => {
      const from = Number(fromUtf8(message.data));
      if (message.replyTo && Number.isSafeInteger(from) && from >= 0) transport.publish(message.replyTo, describeSelf(from));
    }),
  ];
  put({ id, kind, revision }, detail);
  const connection = transport.onConnectionChange((connected) => {
    if (!connected || stopped) return;
    reconnects++;
    beat(true);
  });
  await transport.flush();
  beat(true);
  timer = clock.schedule(heartbeatMs, tick);

  return {
    get hearsItself() {
      return transport.connected && clock.now() - heardSelfMs <= leaseMs;
    },
    members: <Detail>(wanted: MemberKind) =>
      [...seen.values()]
        .filter(({ member }) => member.kind === wanted)
        .map(({ member }) => member as Member<Detail>)
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    announce(newDetail) {
      const patch = diffDetail(kind, detail, newDetail);
      detail = newDetail;
      revision++;
      put({ id, kind, revision }, detail);
      if (!stopped) beat(patch === undefined, false, patch);
    },
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    async [Symbol.asyncDispose]() {
      if (stopped) return;
      stopped = true;
      timer?.[Symbol.dispose]();
      connection[Symbol.dispose]();
      for (const subscription of subscriptions) subscription[Symbol.dispose]();
      beat(false, true);
      listeners.clear();
    },
  };
}
