import type { AssignedServable, BatchingLimits } from '#mesh/control.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { ServableId } from '#mesh/ids.ts';
import { checkPaddedBatches } from './batching-file.ts';
import type { OpenRun } from './call-desk.ts';
import type { RunContext } from './call-protocol.ts';
import type { Executor } from './executor.ts';
import type { ExecutorPool } from './executor-pool.ts';
import type { ModelKey } from './executor-protocol.ts';
import { estimateBytes, estimateFolderBytes, PROCESS_BYTES } from './memory.ts';
import { type Platform, type Prepared, platformOf, type UserCode } from './platforms.ts';
import type { LoadRequest, ModelDescription } from './runtime.ts';
import { createServable, type Servable } from './servable.ts';

/** What a load will take, known before it starts. */
export interface LoadPlan {
  readonly platform: Platform;
  readonly kind: Executor['kind'];
  readonly instances: number;
  /** Memory of all instances. */
  readonly estimatedBytes: number;
  /** The code of users that it runs, on guarded executors; null: none. */
  readonly userCode: UserCode | null;
}

/** Loads servables. The manager decides when. */
export interface Loader {
  /**
   * Looks at the files, and prepares them where their platform does. `freeBytes` decides how many instances a servable without a number of its
   * own gets: as many as fit, at least one; a servable that keeps state gets one. Rejects with NOT_FOUND when there is nothing to load, with
   * the platform's error, or when aborted.
   */
  plan(assigned: AssignedServable, freeBytes: number, signal: AbortSignal): Promise<LoadPlan>;
  /** Loads and warms up; `onLost` is called at most once, later, when no executor holds it any more. Rejects with ServeError, or when aborted. */
  load(
    assigned: AssignedServable,
    plan: LoadPlan,
    options: { readonly signal: AbortSignal; readonly onLost: (error: ServeError) => void },
  ): Promise<Servable>;
}

/** What a loader is made with. */
export interface LoaderOptions {
  readonly pool: ExecutorPool;
  readonly platforms: readonly Platform[];
  /** Instances of a servable whose assignment names none; 0: one per processor, or one on an accelerator. */
  readonly defaultInstances: number;
  readonly processors: number;
  readonly defaultIntraOpThreads: number;
  readonly interOpThreads: number;
  readonly defaultExecutionProviders: readonly string[];
  readonly sharedExecutorMaxBytes: number;
  readonly nextModelKey: () => ModelKey;
  /** Begins the load of a servable by user code, which hears when it is not wanted any more. */
  readonly beginLoad: (servable: ServableId) => OpenRun;
  /** Replays the folder's warmup requests on one executor. Rejects with the error that fails the load. */
  readonly warmUp: (assigned: AssignedServable, executor: Executor, model: ModelKey, description: ModelDescription) => Promise<void>;
  /** The batching that the version's own file asks for: see `--enable_per_model_batching_parameters`. */
  readonly readBatchingFile: (assigned: AssignedServable) => Promise<BatchingLimits | null>;
  /** What the worker has for servables: no batch may be padded beyond it. */
  readonly memoryLimitBytes: number;
  readonly onLoadedOn: (
    assigned: AssignedServable,
    model: ModelKey,
    fact: { readonly kind: Executor['kind']; readonly description: ModelDescription },
  ) => void;
  readonly onDropped: (model: ModelKey) => void;
}

/** A loader, and what its executors tell it. */
export interface ExecutorLoader extends Loader {
  /** An executor could not load a servable again after its thread died. */
  modelLost(executor: Executor, model: ModelKey, error: ServeError): void;
}

interface Loaded {
  readonly executors: Executor[];
  /** Kept as long as an executor may have to load it again. */
  readonly prepared: Prepared | undefined;
  readonly onLost: (error: ServeError) => void;
}

/** Makes a loader over the executors of a pool. */
export function createLoader(options: LoaderOptions): ExecutorLoader {
  const { pool } = options;
  const loaded = new Map<ModelKey, Loaded>();

  async function drop(model: ModelKey, executors: readonly Executor[]): Promise<void> {
    loaded.get(model)?.prepared?.[Symbol.dispose]();
    loaded.delete(model);
    options.onDropped(model);
    const failures: unknown[] = [];
    // One executor after the other, as in loading: the others go on serving.
    for (const executor of executors) {
      try {
        if (executor.kind !== 'dedicated') await executor.unload(model);
        await pool.release(executor);
      } catch (caught) {
        failures.push(caught);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** State is in one place: of a servable that says only now that it keeps some, one executor is enough. */
  async function releaseOthers(executors: Executor[], kept: Executor): Promise<void> {
    for (const other of executors.splice(0)) if (other !== kept) await pool.release(other);
    executors.push(kept);
  }

  return {
    async plan(assigned, freeBytes, signal) {
      const platform = await platformOf(assigned.path, assigned.platform, options.platforms);
      using prepared = await platform.prepare?.(assigned, signal);
      const ownBytes =
        prepared === undefined ? await estimateFolderBytes(assigned.path) : (prepared.memoryBytes ?? estimateBytes(prepared.byteLength));
      const userCode = (await platform.userCode?.(assigned, prepared)) ?? null;
      const kind = userCode !== null ? 'guarded' : ownBytes < options.sharedExecutorMaxBytes ? 'shared' : 'dedicated';
      const eachBytes = kind === 'guarded' ? ownBytes + PROCESS_BYTES : ownBytes;
      const providers = providersOf(assigned, options);
      const wanted = prepared?.stateful ? 1 : assigned.run.instances || options.defaultInstances;
      const onAccelerator = providers.length > 0 && providers[0] !== 'cpu';
      const fitting = Math.max(1, Math.floor(freeBytes / Math.max(1, eachBytes)));
      // Of a group that loads a version on one executor, another goes on serving the others.
      const enough = Math.max(userCode?.group === undefined ? 1 : 2, onAccelerator ? 1 : options.processors);
      const chosen = wanted > 0 ? wanted : Math.min(enough, fitting);
      const instances = kind === 'shared' ? Math.min(chosen, pool.sharedCount) : chosen;
      return { platform, kind, instances, estimatedBytes: eachBytes * instances, userCode };
    },

    async load(assigned, plan, { signal, onLost }) {
      const model = options.nextModelKey();
      const executors = [...pool.take(plan.kind, plan.instances, plan.userCode?.group)];
      const guard = { names: plan.userCode?.names ?? [], estimatedBytes: plan.estimatedBytes / plan.instances };
      const abandoned = Promise.withResolvers<never>();
      abandoned.promise.catch(() => {}); // Only the race below looks at it.
      let begun: OpenRun | undefined;
      const onAbort = () => {
        abandoned.reject(signal.reason);
        begun?.abandon(toServeError(signal.reason));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        signal.throwIfAborted();
        const batching = assigned.perModelBatching ? await options.readBatchingFile(assigned) : assigned.batching;
        let description: ModelDescription | undefined;
        const prepared = await plan.platform.prepare?.(assigned, signal);
        loaded.set(model, { executors, prepared, onLost });
        if (prepared?.module !== undefined) begun = options.beginLoad(assigned.id);
        // One executor after the other: the others go on serving meanwhile, and a broken file costs one attempt.
        for (const executor of [...executors]) {
          if (!executors.includes(executor)) continue;
          const loading = executor.load(
            model,
            plan.platform.runtime,
            requestOf(assigned, { prepared, context: begun?.context }, options),
            guard,
          );
          description = await Promise.race([loading, abandoned.promise]);
          checkPaddedBatches(batching, description.signatures, options.memoryLimitBytes);
          options.onLoadedOn(assigned, model, { kind: executor.kind, description });
          if (description.stateful) await releaseOthers(executors, executor);
          if (assigned.run.warmup) await Promise.race([options.warmUp(assigned, executor, model, description), abandoned.promise]);
        }
        if (description === undefined || executors.length === 0)
          throw new ServeError('INTERNAL', 'every executor lost the servable while it was loaded');
        const close = () => drop(model, executors);
        return createServable({
          assigned,
          model,
          description,
          estimatedBytes: plan.estimatedBytes,
          batching,
          executors,
          close,
          userCode: plan.userCode,
        });
      } catch (caught) {
        await drop(model, executors);
        throw signal.aborted ? signal.reason : toServeError(caught);
      } finally {
        signal.removeEventListener('abort', onAbort);
        begun?.[Symbol.dispose]();
      }
    },

    modelLost(executor, model, error) {
      const found = loaded.get(model);
      const index = found?.executors.indexOf(executor) ?? -1;
      if (found === undefined || index < 0) return;
      found.executors.splice(index, 1);
      void pool.release(executor);
      if (found.executors.length === 0) found.onLost(error);
    },
  };
}

function providersOf(assigned: AssignedServable, options: LoaderOptions): readonly string[] {
  return assigned.run.executionProviders.length > 0 ? assigned.run.executionProviders : options.defaultExecutionProviders;
}

function requestOf(
  assigned: AssignedServable,
  { prepared, context }: { readonly prepared: Prepared | undefined; readonly context: RunContext | undefined },
  options: LoaderOptions,
): LoadRequest {
  return {
    servable: assigned.id,
    path: assigned.path,
    ...(prepared?.module === undefined ? {} : { module: prepared.module }),
    ...(prepared?.kernels === undefined ? {} : { opModules: prepared.kernels.modules }),
    ...(context === undefined ? {} : { context }),
    ...(prepared === undefined ? {} : { preparedFolder: prepared.folder }),
    intraOpThreads: assigned.run.intraOpThreads || options.defaultIntraOpThreads,
    interOpThreads: options.interOpThreads,
    executionProviders: providersOf(assigned, options),
  };
}
