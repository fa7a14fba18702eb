import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const FIXTURE = join(import.meta.dirname, '..', 'fixtures', 'looping-process.ts');

/** Whether a process does anything still; one that has ended may be listed until somebody asks for its code. */
function lives(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('a process whose code loops forever ends when the worker is killed', async () => {
  const worker = spawn(process.execPath, [FIXTURE, import.meta.dirname], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(worker.stdout, 'data')) as [Buffer];
    const [, pid = 0] = /^op Bad (\d+)$/m.exec(String(line)) ?? [];
    expect(lives(Number(pid))).toBe(true);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    await new Promise<void>((resolve) => {
      const look = setInterval(() => {
        if (lives(Number(pid))) return;
        clearInterval(look);
        resolve();
      }, 20);
    });
  } finally {
    worker.kill('SIGKILL');
  }
}, 20_000);
