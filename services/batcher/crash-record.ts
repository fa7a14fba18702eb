/** Crashes older than this no longer count towards a quarantine. */
export const CRASH_WINDOW_MS = 60_000;

/** A worker died while it executed something. */
export interface Crash {
  readonly atMs: number;
  /** Held against the servable: one of its requests was proven to have done it. */
  counted: boolean;
}

/** Adds a crash to those of the minute before `nowMs`. Pure: returns the new list. */
export function withCrash(crashes: readonly number[], crashMs: number, nowMs: number): readonly number[] {
  return [...crashes, crashMs].filter((atMs) => nowMs - atMs < CRASH_WINDOW_MS);
}
