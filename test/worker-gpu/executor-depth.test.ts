import { expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { createExecutor, type Executor } from '../../services/worker-gpu/executor.ts';
import type { HostListener } from '../../services/worker-gpu/executor-host.ts';
import type { ModelKey, ToThread } from '../../services/worker-gpu/executor-protocol.ts';

const MODEL = 1 as ModelKey;
const OTHER = 2 as ModelKey;

/** An executor whose thread answers when the test says so. */
async function executorOf(kind: Executor['kind']) {
  const posted: ToThread[] = [];
  let listener: HostListener | undefined;
  const executor = createExecutor({
    kind,
    clock: createFakeClock(),
    hangMs: 60_000,
    startHost(given) {
      listener = given;
      return { sharesMemory: true, post: (message) => posted.push(message), memoryBytes: () => undefined, end: async () => {} };
    },
    onCapacity: () => {},
    onDeath: () => {},
    onCalls: () => {},
    onRestored: () => {},
    onModelLost: () => {},
  });
  const answer = (executedMs: number) => {
    const message = posted.shift();
    if (message?.type === 'load') listener?.onMessage({ type: 'loaded', description: { signatures: new Map(), stateful: false } as never });
    else listener?.onMessage({ type: 'ran', executedMs, outputs: [] });
  };
  const load = async (model: ModelKey) => {
    const loaded = executor.load(model, 'a runtime', { path: '' } as never);
    answer(0);
    await loaded;
  };
  const run = (model: ModelKey) => executor.run({ model, signature: '', outputs: [], inputs: [] }, () => 'consumed');
  /** As many runs as it takes; not answered. */
  const fill = (model: ModelKey) => {
    const runs: Promise<string>[] = [];
    while (executor.canTake(model)) runs.push(run(model));
    return runs;
  };
  const runOnce = async (model: ModelKey, executedMs: number) => {
    const done = run(model);
    answer(executedMs);
    await done;
  };
  await load(MODEL);
  await load(OTHER);
  return { executor, answer, run, runOnce, fill };
}

test('two runs are taken of what nobody has seen run', async () => {
  const { executor, fill } = await executorOf('shared');
  expect(fill(MODEL)).toHaveLength(2);
  expect(executor.inFlight).toBe(2);
});

test('more are taken while all of them take less than a ms together, and all are answered', async () => {
  const { executor, fill, answer, runOnce } = await executorOf('shared');
  await runOnce(MODEL, 0.11);
  const runs = fill(MODEL);
  expect(runs).toHaveLength(9);
  for (const _ of runs) answer(0.11);
  expect(await Promise.all(runs)).toEqual(runs.map(() => 'consumed'));
  expect(executor.inFlight).toBe(0);
});

test('there is a bound, however short they are', async () => {
  const { fill, runOnce } = await executorOf('shared');
  await runOnce(MODEL, 0);
  expect(fill(MODEL)).toHaveLength(16);
});

test('behind a long run only one more waits, however short', async () => {
  const { run, runOnce, fill, answer } = await executorOf('shared');
  await runOnce(MODEL, 0.01);
  await runOnce(OTHER, 40);
  const long = run(OTHER);
  const short = fill(MODEL);
  expect(short).toHaveLength(1);
  answer(40);
  await long;
  expect(fill(MODEL)).toHaveLength(15);
  expect(short).toHaveLength(1);
});

test('a long run is not put behind many short ones', async () => {
  const { executor, run, runOnce } = await executorOf('shared');
  await runOnce(MODEL, 0.01);
  await runOnce(OTHER, 40);
  for (let index = 0; index < 3; index++) void run(MODEL);
  expect(executor.canTake(MODEL)).toBe(true);
  expect(executor.canTake(OTHER)).toBe(false);
});

test('a process for code of users takes two', async () => {
  const { fill, runOnce } = await executorOf('guarded');
  await runOnce(MODEL, 0);
  expect(fill(MODEL)).toHaveLength(2);
});
