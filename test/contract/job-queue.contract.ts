import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { JobQueue, RunningJob } from '#mesh/job-queue.ts';

/** Two members' views of one queue system (the same object where there is but one process). */
export interface QueuesUnderTest extends AsyncDisposable {
  readonly here: JobQueue;
  readonly there: JobQueue;
}

/** What `mesh/job-queue.ts` promises, run over an implementation. */
export function jobQueueContract(name: string, open: () => Promise<QueuesUnderTest>): void {
  describe(`job queue contract: ${name}`, () => {
    let queues: QueuesUnderTest;
    let tag = 0;
    const never = new AbortController().signal;
    beforeAll(async () => {
      queues = await open();
    });
    afterAll(async () => {
      await queues[Symbol.asyncDispose]();
    });
    const fresh = () => `queue-${++tag}`;

    test('runs a job on a worker and keeps its result', async () => {
      const queue = fresh();
      await using _worker = queues.there.work(queue, 1, async (job) => ({ id: job.id, twice: (job.payload as number) * 2 }));
      await queues.here.add({ queue, id: 'm@1:ab', payload: 21 });
      const wanted = { type: 'done', result: { id: 'm@1:ab', twice: 42 } };
      expect(await queues.here.wait(queue, 'm@1:ab', never)).toEqual(wanted);
      expect(await queues.there.find(queue, 'm@1:ab')).toEqual(wanted);
    });

    test('holds a job until a worker comes', async () => {
      const queue = fresh();
      await queues.here.add({ queue, id: 'early', payload: null });
      expect(await queues.here.find(queue, 'early')).toEqual({ type: 'waiting' });
      await using _worker = queues.there.work(queue, 1, async () => 'ran');
      expect(await queues.here.wait(queue, 'early', never)).toEqual({ type: 'done', result: 'ran' });
    });

    test('runs an id once, however often it is added, also after it ended', async () => {
      const queue = fresh();
      let runs = 0;
      await using _worker = queues.there.work(queue, 4, async () => ++runs);
      await Promise.all(Array.from({ length: 5 }, () => queues.here.add({ queue, id: 'same', payload: null })));
      await queues.here.wait(queue, 'same', never);
      await queues.here.add({ queue, id: 'same', payload: null });
      expect(await queues.here.wait(queue, 'same', never)).toEqual({ type: 'done', result: 1 });
      expect(runs).toBe(1);
    });

    test('runs an id again after it was removed', async () => {
      const queue = fresh();
      let runs = 0;
      await using _worker = queues.there.work(queue, 1, async () => ++runs);
      await queues.here.add({ queue, id: 'again', payload: null });
      await queues.here.wait(queue, 'again', never);
      await queues.here.remove(queue, 'again');
      expect(await queues.here.find(queue, 'again')).toBeNull();
      await queues.here.add({ queue, id: 'again', payload: null });
      expect(await queues.here.wait(queue, 'again', never)).toEqual({ type: 'done', result: 2 });
    });

    test('tries a job that fails as often as it may, and keeps the last reason', async () => {
      const queue = fresh();
      let attempts = 0;
      await using _worker = queues.there.work(queue, 1, async () => {
        throw new Error(`attempt ${++attempts} failed`);
      });
      await queues.here.add({ queue, id: 'bad', payload: null, attempts: 3 });
      expect(await queues.here.wait(queue, 'bad', never)).toEqual({ type: 'failed', message: 'attempt 3 failed' });
      await queues.here.add({ queue, id: 'once', payload: null });
      expect(await queues.here.wait(queue, 'once', never)).toEqual({ type: 'failed', message: 'attempt 4 failed' });
    });

    test('succeeds when a later attempt does', async () => {
      const queue = fresh();
      let attempts = 0;
      await using _worker = queues.there.work(queue, 1, async () => {
        if (++attempts < 2) throw new Error('not yet');
        return 'fine';
      });
      await queues.here.add({ queue, id: 'flaky', payload: null, attempts: 3 });
      expect(await queues.here.wait(queue, 'flaky', never)).toEqual({ type: 'done', result: 'fine' });
    });

    test('runs no more jobs at once than the worker takes', async () => {
      const queue = fresh();
      const gates: (() => void)[] = [];
      let most = 0;
      let running = 0;
      const begun = latch(2);
      await using _worker = queues.there.work(queue, 2, async () => {
        most = Math.max(most, ++running);
        begun.count();
        await new Promise<void>((resolve) => gates.push(resolve));
        running--;
      });
      for (let index = 0; index < 6; index++) await queues.here.add({ queue, id: `job-${index}`, payload: null });
      await begun.reached;
      const all = Promise.all(Array.from({ length: 6 }, (_, index) => queues.here.wait(queue, `job-${index}`, never)));
      const release = setInterval(() => gates.shift()?.(), 5);
      await all;
      clearInterval(release);
      expect(most).toBe(2);
    });

    test('shows progress while a job runs', async () => {
      const queue = fresh();
      const begun = latch(1);
      let finish = () => {};
      await using _worker = queues.there.work(queue, 1, async (job) => {
        job.progress(40, 'reading');
        await new Promise<void>((resolve) => {
          finish = resolve;
          begun.count();
        });
      });
      await queues.here.add({ queue, id: 'slow', payload: null });
      await begun.reached;
      // Progress is written in the background: a question behind it in line sees it.
      await queues.there.find(queue, 'slow');
      expect(await queues.here.find(queue, 'slow')).toEqual({ type: 'running', percent: 40, doing: 'reading' });
      await expect(queues.here.remove(queue, 'slow')).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
      finish();
      await queues.here.wait(queue, 'slow', never);
    });

    test('gives a job that was under way on a leaving worker to the next', async () => {
      const queue = fresh();
      const begun = latch(1);
      const leaving = queues.there.work(queue, 1, async (job: RunningJob) => {
        begun.count();
        await new Promise((_, reject) => job.signal.addEventListener('abort', () => reject(job.signal.reason)));
      });
      await queues.here.add({ queue, id: 'moved', payload: null });
      await begun.reached;
      await leaving[Symbol.asyncDispose]();
      await using _next = queues.here.work(queue, 1, async () => 'finished elsewhere');
      expect(await queues.here.wait(queue, 'moved', never)).toEqual({ type: 'done', result: 'finished elsewhere' });
    });

    test('waits for the jobs under way when a worker is disposed', async () => {
      const queue = fresh();
      const begun = latch(1);
      let finish = () => {};
      const worker = queues.there.work(queue, 1, async () => {
        begun.count();
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return 'to the end';
      });
      await queues.here.add({ queue, id: 'last', payload: null });
      await begun.reached;
      const disposed = worker[Symbol.asyncDispose]();
      finish();
      await disposed;
      expect(await queues.here.find(queue, 'last')).toEqual({ type: 'done', result: 'to the end' });
    });

    test('rejects a wait with not found when there is no such job, and with the reason of its signal', async () => {
      const queue = fresh();
      await expect(queues.here.wait(queue, 'nobody', never)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await queues.here.add({ queue, id: 'idle', payload: null });
      const controller = new AbortController();
      const waiting = queues.here.wait(queue, 'idle', controller.signal);
      controller.abort(new Error('enough'));
      await expect(waiting).rejects.toThrow('enough');
    });

    test('passes payloads and results as JSON', async () => {
      const queue = fresh();
      await using _worker = queues.there.work(queue, 1, async (job) => ({ got: job.payload, gone: undefined }));
      await queues.here.add({ queue, id: 'json', payload: { a: [1, null, 'é'], gone: undefined } });
      expect(await queues.here.wait(queue, 'json', never)).toEqual({ type: 'done', result: { got: { a: [1, null, 'é'] } } });
    });
  });
}

/** Resolves `reached` after `times` counts. */
function latch(times: number) {
  let left = times;
  let open = () => {};
  const reached = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { reached, count: () => void (--left === 0 && open()) };
}
