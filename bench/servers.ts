/** Servers under load, each a process of its own (or five), on free ports of the loopback interface. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startRedisServer } from '../test/servers/redis-server.ts';
import { freePort, untilListening } from '../test/servers/server-process.ts';
import { modelFile, modelFolder } from './models/folder.ts';
import type { BenchModel } from './models/nets.ts';

const ROOT = join(import.meta.dirname, '..');
const READY_WITHIN_MS = 60_000;

/** A server that answers. */
export interface BenchServer extends AsyncDisposable {
  readonly restPort: number;
  /** 0 for one that speaks REST only. */
  readonly grpcPort: number;
}

/** A model with versions in a folder. */
export interface ServedModel {
  readonly name: string;
  readonly basePath: string;
  readonly platform: 'onnx' | 'tensorflow';
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
  const port = await freePort();
  const child = startNode('naive', 'bench/references/naive.ts', [port, modelFile(model), name, dtype, JSON.stringify(rowShape)], options);
  return serving(child, { restPort: port, grpcPort: 0 });
}

/** node:http answering a constant. */
export async function startBareHttp(options: ServerOptions): Promise<BenchServer> {
  const port = await freePort();
  return serving(startNode('bare-http', 'bench/references/bare-http.ts', [port], options), { restPort: port, grpcPort: 0 });
}

/** node:http2 answering a gRPC-framed constant. */
export async function startBareHttp2(options: ServerOptions): Promise<BenchServer> {
  const port = await freePort();
  return serving(startNode('bare-http2', 'bench/references/bare-http2.ts', [port], options), { restPort: 0, grpcPort: port });
}

/** Headrace in one process, with batching. */
export async function startEmbedded(models: readonly (BenchModel | ServedModel)[], options: ServerOptions): Promise<BenchServer> {
  await using starting = new AsyncDisposableStack();
  const config = starting.use(configFiles(models));
  const [restPort, grpcPort] = await Promise.all([freePort(), freePort()]);
  const flags = [`--rest_api_port=${restPort}`, `--port=${grpcPort}`, ...config.flags, ...options.flags];
  starting.use(startNode('embedded', 'services/embedded/main.ts', flags, options));
  await untilAvailable(restPort, models);
  const running = starting.move();
  return { restPort, grpcPort, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Headrace as a mesh: registry, batcher, worker and gateway, with nats-server between them and redis-server behind the registry. */
export async function startMesh(models: readonly BenchModel[], options: ServerOptions): Promise<BenchServer> {
  await using starting = new AsyncDisposableStack();
  const nats = starting.use(await startNatsServer());
  const redis = starting.use(await startRedisServer());
  const config = starting.use(configFiles(models));
  const [restPort, grpcPort] = await Promise.all([freePort(), freePort()]);
  const flagsOf = {
    registry: [`--redis_url=${redis.url}`, ...config.flags, ...options.flags],
    'worker-gpu': [],
    batcher: [],
    gateway: [`--rest_api_port=${restPort}`, `--port=${grpcPort}`],
  };
  for (const [service, own] of Object.entries(flagsOf)) {
    const flags = [`--nats_url=${nats.url}`, `--monitoring_port=${await freePort()}`, ...own];
    starting.use(startNode(service, `services/${service}/main.ts`, flags, options));
  }
  await untilAvailable(restPort, models);
  const running = starting.move();
  return { restPort, grpcPort, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** A ModelServerConfig and BatchingParameters in a folder of their own: as many batches at once as there are processors, and no waiting. */
function configFiles(models: readonly (BenchModel | ServedModel)[]): Disposable & { readonly flags: readonly string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
  const config = join(folder, 'models.config');
  const batching = join(folder, 'batching.config');
  writeFileSync(config, modelConfigText(models));
  writeFileSync(
    batching,
    `max_batch_size { value: 64 } batch_timeout_micros { value: 0 } max_enqueued_batches { value: 100 } num_batch_threads { value: ${availableParallelism()} }\n`,
  );
  const flags = [`--model_config_file=${config}`, '--enable_batching', `--batching_parameters_file=${batching}`, '--log_level=warn'];
  return { flags, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
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

function startNode(name: string, script: string, args: readonly (string | number)[], options: ServerOptions): AsyncDisposable {
  const profiling =
    options.profile === name
      ? ['--cpu-prof', `--cpu-prof-dir=${options.profileFolder}`, `--cpu-prof-name=${name}-${Date.now()}.cpuprofile`]
      : [];
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...profiling, join(ROOT, script), ...args.map(String)], {
    cwd: ROOT,
    env: { ...process.env, MALLOC_MMAP_THRESHOLD_: '131072' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = once(child, 'exit');
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  return {
    async [Symbol.asyncDispose]() {
      process.off('exit', killAtExit);
      if (child.exitCode !== null || child.signalCode !== null) return;
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

async function untilAvailable(restPort: number, models: readonly { readonly name: string }[]): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  for (const { name } of models) {
    for (;;) {
      const text = await fetch(`http://127.0.0.1:${restPort}/v1/models/${name}`).then(
        (response) => response.text(),
        (failure: unknown) => String(failure),
      );
      if (text.includes('"AVAILABLE"')) break;
      if (performance.now() > deadline) throw new Error(`${name} is not available after ${READY_WITHIN_MS / 1000} s: ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
