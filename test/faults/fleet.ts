import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SERVICE_START } from '../../scripts/service-start.ts';
import { freePort, untilListening } from '../servers/server-process.ts';
import type { FaultModels } from './models.ts';
import { createOwnedProcess, type OwnedProcess } from './owned-process.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';
import { pause, until } from './waiting.ts';

/** The services of a mesh. */
export type Service = 'gateway' | 'batcher' | 'worker-gpu' | 'registry';

/** Services with a member behind a proxy. */
export type Proxied = 'gateway' | 'batcher' | 'worker-gpu';

/** One process of the mesh. */
export interface FleetMember extends OwnedProcess {
  readonly service: Service;
  readonly monitoringPort: number;
  /** Of a gateway; they stay the same when it is started again. */
  readonly restPort: number;
  readonly grpcPort: number;
}

/** A mesh of real processes over a nats-server and a redis-server of its own, all on free ports of the loopback interface. */
export interface FaultFleet extends AsyncDisposable {
  readonly members: readonly FleetMember[];
  readonly nats: OwnedProcess;
  readonly redis: OwnedProcess;
  /** Between the last member of a service and NATS; the others, and registries, talk to it directly. */
  readonly proxies: Readonly<Record<Proxied, TcpProxy>>;
  /** Where SavedModels are imported to, shared by registries and workers. */
  readonly cacheFolder: string;
  of(service: Service): readonly FleetMember[];
  /** The registry that says it leads; waits for one. */
  leader(): Promise<FleetMember>;
  /** Throws away what Redis has on disk; it must be down. */
  emptyRedis(): void;
  /** Starts what is down, lets what was stopped go on, and waits until every process is ready. */
  heal(): Promise<void>;
}

/** How large the mesh is, and what else its processes are told. */
export interface FleetOptions {
  readonly models: FaultModels;
  readonly size: Readonly<Record<Service, number>>;
  /** Default: a folder of its own. */
  readonly cacheFolder?: string;
  readonly flags?: Partial<Readonly<Record<Service, readonly string[]>>>;
  /** Loads the resource probe into every process. */
  readonly probe?: boolean;
}

const ROOT = join(import.meta.dirname, '../..');
const PROBE = join(import.meta.dirname, 'resource-probe.ts');
/** The machine may be busy with other things. */
const READY_MS = 60_000;

/** Starts a mesh and waits until all of it is ready. */
export async function startFaultFleet(options: FleetOptions): Promise<FaultFleet> {
  await using starting = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'headrace-faults-'));
  starting.defer(() => rm(folder, { recursive: true, force: true }));
  const [natsPort, redisPort] = [await freePort(), await freePort()];
  const redisFolder = join(folder, 'redis');
  const nats = createOwnedProcess('nats-server', 'nats-server', ['-a', '127.0.0.1', '-p', String(natsPort)]);
  const redis = createOwnedProcess('redis-server', 'sh', [
    '-c',
    `mkdir -p ${redisFolder} && exec redis-server --port ${redisPort} --bind 127.0.0.1 --dir ${redisFolder} --save '' --appendonly yes --appendfsync always`,
  ]);
  const members: FleetMember[] = [];
  starting.defer(async () => {
    await Promise.all([...members, nats, redis].map((one) => one.kill()));
  });
  for (const [server, port] of [
    [nats, natsPort],
    [redis, redisPort],
  ] as const) {
    server.start();
    await untilListening(port);
  }
  const proxies = {
    gateway: starting.use(await startTcpProxy(natsPort)),
    batcher: starting.use(await startTcpProxy(natsPort)),
    'worker-gpu': starting.use(await startTcpProxy(natsPort)),
  };
  const cacheFolder = options.cacheFolder ?? join(folder, 'imports');

  async function addMember(service: Service, index: number): Promise<void> {
    const [monitoringPort, restPort, grpcPort] = [await freePort(), await freePort(), await freePort()];
    const proxy = service !== 'registry' && index === options.size[service] - 1 ? proxies[service] : undefined;
    const own: Record<Service, readonly string[]> = {
      gateway: [`--port=${grpcPort}`, `--rest_api_port=${restPort}`],
      batcher: [],
      'worker-gpu': [...options.models.moduleFlags, `--import_cache_dir=${cacheFolder}`, '--instances=1'],
      registry: [
        ...options.models.moduleFlags,
        `--redis_url=redis://127.0.0.1:${redisPort}`,
        `--model_config_file=${options.models.configFile}`,
        '--model_config_file_poll_wait_seconds=1',
        '--file_system_poll_wait_seconds=1',
        '--version_settle_ms=100',
        `--import_cache_dir=${cacheFolder}`,
        '--enable_batching',
      ],
    };
    const args = [
      ...SERVICE_START.flags,
      ...(options.probe ? ['--import', PROBE] : []),
      join(ROOT, 'services', service, 'main.ts'),
      `--nats_url=nats://127.0.0.1:${proxy?.port ?? natsPort}`,
      `--monitoring_port=${monitoringPort}`,
      ...own[service],
      ...(options.flags?.[service] ?? []),
    ];
    const env = { PATH: process.env.PATH, ...SERVICE_START.env };
    const started = createOwnedProcess(`${service} ${index + 1}`, process.execPath, args, env);
    members.push(
      Object.defineProperties({ service, monitoringPort, restPort, grpcPort }, Object.getOwnPropertyDescriptors(started)) as FleetMember,
    );
    started.start();
  }
  for (const service of ['registry', 'batcher', 'gateway', 'worker-gpu'] as const)
    for (let index = 0; index < options.size[service]; index++) await addMember(service, index);

  const fleet: FaultFleet = {
    members,
    nats,
    redis,
    proxies,
    cacheFolder,
    of: (service) => members.filter((one) => one.service === service),
    leader: () =>
      until('a leading registry', READY_MS, async () => {
        for (const one of fleet.of('registry')) if (/^headrace_registry_leading(\{.*\})? 1$/m.test(await ask(one, '/metrics'))) return one;
        return undefined;
      }),
    emptyRedis: () => rmSync(redisFolder, { recursive: true, force: true }),
    async heal() {
      for (const proxy of Object.values(proxies)) proxy.set('open');
      for (const one of [nats, redis, ...members]) {
        one.start();
        one.signal('SIGCONT');
      }
      for (const one of members) {
        await until(`${one.name} is ready`, READY_MS, async () => {
          if (one.pid === undefined) throw new Error(`${one.name} ended:\n${one.output()}`);
          return (await isReady(one)) ? true : undefined;
        });
      }
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  await fleet.heal();
  const running = starting.move();
  return fleet;
}

/** The text of a page of a process' monitoring port; empty when it does not answer with 200. */
export async function ask(member: FleetMember, path: string): Promise<string> {
  const signal = AbortSignal.timeout(1000);
  const response = await fetch(`http://127.0.0.1:${member.monitoringPort}${path}`, { signal }).catch(() => undefined);
  return response?.ok ? await response.text().catch(() => '') : '';
}

async function isReady(member: FleetMember): Promise<boolean> {
  const signal = AbortSignal.timeout(1000);
  const response = await fetch(`http://127.0.0.1:${member.monitoringPort}/readyz`, { signal }).catch(() => undefined);
  await response?.text().catch(() => '');
  return response?.ok ?? false;
}

/**
 * Waits until every worker has all models loaded, so that the next fault hits one that works, and each can be asked at every gateway. Rejects
 * with what registries and workers wrote last.
 */
export async function untilServed(fleet: FaultFleet, models: readonly string[]): Promise<void> {
  try {
    for (const worker of fleet.of('worker-gpu')) await untilLoaded(worker, models.length);
    for (const gateway of fleet.of('gateway')) for (const model of models) await untilReady(gateway, model);
  } catch (caught) {
    const texts = [...fleet.of('registry'), ...fleet.of('worker-gpu')].map((one) => `${one.name}:\n${one.output().slice(-1500)}`);
    throw new Error([caught instanceof Error ? caught.message : String(caught), ...texts].join('\n'), { cause: caught });
  }
}

async function untilLoaded(worker: FleetMember, count: number): Promise<void> {
  await until(`${worker.name} has loaded ${count} models`, READY_MS, async () => {
    const [, loaded] = /^headrace_worker_loaded_servables(?:\{.*\})? (\d+)$/m.exec(await ask(worker, '/metrics')) ?? [];
    return Number(loaded) >= count ? true : undefined;
  });
}

async function untilReady({ name, restPort }: FleetMember, model: string): Promise<void> {
  await until(`${model} is ready at ${name}`, READY_MS, async () => {
    const response = await fetch(`http://127.0.0.1:${restPort}/v1/models/${model}/ready`).catch(() => undefined);
    if (response?.ok) return true;
    await pause(100);
    return undefined;
  });
}
