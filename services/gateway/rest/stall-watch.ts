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

/** One that is watched, and its place among all. */
interface Entry extends Disposable {
  readonly watched: Watched;
  progress: number;
  sinceMs: number;
  /** -1 once it is not watched any more. */
  place: number;
}

/** Starts a watch that looks four times in each `timeoutMs`. */
export function startStallWatch(clock: Clock, timeoutMs: number): StallWatch {
  // An array, because a Set whose members come and go with requests keeps them from the young generation's collector (see `id-table.ts`).
  const entries: Entry[] = [];
  let timer: Timer | undefined;

  function remove(entry: Entry): void {
    const last = entries.at(-1);
    if (entry.place < 0 || last === undefined) return;
    entries[entry.place] = last;
    last.place = entry.place;
    entries.pop();
    entry.place = -1;
  }

  function look(): void {
    timer = undefined;
    const nowMs = clock.now();
    for (const entry of [...entries]) {
      const progress = entry.watched.progress();
      if (progress !== entry.progress) {
        entry.progress = progress;
        entry.sinceMs = nowMs;
      } else if (nowMs - entry.sinceMs >= timeoutMs) {
        remove(entry);
        entry.watched.stalled();
      }
    }
    if (entries.length > 0) timer = clock.schedule(timeoutMs / 4, look);
  }

  return {
    watch(watched) {
      const entry: Entry = {
        watched,
        progress: watched.progress(),
        sinceMs: clock.now(),
        place: entries.length,
        [Symbol.dispose]: () => remove(entry),
      };
      entries.push(entry);
      timer ??= clock.schedule(timeoutMs / 4, look);
      return entry;
    },
    [Symbol.dispose]() {
      timer?.[Symbol.dispose]();
      entries.length = 0;
    },
  };
}
