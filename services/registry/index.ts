import type { Clock } from '#mesh/clock.ts';
import type { RegistryDetail, WorkerDetail } from '#mesh/control.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { type MemberId, newMemberId } from '#mesh/ids.ts';
import type { JobQueue } from '#mesh/job-queue.ts';
import { startPresence } from '#mesh/presence.ts';
import type { StateStore } from '#mesh/state-store.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { Transport } from '#mesh/transport.ts';
import type { ModelConfig } from '#proto/model-server-config.ts';
import { CHECK_MODEL_QUEUE, checkModel } from './check-model.ts';
import { checkRegistrySettings, type RegistrySettings, registryWarnings } from './config.ts';
import { followConfigFile } from './config-file.ts';
import { createRegistryEvents } from './events.ts';
import { startLeadership } from './leadership.ts';
import { type LeadingMemory, startLeading } from './leading.ts';
import { answerQuestions } from './questions.ts';
import { type ConfigSeed, readSeed } from './running-config.ts';
import { readServingOptions } from './serving-options.ts';
import { createFileSystemSource, type VersionSource } from './source.ts';

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
  readonly sourceOf?: (model: ModelConfig) => VersionSource | undefined;
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
  const sourceOf = (model: ModelConfig) => deps.sourceOf?.(model) ?? createFileSystemSource(model.name, model.basePath);
  const stopping = new AbortController();
  const { promise: initialLoad, resolve: initialLoaded } = Promise.withResolvers<void>();
  let isReady = false;
  let highestHeard = 0;
  let memory: LeadingMemory | undefined;

  await using starting = new AsyncDisposableStack();
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
  starting.use(jobs.work(CHECK_MODEL_QUEUE, settings.numLoadThreads || DEFAULT_CHECKS, checkModel));

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
