import type { DoorPlace } from '#mesh/blob-door.ts';
import { startMemberBlobs } from '#mesh/blobs-direct.ts';
import { utf8 } from '#mesh/bytes.ts';
import type { Clock, Timer } from '#mesh/clock.ts';
import type { SignaturesAnswer, WorkerDetail } from '#mesh/control.ts';
import { readAssignment, readSignaturesQuestion } from '#mesh/control-reader.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { createSequence, type MemberId, newMemberId, type ServableId, servableKey } from '#mesh/ids.ts';
import { importCacheFolder } from '#mesh/import-settings.ts';
import { decodeBatch, decodeBatchList, decodeCancel, encodeBatchList } from '#mesh/messages.ts';
import { opSourcesOf } from '#mesh/op-library-settings.ts';
import { type Presence, startPresence } from '#mesh/presence.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { Message, Transport } from '#mesh/transport.ts';
import { createPlanStore, type PlanStore } from '../../savedmodel/cache/plan-store.ts';
import { createAnswerSender } from './answer-sender.ts';
import { createAssignmentParts } from './assignment-parts.ts';
import { createBatchRunner } from './batch-runner.ts';
import { readBatchingFile } from './batching-file.ts';
import { createCallDesk } from './call-desk.ts';
import type { CallLimits } from './call-limits.ts';
import { opThreads, parseExecutionProviders, type WorkerSettings } from './config.ts';
import { createCrashRecord } from './crash-record.ts';
import { createDispatcher } from './dispatcher.ts';
import { createEvents } from './events.ts';
import { createExecutor, type Executor } from './executor.ts';
import { createExecutorPool, processorCount } from './executor-pool.ts';
import type { ModelKey } from './executor-protocol.ts';
import { startHeldOutputs } from './held-outputs.ts';
import { createLoader } from './loader.ts';
import { createManager, type Manager } from './manager.ts';
import { defaultMemoryLimitBytes } from './memory.ts';
import { startMeshCalls } from './mesh-calls.ts';
import { builtInPlatforms, type Platform } from './platforms.ts';
import { startProcessHost } from './process-host.ts';
import { createRegionPool } from './region-pool.ts';
import { servableModules, servablePlatform } from './servable-modules.ts';
import { startThreadHost } from './thread-host.ts';
import { createWarmUp } from './warmup.ts';

/** Idle buffers for fetched payloads are kept up to this many bytes. */
const KEPT_REGION_BYTES = 256 * 1024 * 1024;

/** A batcher whose batch was refused for want of room hears again what it may send after this long. */
const ANNOUNCE_AGAIN_MS = 50;

/**
 * Changes are announced at once, unless the last announcement was less than this long ago for each servable: it costs every member of the mesh
 * a look at all of them. Up to a few dozen servables nothing waits.
 */
const ANNOUNCE_MS_PER_SERVABLE = 0.02;
/** Waiting for less than this is not worth a timer. */
const SHORTEST_WAIT_MS = 1;

/** Deaths of executors count against a servable for this long. */
const QUARANTINE_WINDOW_MS = 60_000;

/** What a worker is started with. */
export interface WorkerDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly settings: WorkerSettings;
  /** Default: a new one. */
  readonly id?: MemberId;
  /** Where gateways fetch large tensors directly. Default: nowhere, they come over the transport. */
  readonly tensorDoor?: DoorPlace | undefined;
  /** Kinds of servables besides the built-in ones; they are asked first. */
  readonly platforms?: readonly Platform[];
  /** Has the plans of SavedModels; default: the cache that the settings name. The caller disposes it. */
  readonly plans?: PlanStore;
}

/** A running worker. Disposing it drains: it takes nothing new, finishes what it holds, unloads and leaves. */
export interface Worker extends AsyncDisposable {
  readonly id: MemberId;
  /** What it announces. */
  detail(): WorkerDetail;
}

/**
 * Starts a worker: it announces itself, takes assignments, loads what they name, and runs batches. Rejects with SettingError for settings that
 * contradict each other.
 */
export async function startWorker(deps: WorkerDeps): Promise<Worker> {
  const { transport, subjects, clock, telemetry, settings, tensorDoor: door } = deps;
  const id = deps.id ?? newMemberId('worker');
  const threads = opThreads(settings);
  const executionProviders = parseExecutionProviders(settings.executionProviders);
  const servablePlatforms = servableModules(settings.servableModules).map((module) =>
    servablePlatform(module, { clock, limitMs: settings.userCodeCallLimitMs, memoryBytes: settings.userCodeMemoryLimitBytes }),
  );
  const memoryLimitBytes = settings.memoryLimitBytes || (await defaultMemoryLimitBytes());
  const processors = processorCount();
  const events = createEvents(telemetry, id);
  const dispatcher = createDispatcher();
  const namesByModel = new Map<ModelKey, ServableId>();
  const crashes = createCrashRecord({ clock, limit: settings.quarantineAfterDeaths, windowMs: QUARANTINE_WINDOW_MS });
  const limits: CallLimits = {
    callMs: settings.userCodeCallLimitMs,
    loadMs: settings.userCodeLoadLimitMs,
    memoryBytes: settings.userCodeMemoryLimitBytes,
  };
  let draining = false;
  let presence: Presence | undefined;
  let announcing: Timer | undefined;
  let repeating: Timer | undefined;
  let announceAgainMs = 0;

  const detail = (): WorkerDetail => ({
    fencingToken: manager.fencingToken,
    assignmentRevision: manager.assignmentRevision,
    memoryLimitBytes,
    servables: manager.held(),
    draining,
  });

  const onUnreadable = (subject: string, error: ServeError) => events.messageUnreadable({ subject, error });

  function announce(): void {
    announcing?.[Symbol.dispose]();
    announcing = undefined;
    if (presence === undefined) return;
    const now = detail();
    const { servables } = now;
    announceAgainMs = clock.now() + ANNOUNCE_MS_PER_SERVABLE * servables.length;
    events.loadedServables(servables.filter(({ state }) => state === 'AVAILABLE' || state === 'UNLOADING').length);
    presence.announce(now);
  }

  function announceChange(): void {
    const waitMs = announceAgainMs - clock.now();
    if (waitMs < SHORTEST_WAIT_MS) announce();
    else announcing ??= clock.schedule(waitMs, announce);
  }

  /** Announces what is held once more, though it has not changed. */
  function announceSoon(): void {
    repeating ??= clock.schedule(ANNOUNCE_AGAIN_MS, () => {
      repeating = undefined;
      announce();
    });
  }

  function makeExecutor(kind: Executor['kind']): Executor {
    const executor: Executor = createExecutor({
      kind,
      clock,
      hangMs: settings.executorHangMs,
      ...(kind === 'guarded' ? { limits } : {}),
      startHost(listener, heapLimitBytes) {
        if (kind !== 'guarded') return startThreadHost(listener);
        return startProcessHost(listener, { clock, calls: desk.connect(), heapLimitBytes, onOutput: events.userCodeWrote });
      },
      onCapacity: dispatcher.pump,
      onCalls: (calls, failed) => events.userCodeCalled({ calls, failed }),
      onDeath({ reason, breach, models, userCode }) {
        const [first] = models;
        events.executorDied({ kind, reason, breach, userCode, id: first === undefined ? undefined : namesByModel.get(first) });
        for (const model of models) {
          const name = namesByModel.get(model);
          const servable = name && manager.find(name);
          if (servable?.model === model && crashes.record(model))
            manager.lost(servable, quarantined(servable.id, settings, `${userCode ?? "the executor's thread"} ${reason}`));
        }
      },
      onRestored: (model) => events.servableRestored({ kind, id: namesByModel.get(model) }),
      onModelLost: (model, error) => loader.modelLost(executor, model, error),
    });
    return executor;
  }

  await using starting = new AsyncDisposableStack();
  starting.defer(() => {
    announcing?.[Symbol.dispose]();
    repeating?.[Symbol.dispose]();
  });
  const blobs = starting.use(await startMemberBlobs({ transport, subjects, id, clock, telemetry, door, onUnreadable }));
  const { inlineTensorBytes } = settings;
  const calls = starting.use(startMeshCalls({ transport, subjects, clock, id, blobs, inlineTensorBytes, onUnreadable }));
  const desk = createCallDesk({ clock, infer: calls.infer, onCalled: events.servableCalled, onLog: events.userCodeLogged });
  const outputs = starting.use(startHeldOutputs({ blobs, clock, limitBytes: settings.heldOutputBytes, onChange: events.heldOutputs }));
  const pool = starting.use(createExecutorPool(settings.executors || processors, makeExecutor));
  const plans =
    deps.plans ??
    starting.use(
      createPlanStore({
        cacheFolder: importCacheFolder(settings.importCacheDir),
        cacheMaxBytes: settings.importCacheMaxBytes,
        ops: opSourcesOf(settings),
        clock,
        onImported: events.imported,
      }),
    );
  const loader = createLoader({
    pool,
    platforms: [...(deps.platforms ?? []), ...servablePlatforms, ...builtInPlatforms(plans)],
    defaultInstances: settings.instances,
    processors,
    defaultIntraOpThreads: threads.intraOpThreads,
    interOpThreads: threads.interOpThreads,
    defaultExecutionProviders: executionProviders,
    sharedExecutorMaxBytes: settings.sharedExecutorMaxBytes,
    nextModelKey: createSequence<ModelKey>(),
    warmUp: createWarmUp({ clock, events, beginRun: desk.begin }),
    beginLoad: (servable) =>
      desk.begin({ servable, deadlineMs: Number.POSITIVE_INFINITY, untilMs: Number.POSITIVE_INFINITY, callers: [], traceparent: '' }),
    readBatchingFile,
    memoryLimitBytes,
    onLoadedOn(assigned, model, { kind, description }) {
      namesByModel.set(model, assigned.id);
      const { executionProvider: provider, remarks } = description;
      events.loadedOn({ id: assigned.id, executor: kind, provider, remarks });
    },
    onDropped(model) {
      namesByModel.delete(model);
      crashes.forget(model);
    },
  });
  const manager: Manager = createManager({
    loader,
    clock,
    events,
    memoryLimitBytes,
    concurrentLoads: settings.concurrentLoads,
    unloadGraceMs: settings.unloadGraceMs,
    onChange() {
      announceChange();
      dispatcher.pump();
    },
    onUnusable: (servable) => runner.refuseWaiting(servable),
  });
  const answers = createAnswerSender({
    transport,
    subjects,
    inlineTensorBytes,
    hold: outputs.hold,
    onUnsent: (gatewayId, error) => events.answerUnsent({ gatewayId, error }),
  });
  const runner = createBatchRunner({
    id,
    transport,
    subjects,
    clock,
    tracing: telemetry.tracing,
    events,
    blobs,
    regions: createRegionPool(KEPT_REGION_BYTES, settings.heldInputBytes),
    dispatcher,
    answers,
    calls: desk,
    find: (servable) => manager.find(servable),
    onRoom: announceSoon,
  });

  const parts = createAssignmentParts();
  const listen = (subject: string, handle: (message: Message) => void) =>
    starting.use(
      transport.subscribe(subject, (message) => {
        try {
          handle(message);
        } catch (caught) {
          onUnreadable(subject, toServeError(caught));
        }
      }),
    );
  listen(subjects.batch(id), ({ data }) => runner.take(decodeBatch(data)));
  listen(subjects.drop(id), ({ data }) => runner.cancel(decodeCancel(data)));
  listen(subjects.missing(id), ({ data, replyTo }) => {
    if (replyTo) transport.publish(replyTo, encodeBatchList(runner.missing(decodeBatchList(data))));
  });
  listen(subjects.assign(id), ({ data, replyTo }) => {
    const assignment = parts.take(readAssignment(data));
    if (assignment === undefined) return;
    const accepted = !draining && manager.assign(assignment);
    const { fencingToken, revision, servables } = assignment;
    events.assigned({ fencingToken, revision, servables: servables.length, accepted });
    if (replyTo) transport.publish(replyTo, utf8(JSON.stringify(detail())));
  });
  listen(subjects.signatures(id), ({ data, replyTo }) => {
    const question = readSignaturesQuestion(data);
    const answer: SignaturesAnswer = { signatures: manager.find(question.id)?.description.signatures ?? null };
    if (replyTo) transport.publish(replyTo, utf8(JSON.stringify(answer)));
  });
  presence = starting.use(await startPresence({ transport, subjects, clock, kind: 'worker', id, detail: detail(), onUnreadable }));
  starting.use(presence.onChange(calls.memberChanged));
  events.started({ memoryLimitBytes, sharedExecutors: pool.sharedCount });
  const running = starting.move();

  return {
    id,
    detail,
    async [Symbol.asyncDispose]() {
      if (draining) return;
      draining = true;
      announce();
      events.draining({ batches: runner.active });
      await within(clock, settings.workerDrainMs, runner.drain());
      await within(clock, settings.workerDrainMs, manager.close());
      await running[Symbol.asyncDispose]();
      events.stopped();
    },
  };
}

function quarantined(id: ServableId, settings: WorkerSettings, reason: string): ServeError {
  return new ServeError(
    'INTERNAL',
    `${servableKey(id)} is quarantined: executors that ran it died ${settings.quarantineAfterDeaths} times within ${QUARANTINE_WINDOW_MS / 1000} s (--quarantine_after_deaths); the last time, ${reason}`,
  );
}

/** Waits for something, but not longer than a bound. */
async function within(clock: Clock, boundMs: number, done: Promise<void>): Promise<void> {
  const bound = new AbortController();
  const timeout = clock.sleep(boundMs, bound.signal).catch(() => {});
  await Promise.race([done, timeout]);
  bound.abort(new ServeError('CANCELLED', 'done in time'));
}
