import type { MemberId } from '#mesh/ids.ts';
import type { Silence } from '#mesh/presence.ts';

/** Crashes older than this no longer count towards a quarantine. */
export const CRASH_WINDOW_MS = 60_000;
/** Workers that fell silent within this time of each other, a heartbeat and a little, were hit by the same thing. */
const TOGETHER_MS = 300;
/** Leases of workers that fell silent together end within this time. */
const KEPT_MS = 10_000;
/** What a loss says against the requests that a worker was executing, and how much proves it. */
const WEIGHT = { alone: 2, together: 1, proof: 4 } as const;

/** A worker was lost while it executed something. */
export interface Crash {
  readonly atMs: number;
  /** Held against the servable: one of its requests was proven to have done it. */
  counted: boolean;
  /** Other workers fell silent with it, as is seen now or later: a host, a network or a broker is as likely the cause as any request. */
  together: boolean;
}

/** Tells workers that were lost alone from those that were lost with others. */
export interface Losses {
  /** Nobody listens where this worker did: its process or its connection has ended, and it alone. */
  unreachable(workerId: MemberId): void;
  /**
   * A worker is gone, or what it had is taken for lost. `silence`: how its lease ended; undefined when there is other news of it. Marks earlier
   * crashes too when they turn out to have happened together with this one.
   */
  lost(workerId: MemberId, silence: Silence | undefined, nowMs: number): Crash;
}

/** Makes a record without losses. */
export function createLosses(): Losses {
  const unreachable = new Set<MemberId>();
  let silences: { readonly sinceMs: number; readonly crash: Crash }[] = [];

  return {
    unreachable: (workerId) => void unreachable.add(workerId),
    lost(workerId, silence, nowMs) {
      const crash: Crash = { atMs: nowMs, counted: false, together: false };
      if (silence === undefined || unreachable.delete(workerId)) return crash;
      crash.together = silence.shared;
      silences = silences.filter((one) => nowMs - one.crash.atMs < KEPT_MS);
      for (const { sinceMs, crash: other } of silences) {
        if (Math.abs(sinceMs - silence.sinceMs) > TOGETHER_MS) continue;
        other.together = true;
        crash.together = true;
      }
      silences.push({ sinceMs: silence.sinceMs, crash });
      return crash;
    },
  };
}

/** The crashes of a request with one more; each counts once, however many parts of the request were with the worker. */
export function withLoss(crashes: readonly Crash[], crash: Crash): readonly Crash[] {
  return crashes.includes(crash) ? crashes : [...crashes, crash];
}

/**
 * Whether a request that was executed in all of these crashes has caused them: two workers that were lost alone. Losses in company count half,
 * so that requests which kill at the same time end a bounded number of workers too.
 */
export function isProof(crashes: readonly Crash[]): boolean {
  return crashes.reduce((sum, { together }) => sum + (together ? WEIGHT.together : WEIGHT.alone), 0) >= WEIGHT.proof;
}

/** Adds a crash to those of the minute before `nowMs`. Pure: returns the new list. */
export function withCrash(crashes: readonly number[], crashMs: number, nowMs: number): readonly number[] {
  return [...crashes, crashMs].filter((atMs) => nowMs - atMs < CRASH_WINDOW_MS);
}
