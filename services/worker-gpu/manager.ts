/**
 * Brings what a worker holds to what it is assigned, one step at a time: after every event it compares the two and acts (`nextStep`), so a
 * repeated, lost or late assignment does no harm.
 */
import type { Clock } from '#mesh/clock.ts';
import {
  type AssignedServable,
  type Assignment,
  type HeldServable,
  OK_STATUS,
  type ServableState,
  type StatusReport,
} from '#mesh/control.ts';
import { ServeError, type StatusCode, toServeError } from '#mesh/errors.ts';
import { type ServableId, servableKey } from '#mesh/ids.ts';
import type { WorkerEvents } from './events.ts';
import type { Loader, LoadPlan } from './loader.ts';
import type { Servable } from './servable.ts';

/** What the manager has to be told, and what it answers. */
export interface Manager {
  /** Takes an assignment; false when a later leadership or revision was seen already, or when it changes one that was not seen. */
  assign(assignment: Assignment): boolean;
  readonly fencingToken: number;
  readonly assignmentRevision: number;
  /** All servables and their states, as announced. What has not changed since the last call is the same object. */
  held(): readonly HeldServable[];
  /** A servable that can be run now; also while it unloads, until the last batch on its way has come. */
  find(id: ServableId): Servable | undefined;
  /** A servable whose executors are gone. */
  lost(servable: Servable, error: ServeError): void;
  /** Unloads everything; rejects nothing and takes no assignment from then on. */
  close(): Promise<void>;
}

/** What a manager is made with. */
export interface ManagerOptions {
  readonly loader: Loader;
  readonly clock: Clock;
  readonly events: WorkerEvents;
  readonly memoryLimitBytes: number;
  /** Loads at once. */
  readonly concurrentLoads: number;
  /** How long a servable that unloads still takes the batches that were on their way to it. */
  readonly unloadGraceMs: number;
  /** Called after every change of `held()`. */
  readonly onChange: () => void;
  /** Its batches that wait for an executor can never run: hand them back. */
  readonly onUnusable: (servable: Servable) => void;
}

/** What `nextStep` needs to know of an entry. */
export interface EntrySnapshot {
  readonly state: ServableState;
  readonly generation: number;
  /** The generation being loaded. */
  readonly loadingGeneration: number | undefined;
  /** The last generation whose load was given up. */
  readonly failedGeneration: number | undefined;
}

/** What to do about one servable. */
export type Step = 'none' | 'load' | 'replace' | 'cancel' | 'unload' | 'forget';

/** Decides the next step for a servable, from what is wanted of it (undefined: nothing) and what is there (undefined: nothing). Pure. */
export function nextStep(wantedGeneration: number | undefined, entry: EntrySnapshot | undefined): Step {
  if (entry === undefined) return wantedGeneration === undefined ? 'none' : 'load';
  if (entry.state === 'UNLOADING') return 'none';
  const { loadingGeneration, generation } = entry;
  if (loadingGeneration !== undefined && (wantedGeneration === undefined || wantedGeneration > loadingGeneration)) return 'cancel';
  if (entry.state === 'AVAILABLE') {
    if (wantedGeneration === undefined) return 'unload';
    const settled = loadingGeneration !== undefined || wantedGeneration <= generation || entry.failedGeneration === wantedGeneration;
    return settled ? 'none' : 'replace';
  }
  if (loadingGeneration !== undefined) return 'none';
  if (wantedGeneration === undefined || wantedGeneration > generation) return 'forget';
  return 'none';
}

interface Entry {
  readonly key: string;
  assigned: AssignedServable;
  state: ServableState;
  status: StatusReport;
  serving: Servable | undefined;
  loading: { readonly assigned: AssignedServable; readonly abort: AbortController } | undefined;
  failedGeneration: number | undefined;
  estimatedBytes: number;
  /** As it was announced last. */
  held: HeldServable | undefined;
}

/** What no other attempt mends: memory that is not there, and what a model needs that Headrace does not have. */
const FINAL: ReadonlySet<StatusCode> = new Set(['RESOURCE_EXHAUSTED', 'UNIMPLEMENTED']);

/** Makes a manager that holds nothing. */
export function createManager(options: ManagerOptions): Manager {
  const { loader, clock, events, onChange } = options;
  const entries = new Map<string, Entry>();
  /** Memory promised to loads and servables, by what holds the promise. */
  const reservations = new Map<object, number>();
  let desired = new Map<string, AssignedServable>();
  let seen = { fencingToken: 0, revision: 0 };
  let closed = false;
  let loadsRunning = 0;
  const loadQueue: (() => void)[] = [];
  let onSettled: (() => void)[] = [];

  function changed(): void {
    onChange();
    const waiting = onSettled;
    onSettled = [];
    for (const resolve of waiting) resolve();
  }

  const nextChange = () => new Promise<void>((resolve) => onSettled.push(resolve));

  function reconcile(): void {
    for (const key of new Set([...desired.keys(), ...entries.keys()])) step(key);
  }

  /** True for an assignment that changes the very one that was taken last. */
  function follows({ fencingToken, since }: Assignment): boolean {
    return fencingToken === seen.fencingToken && since === seen.revision;
  }

  function change(servables: readonly AssignedServable[], removed: readonly ServableId[]): void {
    const keys = removed.map(servableKey);
    for (const key of keys) desired.delete(key);
    for (const servable of servables) {
      const key = servableKey(servable.id);
      desired.set(key, servable);
      keys.push(key);
    }
    for (const key of keys) step(key);
  }

  function step(key: string): void {
    const wanted = desired.get(key);
    const entry = entries.get(key);
    const snapshot = entry && {
      state: entry.state,
      generation: entry.assigned.generation,
      loadingGeneration: entry.loading?.assigned.generation,
      failedGeneration: entry.failedGeneration,
    };
    switch (nextStep(wanted?.generation, snapshot)) {
      case 'load':
        if (wanted) startLoad(addEntry(key, wanted), wanted);
        return;
      case 'replace':
        if (wanted && entry) startLoad(entry, wanted);
        return;
      case 'cancel':
        entry?.loading?.abort.abort(new ServeError('CANCELLED', 'the servable is not assigned any more'));
        return;
      case 'unload':
        if (entry?.serving) void unload(entry, entry.serving);
        return;
      case 'forget':
        entries.delete(key);
        changed();
        step(key);
        return;
      case 'none':
        if (wanted && entry?.serving && entry.state === 'AVAILABLE') adopt(entry, wanted);
    }
  }

  /** Settings that need no new load. */
  function adopt(entry: Entry, wanted: AssignedServable): void {
    const servable = entry.serving;
    if (servable === undefined || wanted.perModelBatching || wanted.generation !== entry.assigned.generation) return;
    if (servable.batching === wanted.batching) return;
    if (JSON.stringify(servable.batching) === JSON.stringify(wanted.batching)) return;
    servable.batching = wanted.batching;
    changed();
  }

  function addEntry(key: string, assigned: AssignedServable): Entry {
    const entry: Entry = {
      key,
      assigned,
      state: 'START',
      status: OK_STATUS,
      serving: undefined,
      loading: undefined,
      failedGeneration: undefined,
      estimatedBytes: 0,
      held: undefined,
    };
    entries.set(key, entry);
    return entry;
  }

  function startLoad(entry: Entry, assigned: AssignedServable): void {
    entry.loading = { assigned, abort: new AbortController() };
    changed();
    void runLoad(entry, assigned, entry.loading.abort.signal);
  }

  async function runLoad(entry: Entry, assigned: AssignedServable, signal: AbortSignal): Promise<void> {
    try {
      const servable = await loadWithRetries(entry, assigned, signal);
      entry.loading = undefined;
      const before = entry.serving;
      entry.assigned = assigned;
      entry.serving = servable;
      entry.estimatedBytes = servable.estimatedBytes;
      setState(entry, 'AVAILABLE', OK_STATUS);
      if (before) void retire(before);
    } catch (caught) {
      entry.loading = undefined;
      const error = toServeError(caught);
      entry.failedGeneration = assigned.generation;
      if (entry.serving) {
        // The generation before goes on serving, and its status says why the new one does not.
        if (!signal.aborted) setState(entry, 'AVAILABLE', { code: error.code, message: error.message });
      } else if (signal.aborted) setState(entry, 'END', OK_STATUS);
      else setState(entry, 'END', { code: error.code, message: error.message });
    }
    step(entry.key);
  }

  async function loadWithRetries(entry: Entry, assigned: AssignedServable, signal: AbortSignal): Promise<Servable> {
    const { maxLoadRetries, loadRetryIntervalMicros } = assigned.run;
    for (let attempt = 0; ; attempt++) {
      const startedMs = clock.now();
      try {
        const servable = await withLoadSlot(signal, () => loadOnce(entry, assigned, signal));
        events.loaded({
          id: assigned.id,
          generation: assigned.generation,
          tookMs: clock.now() - startedMs,
          estimatedBytes: servable.estimatedBytes,
        });
        return servable;
      } catch (caught) {
        signal.throwIfAborted();
        const error = toServeError(caught);
        const final = attempt >= maxLoadRetries || FINAL.has(error.code);
        events.loadFailed({ id: assigned.id, attempt, final, error });
        if (final) throw error;
        if (loadRetryIntervalMicros > 0) await clock.sleep(loadRetryIntervalMicros / 1000, signal);
      }
    }
  }

  async function withLoadSlot<Result>(signal: AbortSignal, load: () => Promise<Result>): Promise<Result> {
    if (loadsRunning >= options.concurrentLoads) await queueForLoad(signal);
    else loadsRunning++;
    try {
      return await load();
    } finally {
      const next = loadQueue.shift();
      if (next) next();
      else loadsRunning--;
    }
  }

  /** Resolves when a running load hands its slot over. */
  function queueForLoad(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        loadQueue.splice(loadQueue.indexOf(enter), 1);
        reject(signal.reason);
      };
      loadQueue.push(enter);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  async function loadOnce(entry: Entry, assigned: AssignedServable, signal: AbortSignal): Promise<Servable> {
    signal.throwIfAborted();
    if (!entry.serving && entry.state !== 'LOADING') setState(entry, 'LOADING', OK_STATUS);
    const { plan, reservation } = await reserve(entry, assigned, signal);
    try {
      let servable: Servable | undefined;
      const onLost = (error: ServeError) => servable && manager.lost(servable, error);
      servable = await loader.load(assigned, plan, { signal, onLost });
      reservations.delete(reservation);
      reservations.set(servable, plan.estimatedBytes);
      return servable;
    } catch (caught) {
      reservations.delete(reservation);
      throw caught;
    }
  }

  /** Promises memory to a load, waiting for servables that are about to give theirs back. Rejects with RESOURCE_EXHAUSTED and the numbers. */
  async function reserve(entry: Entry, assigned: AssignedServable, signal: AbortSignal): Promise<{ plan: LoadPlan; reservation: object }> {
    for (;;) {
      const plan = await loader.plan(assigned, freeBytes(), signal);
      signal.throwIfAborted();
      if (plan.estimatedBytes <= freeBytes()) {
        const reservation = {};
        reservations.set(reservation, plan.estimatedBytes);
        if (!entry.serving) entry.estimatedBytes = plan.estimatedBytes;
        return { plan, reservation };
      }
      if (![...entries.values()].some((other) => other.state === 'UNLOADING')) throw insufficient(assigned.id, plan, freeBytes());
      await nextChange();
    }
  }

  function freeBytes(): number {
    let free = options.memoryLimitBytes;
    for (const bytes of reservations.values()) free -= bytes;
    return free;
  }

  function insufficient(id: ServableId, plan: LoadPlan, free: number): ServeError {
    return new ServeError(
      'RESOURCE_EXHAUSTED',
      `Insufficient resources to load servable {name: ${id.name} version: ${id.version}}: it needs an estimated ${plan.estimatedBytes} bytes for ${plan.instances} instance(s), ${free} of the worker's ${options.memoryLimitBytes} are free`,
    );
  }

  function setState(entry: Entry, state: ServableState, status: StatusReport): void {
    entry.state = state;
    entry.status = status;
    changed();
  }

  async function unload(entry: Entry, servable: Servable): Promise<void> {
    setState(entry, 'UNLOADING', OK_STATUS);
    await retire(servable);
    entry.serving = undefined;
    setState(entry, 'END', OK_STATUS);
    entries.delete(entry.key);
    step(entry.key);
    if (!entries.has(entry.key)) changed();
  }

  /** Lets the batches that hold or are on their way to a servable finish, then gives its memory back. */
  async function retire(servable: Servable): Promise<void> {
    const startedMs = clock.now();
    if (!closed) await clock.sleep(options.unloadGraceMs, new AbortController().signal);
    await servable.idle();
    await closeQuietly(servable);
    reservations.delete(servable);
    events.unloaded({ id: servable.id, generation: servable.generation, tookMs: clock.now() - startedMs });
    changed();
  }

  /** A runtime that fails to let go must not keep the version in its state, and its error is nobody's request's. */
  async function closeQuietly(servable: Servable): Promise<void> {
    try {
      await servable.close();
    } catch (caught) {
      events.unloadFailed({ id: servable.id, error: toServeError(caught) });
    }
  }

  function heldOf(entry: Entry): HeldServable {
    const available = entry.state === 'AVAILABLE';
    const now: HeldServable = {
      id: entry.assigned.id,
      generation: entry.assigned.generation,
      state: entry.state,
      status: entry.status,
      tokens: available ? (entry.serving?.tokens ?? 0) : 0,
      estimatedBytes: entry.estimatedBytes,
      batching: entry.serving ? entry.serving.batching : entry.assigned.batching,
      stateful: entry.serving?.description.stateful ?? false,
    };
    const { held } = entry;
    if (held === undefined || !isSame(held, now)) entry.held = now;
    return entry.held ?? now;
  }

  const manager: Manager = {
    get fencingToken() {
      return seen.fencingToken;
    },
    get assignmentRevision() {
      return seen.revision;
    },
    assign(assignment) {
      const { fencingToken, revision, servables } = assignment;
      if (closed || fencingToken < seen.fencingToken || (fencingToken === seen.fencingToken && revision < seen.revision)) return false;
      if (assignment.since !== undefined && !follows(assignment)) return false;
      seen = { fencingToken, revision };
      if (assignment.since === undefined) {
        desired = new Map(servables.map((servable) => [servableKey(servable.id), servable]));
        reconcile();
      } else change(servables, assignment.removed ?? []);
      onChange();
      return true;
    },
    held: () => [...entries.values()].map(heldOf),
    find: (id) => entries.get(servableKey(id))?.serving,
    lost(servable, error) {
      const entry = entries.get(servableKey(servable.id));
      events.servableLost({ id: servable.id, error });
      if (entry?.serving === servable && entry.state === 'AVAILABLE') {
        entry.serving = undefined;
        setState(entry, 'END', {
          code: error.code,
          message: error.message,
        });
      }
      void closeQuietly(servable);
      options.onUnusable(servable);
      reservations.delete(servable);
    },
    async close() {
      closed = true;
      desired = new Map();
      reconcile();
      while (entries.size > 0) await nextChange();
    },
  };
  return manager;
}

/** Equal in every field; of those that are objects it asks whether they are the same one. */
function isSame(a: HeldServable, b: HeldServable): boolean {
  return (
    a.id === b.id &&
    a.generation === b.generation &&
    a.state === b.state &&
    a.status === b.status &&
    a.tokens === b.tokens &&
    a.estimatedBytes === b.estimatedBytes &&
    a.batching === b.batching &&
    a.stateful === b.stateful
  );
}
