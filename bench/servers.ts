/** Servers under load, each a process of its own (or five), on free ports of the loopback interface. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { SERVICE_START } from '../scripts/service-start.ts';
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startRedisServer } from '../test/servers/redis-server.ts';
import { untilListening } from '../test/servers/server-process.ts';
import { modelFile, modelFolder } from './models/folder.ts';
import type { BenchModel } from './models/nets.ts';
import { servingPorts } from './ports.ts';
import { childrenNamed } from './process-figures.ts';
import { temporaryFolder } from './temporary-folder.ts';

const ROOT = join(import.meta.dirname, '..');
const READY_WITHIN_MS = 60_000;
/** One question about a model's state. */
const ANSWER_WITHIN_MS = 10_000;
/** Rows that a lane may hold, in batches of whatever size. */
const ENQUEUED_ROWS = 6400;

/** A server that answers. */
export interface BenchServer extends AsyncDisposable {
  readonly restPort: number;
  /** 0 for one that speaks REST only. */
  readonly grpcPort: number;
}

/** Headrace as it runs. */
export interface HeadraceServer extends BenchServer {
  /** Every process of it, in the order they were started; without nats-server and redis-server where there is no /proc. */
  readonly processes: readonly ServerProcess[];
  /** From the start of the first process until every model was AVAILABLE. */
  readonly availableAfterMs: number;
}

/** A process that serves. */
export interface ServerProcess {
  /** `embedded`, `gateway`, `batcher`, `worker-gpu`, `registry`, `nats-server`, `redis-server`. */
  readonly name: string;
  readonly pid: number;
  /** Where Prometheus gets its metrics; empty for a server that is not ours. */
  readonly metricsUrl: string;
}

/** How Headrace is started where it is not as usual. */
export interface ServerShape {
  /** Of a mesh; default 1. */
  readonly workers?: number;
  /** Modules of custom servables, as `--servable_modules` takes them. */
  readonly servableModules?: string;
  readonly workerFlags?: readonly string[];
  /** Rows of the largest batch; default 64. */
  readonly maxBatchSize?: number;
  /** How long all models may take until they are AVAILABLE, in ms; default a minute. */
  readonly readyWithinMs?: number;
}

/** A model with versions in a folder. */
export interface ServedModel {
  readonly name: string;
  readonly basePath: string;
  /** `onnx`, `tensorflow`, or what `--servable_modules` names. */
  readonly platform: string;
}

/** How servers are started. */
export interface ServerOptions {
  /** The name of a process (`embedded`, `gateway`, `batcher`, `worker-gpu`, `registry`, `naive`, …) whose CPU profile is written; empty: none. */
  readonly profile: string;
  readonly profileFolder: string;
  /** Flags for Headrace, after the bench's own. */
  readonly flags: readonly string[];
}

/** fastify and session.run; see references/naive.ts. */
export async function startNaive(model: BenchModel, options: ServerOptions): Promise<BenchServer> {
  const { name, dtype, rowShape } = model.input;
  const [port = 0] = await servingPorts(1);
  const child = startNode('naive', 'bench/references/naive.ts', [port, modelFile(model), name, dtype, JSON.stringify(rowShape)], options);
  return serving(child, { restPort: port, grpcPort: 0 });
}

/** node:http answering a constant; `answersPerSecond`: no more of them than that (0: as many as it can). */
export async function startBareHttp(options: ServerOptions, answersPerSecond = 0): Promise<BenchServer> {
  const [port = 0] = await servingPorts(1);
  return serving(startNode('bare-http', 'bench/references/bare-http.ts', [port, answersPerSecond], options), {
    restPort: port,
    grpcPort: 0,
  });
}

/** node:http2 answering a gRPC-framed constant. */
export async function startBareHttp2(options: ServerOptions): Promise<BenchServer> {
  const [port = 0] = await servingPorts(1);
  return serving(startNode('bare-http2', 'bench/references/bare-http2.ts', [port], options), { restPort: 0, grpcPort: port });
}

/** Headrace in one process, with batching. */
export async function startEmbedded(
  models: readonly (BenchModel | ServedModel)[],
  options: ServerOptions,
  shape: ServerShape = {},
): Promise<HeadraceServer> {
  await using starting = new AsyncDisposableStack();
  const config = starting.use(configFiles(models, shape));
  const [restPort = 0, grpcPort = 0] = await servingPorts(2);
  const own = [`--rest_api_port=${restPort}`, `--port=${grpcPort}`, `--monitoring_config_file=${config.monitoringFile}`];
  const flags = [...own, ...config.flags, ...moduleFlags(shape), ...(shape.workerFlags ?? []), ...options.flags];
  const startedMs = performance.now();
  const metricsUrl = `http://127.0.0.1:${restPort}/monitoring/prometheus/metrics`;
  const child = starting.use(startNode('embedded', 'services/embedded/main.ts', flags, options));
  await untilAvailable(restPort, models, { ...shape, children: [child] });
  const availableAfterMs = performance.now() - startedMs;
  const running = starting.move();
  return {
    restPort,
    grpcPort,
    availableAfterMs,
    processes: [{ name: 'embedded', pid: child.pid, metricsUrl }],
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Headrace as a mesh: registry, batcher, worker and gateway, with nats-server between them and redis-server behind the registry. */
export async function startMesh(
  models: readonly (BenchModel | ServedModel)[],
  options: ServerOptions,
  shape: ServerShape = {},
): Promise<HeadraceServer> {
  await using starting = new AsyncDisposableStack();
  const nats = starting.use(await startNatsServer());
  const redis = starting.use(await startRedisServer());
  const servers = ['nats-server', 'redis-server'].flatMap((name) => endedAtExit(name, starting));
  const config = starting.use(configFiles(models, shape));
  const [restPort = 0, grpcPort = 0, ...monitoringPorts] = await servingPorts(2 + 3 + (shape.workers ?? 1));
  const worker = ['worker-gpu', [...moduleFlags(shape), ...(shape.workerFlags ?? [])]] as const;
  const services = [
    ['registry', [`--redis_url=${redis.url}`, ...config.flags, ...moduleFlags(shape), ...options.flags]],
    ...Array.from({ length: shape.workers ?? 1 }, () => worker),
    ['batcher', []],
    ['gateway', [`--rest_api_port=${restPort}`, `--port=${grpcPort}`]],
  ] as const;
  const startedMs = performance.now();
  const processes: ServerProcess[] = [];
  const children: NodeServer[] = [];
  for (const [index, [service, own]] of services.entries()) {
    const monitoringPort = monitoringPorts[index] ?? 0;
    const flags = [`--nats_url=${nats.url}`, `--monitoring_port=${monitoringPort}`, ...own];
    const child = starting.use(startNode(service, `services/${service}/main.ts`, flags, options));
    children.push(child);
    processes.push({ name: service, pid: child.pid, metricsUrl: `http://127.0.0.1:${monitoringPort}/metrics` });
  }
  await untilAvailable(restPort, models, { ...shape, children });
  const availableAfterMs = performance.now() - startedMs;
  const running = starting.move();
  return {
    restPort,
    grpcPort,
    availableAfterMs,
    processes: [...processes, ...servers],
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** The first process of that name. Throws when there is none. */
export function processNamed({ processes }: HeadraceServer, wanted: string): ServerProcess {
  const found = processes.find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`no process is called ${wanted} (this is a bug)`);
  return found;
}

function moduleFlags({ servableModules }: ServerShape): readonly string[] {
  return servableModules === undefined ? [] : [`--servable_modules=${servableModules}`];
}

/** A server program that was just started, ended even when the bench leaves early; none where there is no /proc to find it in. */
function endedAtExit(name: string, owner: AsyncDisposableStack): readonly ServerProcess[] {
  const pid = childrenNamed(process.pid, name).at(-1);
  if (pid === undefined) return [];
  const killAtExit = () => process.kill(pid, 'SIGKILL');
  process.once('exit', killAtExit);
  owner.defer(() => void process.off('exit', killAtExit));
  return [{ name, pid, metricsUrl: '' }];
}

/** A ModelServerConfig and BatchingParameters in a folder of their own: as many batches at once as there are processors, and no waiting. */
function configFiles(
  models: readonly (BenchModel | ServedModel)[],
  { maxBatchSize = 64 }: ServerShape,
): Disposable & { readonly flags: readonly string[]; readonly monitoringFile: string } {
  const folder = temporaryFolder();
  const config = join(folder.path, 'models.config');
  const batching = join(folder.path, 'batching.config');
  const monitoringFile = join(folder.path, 'monitoring.config');
  writeFileSync(config, modelConfigText(models));
  writeFileSync(
    batching,
    `max_batch_size { value: ${maxBatchSize} } batch_timeout_micros { value: 0 } max_enqueued_batches { value: ${Math.ceil(ENQUEUED_ROWS / maxBatchSize)} } num_batch_threads { value: ${availableParallelism()} }\n`,
  );
  writeFileSync(monitoringFile, 'prometheus_config { enable: true }\n');
  const flags = [`--model_config_file=${config}`, '--enable_batching', `--batching_parameters_file=${batching}`, '--log_level=warn'];
  return { flags, monitoringFile, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

/** The models as a ModelServerConfig; version 1 of each unless `version` says otherwise. */
export function modelConfigText(models: readonly (BenchModel | ServedModel)[], version = 1): string {
  const policy = `model_version_policy { specific { versions: ${version} } }`;
  const served = models.map((model): ServedModel => {
    return 'basePath' in model ? model : { name: model.name, basePath: modelFolder(model), platform: 'onnx' };
  });
  const configs = served.map(
    ({ name, basePath, platform }) => `  config { name: "${name}" base_path: "${basePath}" model_platform: "${platform}" ${policy} }`,
  );
  return `model_config_list {\n${configs.join('\n')}\n}\n`;
}

/** A Node process of the bench. Disposing rejects when it had ended by itself and nobody was told. */
interface NodeServer extends AsyncDisposable {
  readonly pid: number;
  /** Throws when it has ended. */
  assertRuns(): void;
}

function startNode(name: string, script: string, args: readonly (string | number)[], options: ServerOptions): NodeServer {
  const profiling =
    options.profile === name
      ? ['--cpu-prof', `--cpu-prof-dir=${options.profileFolder}`, `--cpu-prof-name=${name}-${Date.now()}.cpuprofile`]
      : [];
  // References are what a Node user has without Headrace, its settings included.
  const flags = script.startsWith('services/') ? SERVICE_START.flags : ['--disable-warning=ExperimentalWarning'];
  const child = spawn(process.execPath, [...flags, ...profiling, join(ROOT, script), ...args.map(String)], {
    cwd: ROOT,
    env: { ...process.env, ...SERVICE_START.env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = once(child, 'exit');
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  if (child.pid === undefined) throw new Error(`${name} cannot be started`);
  let isReported = false;
  const assertRuns = () => {
    if (child.exitCode === null && child.signalCode === null) return;
    isReported = true;
    throw new Error(`${name} ended by itself with ${child.exitCode ?? child.signalCode}`);
  };
  return {
    pid: child.pid,
    assertRuns,
    async [Symbol.asyncDispose]() {
      process.off('exit', killAtExit);
      if (isReported) return;
      assertRuns();
      child.kill('SIGTERM');
      const impatience = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await exited;
      clearTimeout(impatience);
    },
  };
}

async function serving(child: AsyncDisposable, ports: { readonly restPort: number; readonly grpcPort: number }): Promise<BenchServer> {
  await untilListening(ports.restPort || ports.grpcPort);
  return { ...ports, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() };
}

async function untilAvailable(
  restPort: number,
  models: readonly { readonly name: string }[],
  { readyWithinMs = READY_WITHIN_MS, children }: ServerShape & { readonly children: readonly NodeServer[] },
): Promise<void> {
  const deadline = performance.now() + readyWithinMs;
  for (const { name } of models) {
    for (;;) {
      const text = await fetch(`http://127.0.0.1:${restPort}/v1/models/${name}`, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) }).then(
        (response) => response.text(),
        (failure: unknown) => String(failure),
      );
      if (text.includes('"AVAILABLE"')) break;
      for (const child of children) child.assertRuns();
      if (performance.now() > deadline) throw new Error(`${name} is not available after ${readyWithinMs / 1000} s: ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
