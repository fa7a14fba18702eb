/** Servers of large payloads as processes of their own, so that their memory can be looked at. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SERVICE_START } from '../../scripts/service-start.ts';
import { type MeshProcess, startMeshProcesses } from '../servers/mesh-processes.ts';
import { freePort } from '../servers/server-process.ts';
import { LARGE_MODEL, putLargeModel } from './large-model.ts';

/** A process whose memory is looked at. */
export interface WatchedProcess {
  readonly name: string;
  readonly pid: number;
}

/** A mesh that serves the model, in one process or four. */
export interface LargeServer extends AsyncDisposable {
  readonly restPort: number;
  readonly grpcPort: number;
  readonly processes: readonly WatchedProcess[];
  /** Bytes that were fetched over a path so far, by all processes; 0 in one process. */
  fetchedBytes(path: 'direct' | 'mesh'): Promise<number>;
  output(): string;
}

const ROOT = join(import.meta.dirname, '../..');

/** Starts all of it in one process. */
export async function startLargeEmbedded(flags: readonly string[] = []): Promise<LargeServer> {
  await using starting = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'headrace-large-'));
  starting.defer(() => rmSync(folder, { recursive: true }));
  const [restPort, grpcPort] = [await freePort(), await freePort()];
  const args = [
    ...SERVICE_START.flags,
    join(ROOT, 'services/embedded/main.ts'),
    `--rest_api_port=${restPort}`,
    `--port=${grpcPort}`,
    ...modelFlags(folder),
    ...flags,
  ];
  const child = spawn(process.execPath, args, { cwd: ROOT, env: { PATH: process.env.PATH, ...SERVICE_START.env } });
  const written: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => written.push(chunk.toString()));
  const exited = once(child, 'exit');
  starting.defer(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await untilServed(restPort);
  const running = starting.move();
  return {
    restPort,
    grpcPort,
    processes: [{ name: 'embedded', pid: child.pid ?? 0 }],
    fetchedBytes: async () => 0,
    output: () => written.join(''),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Starts four processes with NATS and Redis; `flags` go to the gateway and the worker. */
export async function startLargeMesh(flags: readonly string[] = []): Promise<LargeServer> {
  await using starting = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'headrace-large-'));
  starting.defer(() => rmSync(folder, { recursive: true }));
  const mesh = starting.use(await startMeshProcesses(modelFlags(folder)));
  const [gateway, worker] = await Promise.all([
    mesh.start('gateway', flags),
    mesh.start('worker-gpu', flags),
    mesh.start('batcher'),
    mesh.start('registry'),
  ]);
  await untilServed(gateway.restPort);
  const fetched = async ({ monitoringPort }: MeshProcess, path: string) => {
    const text = await (await fetch(`http://127.0.0.1:${monitoringPort}/metrics`)).text();
    return Number(new RegExp(`^headrace_blob_fetched_bytes_total\\{path="${path}"\\} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
  };
  const running = starting.move();
  return {
    restPort: gateway.restPort,
    grpcPort: gateway.grpcPort,
    processes: [
      { name: 'gateway', pid: gateway.child.pid ?? 0 },
      { name: 'worker', pid: worker.child.pid ?? 0 },
    ],
    fetchedBytes: async (path) => (await fetched(gateway, path)) + (await fetched(worker, path)),
    output: () => gateway.output() + worker.output(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** What a process has in memory now, and the most it ever had, in bytes. Needs Linux's /proc. */
export function memoryOf({ pid }: WatchedProcess): { readonly nowBytes: number; readonly peakBytes: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const read = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  return { nowBytes: read('VmRSS'), peakBytes: read('VmHWM') };
}

function modelFlags(folder: string): readonly string[] {
  return [
    `--model_name=${LARGE_MODEL}`,
    `--model_base_path=${putLargeModel(folder)}`,
    '--version_settle_ms=0',
    `--import_cache_dir=${join(folder, '.imports')}`,
  ];
}

async function untilServed(port: number): Promise<void> {
  const bound = AbortSignal.timeout(60_000);
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${port}/v1/models/${LARGE_MODEL}/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (ready) return;
    bound.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
