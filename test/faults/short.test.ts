import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { hasNatsServer } from '../servers/nats-server.ts';
import { hasRedisServer } from '../servers/redis-server.ts';
import { FAULTS, type Fault, type FaultScene } from './faults.ts';
import { startFaultFleet, untilServed } from './fleet.ts';
import { createModels } from './models.ts';
import { runOverload } from './overload.ts';
import { createRandom } from './random.ts';
import { broken, runCombination, runFault, SERVED } from './run-steps.ts';
import { mountSmallDisk, smallDiskTrouble } from './small-disk.ts';
import { runSoak } from './soak.ts';
import { startTraffic } from './traffic.ts';

const SEED = Number(process.env.SEED ?? 20_260_101);
const complete = hasNatsServer && hasRedisServer;
const UNLESS = 'skipped without nats-server and redis-server';
const noDisk = complete ? smallDiskTrouble() : 'no fleet';
const say = () => {};

const [SHORT, UNTRIED] = [FAULTS.filter(possible), FAULTS.filter((fault) => !possible(fault))];

function possible({ needsDisk }: Fault): boolean {
  return needsDisk !== true || noDisk === undefined;
}

(complete ? describe : describe.skip)(`faults of a real fleet under load, SEED=${SEED} (${UNLESS})`, () => {
  const stack = new AsyncDisposableStack();
  let scene: FaultScene;
  /** Why the fleet cannot be used any more: what follows fails at once instead of waiting for it. */
  let lost: unknown;

  beforeAll(async () => {
    const models = stack.use(createModels(SERVED));
    const mounted = mountSmallDisk();
    const disk = typeof mounted === 'string' ? mounted : stack.use(mounted);
    const cache = typeof disk === 'string' ? {} : { cacheFolder: disk.folder };
    const size = { gateway: 2, batcher: 2, 'worker-gpu': 3, registry: 2 } as const;
    const fleet = stack.use(await startFaultFleet({ models, size, ...cache }));
    await untilServed(fleet, SERVED);
    const traffic = startTraffic(fleet.of('gateway'), SEED);
    stack.defer(async () => void (await traffic.stop()));
    const random = createRandom(SEED);
    scene = { fleet, models, traffic, random, standstillMs: 1500, settleMs: 200, disk, waitsForRoom: false };
  }, 120_000);
  afterAll(() => stack.disposeAsync(), 60_000);

  test.each(SHORT)(
    '$name: no answer is wrong, and no client sees an error',
    async (fault) => {
      if (lost !== undefined) throw lost;
      try {
        await runFault(fault, scene);
      } catch (caught) {
        // What it broke must not break those after it.
        await scene.fleet.heal().catch((trouble: unknown) => {
          lost = trouble;
        });
        throw caught;
      }
    },
    90_000,
  );

  if (UNTRIED.length > 0) test.skip.each(UNTRIED)(`$name (${noDisk})`, () => {});

  test('two at a time: the same', async () => {
    if (lost !== undefined) throw lost;
    for (let index = 1; index <= 2; index++) await runCombination(index, scene);
  }, 120_000);

  test('every step kept its promise', async () => {
    const tallies = await scene.traffic.stop();
    expect(tallies.flatMap((tally) => (broken(tally) === undefined ? [] : [broken(tally), ...tally.examples]))).toEqual([]);
    expect(tallies).toHaveLength(SHORT.length + 2);
  }, 60_000);
});

(complete ? describe : describe.skip)(`more load than a mesh can carry, SEED=${SEED} (${UNLESS})`, () => {
  test('is refused at once with a reason, what is accepted is in time, and no less is done', async () => {
    // Bounds on time are generous: other tests share this machine.
    const { overload, goodputShare, deadlineMs } = await runOverload({ seed: SEED, seconds: 3, deadlineMs: 1000, say });
    expect({ wrong: overload.wrong, failed: overload.failed, examples: overload.failed > 0 ? overload.examples : [] }).toEqual({
      wrong: 0,
      failed: 0,
      examples: [],
    });
    expect(overload.refused).toBeGreaterThan(0);
    expect(overload.refusedP50Ms).toBeLessThan(100);
    expect(overload.acceptedP50Ms).toBeLessThan(2 * deadlineMs);
    expect(overload.late).toBeLessThan(0.5 * overload.sent);
    expect(goodputShare).toBeGreaterThan(0.4);
  }, 90_000);
});

(complete ? describe : describe.skip)(`a short soak, SEED=${SEED} (${UNLESS})`, () => {
  test('leaves nothing wrong or failed, and descriptors and timers as they were', async () => {
    const report = await runSoak({ seed: SEED, minutes: 1 / 3, say, calmMs: 1500, standstillMs: 1500, settleMs: 300 });
    expect(report.problems).toEqual([]);
    expect(report.faults).toBeGreaterThan(0);
    expect(report.swaps).toBeGreaterThan(0);
    expect(report.trends.map(({ name }) => name)).toEqual(['batcher 1', 'gateway 1', 'worker-gpu 1']);
  }, 180_000);
});
