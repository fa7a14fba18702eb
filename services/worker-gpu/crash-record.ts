import type { Clock } from '#mesh/clock.ts';
import type { ModelKey } from './executor-protocol.ts';

/** Remembers which servables were running when executors died. */
export interface CrashRecord {
  /** Notes a death; true when it is one too many. */
  record(model: ModelKey): boolean;
  forget(model: ModelKey): void;
}

/** Makes a record in which the `limit`-th death within `windowMs` is one too many; 0: none is. */
export function createCrashRecord(options: { readonly clock: Clock; readonly limit: number; readonly windowMs: number }): CrashRecord {
  const { clock, limit, windowMs } = options;
  const deaths = new Map<ModelKey, readonly number[]>();
  return {
    record(model) {
      const recent = [...(deaths.get(model) ?? []).filter((atMs) => clock.now() - atMs < windowMs), clock.now()];
      deaths.set(model, recent);
      return limit > 0 && recent.length >= limit;
    },
    forget: (model) => void deaths.delete(model),
  };
}
