/** What the sections about growth share. */
import { type KnownModel, whileChecking } from '../load/answer-check.ts';
import type { LoadResult } from '../load/result.ts';
import { lookAt } from '../process-figures.ts';
import { median } from '../rounds.ts';
import type { BenchContext } from '../section.ts';
import type { HeadraceServer } from '../servers.ts';

/** How the seconds of one point are spent: in turns that are taken interleaved. */
export interface Turns {
  readonly count: number;
  readonly seconds: number;
}

/** What a load came to over its turns: medians. */
export interface LoadFigures {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time of all processes of the server, in µs a request. The load generator is not in it, and other load on the machine moves it little. */
  readonly cpuMicros: number;
}

/** What one run of a load gave, and what it cost the server. */
export type CostedResult = LoadResult & Pick<LoadFigures, 'cpuMicros'>;

/** `half` of the bench. */
export const KNOWN_HALF: KnownModel = { name: 'half', truth: (x) => x / 2 + 2 };

/** A point of these sections takes `seconds` in all, not in every round: there are many. Turns are of two seconds or more, and as many as rounds at most. */
export function turnsOf({ rounds, seconds }: BenchContext): Turns {
  const count = Math.max(1, Math.min(rounds, Math.floor(seconds / 2)));
  return { count, seconds: Math.max(1, Math.floor(seconds / count)) };
}

/** What a table says of its column of processor time. */
export const COST_TEXT = 'Processor time is that of all processes of the server, without the load generator.';

/** Runs a load while answers are looked at, and counts what it costs. Rejects when an answer is wrong or an error. */
export async function costOf(
  { restPort, processes }: HeadraceServer,
  known: readonly KnownModel[],
  load: () => Promise<LoadResult>,
): Promise<CostedResult> {
  const usedSeconds = () => processes.reduce((sum, { pid }) => sum + lookAt(pid).cpuSeconds, 0);
  const before = usedSeconds();
  const result = known.length === 0 ? await load() : await whileChecking(restPort, known, load);
  return { ...result, cpuMicros: (1e6 * (usedSeconds() - before)) / result.requests };
}

/** The medians of what the turns gave. Throws when there was none. */
export function summarised(results: readonly CostedResult[]): LoadFigures {
  if (results.length === 0) throw new Error('a load without results has no figures');
  const of = (pick: (result: CostedResult) => number) => median(results.map(pick));
  return {
    perSecond: of(({ perSecond }) => perSecond),
    p50Ms: of(({ p50Ms }) => p50Ms),
    p99Ms: of(({ p99Ms }) => p99Ms),
    cpuMicros: of(({ cpuMicros }) => cpuMicros),
  };
}

/** `1,234` or `0.0123`: three figures for what is small. */
export function amountText(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`${value} is no figure for a table`);
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}

/** The cells of a load: requests/s, p50 and p99 in ms, processor time in µs a request. */
export function loadCells({ perSecond, p50Ms, p99Ms, cpuMicros }: LoadFigures): readonly string[] {
  return [perSecond, p50Ms, p99Ms, cpuMicros].map(amountText);
}

/** Resolves after so many milliseconds. */
export function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, forMs));
}
