import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { SERVICE_START } from '../../scripts/service-start.ts';
import { type NatsServer, startNatsServer } from './nats-server.ts';
import { type RedisServer, startRedisServer } from './redis-server.ts';
import { freePort } from './server-process.ts';

/** One process of a mesh under test. */
export interface MeshProcess {
  readonly service: string;
  readonly child: ChildProcess;
  readonly monitoringPort: number;
  /** Of a gateway. */
  readonly restPort: number;
  readonly grpcPort: number;
  /** All it has written. */
  output(): string;
  /** Ends it without a word. */
  kill(): Promise<void>;
  /** Asks it to drain, and resolves with its exit code. */
  terminate(): Promise<number | null>;
}

/** Real processes over a real NATS and a real Redis, on free ports of the loopback interface. */
export interface MeshProcesses extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly redis: RedisServer;
  readonly processes: readonly MeshProcess[];
  /** Starts one more process of a service and waits until it is ready. */
  start(service: 'gateway' | 'batcher' | 'worker-gpu' | 'registry', flags?: readonly string[]): Promise<MeshProcess>;
}

const ROOT = join(import.meta.dirname, '../..');

/** Starts the servers; the services are started one by one with `start`. `flags` go to every registry. */
export async function startMeshProcesses(registryFlags: readonly string[]): Promise<MeshProcesses> {
  await using starting = new AsyncDisposableStack();
  const nats = starting.use(await startNatsServer());
  const redis = starting.use(await startRedisServer());
  const processes: MeshProcess[] = [];
  starting.defer(async () => {
    await Promise.all(processes.map((one) => one.kill()));
  });

  async function start(service: 'gateway' | 'batcher' | 'worker-gpu' | 'registry', flags: readonly string[] = []): Promise<MeshProcess> {
    const [monitoringPort, restPort, grpcPort] = await Promise.all([freePort(), freePort(), freePort()]);
    const own = {
      gateway: [`--port=${grpcPort}`, `--rest_api_port=${restPort}`],
      registry: [`--redis_url=${redis.url}`, ...registryFlags],
      batcher: [],
      'worker-gpu': [],
    }[service];
    const args = [
      ...SERVICE_START.flags,
      join(ROOT, 'services', service, 'main.ts'),
      `--nats_url=${nats.url}`,
      `--monitoring_port=${monitoringPort}`,
      ...own,
      ...flags,
    ];
    const child = spawn(process.execPath, args, { cwd: ROOT, env: { PATH: process.env.PATH, ...SERVICE_START.env } });
    const written: string[] = [];
    child.stdout?.on('data', (chunk: Buffer) => written.push(chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => written.push(chunk.toString()));
    const exited = once(child, 'exit');
    const started: MeshProcess = {
      service,
      child,
      monitoringPort,
      restPort,
      grpcPort,
      output: () => written.join(''),
      async kill() {
        child.kill('SIGKILL');
        await exited;
      },
      async terminate() {
        child.kill('SIGTERM');
        const [code] = (await exited) as [number | null];
        return code;
      },
    };
    processes.push(started);
    await untilReady(started);
    return started;
  }

  const running = starting.move();
  return { nats, redis, processes, start, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function untilReady(started: MeshProcess): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    if (started.child.exitCode !== null) throw new Error(`${started.service} exited with ${started.child.exitCode}:\n${started.output()}`);
    const ready = await fetch(`http://127.0.0.1:${started.monitoringPort}/readyz`).then(
      (response) => response.ok,
      () => false,
    );
    if (ready) return;
    if (performance.now() > deadline) throw new Error(`${started.service} is not ready after 30 s:\n${started.output()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
