import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import { digestFiles, listImportedFiles } from '../../../savedmodel/cache/imported-files.ts';
import { planAddress } from '../../../savedmodel/cache/plan-address.ts';
import { createPlanStore, type PlanStore } from '../../../savedmodel/cache/plan-store.ts';
import type { Script } from './importers/pretending.ts';

const IMPORTER = new URL('./importers/pretending.ts', import.meta.url).href;
const never = new AbortController().signal;

/** A store whose importer does as it is told. */
async function rig() {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-store-'));
  const cacheFolder = join(folder, 'cache');
  const stores: PlanStore[] = [];
  return {
    cacheFolder,
    entries: () => readdirSync(cacheFolder),
    open(): PlanStore {
      const store = createPlanStore({ cacheFolder, cacheMaxBytes: 0, clock: createFakeClock(), onImported: () => {}, importer: IMPORTER });
      stores.push(store);
      return store;
    },
    /** A SavedModel whose import does this. */
    model(name: string, script: Script): string {
      const path = join(folder, name);
      mkdirSync(join(path, 'variables'), { recursive: true });
      writeFileSync(join(path, 'saved_model.pb'), JSON.stringify(script));
      writeFileSync(join(path, 'variables', 'variables.index'), 'weights');
      return path;
    },
    async [Symbol.asyncDispose]() {
      for (const store of stores) store[Symbol.dispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const digestOf = async (folder: string) => digestFiles(folder, await listImportedFiles(folder), { signal: never });
const obtain = (store: PlanStore, folder: string, more: { digest?: string; tags?: readonly string[]; signal?: AbortSignal } = {}) =>
  store.obtain({ folder, digest: more.digest ?? '', tags: more.tags ?? ['serve'] }, { signal: more.signal ?? never, onProgress: () => {} });

describe('what a plan is made of', () => {
  test('is the content of graph, variables and assets, wherever they lie, and nothing else', async () => {
    await using one = await rig();
    const [first, second, other] = [one.model('a', { remark: 'x' }), one.model('b', { remark: 'x' }), one.model('c', { remark: 'y' })];
    mkdirSync(join(second, 'assets.extra'));
    writeFileSync(join(second, 'assets.extra', 'tf_serving_warmup_requests'), 'records');
    writeFileSync(join(second, 'fingerprint.pb'), 'f');
    expect(await digestOf(second)).toBe(await digestOf(first));
    expect(await digestOf(other)).not.toBe(await digestOf(first));
    const before = await digestOf(second);
    writeFileSync(join(second, 'variables', 'variables.data-00000-of-00001'), 'more');
    expect(await digestOf(second)).not.toBe(before);
  });

  test('has one address for each set of tags, in any order', () => {
    const at = (...tags: readonly string[]) => planAddress({ digest: 'd', tags, opLibraryDigest: '' });
    expect(at('serve', 'gpu')).toBe(at('gpu', 'serve'));
    expect(new Set([at(), at('serve'), at('serve', 'gpu'), at('serve,gpu')]).size).toBe(4);
  });
});

describe('a store of plans', () => {
  test('imports in a thread, with progress, and finds by digest without a look at the folder', async () => {
    await using one = await rig();
    const path = one.model('m', { remark: 'hello' });
    const digest = await digestOf(path);
    const heard: string[] = [];
    const onProgress = (percent: number, doing: string) => void heard.push(`${percent} ${doing}`);
    using made = await one.open().obtain({ folder: path, digest, tags: ['serve'] }, { signal: never, onProgress });
    expect(heard.at(-1)).toBe('60 reading { serve }');
    expect(heard.slice(0, -1).every((line) => /^(1?\d|20) reading$/.test(line))).toBe(true);
    expect(made.digest).toBe(digest);
    expect(JSON.parse(readFileSync(join(made.folder, 'plan.json'), 'utf8'))).toMatchObject({ remarks: ['hello'] });
    using found = await obtain(one.open(), '/there/is/no/such/folder', { digest });
    expect(found.folder).toBe(made.folder);
  });

  test('imports what lies in the folder when that is no longer what somebody saw', async () => {
    await using one = await rig();
    const path = one.model('m', { remark: 'new' });
    using made = await obtain(one.open(), path, { digest: 'of what lay there before' });
    expect(made.address).toBe(planAddress({ digest: await digestOf(path), tags: ['serve'], opLibraryDigest: '' }));
  });

  test.each<[string, Script, string, string | RegExp]>([
    [
      'refused',
      { refuse: 'op Foo of node bar in function baz cannot be served' },
      'UNIMPLEMENTED',
      /^op Foo of node bar in function baz cannot be served$/,
    ],
    ['ended by its own bug', { crash: 'boom' }, 'INTERNAL', /cannot be imported: its thread failed: boom$/],
    ['left without a word', { exit: 3 }, 'INTERNAL', /cannot be imported: its thread left with code 3$/],
    ['out of disk', { full: true }, 'RESOURCE_EXHAUSTED', /the disk of the import cache .* is full/],
  ])('an import that is %s says so and leaves nothing', async (_, script, code, message) => {
    await using one = await rig();
    const path = one.model('m', script);
    await expect(obtain(one.open(), path)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(one.entries()).toEqual([]);
  });

  test.each([
    ['reading', false],
    ['importing', true],
  ])('an import that is given up while it is %s stops and leaves nothing', async (_, inThread) => {
    await using one = await rig();
    const path = one.model('m', { hang: true });
    const abort = new AbortController();
    const store = one.open();
    const onProgress = (percent: number) => {
      if (percent > 20 === inThread) abort.abort(new ServeError('CANCELLED', 'not wanted any more'));
    };
    await expect(store.obtain({ folder: path, digest: '', tags: ['serve'] }, { signal: abort.signal, onProgress })).rejects.toMatchObject({
      message: 'not wanted any more',
    });
    expect(existsSync(one.cacheFolder) ? one.entries() : []).toEqual([]);
  });

  test('a folder that cannot be made for the cache fails with the flag that names another', async () => {
    await using one = await rig();
    const path = one.model('m', { remark: 'x' });
    writeFileSync(one.cacheFolder, 'a file');
    await expect(obtain(one.open(), path)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('--import_cache_dir'),
    });
  });

  test('a SavedModel that changes while it is imported is not kept', async () => {
    await using one = await rig();
    const path = one.model('m', { remark: 'x' });
    const onProgress = () => writeFileSync(join(path, 'variables', 'variables.index'), 'other weights');
    await expect(one.open().obtain({ folder: path, digest: '', tags: ['serve'] }, { signal: never, onProgress })).rejects.toMatchObject({
      code: 'ABORTED',
    });
    expect(one.entries()).toEqual([]);
  });
});
