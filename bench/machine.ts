import { spawnSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import ortPackage from 'onnxruntime-node/package.json' with { type: 'json' };

const ROOT = join(import.meta.dirname, '..');

/** What the figures were taken on and of. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly onnxruntime: string;
  readonly loadGenerator: string;
  /** The commit, with `+` when the working tree differs from it. */
  readonly commit: string;
  /** Processes that wanted to run when the bench started, over the last minute: above 1 the figures are disturbed. */
  readonly loadAverage: number;
  readonly takenAt: string;
}

/** Looks at the machine. */
export function describeMachine(): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release().split('.').slice(0, 2).join('.')}`,
    node: process.version,
    onnxruntime: ortPackage.version,
    loadGenerator: `${firstLine('wrk', ['-v']).replace(/ Copyright.*/, '') || 'no wrk'} for REST, bench/load/grpc-load.ts for gRPC`,
    commit: `${firstLine('git', ['rev-parse', '--short=12', 'HEAD']) || 'unknown'}${firstLine('git', ['status', '--porcelain']) ? '+' : ''}`,
    loadAverage: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    takenAt: new Date().toISOString(),
  };
}

function firstLine(command: string, args: readonly string[]): string {
  const { stdout } = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8' });
  return (stdout ?? '').split('\n')[0]?.trim() ?? '';
}
