/**
 * npm run test:faults: a fleet of real processes under load, while they are killed, stopped, cut off and overloaded, one at a time and by
 * chance together. Every answer is checked for its value. Ends with 1 when a promise of docs/reliability.md did not hold.
 */
import { describeMachine } from '../../bench/machine.ts';
import { hasNatsServer } from '../servers/nats-server.ts';
import { hasRedisServer } from '../servers/redis-server.ts';
import { FAULTS, type FaultScene } from './faults.ts';
import { startFaultFleet, untilServed } from './fleet.ts';
import { createModels } from './models.ts';
import { type FaultOptions, parseFaultOptions, USAGE } from './options.ts';
import { overloadProblems, runOverload } from './overload.ts';
import { createRandom } from './random.ts';
import { faultTable, overloadTable, soakText, writeResults } from './results.ts';
import { broken, runCombination, runFault, SERVED } from './run-steps.ts';
import { mountSmallDisk } from './small-disk.ts';
import { runSoak } from './soak.ts';
import { startTraffic, type Tally } from './traffic.ts';
import { pause } from './waiting.ts';

const startedMs = performance.now();
const say = (line: string) => console.log(`[${((performance.now() - startedMs) / 1000).toFixed(0).padStart(4)} s] ${line}`);

const options = parseFaultOptions(process.argv.slice(2));
if (options === undefined) {
  process.stdout.write(USAGE);
  process.exit(0);
}
if (!hasNatsServer || !hasRedisServer) {
  console.error('nats-server and redis-server are needed: apt-get install nats-server redis-server (Debian, Ubuntu)');
  process.exit(2);
}
const { seed } = options;
const machine = describeMachine();
say(`seed ${seed}; ${machine.processor}, ${machine.cores} cores, commit ${machine.commit}, load average ${machine.loadAverage}`);
const problems = await run(options);
for (const problem of problems) console.error(`BROKEN: ${problem}`);
say(problems.length === 0 ? 'every promise held' : `${problems.length} promises did not hold; --seed ${seed} makes the same choices`);
process.exit(problems.length === 0 ? 0 : 1);

async function run({ soakMinutes, faults, overload, writeResults: write, only }: FaultOptions): Promise<readonly string[]> {
  if (soakMinutes > 0) {
    const report = await runSoak({ seed, minutes: soakMinutes, say, calmMs: 8000, standstillMs: 3000, settleMs: 2000 });
    console.log(soakText(report));
    if (write) writeResults({ soak: { machine, seed, report } });
    return report.problems;
  }
  const found: string[] = [];
  if (faults) {
    const { tallies, skipped, problems } = await runFaults();
    console.log(faultTable(tallies));
    for (const { step, examples } of tallies) for (const example of examples) console.log(`${step}: ${example}`);
    found.push(...problems, ...tallies.flatMap((tally) => broken(tally) ?? []));
    if (write && only === '') writeResults({ faults: { machine, seed, report: { tallies, skipped } } });
  }
  if (overload) {
    const report = await runOverload({ seed, seconds: 10, deadlineMs: 500, say });
    console.log(overloadTable(report));
    found.push(...overloadProblems(report));
    if (write) writeResults({ overload: { machine, seed, report } });
  }
  return found;
}

/** All faults one at a time, then pairs of them. */
async function runFaults(): Promise<{
  readonly tallies: readonly Tally[];
  readonly skipped: readonly string[];
  readonly problems: readonly string[];
}> {
  const { only, combinations } = options ?? { only: '', combinations: 0 };
  await using stack = new AsyncDisposableStack();
  const mounted = mountSmallDisk();
  const disk = typeof mounted === 'string' ? mounted : stack.use(mounted);
  const models = stack.use(createModels(SERVED));
  const size = { gateway: 2, batcher: 2, 'worker-gpu': 3, registry: 2 } as const;
  const fleet = stack.use(await startFaultFleet({ models, size, ...(typeof disk === 'string' ? {} : { cacheFolder: disk.folder }) }));
  await untilServed(fleet, SERVED);
  const traffic = startTraffic(fleet.of('gateway'), seed);
  const scene: FaultScene = {
    fleet,
    models,
    traffic,
    random: createRandom(seed),
    standstillMs: 3000,
    settleMs: 2000,
    disk,
    waitsForRoom: true,
  };
  const problems: string[] = [];
  const attempt = async (name: string, act: () => Promise<void>) => {
    say(name);
    try {
      await act();
    } catch (caught) {
      problems.push(`${name}: ${caught instanceof Error ? caught.message : String(caught)}`);
      await fleet.heal();
    }
  };
  traffic.step('none');
  await pause(5000);
  const wanted = FAULTS.filter(({ name }) => name.includes(only));
  const impossible = wanted.filter(({ needsDisk }) => needsDisk === true && typeof disk === 'string');
  for (const fault of wanted) if (!impossible.includes(fault)) await attempt(fault.name, () => runFault(fault, scene));
  if (only === '')
    for (let index = 1; index <= combinations; index++) await attempt(`combination ${index}`, () => runCombination(index, scene));
  const skipped = impossible.map(({ name }) => `${name} (${disk})`);
  for (const one of skipped) say(`SKIPPED: ${one}`);
  return { tallies: await traffic.stop(), skipped, problems };
}
