import { cpSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import type { AssignedServable } from '#mesh/control.ts';
import { encodePredictRequest } from '#proto/predict.ts';
import { encodePredictionLog } from '#proto/prediction-log.ts';
import { writeTfRecords } from '#proto/tfrecord.ts';
import { digestFiles, listImportedFiles } from '../../savedmodel/cache/imported-files.ts';
import { createPlanStore } from '../../savedmodel/cache/plan-store.ts';
import { assigned, createModelFolder, type ModelFolder } from './models.ts';
import { errorOf, floatInput, floatsOf, outputsOf, startRig } from './worker-rig.ts';

const SHARED = join(import.meta.dirname, '../../../shared/models');
const hasModels = existsSync(join(SHARED, 'half_plus_two'));

const never = new AbortController().signal;

const open: (AsyncDisposable | Disposable)[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await (Symbol.asyncDispose in one ? one[Symbol.asyncDispose]() : one[Symbol.dispose]());
});

async function rigWith(...args: readonly string[]) {
  const folder = createModelFolder();
  open.push(folder);
  const cache = join(folder.root, 'cache');
  const rig = await startRig({ args: ['--executors=2', `--import_cache_dir=${cache}`, ...args] });
  open.push(rig);
  return { rig, folder, cache };
}

/** A copy of a shared SavedModel's version folder. */
function copyModel(folder: ModelFolder, name: string, version: string): string {
  const path = join(folder.root, name);
  cpSync(join(SHARED, name, version), path, { recursive: true });
  return path;
}

const tensorflow = (name: string, path: string, more: Partial<AssignedServable> = {}) => ({
  ...assigned(name, path),
  platform: 'tensorflow',
  ...more,
});

(hasModels ? describe : describe.skip)('SavedModels on a worker (skipped without ../shared)', () => {
  test('one that nobody has imported is imported here, and answers', async () => {
    const { rig, folder, cache } = await rigWith();
    await rig.serve(tensorflow('half', copyModel(folder, 'half_plus_two', '00000123')));
    const answer = await rig.ask('half', [floatInput('x', [1, 2])]);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([2.5, 3]);
    expect(readdirSync(cache)).toHaveLength(1);
    expect(rig.logged.filter(({ msg }) => msg === 'a SavedModel was imported here: no cache had it')).toHaveLength(1);
  });

  test('one that a registry imported is loaded from the cache, without a look at its graph', async () => {
    const { rig, folder, cache } = await rigWith();
    const path = copyModel(folder, 'half_plus_two', '00000123');
    using plans = createPlanStore({ cacheFolder: cache, cacheMaxBytes: 0, clock: createSystemClock(), onImported: () => {} });
    const source = { digest: '', tags: ['serve'] };
    (await plans.obtain({ folder: path, ...source }, { signal: never, onProgress: () => {} }))[Symbol.dispose]();
    const digest = await digestFiles(path, await listImportedFiles(path), { signal: never });
    writeFileSync(join(path, 'saved_model.pb'), 'damaged meanwhile');
    await rig.serve(tensorflow('half', path, { imported: { ...source, digest } }));
    expect(floatsOf(outputsOf(await rig.ask('half', [floatInput('x', [2])])).outputs[0])).toEqual([3]);
    expect(rig.logged.filter(({ msg }) => String(msg).startsWith('a SavedModel was imported'))).toEqual([]);
  });

  test('its memory is estimated from what was imported, and one that keeps state gets one executor', async () => {
    const { rig, folder, cache } = await rigWith();
    await rig.serve(tensorflow('counter', copyModel(folder, 'counter', '00000123')));
    const [entry = ''] = readdirSync(cache);
    const bytes = readdirSync(join(cache, entry)).reduce((sum, file) => sum + statSync(join(cache, entry, file)).size, 0);
    // Two tokens: one batch runs while the next is assembled, on one executor.
    expect(rig.held('counter')).toMatchObject({ stateful: true, tokens: 2, estimatedBytes: Math.ceil(bytes * 1.2) });
    const bump = async () =>
      floatsOf(outputsOf(await rig.ask('counter', [], { signature: 'incr_counter', outputs: ['output'] })).outputs[0]);
    expect([await bump(), await bump(), await bump()]).toEqual([[1], [2], [3]]);
  });

  test('warmup requests are replayed, and fail the load when the model refuses them', async () => {
    const { rig, folder } = await rigWith();
    const path = copyModel(folder, 'half_plus_two', '00000123');
    const warm = (alias: string) => {
      const tensor = { dtype: 'float' as const, shape: [2], bytes: new Uint8Array(Float32Array.of(1, 2).buffer) };
      const spec = { name: 'half', version: null, label: null, signatureName: '' };
      const record = encodePredictionLog('predict', encodePredictRequest(spec, new Map([[alias, tensor]])));
      mkdirSync(join(path, 'assets.extra'), { recursive: true });
      writeFileSync(join(path, 'assets.extra', 'tf_serving_warmup_requests'), writeTfRecords([record]));
    };
    warm('x');
    await rig.serve(tensorflow('half', path));
    expect(await rig.telemetry.metrics.metrics()).toMatch(/model_warmup_records_read [1-9]/);
    warm('nope');
    rig.assign([tensorflow('half', path, { generation: 2 })]);
    const held = await rig.untilHeld('half', ({ status }) => status.code !== 'OK');
    expect(held).toMatchObject({ state: 'AVAILABLE', generation: 1, status: { code: 'INVALID_ARGUMENT', message: 'input x is missing' } });
  });

  test('a request of another dtype is refused, and the next one is answered', async () => {
    const { rig, folder } = await rigWith();
    await rig.serve(tensorflow('half', copyModel(folder, 'half_plus_two', '00000123')));
    const wrong = { ...floatInput('x', [1]), dtype: 'int32' as const };
    expect(errorOf(await rig.ask('half', [wrong]))).toEqual({ code: 'INVALID_ARGUMENT', message: 'input x is int32, float was expected' });
    expect(floatsOf(outputsOf(await rig.ask('half', [floatInput('x', [2])])).outputs[0])).toEqual([3]);
  });
});
