import type { Clock } from '#mesh/clock.ts';
import type { CallCount, FromThread } from '../executor-protocol.ts';

/** Counts and times the calls of users' code in a run, by name. */
export interface CallMeter {
  /** Says which code runs from now on; undefined: none. */
  enter(name: string | undefined): void;
  /** Does a run of a servable with code of these names, and adds what was measured to its answer. A single name is entered without being told. */
  measure(names: readonly string[], run: () => Promise<FromThread>): Promise<FromThread>;
}

/**
 * Makes a meter. Where a servable has several names, `onEntered` hears of each before it runs, but not again of one that runs many times: what
 * breaks is put down to the one that was entered last.
 */
export function createCallMeter(clock: Clock, onEntered: (name: string) => void): CallMeter {
  let several = false;
  let told: string | undefined;
  let current: { readonly name: string; readonly sinceMs: number } | undefined;
  let counts = new Map<string, CallCount>();

  function leave(): void {
    if (current === undefined) return;
    const { name, sinceMs } = current;
    const before = counts.get(name);
    counts.set(name, { name, count: (before?.count ?? 0) + 1, tookMs: (before?.tookMs ?? 0) + clock.now() - sinceMs });
    current = undefined;
  }

  function begin(name: string): void {
    leave();
    current = { name, sinceMs: clock.now() };
  }

  return {
    enter(name) {
      // Where there is one name, everything is its.
      if (!several) return;
      if (name === undefined) return leave();
      begin(name);
      if (name === told) return;
      told = name;
      onEntered(name);
    },
    async measure(names, run) {
      counts = new Map();
      several = names.length > 1;
      told = undefined;
      const [only] = names;
      if (only !== undefined && !several) begin(only);
      const answer = await run();
      const failedIn = current?.name;
      leave();
      several = false;
      const calls = [...counts.values()];
      if (answer.type === 'ran') return { ...answer, calls };
      if (answer.type === 'failed') return { ...answer, calls, ...(failedIn === undefined ? {} : { failedIn }) };
      return answer;
    },
  };
}
