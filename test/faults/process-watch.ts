import { readdirSync, readFileSync } from 'node:fs';
import type { FleetMember } from './fleet.ts';
import { type Slope, theilSen } from './slope.ts';

/** One look at a process. */
export interface ProcessSample {
  readonly atMs: number;
  readonly rssBytes: number;
  readonly descriptors: number;
  /** Timers that have not fired; -1 where it did not say. */
  readonly timers: number;
  /** What its last full garbage collection left, on the heap and beside it; 0 before the first. */
  readonly liveBytes: number;
}

/** What became of a process over a soak. */
export interface ProcessTrend {
  readonly name: string;
  /** Resident memory, medians of the first and the last quarter. */
  readonly rssMB: readonly [number, number];
  /** In MB an hour, after the warm-up; of the least of each stretch. */
  readonly rssSlope: Slope;
  /** The same for what garbage collections leave. */
  readonly liveMB: readonly [number, number];
  readonly liveSlope: Slope;
  readonly descriptors: readonly [number, number];
  readonly timers: readonly [number, number];
}

/** Looks at processes again and again. */
export interface ProcessWatch extends Disposable {
  trends(): readonly ProcessTrend[];
}

const MB = 2 ** 20;
/** Engines grow their heaps when they like, and always in the beginning: this part of a soak says nothing. */
const WARM_UP = 0.4;
/** Looks closer together than this depend on each other: of each stretch the least is taken, which garbage does not move. */
const STRETCH_MS = 30_000;

/** Starts to look at processes that live through the whole soak. Needs Linux's /proc and the resource probe. */
export function watchProcesses(members: readonly FleetMember[], everyMs: number): ProcessWatch {
  const samples = new Map(members.map((member) => [member, [] as ProcessSample[]]));
  const timer = setInterval(() => {
    for (const [member, taken] of samples) {
      const one = look(member);
      if (one) taken.push(one);
      // Answered by the next look.
      member.signal('SIGUSR2');
    }
  }, everyMs);
  return {
    trends: () => [...samples].map(([member, taken]) => trendOf(member.name, taken)),
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

function look(member: FleetMember): ProcessSample | undefined {
  try {
    const status = readFileSync(`/proc/${member.pid}/status`, 'utf8');
    const [, timers, liveBytes] = [...member.output().matchAll(/resource-probe (\d+) (\d+)/g)].at(-1) ?? [];
    return {
      atMs: performance.now(),
      rssBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024,
      descriptors: readdirSync(`/proc/${member.pid}/fd`).length,
      timers: Number(timers ?? -1),
      liveBytes: Number(liveBytes ?? 0),
    };
  } catch {
    return undefined;
  }
}

/** What a process' samples come to, oldest first. */
export function trendOf(name: string, samples: readonly ProcessSample[]): ProcessTrend {
  const warm = samples.slice(Math.floor(WARM_UP * samples.length));
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  const ends = (value: (sample: ProcessSample) => number) =>
    [middle(samples.slice(0, quarter).map(value)), middle(samples.slice(-quarter).map(value))] as const;
  return {
    name,
    rssMB: ends(({ rssBytes }) => rssBytes / MB),
    rssSlope: theilSen(least(warm, ({ rssBytes }) => rssBytes)),
    liveMB: ends(({ liveBytes }) => liveBytes / MB),
    liveSlope: theilSen(least(warm, ({ liveBytes }) => liveBytes)),
    descriptors: ends(({ descriptors }) => descriptors),
    timers: ends(({ timers }) => timers),
  };
}

/** The least of each stretch, in MB over hours; what was not told (0) is left out. */
function least(samples: readonly ProcessSample[], bytesOf: (sample: ProcessSample) => number): readonly (readonly [number, number])[] {
  const startMs = samples[0]?.atMs ?? 0;
  const stretches = Map.groupBy(
    samples.filter((sample) => bytesOf(sample) > 0),
    ({ atMs }) => Math.floor((atMs - startMs) / STRETCH_MS),
  );
  return [...stretches].map(([index, own]) => [(index * STRETCH_MS) / 3_600_000, Math.min(...own.map(bytesOf)) / MB] as const);
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
