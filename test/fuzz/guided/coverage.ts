/** Which blocks of our own code have run, asked of V8 through the inspector. */
import { Session } from 'node:inspector';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What has run of some files. */
export interface Coverage {
  /** Forgets what ran since the last look, without taking it for known. */
  skip(): void;
  /** True when code ran since the last look that had never run before; looks, and learns nothing. */
  foundBlock(): boolean;
  /** Learns what ran since the last look. Counts matter in steps of powers of two, so that a loop that turns far more often is news as well. */
  learn(): 'block' | 'count' | undefined;
  /** Stretches of code that have run, and those that have not, in functions that were entered. */
  totals(): { readonly functions: number; readonly idleBytes: number };
}

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

/** What ran of a script. */
export interface Script {
  readonly scriptId: string;
  readonly url: string;
  readonly functions: readonly { readonly functionName: string; readonly ranges: readonly Range[] }[];
}

/** V8's counters of this thread: of every block of code that is loaded after they were started. */
export interface Counters extends Disposable {
  /** What ran since the last look, of all scripts. */
  take(): readonly Script[];
}

/** Starts the counters. */
export function startCounters(): Counters {
  const session = new Session();
  session.connect();
  const post = (method: string, parameters: object): unknown => {
    let answer: unknown;
    session.post(method, parameters, (error, result) => {
      if (error !== null) throw error;
      answer = result;
    });
    return answer;
  };
  post('Profiler.enable', {});
  post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  return {
    take: () => (post('Profiler.takePreciseCoverage', {}) as { readonly result: readonly Script[] }).result,
    [Symbol.dispose]: () => session.disconnect(),
  };
}

/** Looks at some files only. `covers`: beginnings of paths under `root`. */
export function createCoverage(counters: Counters, root: string, covers: readonly string[]): Coverage {
  const prefixes = covers.map((path) => pathToFileURL(join(root, path)).href);
  /** By function: the stretches that have never run, as start, end, start, end, …, ascending and disjoint. */
  const idle = new Map<string, readonly number[]>();
  const counts = new Set<string>();

  function* look(): Generator<{ readonly key: string; readonly ranges: readonly Range[] }> {
    for (const { url, scriptId, functions } of counters.take()) {
      if (!prefixes.some((prefix) => url.startsWith(prefix))) continue;
      for (const { functionName, ranges } of functions) {
        const [whole] = ranges;
        if (whole !== undefined && whole.count > 0) yield { key: `${scriptId}:${whole.startOffset}:${functionName}`, ranges };
      }
    }
  }

  return {
    skip: () => void counters.take(),
    foundBlock() {
      let found = false;
      for (const { key, ranges } of look()) {
        const known = idle.get(key);
        found ||= known === undefined || lengthOf(overlap(known, idleOf(ranges))) < lengthOf(known);
      }
      return found;
    },
    learn() {
      let news: 'block' | 'count' | undefined;
      for (const { key, ranges } of look()) {
        const known = idle.get(key);
        const left = known === undefined ? idleOf(ranges) : overlap(known, idleOf(ranges));
        if (known === undefined || lengthOf(left) < lengthOf(known)) news = 'block';
        idle.set(key, left);
        for (const { startOffset, count } of ranges) {
          const step = `${key}:${startOffset}:${Math.floor(Math.log2(count + 1))}`;
          if (counts.has(step)) continue;
          counts.add(step);
          news ??= 'count';
        }
      }
      return news;
    },
    totals: () => ({ functions: idle.size, idleBytes: [...idle.values()].reduce((sum, ranges) => sum + lengthOf(ranges), 0) }),
  };
}

/** The stretches of a function that did not run: ranges lie one in another, and the innermost counts. */
function idleOf(ranges: readonly Range[]): readonly number[] {
  const stretches: number[] = [];
  let idleUntil = -1;
  for (const { startOffset, endOffset, count } of ranges) {
    // V8 lists ranges by start, the outer one first; nothing inside a block that did not run has run.
    if (count > 0 || startOffset < idleUntil) continue;
    stretches.push(startOffset, endOffset);
    idleUntil = endOffset;
  }
  return stretches;
}

/** What lies in both. */
function overlap(one: readonly number[], other: readonly number[]): readonly number[] {
  const both: number[] = [];
  for (let a = 0, b = 0; a < one.length && b < other.length; ) {
    const [aEnd = 0, bEnd = 0] = [one[a + 1], other[b + 1]];
    const start = Math.max(one[a] ?? 0, other[b] ?? 0);
    const end = Math.min(aEnd, bEnd);
    if (start < end) both.push(start, end);
    if (aEnd < bEnd) a += 2;
    else b += 2;
  }
  return both;
}

function lengthOf(stretches: readonly number[]): number {
  let length = 0;
  for (let at = 0; at < stretches.length; at += 2) length += (stretches[at + 1] ?? 0) - (stretches[at] ?? 0);
  return length;
}
