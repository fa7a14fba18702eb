/**
 * What the leading registry does: one loop that compares what should run with what does, decides (`transition-policy.ts`), tells gateways, then
 * workers, and writes down what it did. Everything that may have changed something calls `poke`.
 */
import type { Clock, Timer } from '#mesh/clock.ts';
import type { AssignedServable, StatusReport, WorkerDetail } from '#mesh/control.ts';
import { readRoutingUpdate } from '#mesh/control-reader.ts';
import { ServeError, type StatusCode, toServeError } from '#mesh/errors.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { JobQueue } from '#mesh/job-queue.ts';
import type { Member, Presence } from '#mesh/presence.ts';
import type { StateStore } from '#mesh/state-store.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';
import type { ModelConfig } from '#proto/model-server-config.ts';
import type { Source } from '../../extend/sources.ts';
import { createAssigner } from './assigner.ts';
import type { TransitionPolicy } from './built-in-policies.ts';
import { withComplaint } from './complaints.ts';
import { type RegistrySettings, savedModelTags } from './config.ts';
import type { RegistryEvents } from './events.ts';
import { createFleetView } from './fleet-view.ts';
import { bindLabels } from './labels.ts';
import { openModelDocuments } from './model-documents.ts';
import {
  adopt,
  applyDecision,
  createModelState,
  fleetModelOf,
  followSource,
  followWorkers,
  type HeldVersions,
  isUnsettled,
  type LoadProgress,
  loadProgress,
  type ModelState,
  routedModelOf,
  storeModel,
} from './model-state.ts';
import { startModelWatch } from './model-watch.ts';
import { createModulePolicy } from './module-policy.ts';
import { type AtRest, createQuietModels, isAtRest } from './quiet-models.ts';
import { createRoutingPublisher, type RoutingPublisher } from './routing-publisher.ts';
import { type ConfigSeed, type ConfigStore, openConfigStore, type RunningConfig } from './running-config.ts';
import type { ServingOptions } from './serving-options.ts';
import { createSignatureFetcher } from './signature-fetcher.ts';
import { noVersionsText } from './source.ts';
import { builtInPolicy, decideFleet } from './transition-policy.ts';
import { sourceOfBasePath, type UserModule } from './user-modules.ts';
import type { StoredModel } from './version-record.ts';

/** What one leadership runs on, from the lease it holds to what an earlier one left. The caller owns all of it. */
export interface LeadingDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly events: RegistryEvents;
  readonly store: StateStore;
  readonly jobs: JobQueue;
  readonly presence: Presence;
  readonly settings: RegistrySettings;
  readonly serving: ServingOptions;
  readonly seed: ConfigSeed;
  readonly sourceOf: (model: ModelConfig) => Source;
  /** Decides instead of the policy that the settings name. */
  readonly policyModule: UserModule | null;
  readonly lease: string;
  readonly fencingToken: number;
  /** What this process knew when it led last. */
  readonly memory: LeadingMemory | undefined;
  /** Resolves when the heartbeats of all members have had time to arrive: nothing is decided or told before. */
  readonly firstSight: () => Promise<void>;
  /** Ends this leadership. `heardToken`: the higher fencing token that was heard. */
  readonly lost: (reason: string, heardToken?: number) => void;
}

/** What a leader takes along into its next leadership. */
export interface LeadingMemory {
  readonly fencingToken: number;
  readonly models: ReadonlyMap<string, StoredModel>;
  readonly config: Pick<ConfigSeed, 'models' | 'digest'>;
}

/** A leadership under way. */
export interface Leading extends AsyncDisposable {
  readonly config: ConfigStore;
  readonly routing: RoutingPublisher;
  model(name: string): ModelState | undefined;
  memory(): LeadingMemory;
  /** Replaces the model list, see `ConfigStore.replace`, and starts to act on it. Returns the names of models that were not there before. */
  apply(models: readonly ModelConfig[], expectedRevision: number | null, seedDigest?: string): Promise<readonly string[]>;
  /** Resolves when each of the models has a version available or has settled in error, with how; with what is known once `signal` aborts. */
  settled(names: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, LoadProgress>>;
}

/** A turn that nothing asked for: bounds how long a lost message goes unnoticed. */
const TURN_MS = 1000;
/** Turns follow each other at this distance at least, so that many changes make one turn. */
const COALESCE_MS = 10;
/** Without all signatures of what workers serve, the first table is told after this long: time to ask twice. */
const FIRST_TABLE_MS = 5000;
/** Workers that a new leader has not heard of after this long are not there. */
const HEARING_MS = 5000;
/** While versions leave, a turn comes this soon. */
const LEAVING_TURN_MS = 100;
/** After a turn the next one waits for this many times what it took: with thousands of models on the move, most of the time stays free. */
const REST_PER_TURN = 3;
const NOTHING_HELD: HeldVersions = new Map();

/**
 * Starts a leadership: reads what earlier ones wrote down, takes up their work and begins to turn. Rejects when the state store cannot be
 * read or written, or when another holds the lease by now.
 */
export async function startLeading(deps: LeadingDeps): Promise<Leading> {
  const { transport, subjects, clock, events, store, jobs, presence, settings, serving, fencingToken, lost } = deps;
  const fencing = { lease: deps.lease, token: fencingToken };
  const prefix = settings.statePrefix;
  await using starting = new AsyncDisposableStack();
  const documents = starting.use(await openModelDocuments({ store, clock, events, prefix, fencing, lost }));
  // What was not written while the store was away is taken from memory, unless somebody else has led since.
  const lastKey = `${prefix}/last-leadership`;
  const last = await store.get<number>(lastKey);
  const memory = last === null || last.value === deps.memory?.fencingToken ? deps.memory : undefined;
  await store.put(lastKey, fencingToken, { expected: last?.revision ?? 0, fencing });
  const config = await openConfigStore({ store, key: `${prefix}/config`, fencing, seed: deps.seed, remembered: memory?.config });
  const models = new Map(documents.restored);
  for (const [name, stored] of memory?.models ?? []) models.set(name, createModelState(name, stored));
  const routing = createRoutingPublisher(transport, subjects, fencingToken);
  const assigner = createAssigner(transport, subjects, clock, fencingToken);
  const signatures = starting.use(createSignatureFetcher({ transport, subjects, clock, events, onRetry: poke }));
  const fleet = createFleetView();
  const quiet = createQuietModels();
  const waiters = new Set<() => void>();
  const pollMs = settings.fileSystemPollWaitSeconds * 1000;
  const limits = { callMs: settings.userCodeCallLimitMs, memoryBytes: settings.userCodeMemoryLimitBytes };
  const userPolicy =
    deps.policyModule === null
      ? null
      : starting.use(createModulePolicy({ module: deps.policyModule, clock, events, limits, onAnswer: poke }));
  const policy = userPolicy ?? builtInPolicy(settings.aspiredVersionPolicy as TransitionPolicy);
  let timer: Timer | undefined;
  let timerAtMs = Number.POSITIVE_INFINITY;
  let restUntilMs = 0;
  let begunAtMs: number | null = null;
  let stopped = false;
  let changing: Promise<unknown> = Promise.resolve();

  function poke(): void {
    plan(COALESCE_MS);
  }

  function plan(delayMs: number): void {
    const now = clock.now();
    const atMs = Math.max(now + delayMs, restUntilMs);
    if (stopped || atMs >= timerAtMs) return;
    timer?.[Symbol.dispose]();
    timerAtMs = atMs;
    timer = clock.schedule(atMs - now, () => {
      timerAtMs = Number.POSITIVE_INFINITY;
      if (begunAtMs !== null && !stopped) turn();
    });
  }

  function turn(): void {
    const workers = presence.members<WorkerDetail>('worker');
    const newer = workers.find((worker) => worker.detail.fencingToken > fencingToken);
    if (newer) {
      lost(`worker ${newer.id} follows fencing token ${newer.detail.fencingToken}`, newer.detail.fencingToken);
      return;
    }
    const now = clock.now();
    const held = fleet.see(workers);
    const live = new Set(workers.map((worker) => worker.id));
    const takers = workers.map(({ id, detail }) => ({ id, draining: detail.draining, memoryLimitBytes: detail.memoryLimitBytes }));
    const takersKey = JSON.stringify(takers);
    const surroundings = (model: ModelState) => ({ held: held.get(model.name) ?? NOTHING_HELD, fleet: takersKey });
    const hearing = begunAtMs !== null && now - begunAtMs < HEARING_MS;
    for (const worker of workers) if (!assigner.hasTold(worker.id)) adoptFrom(worker);
    // A turn looks at models where something goes on; of the others it only counts the memory.
    const atRest = new Map<string, AtRest>();
    const busy: ModelState[] = [];
    for (const model of models.values()) {
      const rest = quiet.recall(model, surroundings(model));
      if (rest !== undefined) atRest.set(model.name, rest);
      else busy.push(model);
    }
    for (const model of busy) {
      followSource(model);
      followWorkers(model, surroundings(model).held, live);
    }
    const fleetModel = (model: ModelState) => fleetModelOf(model, surroundings(model).held, settings.replicas, now);
    const fleetModels = [...busy.map(fleetModel), ...[...atRest.values()].map((rest) => rest.fleetModel)];
    const decision = decideFleet(fleetModels, takers, policy, atRest);
    const routed = new Map([...atRest].map(([name, rest]) => [name, rest.routed]));
    const staying = takers.filter(({ draining }) => !draining).map(({ id }) => id);
    let leaving = false;
    let moving = false;
    for (const model of busy) {
      const around = surroundings(model);
      const transitions = applyDecision(model, decision.get(model.name) ?? new Map(), around.held, now, events);
      documents.record(model.name, transitions);
      fetchSignatures(model, around.held);
      bind(model);
      for (const record of model.versions.values()) leaving ||= record.leaving;
      moving ||= transitions.length > 0;
      if (model.config === null && model.versions.size === 0) {
        models.delete(model.name);
        continue;
      }
      const told = withComplaint(routedModelOf(model, isUnsettled(model, around.held, hearing)), complaintOf(model));
      routed.set(model.name, told);
      const settled = transitions.length === 0 && userPolicy === null && !hearing;
      if (settled && isAtRest(model, around.held, settings.replicas, staying))
        quiet.remember(model, around, { fleetModel: fleetModel(model), routed: told });
    }
    // Gateways first: a version is not routable before its workers hear that it goes.
    routing.publish(routed);
    assigner.assign(workers, { models: () => models.keys(), changed: busy.map(({ name }) => name), servablesOf });
    documents.save(models, busy);
    events.fleetSeen({ workers: workers.length, models: config.running.models.length });
    for (const waiter of [...waiters]) waiter();
    restUntilMs = clock.now() + Math.min(TURN_MS, REST_PER_TURN * (clock.now() - now));
    // What has changed state may let something else begin.
    plan(moving ? COALESCE_MS : leaving ? LEAVING_TURN_MS : TURN_MS);
  }

  /** What is wrong with the model's user code, if it uses any. */
  function complaintOf({ name, config, watch }: ModelState): StatusReport | null {
    if (config === null) return null;
    const view = watch?.view;
    if (view?.sourceFailing && sourceOfBasePath(config.basePath)) return view.sourceStatus;
    const trouble = userPolicy?.trouble(name) ?? null;
    return trouble === null ? null : { code: 'INTERNAL', message: trouble };
  }

  function adoptFrom(worker: Member<WorkerDetail>): void {
    for (const servable of worker.detail.servables) {
      const { name } = servable.id;
      const model = models.get(name) ?? createModelState(name, undefined);
      models.set(name, model);
      adopt(model, worker.id, servable);
    }
  }

  function fetchSignatures(model: ModelState, held: HeldVersions): void {
    for (const [version, record] of model.versions) {
      const loaded = [...(held.get(version) ?? [])].filter(([, one]) => one.state === 'AVAILABLE');
      const generation = Math.max(0, ...loaded.map(([, one]) => one.generation));
      if (generation === 0 || (record.signatures !== null && record.signaturesGeneration >= generation)) continue;
      const workers = loaded.filter(([, one]) => one.generation === generation).map(([worker]) => worker);
      signatures.fetch({ name: model.name, version }, generation, workers, (found) => {
        record.signatures = found;
        record.signaturesGeneration = generation;
        poke();
      });
    }
  }

  /**
   * Resolves when the signatures of all that workers serve are known, or after a bound: the table of an earlier leader stays in force until
   * then, or what is served could not be called for a moment. Only a leader that found nothing written down has to ask.
   */
  async function firstSignatures(): Promise<void> {
    const untilMs = clock.now() + FIRST_TABLE_MS;
    while (lacksSignatures() && clock.now() < untilMs) await clock.sleep(COALESCE_MS, new AbortController().signal);
  }

  function lacksSignatures(): boolean {
    const workers = presence.members<WorkerDetail>('worker');
    for (const worker of workers) adoptFrom(worker);
    const held = fleet.see(workers);
    let lacks = false;
    for (const model of models.values()) {
      const ofModel = held.get(model.name);
      if (ofModel === undefined) continue;
      fetchSignatures(model, ofModel);
      for (const [version, holders] of ofModel) {
        const serves = [...holders.values()].some(({ state }) => state === 'AVAILABLE');
        lacks ||= serves && model.versions.get(version)?.signatures === null;
      }
    }
    return lacks;
  }

  function bind(model: ModelState): void {
    const available = (version: number) => model.versions.get(version)?.state === 'AVAILABLE';
    const allow = settings.allowVersionLabelsForUnavailableModels;
    const bound = bindLabels(model.config?.versionLabels ?? {}, model.labels, { available }, allow);
    for (const [label, version] of Object.entries(bound)) {
      if (model.labels[label] !== version) events.labelBound({ model: model.name, label, version });
    }
    model.labels = bound;
  }

  /** A worker loads in this order: the newest version first. */
  function servablesOf(worker: MemberId, name: string): readonly AssignedServable[] {
    const servables: AssignedServable[] = [];
    for (const [version, record] of models.get(name)?.versions ?? []) {
      const generation = record.assigned.get(worker);
      if (generation === undefined) continue;
      const { path, platform, imported } = record.usable;
      const from = imported ? { imported } : {};
      servables.push({ id: { name, version }, path, platform, ...from, ...serving, generation });
    }
    return servables.sort((a, b) => b.id.version - a.id.version);
  }

  /** Brings the models in memory in line with the running configuration. */
  async function follow(running: RunningConfig): Promise<readonly string[]> {
    const fresh: string[] = [];
    const changed: string[] = [];
    const removed: string[] = [];
    const stopping: AsyncDisposable[] = [];
    const names = new Set(running.models.map(({ name }) => name));
    for (const model of models.values()) {
      if (names.has(model.name)) continue;
      if (model.config !== null) removed.push(model.name);
      if (model.watch) stopping.push(model.watch);
      model.config = null;
      model.watch = null;
    }
    for (const wanted of running.models) {
      const model = models.get(wanted.name) ?? createModelState(wanted.name, undefined);
      models.set(wanted.name, model);
      const before = model.config;
      if (before === null) fresh.push(wanted.name);
      else if (model.watch !== null && JSON.stringify(before) === JSON.stringify(wanted)) continue;
      model.config = wanted;
      changed.push(wanted.name);
      if (model.watch !== null && before?.basePath === wanted.basePath) {
        model.watch.update(wanted);
        continue;
      }
      if (model.watch) stopping.push(model.watch);
      model.watch = startModelWatch(wanted, {
        clock,
        jobs,
        events,
        source: deps.sourceOf(wanted),
        noVersionsText: sourceOfBasePath(wanted.basePath)
          ? `${wanted.basePath} lists no versions of servable ${wanted.name}`
          : noVersionsText(wanted.name, wanted.basePath),
        pollMs,
        settleMs: settings.versionSettleMs,
        tags: savedModelTags(settings.savedModelTags),
        // Versions of another base path are other versions.
        known: before === null ? knownUnder(model, wanted) : [],
        generationBefore: (version) => model.generations.get(version) ?? 0,
        watchedCount: () => models.size,
        onChange: poke,
      });
    }
    events.configApplied({ revision: running.revision, models: changed, removed });
    poke();
    await Promise.all(stopping.map((watch) => watch[Symbol.asyncDispose]()));
    return fresh;
  }

  function knownUnder(model: ModelState, wanted: ModelConfig) {
    const base = wanted.basePath.replace(/\/+$/, '');
    const restored = [...model.versions.values()].map((record) => record.usable).filter(({ fingerprint }) => fingerprint !== '');
    // A module's versions lie anywhere.
    return sourceOfBasePath(wanted.basePath) ? restored : restored.filter(({ path }) => path.startsWith(`${base}/`));
  }

  starting.use(
    transport.subscribe(subjects.routing, (message) => {
      try {
        const update = readRoutingUpdate(message.data);
        if (update.fencingToken > fencingToken) lost(`a routing update carries fencing token ${update.fencingToken}`, update.fencingToken);
      } catch (caught) {
        events.messageIgnored({ what: 'a routing update', error: toServeError(caught) });
      }
    }),
  );
  starting.use(presence.onChange(({ member }) => member.kind === 'worker' && poke()));
  starting.defer(async () => {
    stopped = true;
    timer?.[Symbol.dispose]();
    await Promise.all([...models.values()].map((model) => model.watch?.[Symbol.asyncDispose]()));
  });
  // Folders are looked at meanwhile.
  await follow(config.running);
  await deps.firstSight();
  await firstSignatures();
  begunAtMs = clock.now();
  // Gateways have heard nothing from this leader yet: what goes now has its time from now on, whatever an earlier one has told them.
  for (const model of models.values())
    for (const record of model.versions.values()) if (!record.routable) record.unroutableSinceMs = begunAtMs;
  turn();
  const running = starting.move();

  return {
    config,
    routing,
    model: (name) => models.get(name),
    memory: () => ({
      fencingToken,
      models: new Map([...models].map(([name, model]) => [name, storeModel(model)])),
      config: { models: config.running.models, digest: config.seedDigest },
    }),
    apply(wanted, expectedRevision, seedDigest) {
      // One change at a time, in the order in which they came.
      const change = changing.then(async () => follow(await config.replace(wanted, expectedRevision, seedDigest)));
      changing = change.catch(() => {});
      return change;
    },
    settled(names, signal) {
      return new Promise((resolve) => {
        const progress = () => new Map(names.map((name) => [name, loadProgress(models.get(name), pollMs >= 0)]));
        const finish = () => {
          waiters.delete(look);
          signal.removeEventListener('abort', finish);
          resolve(progress());
        };
        const look = () => {
          if ([...progress().values()].every((one) => one.type !== 'pending')) finish();
        };
        if (signal.aborted) return finish();
        signal.addEventListener('abort', finish, { once: true });
        waiters.add(look);
        look();
      });
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/**
 * TF Serving's error for models that did not become available. The code is UNKNOWN, as there; DEADLINE_EXCEEDED when some were still loading.
 */
export function unavailableModels(progress: ReadonlyMap<string, LoadProgress>): ServeError | null {
  const failures = [...progress].filter(([, one]) => one.type !== 'available');
  if (failures.length === 0) return null;
  const code: StatusCode = failures.some(([, one]) => one.type === 'pending') ? 'DEADLINE_EXCEEDED' : 'UNKNOWN';
  const parts = failures.map(([name, one]) => {
    const version = one.type === 'failed' && one.version !== null ? ` version: ${one.version}` : '';
    const why = one.type === 'failed' ? ` due to error: ${one.status.code}: ${one.status.message}` : ' is still loading';
    return `{{name: ${name}${version}}${why}}, `;
  });
  return new ServeError(code, `${failures.length} model(s) did not become available: {${parts.join('')}}`);
}
