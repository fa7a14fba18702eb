/**
 * What has changed of a member's detail, for members that have much to tell: a worker with a thousand servables says what became of one of them
 * without naming the others. A receiver that has another revision than the one that was changed asks for all of it.
 */
import type { HeldServable, WorkerDetail } from './control.ts';
import { type ServableId, servableKey } from './ids.ts';

/** A change of a `WorkerDetail`. */
export interface WorkerDetailPatch extends WorkerDetail {
  /** Those that are new or told anew. */
  readonly servables: readonly HeldServable[];
  /** Those that are not held any more. */
  readonly gone: readonly ServableId[];
}

/** Shorter lists are told whole. */
const PATCHED_FROM = 64;

/**
 * What leads from one detail to the next; undefined where the next is better told whole. Servables that did not change have to be the same
 * objects.
 */
export function diffDetail(kind: string, before: unknown, after: unknown): WorkerDetailPatch | undefined {
  if (kind !== 'worker' || !hasServables(before) || !hasServables(after)) return undefined;
  if (before.servables.length < PATCHED_FROM || after.servables.length < PATCHED_FROM) return undefined;
  const had = new Set(before.servables);
  const has = new Set(after.servables);
  const servables = after.servables.filter((servable) => !had.has(servable));
  const changed = new Set(servables.map(({ id }) => servableKey(id)));
  const gone = before.servables.filter((servable) => !has.has(servable) && !changed.has(servableKey(servable.id))).map(({ id }) => id);
  return { ...after, servables, gone };
}

/** The next detail. What the patch does not name is the same object as before. */
export function patchDetail(before: WorkerDetail, { gone, ...after }: WorkerDetailPatch): WorkerDetail {
  const left = new Set(gone.map(servableKey));
  const changed = new Map(after.servables.map((servable) => [servableKey(servable.id), servable]));
  const servables: HeldServable[] = [];
  for (const servable of before.servables) {
    const key = servableKey(servable.id);
    if (left.has(key)) continue;
    servables.push(changed.get(key) ?? servable);
    changed.delete(key);
  }
  return { ...after, servables: [...servables, ...changed.values()] };
}

function hasServables(detail: unknown): detail is WorkerDetail {
  return typeof detail === 'object' && detail !== null && 'servables' in detail && Array.isArray(detail.servables);
}
