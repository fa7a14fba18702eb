import type { Clock } from '#mesh/clock.ts';
import type { RegistryDetail, WorkerDetail } from '#mesh/control.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { type MemberId, newMemberId } from '#mesh/ids.ts';
import { importCacheFolder } from '#mesh/import-settings.ts';
import type { JobQueue } from '#mesh/job-queue.ts';
import { opSourcesOf } from '#mesh/op-library-settings.ts';
import { startPresence } from '#mesh/presence.ts';
import type { StateStore } from '#mesh/state-store.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { Transport } from '#mesh/transport.ts';
import type { ModelConfig } from '#proto/model-server-config.ts';
import type { Source } from '../../extend/sources.ts';
import { createPlanStore, type PlanStore } from '../../savedmodel/cache/plan-store.ts';
import { CHECK_MODEL_QUEUE, createCheckModel } from './check-model.ts';
import { checkRegistrySettings, type RegistrySettings, registryWarnings } from './config.ts';
import { followConfigFile } from './config-file.ts';
import { createRegistryEvents } from './events.ts';
import { startLeadership } from './leadership.ts';
import { type LeadingMemory, startLeading } from './leading.ts';
import { createModuleSources } from './module-sources.ts';
import { answerQuestions } from './questions.ts';
import { type ConfigSeed, readSeed } from './running-config.ts';
import { readServingOptions } from './serving-options.ts';
import { createFileSystemSource, createMissingSource } from './source.ts';
import { knownModules, policyModule, sourceModules, sourceOfBasePath } from './user-modules.ts';

/** What a registry runs on. The caller owns all of it and disposes it after the registry. */
export interface RegistryDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly store: StateStore;
  readonly jobs: JobQueue;
  readonly settings: RegistrySettings;
  /** Default: a new one. */
  readonly id?: MemberId;
  /** A ModelServerConfig in text form for when the settings name no models. */
  readonly defaultConfigText?: string;
  /** Where a model's versions come from; default, also for models it returns undefined for: the file system. */
  readonly sourceOf?: (model: ModelConfig) => Source | undefined;
  /** Imports SavedModels; default: into the cache that the settings name. The caller disposes it. */
  readonly plans?: PlanStore;
}

/** A running registry: it leads, or stands by. */
export interface Registry extends AsyncDisposable {
  /**
   * Resolves when this registry leads and each configured model has a version available or has settled in error, or when it finds another
   * registry leading. TF Serving opens its ports only then. Never rejects; a disposed registry resolves it too.
   */
  readonly initialLoad: Promise<void>;
  readonly leading: boolean;
  /** True once it has led or has seen another lead: it does its part. */
  ready(): boolean;
}

/** Heartbeats of every member arrive within this time: before, a registry does not know who is there. */
const FIRST_SIGHT_MS = 600;
/** Versions that are checked at once when --num_load_threads does not say. */
const DEFAULT_CHECKS = 2;

/**
 * Starts a registry. Resolves before anything is loaded. Rejects with INVALID_ARGUMENT, FAILED_PRECONDITION or NOT_FOUND for settings or files
 * that cannot be used, in TF Serving's words where it has some.
 */
export async function startRegistry(deps: RegistryDeps): Promise<Registry> {
  const { transport, subjects, clock, telemetry, store, jobs, settings, defaultConfigText, id = newMemberId('registry') } = deps;
  checkRegistrySettings(settings, defaultConfigText !== undefined);
  for (const warning of registryWarnings(settings)) telemetry.log.warn(warning);
  const firstSeed = await readSeed(settings, defaultConfigText);
  const serving = await readServingOptions(settings);
  const events = createRegistryEvents(telemetry);
  const stopping = new AbortController();
  const { promise: initialLoad, resolve: initialLoaded } = Promise.withResolvers<void>();
  let isReady = false;
  let highestHeard = 0;
  let memory: LeadingMemory | undefined;

  const limits = { callMs: settings.userCodeCallLimitMs, memoryBytes: settings.userCodeMemoryLimitBytes };
  const pollMs = settings.fileSystemPollWaitSeconds * 1000;

  await using starting = new AsyncDisposableStack();
  const modules = new Map(
    [...sourceModules(settings)].map(([name, module]) => [
      name,
      starting.use(createModuleSources({ module, clock, events, limits, pollMs })),
    ]),
  );
  const { platforms } = knownModules(settings);
  const ofUser = policyModule(settings);
  const sourceOf = (model: ModelConfig): Source => {
    const own = deps.sourceOf?.(model);
    if (own) return own;
    const named = sourceOfBasePath(model.basePath);
    if (!named) return createFileSystemSource(model.name, model.basePath, { files: platforms.has(model.modelPlatform) });
    const module = modules.get(named.module);
    return module ? module.create({ name: model.name, location: named.location }) : createMissingSource(model.basePath, named.module);
  };
  const detail = (leading: boolean): RegistryDetail => ({ leading });
  const presence = starting.use(
    await startPresence({
      transport,
      subjects,
      clock,
      kind: 'registry',
      id,
      detail: detail(false),
      onUnreadable: (what, error) => events.messageIgnored({ what, error }),
    }),
  );
  const firstSightMs = clock.now() + FIRST_SIGHT_MS;
  const plans =
    deps.plans ??
    starting.use(
      createPlanStore({
        cacheFolder: importCacheFolder(settings.importCacheDir),
        cacheMaxBytes: settings.importCacheMaxBytes,
        ops: opSourcesOf(settings),
        clock,
        onImported: events.modelImported,
      }),
    );
  starting.use(jobs.work(CHECK_MODEL_QUEUE, settings.numLoadThreads || DEFAULT_CHECKS, createCheckModel(plans)));

  async function currentSeed(): Promise<ConfigSeed> {
    try {
      return await readSeed(settings, defaultConfigText);
    } catch (caught) {
      events.configFileFailed({ file: settings.modelConfigFile, error: toServeError(caught) });
      return firstSeed;
    }
  }

  const lease = `${settings.statePrefix}/leader`;
  const leadership = startLeadership({
    store,
    clock,
    events,
    lease,
    holder: id,
    leaseMs: settings.leaseMs,
    highestTokenSeen: () => Math.max(highestHeard, ...presence.members<WorkerDetail>('worker').map((worker) => worker.detail.fencingToken)),
    async lead(fencingToken, lost) {
      highestHeard = Math.max(highestHeard, fencingToken);
      await using beginning = new AsyncDisposableStack();
      const seed = await currentSeed();
      const leading = beginning.use(
        await startLeading({
          transport,
          subjects,
          clock,
          events,
          store,
          jobs,
          presence,
          settings,
          serving,
          seed,
          sourceOf,
          policyModule: ofUser,
          lease,
          fencingToken,
          memory,
          firstSight: () => clock.sleep(Math.max(0, firstSightMs - clock.now()), stopping.signal),
          lost(reason, heardToken = 0) {
            highestHeard = Math.max(highestHeard, heardToken);
            lost(reason);
          },
        }),
      );
      beginning.defer(() => {
        memory = leading.memory();
      });
      beginning.use(answerQuestions({ transport, subjects, clock, events, settings, leading }));
      if (settings.modelConfigFile !== '' && settings.modelConfigFilePollWaitSeconds > 0) {
        beginning.use(followConfigFile({ clock, events, settings, leading }));
      }
      presence.announce(detail(true));
      isReady = true;
      beginning.defer(() => presence.announce(detail(false)));
      const ended = new AbortController();
      beginning.defer(() => ended.abort());
      void leading
        .settled(
          leading.config.running.models.map((model) => model.name),
          ended.signal,
        )
        .then(() => ended.signal.aborted || initialLoaded());
      return beginning.move();
    },
    onFollowing() {
      isReady = true;
      initialLoaded();
    },
  });
  starting.use(leadership);
  starting.defer(() => {
    stopping.abort(new ServeError('CANCELLED', 'the registry is stopping'));
    initialLoaded();
  });
  const running = starting.move();

  return {
    initialLoad,
    get leading() {
      return leadership.leading;
    },
    ready: () => isReady,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
