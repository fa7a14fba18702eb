/** Crashes older than this no longer count towards a quarantine. */
export const CRASH_WINDOW_MS = 60_000;

/** Adds a crash to those of the last minute. Pure: returns the new list, oldest first. */
export function withCrash(crashes: readonly number[], nowMs: number): readonly number[] {
  return [...crashes.filter((atMs) => nowMs - atMs < CRASH_WINDOW_MS), nowMs];
}
