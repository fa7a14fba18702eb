import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { SavedModelSubject, SavedModelTimes } from '../../bench/alone/savedmodel.ts';
import { writeLargeSavedModel } from '../../bench/models/large-saved-model.ts';
import { MNIST, SAVED_NETS, versionFolder } from '../../bench/models/saved-nets.ts';
import { runScript } from '../../bench/node-script.ts';
import { readSavedModel } from '../../savedmodel/read/saved-model.ts';

const LIMIT_MS = 60_000;

describe("the bench's SavedModels", () => {
  test.each([...SAVED_NETS, MNIST].map((net) => [net.name, net] as const))(
    '%s answers imported as it does written in ONNX, and both are timed',
    async (name, net) => {
      const subject: SavedModelSubject = { folder: versionFolder(net), net: name, rows: [1, 3], slices: 1, sliceMs: 1, python: '' };
      const found = await runScript<SavedModelTimes>('alone/savedmodel.ts', [JSON.stringify(subject)], LIMIT_MS);
      expect(found.byRows.map(({ rows }) => rows)).toEqual([1, 3]);
      for (const { times, difference } of found.byRows) {
        expect(difference).toBeLessThan(1e-4);
        expect(times.imported?.[0]).toBeGreaterThan(0);
        expect(times.direct?.[0]).toBeGreaterThan(0);
        expect(times.tensorflow).toBeUndefined();
      }
      expect(found.imported.length).toBeGreaterThan(0);
      expect(found.direct?.nodes).toBeGreaterThan(3);
    },
    LIMIT_MS,
  );

  test('a CNN is left with no more transposes than its ONNX export has', async () => {
    const net = SAVED_NETS.find(({ name }) => name === 'cnn');
    if (net === undefined) throw new Error('the bench has no cnn');
    const subject: SavedModelSubject = { folder: versionFolder(net), net: 'cnn', rows: [1], slices: 1, sliceMs: 1, python: '' };
    const { imported, direct } = await runScript<SavedModelTimes>('alone/savedmodel.ts', [JSON.stringify(subject)], LIMIT_MS);
    expect(imported.reduce((sum, one) => sum + one.transposes, 0)).toBeLessThanOrEqual(direct?.transposes ?? 0);
  }, 60_000);

  test('one of any size is written without TensorFlow, and importing it is timed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'headrace-large-'));
    try {
      expect(writeLargeSavedModel(folder, { channels: 4, layers: 3 })).toBe(3 * (9 * 16 + 4 * 4) * 4);
      const { bundle } = await readSavedModel(folder, { tags: ['serve'] });
      expect(bundle?.keys()).toHaveLength(15);
      for (const key of bundle?.keys() ?? []) await bundle?.verify(key);
      const found = await runScript<{ seconds: number; peakBytes: number }>('alone/import.ts', [folder], LIMIT_MS);
      expect(found.seconds).toBeGreaterThan(0);
      expect(found.peakBytes).toBeGreaterThan(2 ** 20);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 60_000);
});
