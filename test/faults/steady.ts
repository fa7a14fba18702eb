/** One request as the clients saw it, on performance.now()'s clock. */
export interface Sample {
  readonly startMs: number;
  readonly endMs: number;
  /** Answered with the truth at the first try. */
  readonly good: boolean;
}

/** Disturbances closer together than this are one. */
const GAP_MS = 500;

/**
 * How long after an event the last request ended that it disturbed: one that was not good, or took longer than `slowMs`. Requests that run
 * into each other, or follow within half a second, belong to the same disturbance; what comes later by itself is the machine's. 0: nobody noticed.
 */
export function disturbedForMs(samples: readonly Sample[], eventMs: number, slowMs: number): number {
  const disturbed = samples
    .filter(({ startMs, endMs, good }) => endMs >= eventMs && (!good || endMs - startMs > slowMs))
    .sort((a, b) => a.startMs - b.startMs);
  let untilMs = eventMs;
  for (const { startMs, endMs } of disturbed) {
    if (startMs > untilMs + GAP_MS) break;
    untilMs = Math.max(untilMs, endMs);
  }
  return untilMs - eventMs;
}

/** The value below which `share` (0 to 1) of the numbers lie; 0 for none. */
export function shareBelow(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
