import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadResult } from './result.ts';

/** The load of one wrk run: every connection keeps one request in flight. */
export interface RestLoad {
  readonly url: string;
  /** Paths that take turns, in place of the one in `url`. */
  readonly paths?: readonly string[];
  readonly body: string;
  readonly connections: number;
  readonly seconds: number;
}

/** True when wrk can be run. */
export function hasWrk(): boolean {
  return spawnSync('wrk', ['-v']).error === undefined;
}

/** How a person gets wrk. */
export const WRK_HINT =
  'wrk is the load generator for REST and is not installed: apt-get install wrk (Debian, Ubuntu), brew install wrk (macOS)';

/** Runs wrk. Rejects when any answer was not 200, with the first of them: a figure with errors in it means nothing. */
export async function runWrk(load: RestLoad): Promise<LoadResult> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-wrk-'));
  try {
    const body = join(folder, 'body.json');
    writeFileSync(body, load.body);
    const paths = join(folder, 'paths.txt');
    writeFileSync(paths, (load.paths ?? []).map((path) => `${path}\n`).join(''));
    const files = { BENCH_BODY: body, ...(load.paths === undefined ? {} : { BENCH_PATHS: paths }) };
    const result = await wrk(load, files);
    if (result.errors === 0) return result;
    const checked = await wrk({ ...load, seconds: 1 }, { ...files, BENCH_CHECK: '1' });
    throw new Error(`${load.url}: ${result.errors} of ${result.requests} requests failed, such as: ${checked.firstBad}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function wrk(load: RestLoad, env: Readonly<Record<string, string>>): Promise<LoadResult & { readonly firstBad: string }> {
  const threads = Math.min(load.connections, Math.max(1, Math.floor(availableParallelism() / 2)));
  const args = [
    '-t',
    threads,
    '-c',
    load.connections,
    '-d',
    `${Math.max(1, Math.round(load.seconds))}s`,
    '--timeout',
    '10s',
    '-s',
    join(import.meta.dirname, 'post.lua'),
    load.url,
  ];
  const child = spawn('wrk', args.map(String), {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: (load.seconds + 30) * 1000,
  });
  const output: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => output.push(text));
  await once(child, 'close');
  const text = output.join('');
  const figures = /^BENCH (.*)$/m.exec(text)?.[1];
  if (figures === undefined) throw new Error(`wrk gave no figures for ${load.url}:\n${text}`);
  const { requests, seconds, errors, p50Ms, p90Ms, p99Ms } = JSON.parse(figures) as Omit<LoadResult, 'perSecond'> & {
    readonly seconds: number;
  };
  const firstBad = /^FIRST BAD (.*)$/m.exec(text)?.[1] ?? 'a connection that failed or timed out';
  return { requests, errors, perSecond: requests / seconds, p50Ms, p90Ms, p99Ms, firstBad };
}
