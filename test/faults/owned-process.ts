import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** A process that a test started, can hurt, and can start again with the same arguments. */
export interface OwnedProcess {
  readonly name: string;
  /** Undefined while it is down. */
  readonly pid: number | undefined;
  /** How often it was started. */
  readonly starts: number;
  start(): void;
  signal(signal: NodeJS.Signals): void;
  /** Kills it, if it runs, and waits for its end. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with its exit code, null when a signal ended it. */
  terminate(): Promise<number | null>;
  /** The last of what its processes wrote. */
  output(): string;
}

/** Text kept of what a process wrote: a soak must not fill the memory of its own test. */
const KEPT_CHARACTERS = 64 * 1024;

/** Describes a process; `start` starts it. */
export function createOwnedProcess(
  name: string,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): OwnedProcess {
  let child: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();
  let text = '';
  let starts = 0;
  const isUp = () => child !== undefined && child.exitCode === null && child.signalCode === null;
  return {
    name,
    get pid() {
      return isUp() ? child?.pid : undefined;
    },
    get starts() {
      return starts;
    },
    start() {
      if (isUp()) return;
      starts++;
      child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
      ended = once(child, 'exit');
      for (const stream of [child.stdout, child.stderr]) {
        stream?.setEncoding('utf8').on('data', (chunk: string) => {
          text = (text + chunk).slice(-KEPT_CHARACTERS);
        });
      }
    },
    signal(signal) {
      if (isUp()) child?.kill(signal);
    },
    async kill() {
      if (!isUp()) return;
      child?.kill('SIGKILL');
      await ended;
    },
    async terminate() {
      if (!isUp()) return null;
      child?.kill('SIGTERM');
      await ended;
      return child?.exitCode ?? null;
    },
    output: () => text,
  };
}
