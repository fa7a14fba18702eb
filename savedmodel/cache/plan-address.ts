import { createHash } from 'node:crypto';
import { PLAN_VERSION } from '../plan/plan.ts';

/** All that decides what an import makes. */
export interface PlanSource {
  /** Of the SavedModel's content: see `digestFiles`. */
  readonly digest: string;
  /** Of the MetaGraph; their order does not matter. */
  readonly tags: readonly string[];
  /** Of the ops that users brought along; empty without any. */
  readonly opLibraryDigest: string;
}

/** The name of a plan in a cache: equal for equal sources and importers of the same version, in all processes. */
export function planAddress({ digest, tags, opLibraryDigest }: PlanSource): string {
  const parts = [PLAN_VERSION, digest, [...new Set(tags)].sort(), opLibraryDigest];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 40);
}
