import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunningMesh } from '../embedded/running-mesh.ts';
import { differenceOf } from './differences.ts';
import { closeTo, printAgain, readPrinted } from './printed-json.ts';
import { startRealModels } from './real-models.ts';
import { replayRest, restRecordings } from './recorded-rest.ts';
import { isClose } from './tolerance.ts';
import { hasTranscripts } from './transcripts.ts';

const recordings = restRecordings('tfs-rest-models.jsonl');
const modelOf = (path: string) => /^\/v1\/models\/([^/:]+)/.exec(path)?.[1] ?? '';
const models = [...new Set(recordings.map(([, { path }]) => modelOf(path)))];

(hasTranscripts ? describe : describe.skip)(
  'answers of TensorFlow Serving for nets, texts, images and tables replay on their SavedModels (skipped without ../shared)',
  () => {
    let mesh: RunningMesh;
    beforeAll(async () => {
      mesh = await startRealModels(models);
    }, 120_000);
    afterAll(async () => {
      await mesh?.[Symbol.asyncDispose]();
    });

    test('the transcript is whole', () => {
      expect(recordings.length).toBeGreaterThanOrEqual(79);
      expect(models).toHaveLength(9);
      expect(recordings.filter(([, { text }]) => differenceOf(text))).toHaveLength(1);
    });

    test.each(recordings)('%s', async (_name, recorded) => {
      const answered = await replayRest(mesh, recorded);
      const received = readPrinted(answered.text);
      const wanted = readPrinted(recorded.text);
      if (received === null || wanted === null) throw new Error(`${answered.text} is no JSON`);
      if (!differenceOf(recorded.text)) expect(printAgain(received)).toBe(printAgain(closeTo(wanted, received, isClose)));
      expect(answered.status).toBe(recorded.status);
      expect(answered.headers['content-type']).toBe(recorded.headers['content-type']);
    });
  },
);
