/**
 * Which servables each worker shall hold now. Pure: the same fleet always gives the same decision, and applying it again changes nothing
 * until the fleet has changed. This is TF Serving's aspired version policy, taken over a fleet instead of one process.
 */
import type { ServableState } from '#mesh/control.ts';
import { type MemberId, servableKey } from '#mesh/ids.ts';
import { type FleetWorker, MemoryLedger, place, takesMemory } from './placement.ts';

/** Whether a version stays until its successor serves (more memory for a while) or goes first (a gap in service). */
export type TransitionPolicy = 'availability_preserving' | 'resource_preserving';

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
  /** The generation assigned to each live worker by the last decision. */
  readonly assigned: ReadonlyMap<MemberId, number>;
  /** What each live worker says of it. */
  readonly held: ReadonlyMap<MemberId, { readonly state: ServableState; readonly generation: number }>;
}

/** One model as the decision sees it: what is wanted of it, and all its versions that are not gone. */
export interface FleetModel {
  readonly name: string;
  /** How many workers each version needs; 0: every one. */
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

/** By model name, then version. */
export type FleetDecision = ReadonlyMap<string, ReadonlyMap<number, VersionDecision>>;

/** How long gateways have to hear that a version is not routable before its workers are told to unload it. */
export const UNROUTE_MS = 250;

/**
 * Decides for every version of every model which workers hold it and whether it is routable. Memory that is assigned or held already is
 * counted before anything new is placed; models take their turn by name, so that equal fleets give equal decisions.
 */
export function decideFleet(models: readonly FleetModel[], workers: readonly FleetWorker[], policy: TransitionPolicy): FleetDecision {
  const ledger = new MemoryLedger(workers);
  const ordered = [...models].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const model of ordered) {
    for (const version of model.versions) {
      for (const { id } of workers) {
        const held = version.held.get(id);
        if (version.assigned.has(id) ? held?.state !== 'END' : held !== undefined && takesMemory(held.state)) ledger.add(id, version.bytes);
      }
    }
  }
  return new Map(ordered.map((model) => [model.name, decideModel(model, workers, policy, ledger)]));
}

function decideModel(
  model: FleetModel,
  workers: readonly FleetWorker[],
  policy: TransitionPolicy,
  ledger: MemoryLedger,
): ReadonlyMap<number, VersionDecision> {
  const live = workers.filter((worker) => !worker.draining).map((worker) => worker.id);
  const needed = model.replicas === 0 ? live.length : Math.min(model.replicas, live.length);
  const descending = [...model.versions].sort((a, b) => b.version - a.version);
  const decisions = new Map<number, VersionDecision>();
  for (const version of descending) {
    if (model.undecided) decisions.set(version.version, stay(version));
    else if (!version.aspired && leaves(version, descending, model, needed, live, workers.length > 0, policy))
      decisions.set(version.version, leave(version));
    else if (!version.aspired)
      decisions.set(version.version, { ...stay(version), routable: becomesRoutable(version, descending, needed, live) });
    else decisions.set(version.version, hold(version, descending, model, live, needed, policy, ledger));
  }
  return decisions;
}

function stay(version: FleetVersion): VersionDecision {
  return { version: version.version, workers: version.assigned, routable: version.routable, leaving: false, unplaced: null };
}

/** Gateways hear first, workers after. */
function leave(version: FleetVersion): VersionDecision {
  const told = !version.routable && version.unroutableForMs >= UNROUTE_MS;
  return { version: version.version, workers: told ? new Map() : version.assigned, routable: false, leaving: true, unplaced: null };
}

/** True when an unaspired version is no longer needed. */
function leaves(
  version: FleetVersion,
  all: readonly FleetVersion[],
  model: FleetModel,
  needed: number,
  live: readonly MemberId[],
  workersKnown: boolean,
  policy: TransitionPolicy,
): boolean {
  if (policy === 'resource_preserving' && !model.awaiting) return true;
  if (!model.awaiting && !all.some((other) => other.aspired)) return true;
  // Without any worker nothing is known: a broker that restarts hides them all for a moment.
  if (available(version) === 0) return workersKnown;
  // Strict on purpose: while the new version is missing on even one worker that should have it, the old one stays everywhere. A broken worker
  // delays a rollout; it never halves the capacity.
  return all.some(
    (other) =>
      other !== version &&
      (other.aspired || other.version > version.version) &&
      other.routable &&
      live.length > 0 &&
      available(other, live) >= Math.max(1, needed),
  );
}

/** Decides for a version that is aspired. */
function hold(
  version: FleetVersion,
  all: readonly FleetVersion[],
  model: FleetModel,
  live: readonly MemberId[],
  needed: number,
  policy: TransitionPolicy,
  ledger: MemoryLedger,
): VersionDecision {
  const failed = new Set(live.filter((worker) => gaveUp(version, worker)));
  const assigned = new Set(version.assigned.keys());
  const { bytes, version: number } = version;
  const key = servableKey({ name: model.name, version: number });
  const chosen = place({ key, bytes, replicas: model.replicas, assigned, failed }, live, ledger);
  const wanted = new Map<MemberId, number>();
  const enough = needed > 0 && available(version, chosen) >= needed;
  for (const worker of chosen) {
    if (assigned.has(worker)) wanted.set(worker, version.assigned.get(worker) ?? version.generation);
    // With resource_preserving a worker gives up the old versions before it takes the new one.
    else if (policy === 'availability_preserving' || !all.some((other) => !other.aspired && occupies(other, worker))) {
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
