import type { Clock, Timer } from '#mesh/clock.ts';
import { type ImportSource, OK_STATUS, type StatusReport } from '#mesh/control.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { JobQueue } from '#mesh/job-queue.ts';
import type { ModelConfig } from '#proto/model-server-config.ts';
import { connectSourceToTarget } from '../../extend/connect.ts';
import type { FoundVersion, Source } from '../../extend/sources.ts';
import { CHECK_MODEL_QUEUE, type CheckModelPayload, type CheckModelResult, checkModelJobId } from './check-model.ts';
import type { RegistryEvents } from './events.ts';
import { fingerprintOf, listFolder } from './fingerprint.ts';
import { planVersions, type Verdict } from './version-policy.ts';

/** A version that may be loaded: its files held still and passed their check. */
export interface UsableVersion {
  readonly version: number;
  readonly path: string;
  readonly platform: string;
  /** Of what is loaded. */
  readonly totalBytes: number;
  readonly fingerprint: string;
  /** It keeps state between requests. */
  readonly stateful?: boolean;
  /** What it is imported from, for a SavedModel. */
  readonly imported?: ImportSource | null;
  /** 1 at first; one more each time the files were replaced and passed again. */
  readonly generation: number;
}

/** What the source of one model says at this moment. */
export interface WatchView {
  /** False until the source has said something for the first time: nothing may be concluded from the lists below. */
  readonly reported: boolean;
  /** The source cannot tell what versions there are. */
  readonly sourceFailing: boolean;
  /** It never could, and nothing is known from before: whatever workers hold is then taken to be wanted. */
  readonly blind: boolean;
  /** Why the source could not be read, or that it has no versions. OK otherwise. The lists are then the last ones that were read. */
  readonly sourceStatus: StatusReport;
  /** The full list of versions that shall be loaded, descending. */
  readonly aspired: readonly UsableVersion[];
  /** Versions the policy wants that are held still or checked at this moment, descending. */
  readonly checking: readonly number[];
  /** Those of them whose job has begun: their files held still. */
  readonly inCheck: readonly number[];
  /** Versions the policy wants that did not pass, with the reason. */
  readonly refused: ReadonlyMap<number, StatusReport>;
  /** Versions that exist, whatever the policy. */
  readonly found: readonly number[];
  /** True when the policy wants a version that cannot be loaded (yet): nothing is given up for it. */
  readonly awaiting: boolean;
}

/** Follows the versions of one model. Each model has its own, so that a slow or missing folder holds up nobody else. */
export interface ModelWatch extends AsyncDisposable {
  readonly view: WatchView;
  /** Takes over a changed configuration of the same base path. */
  update(entry: ModelConfig): void;
}

/** Where versions are found and checked, how often, and what was known of them before. */
export interface ModelWatchDeps {
  readonly clock: Clock;
  readonly jobs: JobQueue;
  readonly events: RegistryEvents;
  readonly source: Source;
  /** What the status says of a source that lists no version. */
  readonly noVersionsText: string;
  /** Between looks at source and folders; 0: until every version is known, then never; negative: the source is never asked. */
  readonly pollMs: number;
  readonly settleMs: number;
  /** Which MetaGraph of a SavedModel is served. */
  readonly tags: readonly string[];
  /** Versions that passed under an earlier leadership: what still looks the same needs no second check. */
  readonly known: readonly UsableVersion[];
  /** The last generation given to a version, also of an earlier folder: a new state of the files gets a higher one. */
  readonly generationBefore: (version: number) => number;
  /** How many models are watched beside this one: their number decides how often files are looked at, see `FILES_LOOK_MS`. */
  readonly watchedCount: () => number;
  /** Called after each change of the view, and only then. */
  readonly onChange: () => void;
}

interface Candidate {
  readonly version: number;
  path: string;
  /** What may be loaded of it now. */
  usable: UsableVersion | undefined;
  /** Files that look different from what is usable: held still since `sinceMs`, then checked. */
  pending: { readonly fingerprint: string; readonly sinceMs: number; checking: boolean } | undefined;
  refused: { readonly fingerprint: string; readonly status: StatusReport; readonly untilMs: number } | undefined;
  existing: boolean;
}

/** A check is a matter of minutes at most; past this the folder is looked at anew. */
const CHECK_BOUND_MS = 30 * 60_000;
/** A check that lacked room on a disk is run again after this; every other refusal holds until the files change. */
const ROOM_RETRY_MS = 30_000;
/**
 * Sources are asked together, at multiples of this: file operations under way at once cost a quarter of as many one after the other (measured),
 * and the groups of a thousand models are small enough not to hold anybody up.
 */
const GRID_MS = 50;
/**
 * Between two looks at the files of versions that are known there is this time for each model that is watched, and the poll's at least: with
 * a few hundred models files are looked at with every poll, with a thousand every four seconds. New versions are seen with every poll.
 */
const FILES_LOOK_MS = 4;

/** Starts following a model. The first look begins at once. */
export function startModelWatch(first: ModelConfig, deps: ModelWatchDeps): ModelWatch {
  const { clock, jobs, events, source, pollMs, settleMs, onChange } = deps;
  const stopping = new AbortController();
  const candidates = new Map<number, Candidate>();
  const checks = new Set<Promise<void>>();
  /** Checks that failed before this leadership are run again once: what failed then may be supported now. */
  const retried = new Set<string>();
  let entry = first;
  // Until the source has answered, and while it cannot, what was known before is taken to be there.
  let found: readonly number[] = deps.known.map(({ version }) => version);
  let listed = false;
  let reported = false;
  let sourceFailing = false;
  let sourceStatus: StatusReport = OK_STATUS;
  /** What the source has said and no look has taken up yet. */
  let told: { readonly versions: readonly FoundVersion[] } | { readonly error: ServeError } | undefined;
  let timer: Timer | undefined;
  let looking: Promise<void> | undefined;
  let lookAgain = false;
  /** When the files of known versions are looked at next. */
  let filesDueMs = 0;

  for (const usable of deps.known) {
    candidates.set(usable.version, {
      version: usable.version,
      path: usable.path,
      usable,
      pending: undefined,
      refused: undefined,
      existing: false,
    });
  }
  let view = viewNow();

  function verdictOf(version: number): Verdict {
    const candidate = candidates.get(version);
    if (candidate?.usable) return 'good';
    if (candidate?.pending) return 'pending';
    return candidate?.refused ? 'bad' : 'unknown';
  }

  function viewNow(): WatchView {
    const plan = planVersions(found, entry.versionPolicy, verdictOf);
    const refused = new Map<number, StatusReport>();
    for (const version of plan.look) {
      const candidate = candidates.get(version);
      if (candidate?.refused && !candidate.usable) refused.set(version, candidate.refused.status);
    }
    return {
      reported,
      sourceFailing,
      blind: sourceFailing && !listed && deps.known.length === 0,
      sourceStatus,
      aspired: plan.aspired.flatMap((version) => candidates.get(version)?.usable ?? []),
      checking: plan.look.filter((version) => ['pending', 'unknown'].includes(verdictOf(version))),
      inCheck: plan.look.filter((version) => candidates.get(version)?.pending?.checking),
      refused,
      found,
      awaiting: plan.awaiting,
    };
  }

  function refreshView(): void {
    const next = viewNow();
    if (sameView(view, next)) return;
    view = next;
    if (!stopping.signal.aborted) onChange();
  }

  /** Takes up what the source has said, and compares the folders with what is known of them. */
  async function look(): Promise<void> {
    const heard = told;
    told = undefined;
    if (heard !== undefined && 'versions' in heard) takeOver(heard.versions);
    const plan = planVersions(found, entry.versionPolicy, verdictOf);
    if (listed) await lookAtFiles(plan.look);
    if (stopping.signal.aborted) return;
    if (heard !== undefined) {
      reported = true;
      const before = sourceStatus;
      sourceFailing = 'error' in heard;
      if ('error' in heard) sourceStatus = { code: heard.error.code, message: heard.error.message };
      else sourceStatus = found.length > 0 ? OK_STATUS : { code: 'NOT_FOUND', message: deps.noVersionsText };
      if (sourceStatus.code !== 'OK' && sourceStatus.message !== before.message)
        events.sourceFailed({ model: entry.name, status: sourceStatus });
    }
    refreshView();
  }

  /** Files of versions that are known and lie where they lay are not looked at each time. */
  async function lookAtFiles(versions: readonly number[]): Promise<void> {
    const due = clock.now() >= filesDueMs;
    if (due) filesDueMs = clock.now() + Math.max(pollMs - GRID_MS, FILES_LOOK_MS * deps.watchedCount());
    const known = (candidate: Candidate | undefined) =>
      candidate?.usable !== undefined && !candidate.pending && !candidate.refused && candidate.usable.path === candidate.path;
    const wanted = versions.map((version) => candidates.get(version)).filter((candidate) => due || !known(candidate));
    await Promise.all(wanted.map(inspect));
  }

  function takeOver(versions: readonly FoundVersion[]): void {
    listed = true;
    found = versions.map(({ version }) => version);
    for (const candidate of candidates.values()) candidate.existing = false;
    for (const { version, path } of versions) {
      const candidate = candidates.get(version) ?? {
        version,
        path,
        usable: undefined,
        pending: undefined,
        refused: undefined,
        existing: true,
      };
      candidates.set(version, candidate);
      candidate.existing = true;
      candidate.path = path;
    }
    for (const candidate of candidates.values()) if (!candidate.existing) candidates.delete(candidate.version);
  }

  /** Compares a version's files with what is known of them. */
  async function inspect(candidate: Candidate | undefined): Promise<void> {
    if (candidate === undefined) return;
    let fingerprint: string;
    try {
      fingerprint = fingerprintOf(await listFolder(candidate.path));
    } catch (caught) {
      // A file that vanished between two looks: the folder is being changed, the next look sees what it became.
      const error = toServeError(caught);
      candidate.pending = undefined;
      if (!candidate.usable) {
        candidate.refused = { fingerprint: '', status: { code: error.code, message: error.message }, untilMs: Number.POSITIVE_INFINITY };
      }
      return;
    }
    if (candidate.usable?.fingerprint === fingerprint && candidate.usable.path === candidate.path && !hasOtherTags(candidate.usable)) {
      candidate.pending = undefined;
      candidate.refused = undefined;
      return;
    }
    if (candidate.refused?.fingerprint === fingerprint && clock.now() < candidate.refused.untilMs) return;
    if (candidate.pending?.fingerprint !== fingerprint) candidate.pending = { fingerprint, sinceMs: clock.now(), checking: false };
    const { pending } = candidate;
    if (pending === undefined || pending.checking || clock.now() - pending.sinceMs < settleMs) return;
    pending.checking = true;
    refreshView();
    const check = runCheck(candidate, fingerprint).finally(() => checks.delete(check));
    checks.add(check);
  }

  /** Another MetaGraph of it is wanted than under an earlier leadership: another model in the same files. */
  function hasOtherTags({ imported }: UsableVersion): boolean {
    return imported != null && imported.tags.join(',') !== deps.tags.join(',');
  }

  async function runCheck(candidate: Candidate, fingerprint: string): Promise<void> {
    const { version, path } = candidate;
    const { name, modelPlatform: platform } = entry;
    const payload: CheckModelPayload = { name, version, path, platform, tags: deps.tags, fingerprint };
    const id = checkModelJobId(payload);
    using bound = boundedBy(CHECK_BOUND_MS);
    let result: CheckModelResult;
    try {
      if (!retried.has(id)) {
        retried.add(id);
        const earlier = await jobs.find(CHECK_MODEL_QUEUE, id);
        if (earlier?.type === 'failed' || earlier?.type === 'done') await jobs.remove(CHECK_MODEL_QUEUE, id);
      }
      await jobs.add({ queue: CHECK_MODEL_QUEUE, id, payload, attempts: 3 });
      const ended = await jobs.wait(CHECK_MODEL_QUEUE, id, bound.signal);
      if (ended.type === 'done') result = ended.result as CheckModelResult;
      else
        result = { type: 'bad', code: 'INTERNAL', message: ended.type === 'failed' ? ended.message : 'the check ended without a result' };
    } catch (caught) {
      if (stopping.signal.aborted) return;
      // The queue could not be asked: the next look tries again.
      events.checkUnavailable({ model: entry.name, version: candidate.version, error: toServeError(caught) });
      if (candidate.pending?.fingerprint === fingerprint) candidate.pending.checking = false;
      return;
    }
    if (stopping.signal.aborted || candidate.pending?.fingerprint !== fingerprint) return;
    candidate.pending = undefined;
    if (result.type === 'good') {
      const { platform, totalBytes, stateful, imported } = result;
      const generation = Math.max(candidate.usable?.generation ?? 0, deps.generationBefore(candidate.version)) + 1;
      candidate.usable = { version, path, platform, totalBytes, fingerprint, generation, stateful, imported };
      candidate.refused = undefined;
    } else {
      const status: StatusReport = { code: result.code, message: result.message };
      // Files that changed under the check are looked at anew; anything else waits until they change.
      if (result.code !== 'ABORTED') {
        const lacksRoom = result.code === 'RESOURCE_EXHAUSTED';
        if (lacksRoom) retried.delete(id);
        candidate.refused = { fingerprint, status, untilMs: lacksRoom ? clock.now() + ROOM_RETRY_MS : Number.POSITIVE_INFINITY };
        events.versionRefused({ model: entry.name, version: candidate.version, status });
      }
    }
    refreshView();
    // A refused version may make room for the one before it.
    if (result.type === 'bad') plan(0);
  }

  /** Aborts after a time, or when the watch ends; disposed, it leaves nothing behind. */
  function boundedBy(boundMs: number): Disposable & { readonly signal: AbortSignal } {
    const bound = new AbortController();
    const late = clock.schedule(boundMs, () =>
      bound.abort(new ServeError('DEADLINE_EXCEEDED', `the check did not end within ${boundMs} ms`)),
    );
    const onStop = () => bound.abort(stopping.signal.reason);
    stopping.signal.addEventListener('abort', onStop, { once: true });
    return {
      signal: bound.signal,
      [Symbol.dispose]() {
        late[Symbol.dispose]();
        stopping.signal.removeEventListener('abort', onStop);
      },
    };
  }

  /** Plans the next look: sooner than the poll while files are being held still, at once when the source has said something. */
  function plan(delayMs?: number): void {
    timer?.[Symbol.dispose]();
    timer = undefined;
    if (stopping.signal.aborted) return;
    if (looking !== undefined) {
      lookAgain ||= delayMs === 0;
      return;
    }
    const settling = view.checking.length > 0 || [...candidates.values()].some(({ pending }) => pending && !pending.checking);
    const soonMs = settling ? Math.max(20, settleMs) : Number.POSITIVE_INFINITY;
    // A source that is polled brings the next look along.
    const laterMs = pollMs > 0 && !('find' in source) ? pollMs : Number.POSITIVE_INFINITY;
    const nextMs = told !== undefined ? 0 : (delayMs ?? Math.min(laterMs, soonMs));
    if (nextMs === Number.POSITIVE_INFINITY) return;
    timer = clock.schedule(nextMs, () => {
      lookAgain = false;
      looking = look().then(() => {
        looking = undefined;
        plan(lookAgain ? 0 : undefined);
      });
    });
  }

  /** The delay, shortened to end at a multiple of GRID_MS where that is little. */
  function onGrid(delayMs: number): number {
    return delayMs < 10 * GRID_MS ? delayMs : delayMs - ((clock.now() + delayMs) % GRID_MS);
  }

  const connection = connectSourceToTarget(
    source,
    {
      aspire(versions) {
        told = { versions };
        plan();
      },
      failed(error) {
        told = { error: toServeError(error) };
        plan();
      },
    },
    { everyMs: pollMs, schedule: (delayMs, callback) => clock.schedule(onGrid(delayMs), callback) },
  );
  return {
    get view() {
      return view;
    },
    update(changed) {
      entry = changed;
      refreshView();
      plan(0);
    },
    async [Symbol.asyncDispose]() {
      stopping.abort(new ServeError('CANCELLED', 'the model is no longer watched'));
      timer?.[Symbol.dispose]();
      await connection[Symbol.asyncDispose]();
      await looking;
      await Promise.allSettled(checks);
    },
  };
}

/** True when nobody could tell the two apart. */
function sameView(a: WatchView, b: WatchView): boolean {
  const same = (ours: readonly unknown[], theirs: readonly unknown[]) =>
    ours.length === theirs.length && ours.every((one, index) => one === theirs[index]);
  return (
    a.reported === b.reported &&
    a.sourceFailing === b.sourceFailing &&
    a.blind === b.blind &&
    a.awaiting === b.awaiting &&
    a.sourceStatus.code === b.sourceStatus.code &&
    a.sourceStatus.message === b.sourceStatus.message &&
    same(a.aspired, b.aspired) &&
    same(a.checking, b.checking) &&
    same(a.inCheck, b.inCheck) &&
    same(a.found, b.found) &&
    same([...a.refused.keys()], [...b.refused.keys()]) &&
    same([...a.refused.values()], [...b.refused.values()])
  );
}
