import type { RoutedModel } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { ModelConfig } from '#proto/model-server-config.ts';
import type { HeldVersions, ModelState } from './model-state.ts';
import type { WatchView } from './model-watch.ts';
import type { FleetModel } from './transition-policy.ts';

/** What a turn of the leader sees besides the model. */
export interface Surroundings {
  /** What workers hold of the model; the same object as long as nothing of it changed. */
  readonly held: HeldVersions;
  /** Who is there, with which memory and which of them drain. */
  readonly fleet: string;
}

/** What a turn made of a model at rest: the next turn would make the same of it. */
export interface AtRest {
  readonly fleetModel: FleetModel;
  readonly routed: RoutedModel;
}

/**
 * The models in which nothing goes on: every version is wanted, and available wherever it shall be. A turn passes them over until something that
 * they depend on changes, so that it costs what changes, not what there is.
 */
export interface QuietModels {
  /** What the last turn made of the model; undefined when it has to be looked at. */
  recall(model: ModelState, around: Surroundings): AtRest | undefined;
  /** Remembers a model that `isAtRest`. */
  remember(model: ModelState, around: Surroundings, rest: AtRest): void;
}

interface Remembered extends Surroundings, AtRest {
  readonly config: ModelConfig | null;
  readonly view: WatchView | undefined;
}

/** Makes a memory of nothing. */
export function createQuietModels(): QuietModels {
  const models = new WeakMap<ModelState, Remembered>();
  return {
    recall(model, { held, fleet }) {
      const found = models.get(model);
      if (found === undefined || found.held !== held || found.fleet !== fleet) return undefined;
      return found.config === model.config && found.view === model.watch?.view ? found : undefined;
    },
    remember(model, around, rest) {
      models.set(model, { ...around, ...rest, config: model.config, view: model.watch?.view });
    },
  };
}

/** True when nothing of the model is on its way or may ever change by itself. `replicas`: workers that shall hold each version; 0: all. */
export function isAtRest(model: ModelState, held: HeldVersions, replicas: number, live: readonly MemberId[]): boolean {
  const view = model.watch?.view;
  if (model.config === null || view?.reported !== true || view.awaiting || view.sourceFailing) return false;
  if (view.checking.length > 0 || view.aspired.length !== model.versions.size) return false;
  for (const [version, record] of model.versions) {
    const needed = Math.min((record.usable.stateful ? 1 : replicas) || live.length, live.length);
    if (!record.aspired || !record.routable || record.leaving || record.unplaced !== null) return false;
    if (record.state !== 'AVAILABLE' || record.status.code !== 'OK' || record.signatures === null) return false;
    if (record.assigned.size === 0 || record.assigned.size < needed) return false;
    if (record.signaturesGeneration < record.usable.generation) return false;
    const holders = held.get(version);
    for (const [worker, generation] of record.assigned) {
      const holder = holders?.get(worker);
      if (holder?.state !== 'AVAILABLE' || holder.generation !== generation || generation !== record.usable.generation) return false;
    }
  }
  return true;
}
