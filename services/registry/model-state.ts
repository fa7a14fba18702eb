/** One model in the memory of the leading registry, and how it follows its source, its workers and the fleet's decision. */
import { join } from 'node:path';
import { type HeldServable, OK_STATUS, type RoutedModel, type RoutedVersion, type StatusReport } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { ModelConfig } from '#proto/model-server-config.ts';
import type { RegistryEvents } from './events.ts';
import type { ModelWatch } from './model-watch.ts';
import type { FleetModel, VersionDecision } from './transition-policy.ts';
import { aggregateState, createVersionRecord, neededBytes, type StoredModel, storeVersion, type VersionRecord } from './version-record.ts';

/** All that the leading registry knows of one model. Only the functions of this file and the leader's loop change it. */
export interface ModelState {
  readonly name: string;
  /** Null once it is no longer configured: its versions are on their way out. */
  config: ModelConfig | null;
  watch: ModelWatch | null;
  readonly versions: Map<number, VersionRecord>;
  /** Versions that came to their end, oldest first. */
  readonly ended: Map<number, StatusReport>;
  /** What each label resolves to. */
  labels: Readonly<Record<string, number>>;
  /** The last generation of each version. */
  readonly generations: Map<number, number>;
}

/** What workers hold of one model: version, then worker. */
export type HeldVersions = ReadonlyMap<number, ReadonlyMap<MemberId, HeldServable>>;

/** END versions that are remembered of one model. */
const MAX_ENDED = 100;

/** Makes the state of a model without configuration or source yet; `stored`: the versions that an earlier leadership wrote down. */
export function createModelState(name: string, stored: StoredModel | undefined): ModelState {
  const state: ModelState = {
    name,
    config: null,
    watch: null,
    versions: new Map(),
    ended: new Map(stored?.ended.map(({ version, status }) => [version, status])),
    labels: stored?.labels ?? {},
    generations: new Map(),
  };
  for (const version of stored?.versions ?? []) {
    state.versions.set(version.usable.version, createVersionRecord(version.usable, version));
    state.generations.set(version.usable.version, version.usable.generation);
  }
  return state;
}

/** The part of a model's state that the next leader needs: what `createModelState` takes back. */
export function storeModel(state: ModelState): StoredModel {
  return {
    versions: [...state.versions.values()].map(storeVersion),
    labels: state.labels,
    ended: [...state.ended].map(([version, status]) => ({ version, status })),
  };
}

/** Takes over what a worker holds that this leadership has not told it to hold: the work of an earlier one goes on. */
export function adopt(state: ModelState, worker: MemberId, held: HeldServable): void {
  const { version } = held.id;
  let record = state.versions.get(version);
  if (record === undefined) {
    const path = join(state.config?.basePath ?? '/', String(version));
    record = createVersionRecord({ version, path, platform: '', totalBytes: 0, fingerprint: '', generation: held.generation });
    state.versions.set(version, record);
  }
  record.assigned.set(worker, held.generation);
  state.generations.set(version, Math.max(held.generation, state.generations.get(version) ?? 0));
}

/** Brings the records in line with what the source aspires to. */
export function followSource(state: ModelState): void {
  const view = state.config === null ? null : state.watch?.view;
  if (view === undefined || (view !== null && !view.reported)) return;
  for (const record of state.versions.values()) record.aspired = view?.blind === true && record.assigned.size > 0;
  for (const usable of view?.aspired ?? []) {
    const record = state.versions.get(usable.version) ?? createVersionRecord(usable);
    state.versions.set(usable.version, record);
    state.ended.delete(usable.version);
    record.usable = usable;
    record.aspired = true;
    state.generations.set(usable.version, Math.max(usable.generation, state.generations.get(usable.version) ?? 0));
  }
}

/** Takes what workers tell of versions that are available there. */
export function followWorkers(state: ModelState, held: HeldVersions, live: ReadonlySet<MemberId>): void {
  for (const [version, record] of state.versions) {
    for (const worker of record.assigned.keys()) if (!live.has(worker)) record.assigned.delete(worker);
    let newest: HeldServable | undefined;
    for (const one of held.get(version)?.values() ?? []) {
      if (one.state === 'AVAILABLE' && one.generation >= (newest?.generation ?? 0)) newest = one;
      if (one.estimatedBytes > 0) record.measuredBytes = one.estimatedBytes;
    }
    if (newest === undefined) continue;
    record.batching = newest.batching;
    record.stateful = newest.stateful;
  }
}

/** The model as the transition policy sees it. */
export function fleetModelOf(state: ModelState, held: HeldVersions, replicas: number, nowMs: number): FleetModel {
  const view = state.config === null ? undefined : state.watch?.view;
  const undecided = state.config !== null && view?.reported !== true;
  return {
    name: state.name,
    replicas,
    undecided,
    awaiting: view?.awaiting ?? false,
    versions: [...state.versions.values()].map((record) => ({
      version: record.usable.version,
      aspired: record.aspired,
      generation: record.usable.generation,
      bytes: neededBytes(record),
      // Where nothing can be decided yet, what workers serve goes on being served, whoever told them to.
      routable: record.routable || (undecided && serves(record, held.get(record.usable.version))),
      unroutableForMs: record.unroutableSinceMs === null ? Number.POSITIVE_INFINITY : nowMs - record.unroutableSinceMs,
      callable: record.signatures !== null,
      stateful: record.usable.stateful ?? false,
      assigned: record.assigned,
      held: held.get(record.usable.version) ?? new Map(),
    })),
  };
}

function serves(record: VersionRecord, held: ReadonlyMap<MemberId, HeldServable> | undefined): boolean {
  return record.signatures !== null && [...(held?.values() ?? [])].some(({ state }) => state === 'AVAILABLE');
}

/**
 * Whether a leader has yet to hear what is served of a model, so that gateways which know better shall keep what they have: its source has not
 * spoken, a worker that serves a version has not told its signatures, or, while `hearing`, workers may not have been heard of at all.
 */
export function isUnsettled(state: ModelState, held: HeldVersions, hearing: boolean): boolean {
  const { config, watch, versions } = state;
  if (config === null) return false;
  const view = watch?.view;
  if (view?.reported !== true) return true;
  for (const [version, record] of versions) {
    const served = [...(held.get(version)?.values() ?? [])].some((one) => one.state === 'AVAILABLE');
    if (served && record.signatures === null && !record.leaving) return true;
  }
  return hearing && (view.awaiting || view.aspired.some(({ version }) => versions.get(version)?.routable !== true));
}

/** One line of a model's history. */
export interface Transition {
  readonly version: number;
  readonly state: string;
  readonly status: StatusReport;
}

/** Writes the decision into the records. Returns the changes of state, for the history. */
export function applyDecision(
  state: ModelState,
  decisions: ReadonlyMap<number, VersionDecision>,
  held: HeldVersions,
  nowMs: number,
  events: RegistryEvents,
): readonly Transition[] {
  const transitions: Transition[] = [];
  for (const [version, record] of state.versions) {
    const decision = decisions.get(version);
    if (decision === undefined) continue;
    if (record.routable && !decision.routable) record.unroutableSinceMs = nowMs;
    if (decision.routable) record.unroutableSinceMs = null;
    record.routable = decision.routable;
    record.leaving = decision.leaving;
    record.unplaced = decision.unplaced;
    const workers = new Map(decision.workers);
    record.assigned.clear();
    for (const [worker, generation] of workers) record.assigned.set(worker, generation);

    const holding = [...(held.get(version)?.values() ?? [])];
    const { state: next, status } = aggregateState(record, holding);
    if (next !== record.state || status.message !== record.status.message) {
      transitions.push({ version, state: next, status });
      const id = { name: state.name, version };
      if (next === 'AVAILABLE' && record.state !== 'AVAILABLE') events.versionAvailable(id);
      if (status.code !== 'OK' && status.message !== record.status.message) events.versionFailed({ id, status });
      record.state = next;
      record.status = status;
    }
    if (decision.leaving && record.assigned.size === 0 && !holding.some((one) => one.state !== 'END')) {
      state.versions.delete(version);
      state.ended.delete(version);
      state.ended.set(version, record.status);
      for (const oldest of state.ended.keys()) if (state.ended.size > MAX_ENDED) state.ended.delete(oldest);
      events.versionUnloaded({ name: state.name, version });
    }
  }
  return transitions;
}

/** The model as gateways see it; `unsettled`: see `isUnsettled`. */
export function routedModelOf(state: ModelState, unsettled: boolean): RoutedModel {
  const versions = new Map<number, RoutedVersion>();
  const ended = (version: number, status: StatusReport) =>
    versions.set(version, { version, state: 'END', status, signatures: null, routable: false, batching: null, stateful: false });
  for (const [version, status] of state.ended) ended(version, status);
  if (state.config !== null) {
    for (const [version, status] of state.watch?.view.refused ?? []) ended(version, status);
    // Checked or imported at this moment: no worker has heard of it.
    for (const version of state.watch?.view.inCheck ?? []) {
      const nothing = { signatures: null, routable: false, batching: null, stateful: false };
      versions.set(version, { version, state: 'START', status: OK_STATUS, ...nothing });
    }
  }
  for (const record of state.versions.values()) {
    const { routable, signatures, batching, stateful, status } = record;
    const { version } = record.usable;
    versions.set(version, { version, state: record.state, status, signatures: routable ? signatures : null, routable, batching, stateful });
  }
  const descending = [...versions.values()].sort((a, b) => b.version - a.version);
  return { name: state.name, versions: descending, labels: state.labels, ...(unsettled ? { unsettled } : {}) };
}

/** Where a model's first load has come to: what whoever waits for it wants to know. */
export type LoadProgress =
  | { readonly type: 'pending' }
  | { readonly type: 'available' }
  /** It will not come without somebody changing something. `version`: the highest that failed, if there is any. */
  | { readonly type: 'failed'; readonly version: number | null; readonly status: StatusReport };

/** Tells where a model's first load has come to. `polled`: sources are looked at, at least once; otherwise no version can come. */
export function loadProgress(state: ModelState | undefined, polled: boolean): LoadProgress {
  if (state === undefined || state.config === null) {
    return { type: 'failed', version: null, status: { code: 'CANCELLED', message: 'the model was removed from the configuration' } };
  }
  const records = [...state.versions.values()];
  if (records.some((record) => record.state === 'AVAILABLE')) return { type: 'available' };
  const view = state.watch?.view;
  if (!polled) {
    const message = `the base path ${state.config.basePath} is not polled: file_system_poll_wait_seconds is negative`;
    return { type: 'failed', version: null, status: { code: 'FAILED_PRECONDITION', message } };
  }
  if (view?.reported !== true || view.checking.length > 0) return { type: 'pending' };
  const wanted = records.filter((record) => record.aspired).sort((a, b) => b.usable.version - a.usable.version);
  if (wanted.length < view.aspired.length || wanted.some((record) => record.state !== 'END')) return { type: 'pending' };
  const failedRecord = wanted[0];
  const refused = [...view.refused].sort(([a], [b]) => b - a)[0];
  if (failedRecord && failedRecord.usable.version > (refused?.[0] ?? -1)) {
    return { type: 'failed', version: failedRecord.usable.version, status: failedRecord.status };
  }
  if (refused) return { type: 'failed', version: refused[0], status: refused[1] };
  const nothing: StatusReport = { code: 'NOT_FOUND', message: `no version under ${state.config.basePath} fits the version policy` };
  return { type: 'failed', version: null, status: view.sourceStatus.code === OK_STATUS.code ? nothing : view.sourceStatus };
}
