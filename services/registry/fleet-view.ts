import type { HeldServable, WorkerDetail } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { Member } from '#mesh/presence.ts';
import type { HeldVersions } from './model-state.ts';

/** What all workers hold, by model. */
export interface FleetView {
  /**
   * Takes what the workers tell now. The versions of a model are the same object as before where nothing of it changed, so that whoever asks
   * again sees at a glance which models have news.
   */
  see(workers: readonly Member<WorkerDetail>[]): ReadonlyMap<string, HeldVersions>;
}

/** What one worker told last, by model and version. */
interface Told {
  readonly servables: readonly HeldServable[];
  readonly byModel: ReadonlyMap<string, ReadonlyMap<number, HeldServable>>;
}

/** Makes a view of a fleet of which nothing is known. */
export function createFleetView(): FleetView {
  const told = new Map<MemberId, Told>();
  const held = new Map<string, HeldVersions>();

  /** Gives the models of which the worker tells something new. */
  function learn(id: MemberId, servables: readonly HeldServable[]): ReadonlySet<string> {
    const before = told.get(id);
    const news = new Set<string>();
    if (before?.servables === servables) return news;
    const byModel = new Map<string, Map<number, HeldServable>>();
    for (const servable of servables) {
      const { name, version } = servable.id;
      const known = before?.byModel.get(name)?.get(version);
      const kept = known !== undefined && sameHeld(known, servable) ? known : servable;
      if (kept !== known) news.add(name);
      const versions = byModel.get(name) ?? new Map<number, HeldServable>();
      versions.set(version, kept);
      byModel.set(name, versions);
    }
    for (const [name, versions] of before?.byModel ?? []) if (versions.size > (byModel.get(name)?.size ?? 0)) news.add(name);
    told.set(id, { servables, byModel });
    return news;
  }

  return {
    see(workers) {
      const news = new Set<string>();
      const live = new Set(workers.map(({ id }) => id));
      for (const [id, { byModel }] of told) {
        if (live.has(id)) continue;
        told.delete(id);
        for (const name of byModel.keys()) news.add(name);
      }
      for (const { id, detail } of workers) for (const name of learn(id, detail.servables)) news.add(name);
      for (const name of news) {
        const versions = new Map<number, Map<MemberId, HeldServable>>();
        for (const { id } of workers) {
          for (const [version, servable] of told.get(id)?.byModel.get(name) ?? []) {
            const holders = versions.get(version) ?? new Map<MemberId, HeldServable>();
            versions.set(version, holders.set(id, servable));
          }
        }
        if (versions.size > 0) held.set(name, versions);
        else held.delete(name);
      }
      return held;
    },
  };
}

function sameHeld(a: HeldServable, b: HeldServable): boolean {
  if (a === b) return true;
  return (
    a.generation === b.generation &&
    a.state === b.state &&
    a.tokens === b.tokens &&
    a.estimatedBytes === b.estimatedBytes &&
    a.stateful === b.stateful &&
    a.status.code === b.status.code &&
    a.status.message === b.status.message &&
    JSON.stringify(a.batching) === JSON.stringify(b.batching)
  );
}
