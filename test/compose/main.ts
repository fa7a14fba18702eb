/**
 * npm run test:compose: the fleet of docker-compose.yml on a real Docker engine, under traffic whose every answer is checked, while workers come
 * and go, processes are killed, NATS and Redis restart, a gateway leaves and a model version is replaced. Ends with 1 when an answer was wrong or lost.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findEngine } from './engine.ts';
import { createFleet, type Fleet } from './fleet.ts';
import { prepareImages } from './images.ts';
import { createModelFolder, type ModelFolder } from './models.ts';
import { printTable } from './report.ts';
import { pause, until } from './shell.ts';
import { startTraffic, type Tally, type Traffic } from './traffic.ts';

const root = join(import.meta.dirname, '../..');
const cacheFolder = join(root, '.cache/compose');
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
const startedAtMs = performance.now();
const say = (what: string) => console.log(`[${((performance.now() - startedAtMs) / 1000).toFixed(0).padStart(4)} s] ${what}`);
/** How long traffic flows after each event, so that what it broke would show. */
const SETTLE_MS = 4000;

await using stack = new AsyncDisposableStack();
// A first Ctrl-C fails the step that runs; everything is then taken down as after any failure.
const interrupted = new Promise<never>((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => reject(new Error(signal)));
});
interrupted.catch(() => undefined);

const engine = stack.use(await findEngine(cacheFolder));
const images = await Promise.race([prepareImages(engine, root, cacheFolder), interrupted]);
const models = stack.use(await createModelFolder(join(root, 'examples/savedmodels')));
const fleet = stack.use(await createFleet({ engine, images, models, root }));
try {
  await Promise.race([prove(fleet, models), interrupted]);
} catch (caught) {
  process.exitCode = 1;
  console.error(`FAILED: ${caught instanceof Error ? caught.stack : String(caught)}`);
  const logFile = join(cacheFolder, 'containers.log');
  writeFileSync(logFile, await fleet.logs(5000).catch((error: Error) => `no logs: ${error.message}`));
  console.error(await fleet.logs(8).catch((error: Error) => `no logs: ${error.message}`));
  console.error(`all container logs are in ${logFile}`);
}
say('taking everything down');

async function prove(fleet: Fleet, models: ModelFolder): Promise<void> {
  say('starting: 3 workers, 2 gateways, 2 batchers, 2 registries, NATS, Redis');
  await fleet.up(3);
  for (const gateway of fleet.gateways) for (const model of ['half_plus_two', 'affine']) await untilVersion(gateway.rest, model, 1);
  say(`traffic flows (SEED=${seed})`);
  const traffic = startTraffic(fleet.gateways, seed);
  let tallies: readonly Tally[];
  try {
    await steps(fleet, traffic, models);
  } finally {
    tallies = await traffic.stop();
    printTable(tallies);
  }
  const broken = tallies.filter((tally) => tally.wrong + tally.failed > 0 || tally.answered === 0);
  if (broken.length > 0) throw new Error(`wrong, lost or missing answers in: ${broken.map((tally) => tally.step).join(', ')}`);
  say(`every one of ${tallies.reduce((sum, tally) => sum + tally.answered, 0)} requests was answered, and with the truth`);
}

async function steps(fleet: Fleet, traffic: Traffic, models: ModelFolder): Promise<void> {
  async function step(name: string, act: () => Promise<void>, rules: Parameters<Traffic['step']>[1] = { versions: [1] }): Promise<void> {
    say(name);
    traffic.step(name, rules);
    await act();
    await pause(SETTLE_MS);
  }
  const killOne = async (service: 'worker-gpu' | 'batcher') => {
    const [victim] = await fleet.containers(service);
    if (!victim) throw new Error(`no ${service} to kill`);
    await fleet.kill(victim);
    await pause(SETTLE_MS);
    await fleet.heal();
  };

  await step('steady, 3 workers', () => pause(SETTLE_MS));
  await step('3 workers become 1', () => fleet.scaleWorkers(1));
  await step('1 worker becomes 4', () => fleet.scaleWorkers(4));
  await step('a worker is killed', () => killOne('worker-gpu'));
  await step('a batcher is killed', () => killOne('batcher'));
  await step('the leading registry is killed', async () => {
    const leader = await fleet.leader();
    await fleet.kill(leader);
    const next = await fleet.leader();
    if (next.id === leader.id) throw new Error('the killed registry still leads');
    say(`${leader.name} was killed, ${next.name} leads`);
  });
  // The registry that took over does the swap, alone.
  await step(
    'version 2 replaces version 1',
    async () => {
      await models.addAffineVersion(2);
      for (const gateway of fleet.gateways) await untilVersion(gateway.rest, 'affine', 2);
    },
    { versions: [1, 2] },
  );
  const swapped = { versions: [2] };
  await step('the killed registry comes back', () => fleet.heal(), swapped);
  await step('NATS is killed and restarts', () => fleet.crashAndRestart('nats'), swapped);
  await step('Redis is killed and restarts', () => fleet.crashAndRestart('redis'), swapped);
  await step('gateway-b leaves', () => fleet.stop('gateway-b'), { ...swapped, mayReconnect: true });
  await step('gateway-b comes back', () => fleet.heal(), { ...swapped, mayReconnect: true });
  await step('steady, both gateways', () => pause(SETTLE_MS), swapped);
  const plans = await fleet.plans();
  if (plans.length !== 1) throw new Error(`half_plus_two was imported once for all, but the cache holds ${plans.join(', ') || 'nothing'}`);
}

/** Waits until a gateway says that exactly this version is available. */
async function untilVersion(rest: string, model: string, version: number): Promise<void> {
  await until(`${model} version ${version} alone at ${rest}`, 60_000, async () => {
    const response = await fetch(`http://${rest}/v1/models/${model}`).catch(() => undefined);
    if (!response?.ok) return undefined;
    const { model_version_status: statuses } = (await response.json()) as { model_version_status: { version: string; state: string }[] };
    const available = statuses.filter((one) => one.state === 'AVAILABLE').map((one) => Number(one.version));
    return available.length === 1 && available[0] === version ? true : undefined;
  });
}
