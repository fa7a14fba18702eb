import type { AssignedServable, Assignment } from '#mesh/control.ts';

/** Puts assignments together that came in parts. */
export interface AssignmentParts {
  /** Gives an assignment that is whole: the one given, or with the last missing part the one that it completes; undefined while parts are missing. */
  take(assignment: Assignment): Assignment | undefined;
}

/** Makes a place for parts. It keeps those of one revision, the last one it has heard of. */
export function createAssignmentParts(): AssignmentParts {
  let of = '';
  let parts = new Map<number, readonly AssignedServable[]>();
  return {
    take({ part, ...assignment }) {
      if (part === undefined) return assignment;
      const { fencingToken, revision, servables } = assignment;
      const key = `${fencingToken} ${revision} ${part.count}`;
      if (key !== of) parts = new Map();
      of = key;
      parts.set(part.index, servables);
      if (parts.size < part.count) return undefined;
      const whole = [...parts].sort(([a], [b]) => a - b).flatMap(([, some]) => some);
      of = '';
      parts = new Map();
      return { ...assignment, servables: whole };
    },
  };
}
