import { FAULTS, type FaultScene } from './faults.ts';
import { startFaultFleet, untilServed } from './fleet.ts';
import { createModels } from './models.ts';
import { type ProcessTrend, watchProcesses } from './process-watch.ts';
import { createRandom } from './random.ts';
import { broken, runFault, SERVED } from './run-steps.ts';
import { type ClientPlan, startTraffic, type Tally } from './traffic.ts';
import { pause } from './waiting.ts';

/** How a soak is made. */
export interface SoakOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly say: (line: string) => void;
  /** Calm between two faults. */
  readonly calmMs: number;
  readonly standstillMs: number;
  /** After each fault. */
  readonly settleMs: number;
  readonly clients?: readonly ClientPlan[];
}

/** What a soak came to. */
export interface SoakReport {
  readonly minutes: number;
  readonly faults: number;
  readonly swaps: number;
  /** Sums over all steps. */
  readonly total: Tally;
  /** Of calm stretches in the first and the last quarter. */
  readonly p50Ms: readonly [number, number];
  readonly p99Ms: readonly [number, number];
  /** Processes that were never hurt. */
  readonly trends: readonly ProcessTrend[];
  /** What is not as promised, in words. */
  readonly problems: readonly string[];
}

/**
 * What a process must not grow by for certain (the low end of the slope's interval) in an hour: engines move the bounds of their heaps when they
 * like, but what a collection leaves stays. A shorter soak says nothing about that.
 */
const GROWTH = { rssMB: 60, liveMB: 10, fromMinutes: 10 } as const;
/** Sockets and timers come and go with clients and faults. */
const COUNT_SLACK = 40;
/** The machine may be busier at the end than at the start. */
const LATENCY = { factor: 2, p50Ms: 10, p99Ms: 50 } as const;
const CALM = 'calm';
const VERSIONS = [1, 2] as const;
/** The newest version folder is looked at every second, loaded, and then the old one leaves. */
const SWAP_EVERY_MS = 6000;

/** Mixed load with swaps, faults and bad input, while the processes that no fault hits are watched. */
export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const { seed, say } = options;
  using models = createModels(SERVED);
  await using fleet = await startFaultFleet({
    models,
    size: { gateway: 2, batcher: 2, 'worker-gpu': 3, registry: 2 },
    probe: true,
  });
  await untilServed(fleet, SERVED);
  const random = createRandom(seed);
  const traffic = startTraffic(fleet.of('gateway'), seed, options.clients);
  const victims: FaultScene['victims'] = (service) => fleet.of(service).slice(1);
  const { standstillMs, settleMs } = options;
  const scene: FaultScene = {
    fleet,
    models,
    traffic,
    random,
    standstillMs,
    settleMs,
    victims,
    disk: 'not part of a soak',
    waitsForRoom: true,
  };
  const survivors = fleet.members.filter((member) => !victims(member.service).includes(member) && member.service !== 'registry');
  using watch = watchProcesses(survivors, 1000);
  const problems: string[] = [];
  const endMs = performance.now() + options.minutes * 60_000;

  let swaps = 0;
  let over = false;
  const swapping = (async () => {
    while (!over) {
      models.putLine('line', 2);
      await pause(SWAP_EVERY_MS / 2);
      models.removeLine('line', 2);
      await pause(SWAP_EVERY_MS / 2);
      swaps++;
    }
  })();

  const usable = FAULTS.filter(({ combines, name }) => combines || name.startsWith('slow clients') || name.includes('kills its executor'));
  // The leader may be one that is watched, and an unwatched one cannot be had by chance.
  const some = usable.filter(({ name }) => !name.includes('leading registry'));
  let faults = 0;
  traffic.step(CALM, { versions: VERSIONS });
  await pause(options.calmMs);
  while (performance.now() < endMs) {
    const fault = random.pick(some);
    say(`${((endMs - performance.now()) / 1000).toFixed(0)} s left: ${fault.name}`);
    try {
      await runFault(fault, scene, { versions: VERSIONS });
    } catch (caught) {
      problems.push(`${fault.name}: ${caught instanceof Error ? caught.message : String(caught)}`);
    }
    faults++;
    traffic.step(CALM, { versions: VERSIONS });
    await pause(options.calmMs);
  }
  over = true;
  await swapping;
  const tallies = await traffic.stop();
  for (const tally of tallies) {
    const problem = broken(tally);
    if (problem !== undefined) problems.push(`${problem} (${tally.examples[0] ?? ''})`);
  }
  const calm = tallies.filter(({ step }) => step === CALM);
  const quarter = Math.max(1, Math.floor(calm.length / 4));
  const ends = (value: (tally: Tally) => number) => [least(calm.slice(0, quarter), value), least(calm.slice(-quarter), value)] as const;
  const report: SoakReport = {
    minutes: options.minutes,
    faults,
    swaps,
    total: sum(tallies),
    p50Ms: ends(({ p50Ms }) => p50Ms),
    p99Ms: ends(({ p99Ms }) => p99Ms),
    trends: watch.trends(),
    problems,
  };
  problems.push(...leaks(report));
  return report;
}

/** The calmest of several stretches: what the fleet can do, whatever else the machine did. */
function least(tallies: readonly Tally[], value: (tally: Tally) => number): number {
  return Math.min(...tallies.map(value));
}

function sum(tallies: readonly Tally[]): Tally {
  const of = (value: (tally: Tally) => number) => tallies.reduce((total, tally) => total + value(tally), 0);
  return {
    step: 'soak',
    sent: of(({ sent }) => sent),
    answered: of(({ answered }) => answered),
    refused: of(({ refused }) => refused),
    failed: of(({ failed }) => failed),
    wrong: of(({ wrong }) => wrong),
    reconnected: of(({ reconnected }) => reconnected),
    steadyAfterMs: null,
    p50Ms: 0,
    p99Ms: 0,
    examples: [],
  };
}

/** What did not stay as it was, in words. */
export function leaks({ minutes, trends, p50Ms, p99Ms }: Pick<SoakReport, 'minutes' | 'trends' | 'p50Ms' | 'p99Ms'>): string[] {
  const found: string[] = [];
  const long = minutes >= GROWTH.fromMinutes;
  for (const { name, rssSlope, liveSlope, liveMB, descriptors, timers } of trends) {
    if (long && rssSlope.low > GROWTH.rssMB) found.push(`${name} grows by at least ${rssSlope.low.toFixed(0)} MB an hour`);
    if (long && liveSlope.low > GROWTH.liveMB)
      found.push(`${name} keeps at least ${liveSlope.low.toFixed(0)} MB more an hour that no garbage collection takes away`);
    if (long && liveMB[1] === 0) found.push(`${name} did not tell of its memory`);
    if (descriptors[1] > descriptors[0] + COUNT_SLACK) found.push(`${name} has ${descriptors[1]} descriptors, at first ${descriptors[0]}`);
    if (timers[1] > timers[0] + COUNT_SLACK) found.push(`${name} has ${timers[1]} timers, at first ${timers[0]}`);
    if (timers[0] < 0) found.push(`${name} did not tell of its timers`);
  }
  for (const [name, [first, last], slackMs] of [
    ['p50', p50Ms, LATENCY.p50Ms],
    ['p99', p99Ms, LATENCY.p99Ms],
  ] as const)
    if (long && last > LATENCY.factor * first + slackMs) found.push(`${name} is ${last.toFixed(1)} ms, at first ${first.toFixed(1)} ms`);
  return found;
}
