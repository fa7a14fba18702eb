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

/** What a process may grow by in the second half of a soak: engines grow their heaps when they like, and always in the first minutes. */
const GROWTH = { megabytes: 12, share: 0.1, fromMinutes: 5 } as const;
/** Sockets and timers come and go with clients and faults. */
const COUNT_SLACK = 40;
/** The machine may be busier at the end than at the start. */
const LATENCY = { factor: 3, ms: 20 } as const;
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
  const scene: FaultScene = { fleet, models, traffic, random, standstillMs, settleMs, victims, disk: 'not part of a soak' };
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

function leaks({ minutes, trends, p50Ms }: SoakReport): string[] {
  const found: string[] = [];
  for (const { name, grownMB, endMB, slopeMBPerHour, descriptors, timers } of trends) {
    if (minutes >= GROWTH.fromMinutes && grownMB > Math.max(GROWTH.megabytes, GROWTH.share * endMB))
      found.push(`${name} grows by ${slopeMBPerHour.toFixed(0)} MB an hour (${grownMB.toFixed(1)} MB in the second half)`);
    if (descriptors[1] > descriptors[0] + COUNT_SLACK) found.push(`${name} has ${descriptors[1]} descriptors, at first ${descriptors[0]}`);
    if (timers[1] > timers[0] + COUNT_SLACK) found.push(`${name} has ${timers[1]} timers, at first ${timers[0]}`);
    if (timers[0] < 0) found.push(`${name} did not tell of its timers`);
  }
  if (p50Ms[1] > LATENCY.factor * p50Ms[0] + LATENCY.ms) found.push(`p50 is ${p50Ms[1].toFixed(1)} ms, at first ${p50Ms[0].toFixed(1)} ms`);
  return found;
}
