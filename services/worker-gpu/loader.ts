import type { AssignedServable, BatchingLimits } from '#mesh/control.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { Executor } from './executor.ts';
import type { ExecutorPool } from './executor-pool.ts';
import type { ModelKey } from './executor-protocol.ts';
import { estimateFolderBytes } from './memory.ts';
import { type Platform, platformOf } from './platforms.ts';
import type { LoadRequest, ModelDescription } from './runtime.ts';
import { createServable, type Servable } from './servable.ts';

/** What a load will take, known before it starts. */
export interface LoadPlan {
  readonly platform: Platform;
  readonly kind: Executor['kind'];
  readonly instances: number;
  /** Memory of all instances. */
  readonly estimatedBytes: number;
}

/** Loads servables. The manager decides when. */
export interface Loader {
  /**
   * Looks at the files. `freeBytes` decides how many instances a servable without a number of its own gets: as many as fit, at least one.
   * Rejects with NOT_FOUND when there is nothing to load.
   */
  plan(assigned: AssignedServable, freeBytes: number): Promise<LoadPlan>;
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
  /** Replays the folder's warmup requests on one executor. Rejects with the error that fails the load. */
  readonly warmUp: (assigned: AssignedServable, executor: Executor, model: ModelKey, description: ModelDescription) => Promise<void>;
  /** The batching that the version's own file asks for: see `--enable_per_model_batching_parameters`. */
  readonly readBatchingFile: (assigned: AssignedServable) => Promise<BatchingLimits | null>;
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
  readonly onLost: (error: ServeError) => void;
}

/** Makes a loader over the executors of a pool. */
export function createLoader(options: LoaderOptions): ExecutorLoader {
  const { pool } = options;
  const loaded = new Map<ModelKey, Loaded>();

  async function drop(model: ModelKey, executors: readonly Executor[]): Promise<void> {
    loaded.delete(model);
    options.onDropped(model);
    const failures: unknown[] = [];
    // One executor after the other, as in loading: the others go on serving.
    for (const executor of executors) {
      try {
        if (executor.kind === 'shared') await executor.unload(model);
        await pool.release(executor);
      } catch (caught) {
        failures.push(caught);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  return {
    async plan(assigned, freeBytes) {
      const platform = await platformOf(assigned.path, assigned.platform, options.platforms);
      const eachBytes = await estimateFolderBytes(assigned.path);
      const kind = eachBytes < options.sharedExecutorMaxBytes ? 'shared' : 'dedicated';
      const providers = providersOf(assigned, options);
      const wanted = assigned.run.instances || options.defaultInstances;
      const onAccelerator = providers.length > 0 && providers[0] !== 'cpu';
      const fitting = Math.max(1, Math.floor(freeBytes / Math.max(1, eachBytes)));
      const chosen = wanted > 0 ? wanted : Math.min(onAccelerator ? 1 : options.processors, fitting);
      const instances = kind === 'shared' ? Math.min(chosen, pool.sharedCount) : chosen;
      return { platform, kind, instances, estimatedBytes: eachBytes * instances };
    },

    async load(assigned, plan, { signal, onLost }) {
      const model = options.nextModelKey();
      const executors = [...pool.take(plan.kind, plan.instances)];
      const abandoned = Promise.withResolvers<never>();
      abandoned.promise.catch(() => {}); // Only the race below looks at it.
      const onAbort = () => abandoned.reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        signal.throwIfAborted();
        const batching = assigned.perModelBatching ? await options.readBatchingFile(assigned) : assigned.batching;
        let description: ModelDescription | undefined;
        loaded.set(model, { executors, onLost });
        // One executor after the other: the others go on serving meanwhile, and a broken file costs one attempt.
        for (const executor of [...executors]) {
          const loading = executor.load(model, plan.platform.runtime, requestOf(assigned, options));
          description = await Promise.race([loading, abandoned.promise]);
          options.onLoadedOn(assigned, model, { kind: executor.kind, description });
          if (assigned.run.warmup) await Promise.race([options.warmUp(assigned, executor, model, description), abandoned.promise]);
        }
        if (description === undefined || executors.length === 0)
          throw new ServeError('INTERNAL', 'every executor lost the servable while it was loaded');
        const close = () => drop(model, executors);
        return createServable({ assigned, model, description, estimatedBytes: plan.estimatedBytes, batching, executors, close });
      } catch (caught) {
        await drop(model, executors);
        throw signal.aborted ? signal.reason : toServeError(caught);
      } finally {
        signal.removeEventListener('abort', onAbort);
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

function requestOf(assigned: AssignedServable, options: LoaderOptions): LoadRequest {
  return {
    path: assigned.path,
    intraOpThreads: assigned.run.intraOpThreads || options.defaultIntraOpThreads,
    interOpThreads: options.interOpThreads,
    executionProviders: providersOf(assigned, options),
  };
}
