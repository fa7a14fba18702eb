import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { createPlanStore } from '../../../savedmodel/cache/plan-store.ts';

const MODELS = join(import.meta.dirname, '../../../examples/savedmodels');

/** A file system of 64 KiB; null where this user may not mount one. */
function mountSmallDisk(): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'ignore' });
    return folder;
  } catch {
    rmSync(folder, { recursive: true });
    return null;
  }
}

const disk = mountSmallDisk();

(disk === null ? describe.skip : describe)('a disk that is really full (skipped for users who may not mount one)', () => {
  afterAll(() => {
    execFileSync('umount', [disk ?? '']);
    rmSync(disk ?? '', { recursive: true });
  });

  test('refuses what does not fit, keeps what does, and holds no litter', async () => {
    const cacheFolder = join(disk ?? '', 'cache');
    using plans = createPlanStore({ cacheFolder, cacheMaxBytes: 0, clock: createFakeClock(), onImported: () => {} });
    const obtain = (model: string) =>
      plans.obtain(
        { folder: join(MODELS, model, '1'), digest: '', tags: ['serve'] },
        { signal: new AbortController().signal, onProgress: () => {} },
      );
    using small = await obtain('half_plus_two');
    await expect(obtain('mnist')).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: expect.stringContaining(`the disk of the import cache ${cacheFolder} is full: ENOSPC`),
    });
    expect(readdirSync(cacheFolder)).toEqual([small.address]);
  });
});
