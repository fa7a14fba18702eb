import { utf8 } from '#mesh/bytes.ts';
import type { Clock } from '#mesh/clock.ts';
import type { AssignedServable, Assignment, WorkerDetail } from '#mesh/control.ts';
import { type MemberId, type ServableId, servableKey } from '#mesh/ids.ts';
import type { Member } from '#mesh/presence.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';

/** What workers shall hold, by model. */
export interface Wanted {
  /** Names of all models that a worker may have to hold. */
  readonly models: () => Iterable<string>;
  /** Those of them whose versions may be assigned otherwise than at the last telling. */
  readonly changed: Iterable<string>;
  /** The versions of a model that a worker shall hold, in the order in which it shall load them. */
  readonly servablesOf: (worker: MemberId, model: string) => readonly AssignedServable[];
}

/** Tells workers what to hold, and again until they have heard. */
export interface Assigner {
  /** Sends to each live worker what changed for it, and once a second all of it while it has not taken that over. */
  assign(workers: readonly Member<WorkerDetail>[], wanted: Wanted): void;
  /** True when this leadership has told the worker anything yet. */
  hasTold(worker: MemberId): boolean;
}

/** A worker that has not taken over what it was told is told again after this long. */
const RESEND_MS = 1000;
/** Lists up to this size are sent whole; of longer ones only what changed is sent. */
const SMALL_LIST_BYTES = 32 * 1024;
/** Room left in a message for what is not a servable. */
const ENVELOPE_BYTES = 4096;

interface Told {
  /** The versions of each model; models without any are not in it. `text`: a JSON list, to compare with. */
  readonly byModel: Map<string, { readonly servables: readonly AssignedServable[]; readonly text: string }>;
  bytes: number;
  revision: number;
  /** When it last was up to date, moved on, or was told all of it. */
  waitingSinceMs: number;
  heardRevision: number;
}

/** Makes the assigner of one leadership. `fencingToken` goes with every assignment: a worker follows the highest it has heard. */
export function createAssigner(transport: Transport, subjects: Subjects, clock: Clock, fencingToken: number): Assigner {
  const told = new Map<MemberId, Told>();
  let revision = 0;

  function publish(worker: MemberId, assignment: Omit<Assignment, 'fencingToken' | 'servables'>, texts: readonly string[]): void {
    const head: Assignment = { fencingToken, ...assignment, servables: [] };
    // The servables are text already; nothing before the empty list can look like it.
    const text = JSON.stringify(head).replace('"servables":[]', () => `"servables":[${texts.join(',')}]`);
    transport.publish(subjects.assign(worker), utf8(text));
  }

  /** Sends the whole list, in as many messages as it takes. */
  function sendAll(worker: MemberId, { byModel, revision: current }: Told): void {
    const room = transport.maxPayloadBytes - ENVELOPE_BYTES;
    const parts: string[][] = [[]];
    let bytes = 0;
    for (const name of [...byModel.keys()].sort()) {
      const text = byModel.get(name)?.text.slice(1, -1) ?? '';
      const size = Buffer.byteLength(text) + 1;
      if (bytes > 0 && bytes + size > room) {
        parts.push([]);
        bytes = 0;
      }
      parts.at(-1)?.push(text);
      bytes += size;
    }
    for (const [index, texts] of parts.entries()) {
      publish(worker, { revision: current, ...(parts.length > 1 ? { part: { index, count: parts.length } } : {}) }, texts);
    }
  }

  /** Takes over what the models named are assigned now. Gives what is to be told of it. */
  function update(worker: MemberId, known: Told, names: Iterable<string>, wanted: Wanted) {
    const texts: string[] = [];
    const removed: ServableId[] = [];
    for (const name of names) {
      const servables = wanted.servablesOf(worker, name);
      const text = JSON.stringify(servables);
      const before = known.byModel.get(name);
      if (text === (before?.text ?? '[]')) continue;
      known.bytes += Buffer.byteLength(text) - (before === undefined ? 0 : Buffer.byteLength(before.text));
      const kept = new Set(servables.map(({ id }) => servableKey(id)));
      for (const { id } of before?.servables ?? []) if (!kept.has(servableKey(id))) removed.push(id);
      if (servables.length > 0) {
        known.byModel.set(name, { servables, text });
        texts.push(text.slice(1, -1));
      } else known.byModel.delete(name);
    }
    return { texts, removed };
  }

  function tell(worker: Member<WorkerDetail>, wanted: Wanted): void {
    const now = clock.now();
    const { id, detail } = worker;
    const known = told.get(id);
    if (known === undefined) {
      const fresh: Told = { byModel: new Map(), bytes: 0, revision: ++revision, waitingSinceMs: now, heardRevision: -1 };
      update(id, fresh, wanted.models(), wanted);
      told.set(id, fresh);
      sendAll(id, fresh);
      return;
    }
    const lags = detail.fencingToken !== fencingToken || detail.assignmentRevision !== known.revision;
    if (!lags || detail.assignmentRevision !== known.heardRevision) known.waitingSinceMs = now;
    known.heardRevision = detail.assignmentRevision;
    const { texts, removed } = update(id, known, wanted.changed, wanted);
    const late = lags && now - known.waitingSinceMs >= RESEND_MS;
    const since = known.revision;
    const changed = texts.length > 0 || removed.length > 0;
    if (!changed && !late) return;
    if (changed) known.revision = ++revision;
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, JSON.stringify(removed).length);
    if (late || known.bytes <= SMALL_LIST_BYTES || bytes > transport.maxPayloadBytes - ENVELOPE_BYTES) {
      known.waitingSinceMs = now;
      sendAll(id, known);
    } else publish(id, { revision: known.revision, since, removed }, texts);
  }

  return {
    assign(workers, wanted) {
      for (const worker of workers) tell(worker, wanted);
      const live = new Set(workers.map((worker) => worker.id));
      for (const id of told.keys()) if (!live.has(id)) told.delete(id);
    },
    hasTold: (worker) => told.has(worker),
  };
}
