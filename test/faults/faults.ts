import { createFaultClient } from './clients.ts';
import { ask, type FaultFleet, type FleetMember, type Service } from './fleet.ts';
import { type FaultModels, HAZARD } from './models.ts';
import type { Random } from './random.ts';
import type { SmallDisk } from './small-disk.ts';
import { visitStrangely } from './strange-clients.ts';
import type { StepRules, Traffic } from './traffic.ts';
import { pause, until } from './waiting.ts';

/** What a fault acts on. */
export interface FaultScene {
  readonly fleet: FaultFleet;
  readonly models: FaultModels;
  readonly traffic: Traffic;
  readonly random: Random;
  /** How long what stands still stands still. */
  readonly standstillMs: number;
  /** How long traffic flows after each fault, so that what it broke would show. */
  readonly settleMs: number;
  /** Whom faults may hit; default everybody. */
  readonly victims?: (service: Service) => readonly FleetMember[];
  /** Where imports go, when that is a disk that can be filled; else why there is none. */
  readonly disk: SmallDisk | string;
  /** Half a minute passes until an import is tried again that lacked room: false, and a newer version comes instead. */
  readonly waitsForRoom: boolean;
}

/** One thing that goes wrong. `act` resolves once it is over; the fleet is healed after it. */
export interface Fault {
  readonly name: string;
  readonly rules?: StepRules;
  /** It may happen together with others: it takes one process or server away for a while and asserts nothing of its own. */
  readonly combines: boolean;
  /** It needs a disk that can be filled. */
  readonly needsDisk?: boolean;
  act(scene: FaultScene): Promise<void>;
}

/** Clients of a gateway that stands still turn to another one after this. */
const GATEWAY_PATIENCE_MS = 2000;

/** Every fault of a fleet, in the order of DESIGN §4's table. */
export const FAULTS: readonly Fault[] = [
  { name: 'kill -9 of a worker', combines: true, act: (scene) => kill(scene, anyOf(scene, 'worker-gpu')) },
  { name: 'SIGSTOP of a worker, SIGCONT', combines: true, act: (scene) => standstill(scene, anyOf(scene, 'worker-gpu')) },
  { name: 'partition: a worker is cut off from NATS', combines: true, act: (scene) => partition(scene, 'cut') },
  { name: 'partition: a worker and NATS hear nothing of each other', combines: true, act: (scene) => partition(scene, 'silent') },
  { name: 'connections to NATS break and come back: of a worker, a batcher, a gateway', combines: false, act: brokenConnections },
  { name: 'a batch kills its worker', combines: false, act: deadlyBatch },
  { name: 'a batch kills its executor', combines: false, act: deadlyRun },
  { name: 'kill -9 of a batcher', combines: true, act: (scene) => kill(scene, anyOf(scene, 'batcher')) },
  { name: 'SIGSTOP of a batcher, SIGCONT', combines: true, act: (scene) => standstill(scene, anyOf(scene, 'batcher')) },
  {
    name: 'kill -9 of a gateway',
    combines: true,
    rules: { mayReconnect: true },
    act: (scene) => kill(scene, anyOf(scene, 'gateway')),
  },
  {
    name: 'SIGSTOP of a gateway, SIGCONT',
    combines: true,
    rules: { mayReconnect: true, patienceMs: GATEWAY_PATIENCE_MS },
    act: (scene) => standstill(scene, anyOf(scene, 'gateway')),
  },
  { name: 'kill -9 of the leading registry', combines: true, act: async (scene) => kill(scene, await scene.fleet.leader()) },
  { name: 'SIGSTOP of the leading registry, SIGCONT', combines: false, act: stoppedLeader },
  { name: 'nats-server is killed and starts again', combines: true, act: restartNats },
  {
    name: 'SIGSTOP of nats-server, SIGCONT',
    combines: true,
    act: async ({ fleet, traffic, standstillMs }) => {
      traffic.event();
      fleet.nats.signal('SIGSTOP');
      await pause(standstillMs);
      fleet.nats.signal('SIGCONT');
    },
  },
  { name: 'redis-server is killed and starts again with its data', combines: true, act: (scene) => restartRedis(scene, false) },
  { name: 'redis-server is killed and starts again empty', combines: true, act: (scene) => restartRedis(scene, true) },
  { name: 'Redis starts again empty, and a registry that has never led takes over', combines: false, act: emptyAndNewLeader },
  {
    name: 'a model version is replaced, and its folder removed while it serves',
    combines: false,
    rules: { versions: [1, 2] },
    act: swapAndRemove,
  },
  { name: 'all of a model is removed while it serves', combines: false, act: removeModel },
  { name: 'the disk of the import cache is full', combines: false, needsDisk: true, act: fullDisk },
  { name: 'slow clients, clients that vanish, and bad input', combines: false, act: strangeClients },
  { name: 'SIGTERM of a worker', combines: false, act: (scene) => terminate(scene, anyOf(scene, 'worker-gpu')) },
  { name: 'SIGTERM of a batcher', combines: false, act: (scene) => terminate(scene, anyOf(scene, 'batcher')) },
  { name: 'SIGTERM of the leading registry', combines: false, act: async (scene) => terminate(scene, await scene.fleet.leader()) },
  {
    name: 'SIGTERM of a gateway',
    combines: false,
    rules: { mayReconnect: true },
    act: (scene) => terminate(scene, anyOf(scene, 'gateway')),
  },
];

function anyOf({ fleet, random, victims = fleet.of }: FaultScene, service: Service): FleetMember {
  return random.pick(victims(service));
}

async function kill({ traffic }: FaultScene, member: FleetMember): Promise<void> {
  traffic.event();
  await member.kill();
  // Longer than a lease: who is not seen to be gone by then never is.
  await pause(1500);
}

async function standstill({ traffic, standstillMs }: FaultScene, member: FleetMember): Promise<void> {
  traffic.event();
  member.signal('SIGSTOP');
  await pause(standstillMs);
  member.signal('SIGCONT');
}

async function terminate({ traffic }: FaultScene, member: FleetMember): Promise<void> {
  traffic.event();
  const code = await member.terminate();
  if (code !== 0) throw new Error(`${member.name} left with ${code} after SIGTERM:\n${member.output()}`);
}

async function partition({ fleet, traffic, standstillMs }: FaultScene, mode: 'cut' | 'silent'): Promise<void> {
  traffic.event();
  const proxy = fleet.proxies['worker-gpu'];
  proxy.set(mode);
  await pause(standstillMs);
  proxy.set('open');
}

/** For less than a lease each time, so that nobody is taken for gone: only what was on its way is lost. */
async function brokenConnections({ fleet, traffic }: FaultScene): Promise<void> {
  traffic.event();
  for (const service of ['worker-gpu', 'batcher', 'gateway', ...new Array<'worker-gpu'>(6).fill('worker-gpu')] as const) {
    fleet.proxies[service].set('cut');
    fleet.proxies[service].set('open');
    await pause(400);
  }
  const worker = fleet.of('worker-gpu').at(-1);
  if (worker === undefined) throw new Error('no worker');
  for (const model of ['line', 'half_plus_two']) {
    const before = await batchesOf(worker, model);
    await until(`${worker.name} executes batches of ${model} again`, 15_000, async () =>
      (await batchesOf(worker, model)) > before + 2 ? true : undefined,
    );
  }
}

async function batchesOf(worker: FleetMember, model: string): Promise<number> {
  const page = await ask(worker, '/metrics');
  const counts = page.matchAll(new RegExp(`^headrace_worker_batch_seconds_count\\{.*"${model}".*\\} (\\d+)$`, 'gm'));
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function restartNats({ fleet, traffic }: FaultScene): Promise<void> {
  traffic.event();
  await fleet.nats.kill();
  await pause(500);
  fleet.nats.start();
}

async function restartRedis({ fleet, traffic }: FaultScene, empty: boolean): Promise<void> {
  traffic.event();
  await fleet.redis.kill();
  if (empty) fleet.emptyRedis();
  await pause(500);
  fleet.redis.start();
  await fleet.leader();
}

/** Nobody who lives remembers anything: what should run is in the configuration file, what does run is on the workers. */
async function emptyAndNewLeader({ fleet, traffic }: FaultScene): Promise<void> {
  traffic.event();
  await fleet.redis.kill();
  await Promise.all(fleet.of('registry').map((one) => one.kill()));
  fleet.emptyRedis();
  fleet.redis.start();
  for (const one of fleet.of('registry')) one.start();
  await fleet.leader();
}

async function stoppedLeader({ fleet, traffic, standstillMs }: FaultScene): Promise<void> {
  const stopped = await fleet.leader();
  traffic.event();
  stopped.signal('SIGSTOP');
  const heir = await until('another registry leads', 30_000, async () => {
    const leader = await fleet.leader();
    return leader === stopped ? undefined : leader;
  });
  await pause(standstillMs);
  stopped.signal('SIGCONT');
  await pause(1500);
  const leader = await fleet.leader();
  if (leader !== heir) throw new Error(`${leader.name} leads, although ${heir.name} took the lease while it stood still`);
}

/**
 * One client asks what ends workers: it alone gets INTERNAL, after two workers, or one more when another was not heard at the same time; whoever
 * shared its batch gets an answer.
 */
async function deadlyBatch({ fleet, traffic }: FaultScene): Promise<void> {
  const starts = () => fleet.of('worker-gpu').filter(({ pid }) => pid !== undefined).length;
  const before = starts();
  traffic.event();
  const message = await failureOf(fleet, HAZARD.worker);
  if (!/ended (two|3) workers/.test(message)) throw new Error(`the request that ends workers was answered: ${message}`);
  const lost = before - starts();
  if (lost < 2 || lost > 3) throw new Error(`the request that ends workers ended ${lost} of them, not 2`);
}

/** The same for what ends only the executor: no worker is lost. */
async function deadlyRun({ fleet, traffic }: FaultScene): Promise<void> {
  traffic.event();
  const message = await failureOf(fleet, HAZARD.executor);
  if (!/ended its process with SIGSEGV/.test(message)) throw new Error(`the request that ends executors was answered: ${message}`);
  const thrown = await failureOf(fleet, HAZARD.failure);
  if (!/three million is too much/.test(thrown)) throw new Error(`the request that throws was answered: ${thrown}`);
  if (fleet.of('worker-gpu').some(({ pid }) => pid === undefined)) throw new Error('a worker died with the executor');
}

async function failureOf(fleet: FaultFleet, x: number): Promise<string> {
  const [gateway] = fleet.of('gateway');
  if (gateway === undefined) throw new Error('no gateway');
  const client = createFaultClient('rest', gateway);
  const outcome = await client.ask({ model: 'hazard', shape: [1], values: [x] }, 20_000);
  client.close();
  return outcome.type === 'failed' ? outcome.message : `${outcome.type} instead of failed`;
}

async function swapAndRemove({ fleet, models, traffic }: FaultScene): Promise<void> {
  traffic.event();
  models.putLine('line', 2);
  await untilVersion(fleet, 'line', 2);
  models.removeLine('line', 2);
  await untilVersion(fleet, 'line', 1);
}

/** Its clients are answered until it is gone and told so after that, never a wrong number; then it comes back. */
async function removeModel({ fleet, models, traffic }: FaultScene): Promise<void> {
  const [gateway] = fleet.of('gateway');
  if (gateway === undefined) throw new Error('no gateway');
  const client = createFaultClient('rest', gateway);
  const ask = async (x: number) => {
    const outcome = await client.ask({ model: 'spare', shape: [1], values: [x] }, 10_000);
    if (outcome.type === 'answered' && outcome.values[0] !== x / 2 + 1) throw new Error(`spare answered ${outcome.values[0]} for ${x}`);
    return outcome;
  };
  traffic.event();
  models.removeLine('spare', 1);
  let asked = 0;
  await until('the removed model is refused', 30_000, async () => {
    const outcome = await ask(++asked);
    if (outcome.type === 'answered') return undefined;
    if (/no answer/.test(outcome.message)) throw new Error(`the removed model: ${outcome.message}`);
    return true;
  });
  models.putLine('spare', 1);
  await until('the model is back', 30_000, async () => ((await ask(++asked)).type === 'answered' ? true : undefined));
  client.close();
}

/** A version that cannot be imported says why, the one before goes on, and the new one comes when there is room. */
async function fullDisk({ fleet, models, traffic, disk, waitsForRoom }: FaultScene): Promise<void> {
  if (typeof disk === 'string') throw new Error(disk);
  const [gateway] = fleet.of('gateway');
  traffic.event();
  disk.fill();
  models.putSavedModel(2);
  const message = await until('the import fails', 60_000, async () => {
    const status = (await statusesOf(gateway, 'half_plus_two')).find(({ version }) => version === '2');
    return status?.state === 'END' ? status.status.error_message : undefined;
  });
  if (!/is full/.test(message)) throw new Error(`the import failed with other words: ${message}`);
  disk.free();
  if (!waitsForRoom) models.putSavedModel(3);
  await untilVersion(fleet, 'half_plus_two', waitsForRoom ? 2 : 3);
  for (const version of [3, 2]) models.removeSavedModel(version);
  await untilVersion(fleet, 'half_plus_two', 1);
}

async function strangeClients({ fleet, traffic, standstillMs }: FaultScene): Promise<void> {
  traffic.event();
  const reports = await Promise.all(fleet.of('gateway').map((gateway) => visitStrangely(gateway, 2 * standstillMs)));
  const problems = reports.flatMap((report) => report.problems);
  if (problems.length > 0) throw new Error(`${problems.length} strange clients were answered wrongly: ${problems.slice(0, 3).join('; ')}`);
}

interface VersionStatus {
  readonly version: string;
  readonly state: string;
  readonly status: { readonly error_message: string };
}

async function statusesOf(gateway: FleetMember | undefined, model: string): Promise<readonly VersionStatus[]> {
  const response = await fetch(`http://127.0.0.1:${gateway?.restPort}/v1/models/${model}`).catch(() => undefined);
  return response?.ok ? ((await response.json()) as { model_version_status: VersionStatus[] }).model_version_status : [];
}

async function untilVersion(fleet: FaultFleet, model: string, version: number): Promise<void> {
  for (const gateway of fleet.of('gateway')) {
    await until(`version ${version} of ${model} alone`, 60_000, async () => {
      const available = (await statusesOf(gateway, model)).filter(({ state }) => state === 'AVAILABLE').map((one) => Number(one.version));
      return available.length === 1 && available[0] === version ? true : undefined;
    });
  }
}
