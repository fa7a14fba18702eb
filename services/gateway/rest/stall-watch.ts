/** Finds clients that stopped halfway: one timer for all of them, because a timer per request costs more than it protects. */
import type { Clock, Timer } from '#mesh/clock.ts';

/** Something that should make progress. */
export interface Watched {
  /** A number that changes with progress, such as bytes so far. */
  progress(): number;
  /** Called once, between one and one and a quarter timeouts after the last progress. */
  stalled(): void;
}

/** Watches many at once; disposing forgets them all. */
export interface StallWatch extends Disposable {
  /** Watches until disposed of or stalled. */
  watch(watched: Watched): Disposable;
}

/** Starts a watch that looks four times in each `timeoutMs`. */
export function startStallWatch(clock: Clock, timeoutMs: number): StallWatch {
  const entries = new Map<Watched, { progress: number; sinceMs: number }>();
  let timer: Timer | undefined;

  function look(): void {
    timer = undefined;
    const nowMs = clock.now();
    for (const [watched, entry] of entries) {
      const progress = watched.progress();
      if (progress !== entry.progress) {
        entry.progress = progress;
        entry.sinceMs = nowMs;
      } else if (nowMs - entry.sinceMs >= timeoutMs) {
        entries.delete(watched);
        watched.stalled();
      }
    }
    if (entries.size > 0) timer = clock.schedule(timeoutMs / 4, look);
  }

  return {
    watch(watched) {
      entries.set(watched, { progress: watched.progress(), sinceMs: clock.now() });
      timer ??= clock.schedule(timeoutMs / 4, look);
      return { [Symbol.dispose]: () => void entries.delete(watched) };
    },
    [Symbol.dispose]() {
      timer?.[Symbol.dispose]();
      entries.clear();
    },
  };
}
