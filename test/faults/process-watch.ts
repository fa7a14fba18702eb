import { readdirSync, readFileSync } from 'node:fs';
import type { FleetMember } from './fleet.ts';
import { theilSenSlope } from './slope.ts';

/** One look at a process. */
export interface ProcessSample {
  readonly atMs: number;
  readonly rssBytes: number;
  readonly descriptors: number;
  /** Timers that have not fired; -1 where it did not say. */
  readonly timers: number;
}

/** What became of a process over a soak. */
export interface ProcessTrend {
  readonly name: string;
  readonly startMB: number;
  readonly endMB: number;
  /** Over the second half. */
  readonly slopeMBPerHour: number;
  /** What that slope made of the second half itself. */
  readonly grownMB: number;
  /** Medians of the first and the last quarter. */
  readonly descriptors: readonly [number, number];
  readonly timers: readonly [number, number];
}

/** Looks at processes again and again. */
export interface ProcessWatch extends Disposable {
  trends(): readonly ProcessTrend[];
}

const MB = 2 ** 20;

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
    return {
      atMs: performance.now(),
      rssBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024,
      descriptors: readdirSync(`/proc/${member.pid}/fd`).length,
      timers: Number([...member.output().matchAll(/resource-probe (\d+)/g)].at(-1)?.[1] ?? -1),
    };
  } catch {
    return undefined;
  }
}

function trendOf(name: string, samples: readonly ProcessSample[]): ProcessTrend {
  const half = samples.slice(Math.floor(samples.length / 2));
  const hours = ((half.at(-1)?.atMs ?? 0) - (half[0]?.atMs ?? 0)) / 3_600_000;
  // All pairs of at most 300 points: enough, and quick.
  const stride = Math.ceil(half.length / 300);
  const points = half.filter((_, index) => index % stride === 0).map(({ atMs, rssBytes }) => [atMs / 3_600_000, rssBytes / MB] as const);
  const slopeMBPerHour = theilSenSlope(points);
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  const ends = (value: (sample: ProcessSample) => number) =>
    [middle(samples.slice(0, quarter).map(value)), middle(samples.slice(-quarter).map(value))] as const;
  const [startMB, endMB] = ends(({ rssBytes }) => rssBytes / MB);
  return {
    name,
    startMB,
    endMB,
    slopeMBPerHour,
    grownMB: slopeMBPerHour * hours,
    descriptors: ends(({ descriptors }) => descriptors),
    timers: ends(({ timers }) => timers),
  };
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
