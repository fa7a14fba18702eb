import type { ServableState } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import { pickOwner } from '#mesh/rendezvous.ts';

/** A live worker, as placement sees it. */
export interface FleetWorker {
  readonly id: MemberId;
  readonly draining: boolean;
  /** 0: no limit is known. */
  readonly memoryLimitBytes: number;
}

/** Memory spoken for on each worker; placement adds to it as it goes. */
export class MemoryLedger {
  readonly #limits: ReadonlyMap<MemberId, number>;
  readonly #used = new Map<MemberId, number>();

  constructor(workers: readonly FleetWorker[]) {
    this.#limits = new Map(workers.map((worker) => [worker.id, worker.memoryLimitBytes]));
  }

  /** Counts bytes that a worker holds or will hold. */
  add(worker: MemberId, bytes: number): void {
    this.#used.set(worker, this.freeOf(worker).used + bytes);
  }

  fits(worker: MemberId, bytes: number): boolean {
    const { used, limit } = this.freeOf(worker);
    return limit <= 0 || used + bytes <= limit;
  }

  freeOf(worker: MemberId): { readonly used: number; readonly limit: number } {
    return { used: this.#used.get(worker) ?? 0, limit: this.#limits.get(worker) ?? 0 };
  }
}

/** One version that needs workers. `bytes` is the memory it is thought to take on each of them. */
export interface PlacementRequest {
  /** Names the servable: equal keys rank the workers equally. */
  readonly key: string;
  readonly bytes: number;
  /** How many workers shall hold it; 0: all. */
  readonly replicas: number;
  /** Workers it is assigned to now: their memory is counted already. */
  readonly assigned: ReadonlySet<MemberId>;
  /** Workers that gave up loading it. */
  readonly failed: ReadonlySet<MemberId>;
}

/**
 * Picks the workers that shall hold a servable, best first. Deterministic: rendezvous ranking, so that a worker that comes or goes moves only
 * what it wins or loses. A worker without room is passed over; one that failed to load it is passed over when others can take its place.
 */
export function place(request: PlacementRequest, eligible: readonly MemberId[], ledger: MemoryLedger): readonly MemberId[] {
  const fits = (worker: MemberId) => request.assigned.has(worker) || ledger.fits(worker, request.bytes);
  if (request.replicas === 0) return eligible.filter(fits);
  return rankWorkers(request.key, eligible)
    .filter((worker) => !request.failed.has(worker) && fits(worker))
    .slice(0, request.replicas);
}

/** The workers in the order in which they would own the key. */
export function rankWorkers(key: string, workers: readonly MemberId[]): readonly MemberId[] {
  const left = [...workers];
  const ranked: MemberId[] = [];
  for (let owner = pickOwner(key, left); owner !== undefined; owner = pickOwner(key, left)) {
    ranked.push(owner);
    left.splice(left.indexOf(owner), 1);
  }
  return ranked;
}

/** True for a state in which a servable takes memory. */
export function takesMemory(state: ServableState): boolean {
  return state === 'LOADING' || state === 'AVAILABLE' || state === 'UNLOADING';
}
