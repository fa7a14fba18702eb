import { utf8 } from '#mesh/bytes.ts';
import type { Clock } from '#mesh/clock.ts';
import type { AssignedServable, Assignment, WorkerDetail } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { Member } from '#mesh/presence.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';

/** Tells workers what to hold, and again until they have heard. */
export interface Assigner {
  /** Sends to each live worker what changed for it, and once a second what it has not taken over yet. */
  assign(workers: readonly Member<WorkerDetail>[], servablesOf: (worker: MemberId) => readonly AssignedServable[]): void;
  /** True when this leadership has told the worker anything yet. */
  hasTold(worker: MemberId): boolean;
}

/** Between two tellings of the same assignment. */
const RESEND_MS = 1000;

/** Makes the assigner of one leadership. `fencingToken` goes with every assignment: a worker follows the highest it has heard. */
export function createAssigner(transport: Transport, subjects: Subjects, clock: Clock, fencingToken: number): Assigner {
  const told = new Map<MemberId, { readonly text: string; readonly revision: number; sentAtMs: number }>();
  let revision = 0;

  return {
    assign(workers, servablesOf) {
      const now = clock.now();
      for (const worker of workers) {
        const servables = servablesOf(worker.id);
        const text = JSON.stringify(servables);
        const before = told.get(worker.id);
        const changed = before === undefined || before.text !== text;
        const { detail } = worker;
        const lags = before !== undefined && (detail.fencingToken !== fencingToken || detail.assignmentRevision !== before.revision);
        if (!changed && !(lags && now - before.sentAtMs >= RESEND_MS)) continue;
        const newRevision = changed ? ++revision : before.revision;
        told.set(worker.id, { text, revision: newRevision, sentAtMs: now });
        const assignment: Assignment = { fencingToken, revision: newRevision, servables };
        transport.publish(subjects.assign(worker.id), utf8(JSON.stringify(assignment)));
      }
      const live = new Set(workers.map((worker) => worker.id));
      for (const id of told.keys()) if (!live.has(id)) told.delete(id);
    },
    hasTold: (worker) => told.has(worker),
  };
}
