import { existsSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { checkEach, type KnownModel } from '../../bench/load/answer-check.ts';
import { lineTruth, writeLineModels } from '../../bench/models/line-models.ts';
import { processNamed, startEmbedded } from '../../bench/servers.ts';

test('many small models are served by one process, and each gives answers of its own', async () => {
  const written = writeLineModels(5);
  const folders = written.models.map(({ basePath }) => basePath);
  {
    using _ = written;
    await using server = await startEmbedded(written.models, { profile: '', profileFolder: '', flags: [] }, { maxBatchSize: 4 });
    const known = written.models.map(({ name }, index): KnownModel => ({ name, truth: (x) => lineTruth(index, x) }));
    await checkEach(server.restPort, known);
    const swapped = known.map(({ name }, index): KnownModel => ({ name, truth: (x) => lineTruth(index + 1, x) }));
    await expect(checkEach(server.restPort, swapped)).rejects.toThrow(/m\d answered/);
    expect(server.availableAfterMs).toBeGreaterThan(0);
    process.kill(processNamed(server, 'embedded').pid, 0);
  }
  expect(folders.filter((folder) => existsSync(folder))).toEqual([]);
}, 60_000);
