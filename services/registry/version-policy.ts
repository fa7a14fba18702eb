import type { VersionPolicy } from '#proto/model-server-config.ts';

/** What is known of a version's folder: nothing yet, being looked at, fit to be loaded, or not. */
export type Verdict = 'unknown' | 'pending' | 'good' | 'bad';

/** What the policy makes of the versions that exist now. */
export interface VersionPlan {
  /** Versions whose folders are to be looked at, descending. */
  readonly look: readonly number[];
  /** Versions that shall be loaded, descending. */
  readonly aspired: readonly number[];
  /** True when the policy wants a version that is not fit to be loaded (yet): what is loaded now is then not given up for it. */
  readonly awaiting: boolean;
}

/**
 * Decides which of the versions that exist are looked at and which are aspired. Stateless. `latest n` means the highest n that can be used:
 * a half-copied or broken version never takes the place of the one before it, unlike in TF Serving, and older folders are not even read.
 */
export function planVersions(found: readonly number[], policy: VersionPolicy, verdictOf: (version: number) => Verdict): VersionPlan {
  const descending = [...new Set(found)].sort((a, b) => b - a);
  if (policy.type !== 'latest') {
    const look = policy.type === 'all' ? descending : descending.filter((version) => policy.versions.includes(version));
    const aspired = look.filter((version) => verdictOf(version) === 'good');
    return { look, aspired, awaiting: aspired.length < look.length };
  }
  const look: number[] = [];
  const aspired: number[] = [];
  let hopeful = 0;
  for (const version of descending) {
    const verdict = verdictOf(version);
    if (verdict === 'good' && aspired.length < policy.numVersions) aspired.push(version);
    if (hopeful < policy.numVersions) {
      look.push(version);
      if (verdict !== 'bad') hopeful++;
    }
  }
  // A good version below the ones looked at is still looked at while it is aspired: its files may change.
  for (const version of aspired) if (!look.includes(version)) look.push(version);
  return { look, aspired, awaiting: look.some((version) => verdictOf(version) !== 'good') };
}
