import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** Runs one of the bench's scripts in a process of its own and returns the JSON it prints. Rejects with what it complains of, or when it takes too long. */
export async function runScript<Result>(script: string, args: readonly (string | number)[], limitMs: number): Promise<Result> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, script), ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limitMs,
    killSignal: 'SIGKILL',
  });
  const output: string[] = [];
  const complaints: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => output.push(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => complaints.push(text));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code !== 0) throw new Error(`${script} ended with ${code ?? signal}: ${complaints.join('')}`);
  return JSON.parse(output.join('')) as Result;
}
