/**
 * Which servables each worker shall hold now. Pure: the same fleet always gives the same decision, and applying it again changes nothing
 * until the fleet has changed. This is TF Serving's aspired version policy, taken over a fleet instead of one process.
 */
import type { ServableState } from '#mesh/control.ts';
import { type MemberId, servableKey } from '#mesh/ids.ts';
import type { VersionSnapshot } from '../../extend/sources.ts';
import { availabilityPreserving, BUILT_IN_POLICIES, type TransitionPolicy } from './built-in-policies.ts';
import { type FleetWorker, MemoryLedger, place, takesMemory } from './placement.ts';
import { type FleetPolicy, planTransitions } from './plan-transitions.ts';

/** A version that is wanted, or was and is not gone yet. */
export interface FleetVersion {
  readonly version: number;
  readonly aspired: boolean;
  /** The generation of its files that shall be loaded. */
  readonly generation: number;
  /** Memory it is thought to need on a worker. */
  readonly bytes: number;
  /** As published last. */
  readonly routable: boolean;
  /** Since gateways were told that it is not routable; Infinity when it never was. */
  readonly unroutableForMs: number;
  /** Its signatures are known, so that gateways can use it. */
  readonly callable: boolean;
  /** It keeps state between requests: unless replicas are configured it is on one worker, since states of several would drift apart. */
  readonly stateful?: boolean;
  /** The generation assigned to each live worker by the last decision. */
  readonly assigned: ReadonlyMap<MemberId, number>;
  /** What each live worker says of it. */
  readonly held: ReadonlyMap<MemberId, { readonly state: ServableState; readonly generation: number }>;
}

/** One model as the decision sees it: what is wanted of it, and all its versions that are not gone. */
export interface FleetModel {
  readonly name: string;
  /** How many workers each version needs; 0: every one, or one for a version that keeps state. */
  readonly replicas: number;
  /** True while it is not known which versions are aspired: everything then stays as it is. */
  readonly undecided: boolean;
  /** True when a version is wanted that cannot be loaded (yet): the last available one is then kept. */
  readonly awaiting: boolean;
  readonly versions: readonly FleetVersion[];
}

/** What shall be true of one version from now on: who holds it, and whether gateways may send to it. */
export interface VersionDecision {
  readonly version: number;
  /** The generation that each of these workers shall hold. Workers not named shall not hold it. */
  readonly workers: ReadonlyMap<MemberId, number>;
  readonly routable: boolean;
  /** It is on its way out. */
  readonly leaving: boolean;
  /** Why no worker can take it; null when one can, or there are no workers. */
  readonly unplaced: string | null;
}

/** The built-in policy of this name. */
export function builtInPolicy(name: TransitionPolicy): FleetPolicy {
  const next = BUILT_IN_POLICIES[name];
  return {
    next: (_model, versions) => next(versions),
    refused(model, action, why) {
      throw new Error(`${name} wants ${JSON.stringify(action)} for ${model}, but ${why}: this is a bug`);
    },
    roomFirst: name === 'resource_preserving',
  };
}

/** By model name, then version. */
export type FleetDecision = ReadonlyMap<string, ReadonlyMap<number, VersionDecision>>;

/** How long gateways have to hear that a version is not routable before its workers are told to unload it. */
export const UNROUTE_MS = 250;

/**
 * Decides for every version of every model which workers hold it and whether it is routable. Memory that is assigned or held already is
 * counted before anything new is placed; models take their turn by name, so that equal fleets give equal decisions. Models in `atRest` only
 * have their memory counted: for them the decision would be what it was.
 */
export function decideFleet(
  models: readonly FleetModel[],
  workers: readonly FleetWorker[],
  policy: FleetPolicy,
  atRest: { has(model: string): boolean } = new Set(),
): FleetDecision {
  const ledger = new MemoryLedger(workers);
  for (const model of models) {
    for (const version of model.versions) {
      for (const { id } of workers) {
        const held = version.held.get(id);
        if (version.assigned.has(id) ? held?.state !== 'END' : held !== undefined && takesMemory(held.state)) ledger.add(id, version.bytes);
      }
    }
  }
  const ordered = models.filter(({ name }) => !atRest.has(name)).sort((a, b) => (a.name < b.name ? -1 : 1));
  return new Map(ordered.map((model) => [model.name, decideModel(model, workers, policy, ledger)]));
}

function decideModel(
  model: FleetModel,
  workers: readonly FleetWorker[],
  policy: FleetPolicy,
  ledger: MemoryLedger,
): ReadonlyMap<number, VersionDecision> {
  const live = workers.filter((worker) => !worker.draining).map((worker) => worker.id);
  const needed = (version: FleetVersion) => Math.min(replicasOf(version, model) || live.length, live.length);
  const descending = [...model.versions].sort((a, b) => b.version - a.version);
  if (model.undecided) return new Map(descending.map((version) => [version.version, stay(version)]));
  // An empty list of aspired versions means that all go: no policy is asked.
  const allGo = !model.awaiting && !descending.some((version) => version.aspired);
  const snapshots = descending.map((version) => snapshotOf(version, { needed: needed(version), live, workersKnown: workers.length > 0 }));
  // Where room comes first each worker waits until it has room itself; those that have it do not wait for the others.
  const seen = policy.roomFirst ? snapshots.filter(({ state }) => state !== 'unloading') : snapshots;
  const { load, unload } = planTransitions({ ...model, versions: seen }, allGo ? ALL_GO : policy, availabilityPreserving);
  const decisions = new Map<number, VersionDecision>();
  for (const [index, version] of descending.entries()) {
    const state = snapshots[index]?.state;
    const { version: number } = version;
    if (version.aspired) {
      const mayStart = state !== 'new' || load.has(number);
      decisions.set(number, hold(version, descending, model, live, needed(version), { mayStart, roomFirst: policy.roomFirst }, ledger));
      // What is served by nobody is given up without asking.
    } else if (unload.has(number) || state !== 'available') decisions.set(number, leave(version));
    else decisions.set(number, { ...stay(version), routable: becomesRoutable(version, descending, needed(version), live) });
  }
  return decisions;
}

const ALL_GO = builtInPolicy('availability_preserving');

/** One version of the fleet as policies see it. */
function snapshotOf(
  version: FleetVersion,
  fleet: { readonly needed: number; readonly live: readonly MemberId[]; readonly workersKnown: boolean },
): VersionSnapshot {
  const { needed, live, workersKnown } = fleet;
  const { version: number, aspired } = version;
  const complete = version.routable && live.length > 0 && available(version, live) >= Math.max(1, needed);
  if (!aspired) {
    // Without any worker nothing is known: a broker that restarts hides them all for a moment.
    if (available(version) > 0 || !workersKnown) return { version: number, aspired, state: 'available', complete };
    return { version: number, aspired, state: version.assigned.size > 0 ? 'loading' : 'unloading', complete };
  }
  if (complete) return { version: number, aspired, state: 'available', complete };
  if (version.assigned.size === 0) return { version: number, aspired, state: 'new', complete };
  const gone = [...version.assigned.keys()].every((worker) => gaveUp(version, worker));
  return { version: number, aspired, state: gone ? 'error' : 'loading', complete };
}

/** 0: every worker. */
function replicasOf(version: FleetVersion, model: FleetModel): number {
  return model.replicas === 0 && version.stateful === true ? 1 : model.replicas;
}

function stay(version: FleetVersion): VersionDecision {
  return { version: version.version, workers: version.assigned, routable: version.routable, leaving: false, unplaced: null };
}

/** Gateways hear first, workers after. */
function leave(version: FleetVersion): VersionDecision {
  const told = !version.routable && version.unroutableForMs >= UNROUTE_MS;
  return { version: version.version, workers: told ? new Map() : version.assigned, routable: false, leaving: true, unplaced: null };
}

/** Decides for a version that is aspired. */
function hold(
  version: FleetVersion,
  all: readonly FleetVersion[],
  model: FleetModel,
  live: readonly MemberId[],
  needed: number,
  rules: { readonly mayStart: boolean; readonly roomFirst: boolean },
  ledger: MemoryLedger,
): VersionDecision {
  const failed = new Set(live.filter((worker) => gaveUp(version, worker)));
  const assigned = new Set(version.assigned.keys());
  const { bytes, version: number } = version;
  const key = servableKey({ name: model.name, version: number });
  const chosen = place({ key, bytes, replicas: replicasOf(version, model), assigned, failed }, live, ledger);
  const wanted = new Map<MemberId, number>();
  const enough = needed > 0 && available(version, chosen) >= needed;
  for (const worker of chosen) {
    if (assigned.has(worker)) wanted.set(worker, version.assigned.get(worker) ?? version.generation);
    else if (rules.mayStart && !(rules.roomFirst && all.some((other) => !other.aspired && occupies(other, worker)))) {
      wanted.set(worker, version.generation);
      ledger.add(worker, bytes);
    }
  }
  // A worker that is not chosen (any more) keeps it until the chosen ones have it; one that gave up keeps its error, which takes no memory
  // and tells everybody, this decision included, not to try there again.
  for (const [worker, generation] of version.assigned) {
    if (!wanted.has(worker) && (failed.has(worker) || !enough)) wanted.set(worker, generation);
  }
  replaceFiles(version, wanted);
  const unplaced =
    chosen.length === 0 && live.length > 0 && failed.size < live.length ? insufficient(model.name, version, live, ledger) : null;
  return { version: number, workers: wanted, routable: becomesRoutable(version, all, needed, live), leaving: false, unplaced };
}

/** Moves one worker at a time to replaced files: the next when the last has them, and none any more once one has failed. */
function replaceFiles(version: FleetVersion, wanted: Map<MemberId, number>): void {
  const older = [...wanted].filter(([, generation]) => generation !== version.generation).map(([worker]) => worker);
  const underWay = [...wanted].some(([worker, generation]) => {
    const held = version.held.get(worker);
    return generation === version.generation && !(held?.state === 'AVAILABLE' && held.generation === version.generation);
  });
  const next = older.sort()[0];
  if (next !== undefined && !underWay) wanted.set(next, version.generation);
  // Where the old files are not served either there is nothing to protect.
  for (const worker of older) if (version.held.get(worker)?.state !== 'AVAILABLE') wanted.set(worker, version.generation);
}

function becomesRoutable(version: FleetVersion, all: readonly FleetVersion[], needed: number, live: readonly MemberId[]): boolean {
  const availableCount = available(version);
  // Once routable it stays so while it is aspired, even when its workers died: requests wait for the next ones. Where all gave up they would
  // wait in vain.
  if (version.routable)
    return availableCount > 0 || !(live.length > 0 && live.every((worker) => version.held.get(worker)?.state === 'END'));
  if (!version.callable || availableCount === 0) return false;
  return (
    available(version, live) >= Math.max(1, needed) || !all.some((other) => other !== version && other.routable && available(other) > 0)
  );
}

function available(version: FleetVersion, among?: readonly MemberId[]): number {
  let count = 0;
  for (const [worker, held] of version.held) {
    if (held.state === 'AVAILABLE' && version.assigned.has(worker) && (among === undefined || among.includes(worker))) count++;
  }
  return count;
}

function gaveUp(version: FleetVersion, worker: MemberId): boolean {
  const held = version.held.get(worker);
  return held?.state === 'END' && held.generation === version.generation && version.assigned.get(worker) === version.generation;
}

function occupies(version: FleetVersion, worker: MemberId): boolean {
  const held = version.held.get(worker);
  return version.assigned.has(worker) ? held?.state !== 'END' : held !== undefined && takesMemory(held.state);
}

/** TF Serving's words, then the numbers. */
function insufficient(name: string, version: FleetVersion, live: readonly MemberId[], ledger: MemoryLedger): string {
  const rooms = live.map((worker) => {
    const { used, limit } = ledger.freeOf(worker);
    return `${worker} has ${Math.max(0, limit - used)} of ${limit} bytes left`;
  });
  return `Insufficient resources to load servable {name: ${name} version: ${version.version}}: it needs ${version.bytes} bytes; ${rooms.join(', ')}`;
}
