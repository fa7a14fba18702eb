import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, untilListening } from './nats-server.ts';

/** A redis-server of this test's own, on a free port of the loopback interface, keeping nothing on disk. */
export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Kills the server; `start` brings an empty one back on the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** True when redis-server is on this machine; tests that need it skip, visibly, where it is not. */
export const hasRedisServer: boolean = spawnSync('redis-server', ['--version']).status === 0;

export async function startRedisServer(): Promise<RedisServer> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'headrace-redis-'));
  let child: ChildProcess | undefined;
  async function start(): Promise<void> {
    const quiet = ['--save', '', '--appendonly', 'no', '--dir', folder];
    child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', ...quiet], { stdio: 'ignore' });
    await untilListening(port);
  }
  async function stop(): Promise<void> {
    const running = child;
    child = undefined;
    if (!running || running.exitCode !== null) return;
    const exited = once(running, 'exit');
    running.kill('SIGKILL');
    await exited;
  }
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    start,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
