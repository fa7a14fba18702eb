import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** What a command left behind. */
export interface Finished {
  readonly code: number;
  /** Standard output and standard error in the order they came. */
  readonly output: string;
  readonly stdout: string;
}

/** How a command is run. */
export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Default 120 s; a command that takes longer is killed and ends with code 124. */
  readonly timeoutMs?: number;
  /** Lines are shown as they come. */
  readonly loud?: boolean;
}

/** Runs a command to its end; a missing one ends with code 127. Never rejects. */
export async function tryRun(command: string, args: readonly string[], options: CommandOptions = {}): Promise<Finished> {
  const child = spawn(command, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const all: Buffer[] = [];
  const out: Buffer[] = [];
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, options.timeoutMs ?? 120_000);
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      all.push(chunk);
      if (stream === child.stdout) out.push(chunk);
      if (options.loud) process.stderr.write(chunk);
    });
  }
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return { code: late ? 124 : (code ?? 1), output: Buffer.concat(all).toString(), stdout: Buffer.concat(out).toString() };
  } catch (caught) {
    return { code: 127, output: String(caught), stdout: '' };
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a command and returns its standard output; throws with everything it wrote when it fails. */
export async function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, output, stdout } = await tryRun(command, args, options);
  if (code !== 0) throw new Error(`${[command, ...args].join(' ')} ended with ${code}:\n${output}`);
  return stdout;
}

/** Resolves after `ms` of real time: this proof watches real processes. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Asks again and again until the answer is not undefined; throws with `what` after `timeoutMs`. */
export async function until<Answer>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<Answer | undefined>,
  intervalMs = 300,
): Promise<Answer> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
    await pause(intervalMs);
  }
}
