import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunningMesh } from '../embedded/running-mesh.ts';
import { differenceOf } from './differences.ts';
import { printAgain, readPrinted } from './printed-json.ts';
import { startRealModels } from './real-models.ts';
import { replayRest, restRecordings } from './recorded-rest.ts';
import { hasTranscripts, withoutSignatureDef } from './transcripts.ts';

const recordings = restRecordings('tfs-rest.jsonl');

/** The text without what a SignatureDef in it prints, and JSON with its maps in order. */
function comparable(text: string): string {
  const printed = readPrinted(text);
  return withoutSignatureDef(printed === null ? text : printAgain(printed));
}

(hasTranscripts ? describe : describe.skip)(
  'the REST transcript of TensorFlow Serving replays on the SavedModels that it was recorded with (skipped without ../shared)',
  () => {
    let mesh: RunningMesh;
    beforeAll(async () => {
      mesh = await startRealModels(['half_plus_two', 'ident', 'mlp']);
    }, 60_000);
    afterAll(async () => {
      await mesh?.[Symbol.asyncDispose]();
    });

    test('the transcript is whole and shows no difference', () => {
      expect(recordings.length).toBeGreaterThan(100);
      expect(recordings.filter(([, { text }]) => differenceOf(text))).toEqual([]);
    });

    test.each(recordings)('%s', async (_name, recorded) => {
      const answered = await replayRest(mesh, recorded);
      expect(comparable(answered.text)).toBe(comparable(recorded.text));
      expect(answered.status).toBe(recorded.status);
      expect(answered.headers['content-type']).toBe(recorded.headers['content-type']);
    });
  },
);
