import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunningMesh } from '../embedded/running-mesh.ts';
import { compatibilityPage, DIFFERENCES, differenceOf } from './differences.ts';
import { GrpcCaller } from './grpc-caller.ts';
import { startRealModels } from './real-models.ts';
import { hasTranscripts, readTranscript, withoutSignatureDef } from './transcripts.ts';

interface Recorded {
  readonly note: string;
  readonly method: string;
  readonly req: string;
  readonly code: string;
  readonly resp?: string;
  readonly details?: string;
}

const entries = readTranscript<Recorded>('tfs-grpc.jsonl');

(hasTranscripts ? describe : describe.skip)(
  'the gRPC transcript of TensorFlow Serving replays on the SavedModels that it was recorded with (skipped without ../shared)',
  () => {
    let mesh: RunningMesh;
    let client: GrpcCaller;
    beforeAll(async () => {
      mesh = await startRealModels(['half_plus_two', 'ident', 'mlp']);
      client = new GrpcCaller(mesh.grpcPort);
    }, 60_000);
    afterAll(async () => {
      client?.close();
      await mesh?.[Symbol.asyncDispose]();
    });

    test('the transcript is whole, and docs/compatibility.md names the differences', () => {
      expect(entries.length).toBeGreaterThan(30);
      for (const { id } of DIFFERENCES) expect(compatibilityPage()).toContain(`### ${id}`);
      expect(entries.filter(({ details = '' }) => differenceOf(details))).toHaveLength(1);
    });

    test.each(entries.map((entry, index) => [`${index} ${entry.note} ${entry.method}`, entry] as const))('%s', async (_name, recorded) => {
      const answered = await client.call(recorded.method, Buffer.from(recorded.req, 'base64'));
      const wanted = recorded.details ?? '';
      if (differenceOf(wanted)) {
        expect(answered).toEqual({ code: recorded.code, details: expect.stringMatching(/./) });
        return;
      }
      const shown = 'response' in answered ? client.decode(recorded.method, answered.response) : withoutSignatureDef(answered.details);
      expect({ code: answered.code, shown }).toEqual({
        code: recorded.code,
        shown:
          recorded.resp === undefined ? withoutSignatureDef(wanted) : client.decode(recorded.method, Buffer.from(recorded.resp, 'base64')),
      });
    });
  },
);
