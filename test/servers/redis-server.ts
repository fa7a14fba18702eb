import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startServerProcess } from './server-process.ts';

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

/** Starts a redis-server. */
export async function startRedisServer(): Promise<RedisServer> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'headrace-redis-'));
  const quiet = ['--save', '', '--appendonly', 'no', '--dir', folder];
  const server = await startServerProcess('redis-server', ['--port', String(port), '--bind', '127.0.0.1', ...quiet], port);
  return {
    ...server,
    url: `redis://127.0.0.1:${port}`,
    port,
    async [Symbol.asyncDispose]() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
