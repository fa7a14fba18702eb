import { spawnSync } from 'node:child_process';
import { freePort, startServerProcess } from './server-process.ts';

/** A nats-server of this test's own, on a free port of the loopback interface. */
export interface NatsServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Kills the server and starts it again on the same port. */
  restart(): Promise<void>;
  /** Kills the server; `start` brings it back. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** True when nats-server is on this machine; tests that need it skip, visibly, where it is not. */
export const hasNatsServer: boolean = spawnSync('nats-server', ['--version']).status === 0;

/** Starts a nats-server. */
export async function startNatsServer(): Promise<NatsServer> {
  const port = await freePort();
  const server = await startServerProcess('nats-server', ['-a', '127.0.0.1', '-p', String(port)], port);
  return {
    ...server,
    url: `nats://127.0.0.1:${port}`,
    port,
    async restart() {
      await server.stop();
      await server.start();
    },
    [Symbol.asyncDispose]: server.stop,
  };
}
