/**
 * Who is there. Every member publishes a heartbeat on one subject; a member not heard from for `leaseMs` is gone. A heartbeat carries the
 * revision of the member's `detail` (what it holds, whether it drains); whoever has an older one asks the member for it, so that a detail
 * larger than a heartbeat travels only when it changed.
 *
 * Presence is a hint that makes failures quick to see, never a lock: leadership and desired state are in the StateStore.
 */
import { utf8 } from './bytes.ts';
import type { Clock, Timer } from './clock.ts';
import { checkMemberDetail } from './control-reader.ts';
import { count, objectOf, oneOf, optional, readDocument } from './document-shape.ts';
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
  /** Live members of a kind, this one included, ordered by id. */
  members<Detail>(kind: MemberKind): readonly Member<Detail>[];
  /** Replaces what this member announces and tells everybody at once. */
  announce(detail: unknown): void;
  /** Calls `listener` after a member came, changed its detail, or went (`gone`: lease ended, or it said good-bye). */
  onChange(listener: (change: MemberChange) => void): Disposable;
}

/** One change of the membership view. */
export interface MemberChange {
  readonly type: 'came' | 'changed' | 'gone';
  readonly member: Member;
}

interface Heartbeat {
  readonly kind: MemberKind;
  readonly id: MemberId;
  readonly revision: number;
  readonly detail?: unknown;
  readonly leaving?: true;
}

interface Seen {
  member: Member;
  revision: number;
  heardAtMs: number;
}

const heartbeatShape = objectOf<Heartbeat>({
  kind: oneOf('gateway', 'batcher', 'worker', 'registry'),
  id: (value, path) => {
    if (!isMemberId(value)) throw new ServeError('DATA_LOSS', `${path} is no member's id`);
  },
  revision: count,
  detail: optional(() => {}),
  leaving: optional((value, path) => {
    if (value !== true) throw new ServeError('DATA_LOSS', `${path} is not true`);
  }),
});

/** Details up to this size travel in the heartbeat that announces them; larger ones are asked for. */
const INLINE_DETAIL_BYTES = 32 * 1024;

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
  let lastTickMs = clock.now();

  const emit = (type: MemberChange['type'], member: Member) => {
    for (const listener of [...listeners]) listener({ type, member });
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
      emit('gone', known.member);
      return;
    }
    if (known) known.heardAtMs = clock.now();
    if (known?.revision === heard.revision) return;
    // A member never counts down: what we have of it is not its own. It says itself what is right.
    if (known && known.revision > heard.revision) return void ask(heard);
    if (heard.detail !== undefined) {
      put(heard.id, heard.kind, heard.revision, heard.detail);
      return;
    }
    void ask(heard);
  }

  const asking = new Set<MemberId>();
  async function ask(heard: Heartbeat): Promise<void> {
    if (asking.has(heard.id)) return;
    asking.add(heard.id);
    try {
      const bytes = await transport.request(subjects.describe(heard.id), new Uint8Array(0), { timeoutMs: leaseMs });
      const answer = readHeartbeat(bytes);
      if (answer.id !== heard.id) throw new ServeError('DATA_LOSS', `${heard.id} answered as ${answer.id}`);
      if (!stopped && answer.detail !== undefined) replace(answer);
    } catch (caught) {
      // The member may have gone between its heartbeat and the question; its next heartbeat asks again. Anything else is a bug.
      const error = toServeError(caught);
      if (error.code === 'INTERNAL') throw caught;
      if (error.code === 'DATA_LOSS') onUnreadable?.(subjects.describe(heard.id), error);
    } finally {
      asking.delete(heard.id);
    }
  }

  /** Takes a member's own word, also against a higher revision that somebody else made up. */
  function replace({ id: memberId, kind: memberKind, revision: newRevision, detail: newDetail }: Heartbeat): void {
    const known = seen.get(memberId);
    if (known && known.revision > newRevision) known.revision = -1;
    put(memberId, memberKind, newRevision, newDetail);
  }

  function put(memberId: MemberId, memberKind: MemberKind, newRevision: number, newDetail: unknown): void {
    const known = seen.get(memberId);
    if (known && known.revision >= newRevision) return;
    const member: Member = { kind: memberKind, id: memberId, detail: newDetail };
    seen.set(memberId, { member, revision: newRevision, heardAtMs: clock.now() });
    // A newcomer knows nobody yet: it need not wait for the next heartbeat.
    if (!known && memberId !== id && !stopped) beat(true);
    emit(known ? 'changed' : 'came', member);
  }

  function beat(withDetail: boolean, leaving = false): void {
    // Nobody would hear it; after a reconnect everything is announced again.
    if (!transport.connected) return;
    const text = withDetail ? JSON.stringify(detail) : '';
    const heartbeat: Heartbeat = {
      kind,
      id,
      revision,
      ...(withDetail && text.length <= INLINE_DETAIL_BYTES ? { detail } : {}),
      ...(leaving ? { leaving: true as const } : {}),
    };
    transport.publish(subjects.presence, utf8(JSON.stringify(heartbeat)));
  }

  function tick(): void {
    if (stopped) return;
    const now = clock.now();
    // A process that was stopped itself (a debugger, SIGSTOP, a long pause) has heard nobody: that says nothing about the others.
    if (now - lastTickMs > leaseMs / 2) for (const member of seen.values()) member.heardAtMs = now;
    lastTickMs = now;
    beat(false);
    for (const [memberId, { member, heardAtMs }] of seen) {
      if (memberId === id || now - heardAtMs <= leaseMs) continue;
      seen.delete(memberId);
      emit('gone', member);
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
      if (heard.id !== id) accept(heard);
    }),
    transport.subscribe(subjects.describe(id), (message) => {
      if (message.replyTo) transport.publish(message.replyTo, utf8(JSON.stringify({ kind, id, revision, detail } satisfies Heartbeat)));
    }),
  ];
  put(id, kind, revision, detail);
  const reconnects = transport.onConnectionChange((connected) => connected && !stopped && beat(true));
  await transport.flush();
  beat(true);
  timer = clock.schedule(heartbeatMs, tick);

  return {
    members: <Detail>(wanted: MemberKind) =>
      [...seen.values()]
        .filter(({ member }) => member.kind === wanted)
        .map(({ member }) => member as Member<Detail>)
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    announce(newDetail) {
      detail = newDetail;
      revision++;
      put(id, kind, revision, detail);
      if (!stopped) beat(true);
    },
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    async [Symbol.asyncDispose]() {
      if (stopped) return;
      stopped = true;
      timer?.[Symbol.dispose]();
      reconnects[Symbol.dispose]();
      for (const subscription of subscriptions) subscription[Symbol.dispose]();
      beat(false, true);
      listeners.clear();
    },
  };
}
