import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import { createBullJobQueue } from '#mesh/job-queue-bullmq.ts';
import { createMemoryJobQueue } from '#mesh/job-queue-memory.ts';
import { hasRedisServer, startRedisServer } from '../servers/redis-server.ts';
import { freePort } from '../servers/server-process.ts';
import { jobQueueContract } from './job-queue.contract.ts';

const clock = createSystemClock();
const onTrouble = () => {};

jobQueueContract('memory', async () => {
  const queue = createMemoryJobQueue({ clock });
  return { here: queue, there: queue, [Symbol.asyncDispose]: () => queue[Symbol.asyncDispose]() };
});

/** A process that takes a job and never ends it. */
const STUCK_WORKER = `
import { createSystemClock } from '#mesh/clock.ts';
import { createBullJobQueue } from '#mesh/job-queue-bullmq.ts';
const queue = createBullJobQueue({ url: process.argv[1], prefix: 't', clock: createSystemClock(), onTrouble: () => {}, lockMs: 500 });
queue.work('long', 1, () => { console.log('running'); return new Promise(() => {}); });
setInterval(() => {}, 1000);
`;

if (hasRedisServer) {
  jobQueueContract('BullMQ', async () => {
    const server = await startRedisServer();
    const open = () => createBullJobQueue({ url: server.url, prefix: 'contract', clock, onTrouble });
    const here = open();
    const there = open();
    return {
      here,
      there,
      async [Symbol.asyncDispose]() {
        await here[Symbol.asyncDispose]();
        await there[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  });

  describe('BullMQ job queue', () => {
    test('runs the job of a killed process on another', async () => {
      await using server = await startRedisServer();
      await using queue = createBullJobQueue({ url: server.url, prefix: 't', clock, onTrouble, lockMs: 500 });
      const victim = spawn(process.execPath, ['--input-type=module', '-e', STUCK_WORKER, server.url], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await queue.add({ queue: 'long', id: 'orphan', payload: null });
      await once(victim.stdout, 'data');
      const exited = once(victim, 'exit');
      victim.kill('SIGKILL');
      await exited;
      await using _worker = queue.work('long', 1, async () => 'rescued');
      expect(await queue.wait('long', 'orphan', new AbortController().signal)).toEqual({ type: 'done', result: 'rescued' });
    });

    test('rejects with unavailable within its bound when no server answers', async () => {
      const port = await freePort();
      await using queue = createBullJobQueue({ url: `redis://127.0.0.1:${port}`, prefix: 't', clock, onTrouble, timeoutMs: 100 });
      await expect(queue.add({ queue: 'q', id: 'x', payload: null })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    });
  });
} else {
  test.skip('BullMQ job queue: redis-server is not installed', () => {});
}
