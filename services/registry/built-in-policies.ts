import type { NextAction, VersionSnapshot } from '../../extend/sources.ts';

/** Whether a version stays until its successor serves (more memory for a while) or goes first (a gap in service). */
export type TransitionPolicy = 'availability_preserving' | 'resource_preserving';

/**
 * TF Serving's AvailabilityPreservingPolicy over a fleet: unloads the lowest version that is no longer aspired and has a successor on as many
 * workers as that one needs, else loads the highest new one. While a successor is missing on even one worker that should have it, the old
 * version stays everywhere: a broken worker delays a rollout; it never halves the capacity.
 */
export const availabilityPreserving: NextAction = (versions) => {
  const replaced = lowest(
    versions.filter(
      (old) =>
        isServingUnaspired(old) &&
        (!versions.some(({ aspired }) => aspired) ||
          versions.some((other) => other !== old && other.complete && (other.aspired || other.version > old.version))),
    ),
  );
  return replaced === undefined ? loadHighest(versions) : { type: 'unload', version: replaced.version };
};

/** TF Serving's ResourcePreservingPolicy: unloads what is no longer aspired, and loads nothing until all of it is gone. */
export const resourcePreserving: NextAction = (versions) => {
  const old = lowest(versions.filter(isServingUnaspired));
  if (old !== undefined) return { type: 'unload', version: old.version };
  return versions.some(({ aspired, state }) => !aspired && state !== 'error') ? null : loadHighest(versions);
};

/** The built-in policies by the names that --aspired_version_policy has for them. */
export const BUILT_IN_POLICIES: Readonly<Record<TransitionPolicy, NextAction>> = {
  availability_preserving: availabilityPreserving,
  resource_preserving: resourcePreserving,
};

function isServingUnaspired({ aspired, state }: VersionSnapshot): boolean {
  return !aspired && state === 'available';
}

function loadHighest(versions: readonly VersionSnapshot[]) {
  const fresh = versions.filter(({ aspired, state }) => aspired && state === 'new').map(({ version }) => version);
  return fresh.length === 0 ? null : ({ type: 'load', version: Math.max(...fresh) } as const);
}

function lowest(versions: readonly VersionSnapshot[]): VersionSnapshot | undefined {
  return [...versions].sort((a, b) => a.version - b.version)[0];
}
