import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, createServer } from 'node:net';

/** A server program on one port, which can be killed and started again there. */
export interface ServerProcess extends AsyncDisposable {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a program and waits until it accepts connections on the port. It is killed, not asked, to stop. */
export async function startServerProcess(command: string, args: readonly string[], port: number): Promise<ServerProcess> {
  let child: ChildProcess | undefined;
  async function start(): Promise<void> {
    child = spawn(command, args, { stdio: 'ignore' });
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
  return { start, stop, [Symbol.asyncDispose]: stop };
}

/** A port of the loopback interface that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}

/** Resolves when something accepts connections on the port; rejects after 10 s. */
export async function untilListening(port: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const socket = createConnection(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    if (performance.now() > deadline) throw new Error(`nothing listens on port ${port} after 10 s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
