/** What a transition policy makes of one model at one moment: it is asked until it wants nothing more, and held to the rules that all have. */
import type { NextAction, PolicyAction, VersionSnapshot } from '../../extend/sources.ts';

/** A policy's answer about one model. `undecided`: it has yet to be computed, nothing is done meanwhile. */
export type PolicyAnswer = PolicyAction | 'undecided';

/** A policy as it is asked by the fleet's decision: pure, for built-in policies and for those whose answers were computed before. */
export interface FleetPolicy {
  /** What it wants next of these versions of one model, in descending order. */
  readonly next: (model: string, versions: readonly VersionSnapshot[]) => PolicyAnswer;
  /** Hears of an action that was refused, and why; availability_preserving then decides. */
  readonly refused: (model: string, action: PolicyAction, why: string) => void;
  /** A worker takes no new version of a model while it still holds one that is no longer aspired. */
  readonly roomFirst: boolean;
}

/** Versions that may be loaded where they are not yet, and versions that shall go. */
export interface Transitions {
  readonly load: ReadonlySet<number>;
  readonly unload: ReadonlySet<number>;
}

/**
 * Asks a policy about one model until it wants nothing more, telling it each time what its last action will lead to. `fallback` decides where
 * the policy wants what no policy may. `awaiting`: a version is wanted that cannot be loaded yet, and nothing is given up for it.
 */
export function planTransitions(
  model: { readonly name: string; readonly awaiting: boolean; readonly versions: readonly VersionSnapshot[] },
  policy: FleetPolicy,
  fallback: NextAction,
): Transitions {
  const load = new Set<number>();
  const unload = new Set<number>();
  let versions = model.versions;
  let trusted = true;
  // Each action takes one version to a state from which no action leads on; one question more may be refused.
  for (let asked = 0; asked <= model.versions.length + 1; asked++) {
    const wanted = trusted ? policy.next(model.name, versions) : fallback(versions);
    if (wanted === 'undecided') break;
    const why = wanted !== null ? refusal(wanted, versions) : model.awaiting ? null : idleness(versions);
    if (why !== null && trusted) {
      policy.refused(model.name, wanted, why);
      trusted = false;
      continue;
    }
    if (wanted === null || why !== null) break;
    if (wanted.type === 'unload' && model.awaiting && !hasSuccessor(wanted.version, versions)) break;
    (wanted.type === 'load' ? load : unload).add(wanted.version);
    const state = wanted.type === 'load' ? 'loading' : 'unloading';
    versions = versions.map((one) => (one.version === wanted.version ? { ...one, state, complete: false } : one));
  }
  return { load, unload };
}

/** Why no policy may have this; null when it may. */
function refusal({ type, version }: NonNullable<PolicyAction>, versions: readonly VersionSnapshot[]): string | null {
  const named = versions.find((one) => one.version === version);
  if (named === undefined) return `there is no version ${version}`;
  if (type === 'load' && !named.aspired) return `version ${version} is not aspired`;
  if (type === 'load' && named.state !== 'new') return `version ${version} is ${named.state}, not new`;
  if (type === 'unload' && named.aspired) return `version ${version} is aspired`;
  if (type === 'unload' && named.state !== 'available') return `version ${version} is ${named.state}, not available`;
  return null;
}

/** Why wanting nothing is refused: nothing would ever change again, and the model would never serve. */
function idleness(versions: readonly VersionSnapshot[]): string | null {
  const stuck = versions.some(({ state }) => state === 'new') && versions.every(({ state }) => state === 'new' || state === 'error');
  return stuck ? 'none of its versions is loaded or on its way' : null;
}

function hasSuccessor(version: number, versions: readonly VersionSnapshot[]): boolean {
  return versions.some((other) => other.version !== version && other.complete && (other.aspired || other.version > version));
}
