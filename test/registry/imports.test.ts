import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ServeError } from '#mesh/errors.ts';
import type { JobState } from '#mesh/job-queue.ts';
import { createMemoryJobQueue } from '#mesh/job-queue-memory.ts';
import { createPlanStore, type PlanStore } from '../../savedmodel/cache/plan-store.ts';
import { CHECK_MODEL_QUEUE } from '../../services/registry/check-model.ts';
import type { Script } from '../savedmodel/cache/importers/pretending.ts';
import { type ControlPlane, startControlPlane } from './harness.ts';

const IMPORTER = new URL('../savedmodel/cache/importers/pretending.ts', import.meta.url).href;

/** A control plane whose registries import as the SavedModels tell them to. */
async function startImportingPlane() {
  const plane = await startControlPlane();
  const plans = createPlanStore({
    cacheFolder: join(plane.folder, '.imports'),
    cacheMaxBytes: 0,
    clock: plane.clock,
    onImported: () => {},
    importer: IMPORTER,
  });
  return {
    plane,
    plans,
    async writeModel(model: string, version: number, script: Script): Promise<string> {
      const path = join(plane.folder, model, String(version));
      const copying = join(plane.folder, `.copying-${model}-${version}`);
      await mkdir(copying, { recursive: true });
      await writeFile(join(copying, 'saved_model.pb'), JSON.stringify(script));
      await mkdir(join(plane.folder, model), { recursive: true });
      await rename(copying, path);
      return path;
    },
    async [Symbol.asyncDispose]() {
      await plane[Symbol.asyncDispose]();
      plans[Symbol.dispose]();
    },
  };
}

const flags = (plane: ControlPlane, ...more: readonly string[]) => [
  '--model_name=m',
  `--model_base_path=${join(plane.folder, 'm')}`,
  ...more,
];

describe('a SavedModel', () => {
  test('is imported by a job before workers hear of it, and they are told what it was imported from', async () => {
    await using one = await startImportingPlane();
    const { plane, plans } = one;
    await one.writeModel('m', 1, { remark: 'hello' });
    const worker = await plane.worker('worker-a');
    await plane.registry(flags(plane, '--saved_model_tags=serve,gpu'), { plans });
    await plane.until(() => plane.version('m', 1)?.routable);
    const [servable] = worker.assignments.at(-1)?.servables ?? [];
    expect(servable).toMatchObject({
      platform: 'tensorflow',
      imported: { tags: ['serve', 'gpu'], digest: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    // What the worker is told is enough to find the plan, wherever the model's folder lies.
    const { digest = '', tags = [] } = servable?.imported ?? {};
    using found = await plans.obtain({ folder: '/nowhere', digest, tags }, { signal: new AbortController().signal, onProgress: () => {} });
    expect(found.byteLength).toBeGreaterThan(0);
  });

  test('that cannot be served is END with the words of the importer, and the version before it stays', async () => {
    await using one = await startImportingPlane();
    const { plane, plans } = one;
    await one.writeModel('m', 1, { remark: 'good' });
    const worker = await plane.worker('worker-a');
    await plane.registry(flags(plane), { plans });
    await plane.until(() => plane.version('m', 1)?.routable);
    const words = 'op Foo of node bar in function baz cannot be served';
    await one.writeModel('m', 2, { refuse: words });
    await plane.until(() => plane.version('m', 2)?.state === 'END');
    expect(plane.version('m', 2)?.status).toEqual({ code: 'UNIMPLEMENTED', message: words });
    expect(plane.version('m', 1)?.routable).toBe(true);
    expect(worker.available()).toEqual(['m@1']);
  });

  test('shows how far its import is, as a percentage and a word', async () => {
    await using one = await startImportingPlane();
    const { plane, plans } = one;
    await one.writeModel('m', 1, { remark: 'hello' });
    const seen: JobState[] = [];
    const jobs = createMemoryJobQueue({ clock: plane.clock });
    const watched: typeof jobs = {
      ...jobs,
      work: (queue, concurrency, handler) =>
        jobs.work(queue, concurrency, (job) =>
          handler({
            ...job,
            progress(percent, doing) {
              job.progress(percent, doing);
              void jobs.find(CHECK_MODEL_QUEUE, job.id).then((state) => state && seen.push(state));
            },
          }),
        ),
    };
    await plane.worker('worker-a');
    await plane.registry(flags(plane), { plans, jobs: watched });
    await plane.until(() => plane.version('m', 1)?.routable);
    expect(seen).toContainEqual({ type: 'running', percent: 60, doing: 'reading { serve }' });
  });

  test('is another model when another MetaGraph of it is wanted: a registry with other tags imports it anew', async () => {
    await using one = await startImportingPlane();
    const { plane, plans } = one;
    await one.writeModel('m', 1, { remark: 'hello' });
    const worker = await plane.worker('worker-a');
    const first = await plane.registry(flags(plane), { plans });
    await plane.until(() => plane.version('m', 1)?.routable);
    await plane.during(Promise.resolve(first[Symbol.asyncDispose]()));
    await plane.registry(flags(plane, '--saved_model_tags=train'), { plans });
    await plane.until(() => worker.assignments.at(-1)?.servables[0]?.generation === 2);
    expect(worker.assignments.at(-1)?.servables[0]?.imported?.tags).toEqual(['train']);
  });

  test('that found no room on the disk is imported once there is some, though its files have not changed', async () => {
    await using one = await startImportingPlane();
    const { plane } = one;
    await one.writeModel('m', 1, { remark: 'hello' });
    let full = true;
    const plans: PlanStore = {
      ...one.plans,
      async obtain(wanted, options) {
        if (full) throw new ServeError('RESOURCE_EXHAUSTED', 'the disk of the import cache is full');
        return one.plans.obtain(wanted, options);
      },
    };
    await plane.worker('worker-a');
    await plane.registry(flags(plane), { plans });
    await plane.until(() => plane.version('m', 1)?.state === 'END');
    expect(plane.version('m', 1)?.status).toEqual({ code: 'RESOURCE_EXHAUSTED', message: 'the disk of the import cache is full' });
    full = false;
    await plane.until(() => plane.version('m', 1)?.routable);
  });

  test('whose import is under way is in state START, and does not keep a registry from leaving', async () => {
    await using one = await startImportingPlane();
    const { plane, plans } = one;
    await one.writeModel('m', 1, { hang: true });
    const importing = Promise.withResolvers<void>();
    const watched: PlanStore = {
      ...plans,
      obtain: (wanted, { signal }) => plans.obtain(wanted, { signal, onProgress: () => importing.resolve() }),
    };
    const registry = await plane.registry(flags(plane), { plans: watched });
    await plane.during(importing.promise);
    await plane.until(() => plane.version('m', 1)?.state === 'START');
    await plane.during(Promise.resolve(registry[Symbol.asyncDispose]()));
    expect(plane.version('m', 1)?.routable).toBe(false);
  });
});
