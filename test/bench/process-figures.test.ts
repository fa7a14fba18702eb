import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { childrenNamed, lookAt } from '../../bench/process-figures.ts';

const onLinux = existsSync('/proc/self/schedstat') ? test : test.skip;

/** Holds 64 MiB, starts a child that holds as much, works a little, and says so. */
const HOLDER = `
  const held = Buffer.alloc(64 * 2 ** 20, 1);
  if (process.argv[1] !== 'child') require('node:child_process').spawn(process.execPath, ['-e', process.env.HOLDER, 'child'], { stdio: 'inherit' });
  process.stdout.write('up');
  setInterval(() => held.length, 1000);
  process.stdin.on('end', () => process.exit()).resume();
`;

describe('figures of processes', () => {
  onLinux('cover a process and what it has started', async () => {
    const child = spawn(process.execPath, ['-e', HOLDER], {
      env: { ...process.env, HOLDER, NODE_OPTIONS: '' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      let up = '';
      child.stdout.setEncoding('utf8');
      for await (const text of child.stdout) {
        up += text;
        if (up === 'upup') break;
      }
      const { rssMB, cpuSeconds } = lookAt(child.pid ?? 0);
      expect(rssMB).toBeGreaterThan(2 * 64);
      expect(cpuSeconds).toBeGreaterThan(0);
    } finally {
      const exited = once(child, 'exit');
      child.stdin.end();
      await exited;
    }
    expect(() => lookAt(child.pid ?? 0)).toThrow(`process ${child.pid} cannot be looked at`);
  });

  onLinux('are found by the name of the program among the children of a process', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    const exited = once(child, 'exit');
    await once(child, 'spawn');
    try {
      expect(childrenNamed(process.pid, 'sleep')).toContain(child.pid);
      expect(childrenNamed(child.pid ?? 0, 'sleep')).toEqual([]);
      expect(childrenNamed(process.pid, 'no-such-program')).toEqual([]);
    } finally {
      child.kill();
      await exited;
    }
  });
});
