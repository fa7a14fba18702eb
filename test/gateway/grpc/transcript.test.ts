import { existsSync, readFileSync } from 'node:fs';
import { type Client, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { callRaw, type GrpcMesh, type GrpcMeshOptions, rawClient, startGrpcMesh as startMesh } from './grpc-mesh.ts';

/** One recorded call of the real server. */
interface Recorded {
  readonly note: string;
  readonly method: string;
  /** The request in base64. */
  readonly req: string;
  readonly code: keyof typeof status;
  /** The response in base64. */
  readonly resp?: string;
  readonly details?: string;
}

const FILE = new URL('../../../../shared/conformance/tfs-grpc.jsonl', import.meta.url);
const recorded: readonly Recorded[] = existsSync(FILE)
  ? readFileSync(FILE, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Recorded)
  : [];
/** What only a model that parses examples can answer; replayed where there is one. */
const NEEDS_MODEL: ReadonlySet<string> = new Set(['classify', 'classify missing feature', 'regress context']);
/** The signatures of the real half_plus_two are more than this mesh has. */
const NEEDS_SIGNATURES = /^metadata \['signature_def'/;
/** Where our own words are clearer; the code is the same. */
const OWN_WORDS: Readonly<Record<string, string>> = { 'mlp wrong inner dim': 'input x has shape [1,3], expected [?,64]' };

const replayed = recorded.filter(({ note }) => !NEEDS_MODEL.has(note) && !NEEDS_SIGNATURES.test(note));

describe.each(['headrace', 'grpc-js'])('over %s:', (grpcServer) => {
  const startGrpcMesh = (options: GrpcMeshOptions = {}) => startMesh({ ...options, settings: { grpcServer, ...options.settings } });

  (recorded.length === 0 ? describe.skip : describe)('what TensorFlow Serving answered (skipped without ../shared/conformance)', () => {
    let mesh: GrpcMesh;
    let client: Client;
    beforeAll(async () => {
      mesh = await startGrpcMesh();
      client = rawClient(`127.0.0.1:${mesh.port}`);
    });
    afterAll(async () => {
      client.close();
      await mesh[Symbol.asyncDispose]();
    });

    test.each(replayed.map((one, line) => [`${line}: ${one.note}`, one] as const))(
      '%s is answered the same',
      async (_, { note, method, req, code, resp, details }) => {
        const outcome = await callRaw(client, method, Buffer.from(req, 'base64'));
        expect({ code: status[outcome.code], details: outcome.details }).toEqual({ code, details: OWN_WORDS[note] ?? details ?? '' });
        if (resp !== undefined) expect(outcome.response?.toString('base64')).toBe(resp);
      },
    );
  });
});
