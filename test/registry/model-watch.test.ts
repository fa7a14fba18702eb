import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { createMemoryJobQueue } from '#mesh/job-queue-memory.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { parseModelConfigText } from '#proto/model-server-config.ts';
import type { PolledSource } from '../../extend/sources.ts';
import { CHECK_MODEL_QUEUE, type CheckModelResult } from '../../services/registry/check-model.ts';
import { createRegistryEvents } from '../../services/registry/events.ts';
import { startModelWatch } from '../../services/registry/model-watch.ts';

const POLL_MS = 1000;

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'headrace-watch-'));
  await mkdir(join(folder, '1'));
  await writeFile(join(folder, '1', 'model.onnx'), 'content');
});
afterEach(() => rm(folder, { recursive: true }));

/** A watch over one version that passes its checks, beside `watchedCount` others; what it calls is counted. */
function rig(watchedCount: number) {
  const clock = createFakeClock();
  const jobs = createMemoryJobQueue({ clock });
  const counts = { finds: 0, checks: 0, changes: 0 };
  const working = jobs.work(CHECK_MODEL_QUEUE, 1, async (): Promise<CheckModelResult> => {
    counts.checks++;
    return { type: 'good', platform: 'onnx', totalBytes: 7, digest: '', stateful: false, imported: null };
  });
  const source: PolledSource = {
    async find() {
      counts.finds++;
      return [{ version: 1, path: join(folder, '1') }];
    },
  };
  const watch = startModelWatch(parseModelConfigText(`name: "m" base_path: "${folder}"`), {
    clock,
    jobs,
    events: createRegistryEvents(createSilentTelemetry()),
    source,
    noVersionsText: '',
    pollMs: POLL_MS,
    settleMs: 0,
    tags: ['serve'],
    known: [],
    generationBefore: () => 0,
    watchedCount: () => watchedCount,
    onChange: () => void counts.changes++,
  });
  return {
    watch,
    counts,
    /** Lets time pass; the file system answers in real time and gets some at each step. */
    async pass(forMs: number): Promise<void> {
      for (let passedMs = 0; passedMs < forMs; passedMs += 50) {
        await clock.advance(50);
        await new Promise<void>((resolve) => setTimeout(resolve, 1));
      }
    },
    async [Symbol.asyncDispose]() {
      await watch[Symbol.asyncDispose]();
      await working[Symbol.asyncDispose]();
    },
  };
}

test('a folder in which nothing happens is polled and tells nobody anything', async () => {
  await using watched = rig(1);
  await watched.pass(2000);
  expect(watched.watch.view.aspired.map(({ version }) => version)).toEqual([1]);
  const before = { ...watched.counts };
  await watched.pass(10 * POLL_MS);
  expect(watched.counts.finds).toBeGreaterThanOrEqual(before.finds + 9);
  expect(watched.counts.changes).toBe(before.changes);
  expect(watched.counts.checks).toBe(1);
});

test('replaced files are found with the next poll where few models are watched', async () => {
  await using watched = rig(10);
  await watched.pass(2000);
  await utimes(join(folder, '1', 'model.onnx'), 1, 1);
  await watched.pass(2 * POLL_MS);
  expect(watched.watch.view.aspired[0]?.generation).toBe(2);
});

test('replaced files are found within four milliseconds for each model where very many are watched', async () => {
  await using watched = rig(2000);
  await watched.pass(9000);
  expect(watched.watch.view.aspired[0]?.generation).toBe(1);
  await utimes(join(folder, '1', 'model.onnx'), 1, 1);
  await watched.pass(3000);
  expect(watched.counts.checks).toBe(1);
  await watched.pass(8000);
  expect(watched.watch.view.aspired[0]?.generation).toBe(2);
});
