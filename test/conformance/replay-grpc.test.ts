import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadPackageDefinition } from '#proto/load.ts';
import { hasTranscripts, readTranscript, withoutSignatureDef } from './transcripts.ts';
import { startTwins, type Twins } from './twins.ts';

interface Recorded {
  readonly note: string;
  readonly method: string;
  readonly req: string;
  readonly code: string;
  readonly resp?: string;
  readonly details?: string;
}

type Answered = { readonly code: string; readonly details: string } | { readonly code: 'OK'; readonly response: Buffer };

/** As in replay-rest.test.ts: each id has a section in docs/compatibility.md. */
const DIFFERENCES: readonly { readonly id: string; readonly applies: (recorded: Recorded) => boolean; readonly keepsCode: boolean }[] = [
  { id: 'kernel-texts', applies: ({ details = '' }) => details.includes('[[{{node') && !details.includes('ParseExample'), keepsCode: true },
];

const entries = readTranscript<Recorded>('tfs-grpc.jsonl');
const codeName = (number: number) => Object.entries(status).find(([, value]) => value === number)?.[0] ?? String(number);

function call(client: Client, method: string, request: Buffer): Promise<Answered> {
  const asIs = (bytes: Buffer) => bytes;
  return new Promise((resolve) => {
    client.makeUnaryRequest(method, asIs, asIs, request, (error: ServiceError | null, response?: Buffer) => {
      if (error || response === undefined) resolve({ code: codeName(error?.code ?? status.UNKNOWN), details: error?.details ?? '' });
      else resolve({ code: 'OK', response });
    });
  });
}

/** Decodes a response with our own .proto files; an Any is decoded into its SignatureDefMap. */
function decode(definitions: PackageDefinition, method: string, bytes: Buffer): unknown {
  const [, service = '', rpc = ''] = method.split('/');
  const definition = definitions[service];
  if (definition === undefined || !('Predict' in definition || 'GetModelStatus' in definition)) throw new Error(`no service ${service}`);
  const decoded = (definition as Record<string, { responseDeserialize(bytes: Buffer): unknown }>)[rpc]?.responseDeserialize(bytes);
  const withMetadata = decoded as { metadata?: Record<string, { value: Buffer; type_url: string }> };
  if (withMetadata.metadata) {
    const map = definitions['tensorflow.serving.SignatureDefMap'] as unknown as { deserialize(bytes: Buffer): unknown };
    return {
      ...withMetadata,
      metadata: Object.fromEntries(
        Object.entries(withMetadata.metadata).map(([key, any]) => [key, { type: any.type_url, value: map.deserialize(any.value) }]),
      ),
    };
  }
  return decoded;
}

(hasTranscripts ? describe : describe.skip)(
  'the gRPC transcript of TensorFlow Serving replays on ONNX twins (skipped without ../shared)',
  () => {
    let twins: Twins;
    let client: Client;
    const definitions = loadPackageDefinition();
    beforeAll(async () => {
      twins = await startTwins();
      client = new Client(`127.0.0.1:${twins.grpcPort}`, credentials.createInsecure());
    }, 60_000);
    afterAll(async () => {
      client.close();
      await twins[Symbol.asyncDispose]();
    });

    test('the documented differences are in docs/compatibility.md', () => {
      const document = readFileSync(join(import.meta.dirname, '../../docs/compatibility.md'), 'utf8');
      for (const { id } of DIFFERENCES) expect(document).toContain(`### ${id}`);
      expect(entries.length).toBeGreaterThan(30);
    });

    test.each(entries.map((entry, index) => [`${index} ${entry.note} ${entry.method}`, entry] as const))('%s', async (_name, recorded) => {
      const answered = await call(client, recorded.method, Buffer.from(recorded.req, 'base64'));
      const difference = DIFFERENCES.find(({ applies }) => applies(recorded));
      if (difference) {
        if (difference.keepsCode) expect(answered.code).toBe(recorded.code);
        return;
      }
      const shown =
        'response' in answered ? decode(definitions, recorded.method, answered.response) : withoutSignatureDef(answered.details);
      const wanted =
        recorded.resp === undefined
          ? withoutSignatureDef(recorded.details ?? '')
          : decode(definitions, recorded.method, Buffer.from(recorded.resp, 'base64'));
      expect({ code: answered.code, shown }).toEqual({ code: recorded.code, shown: wanted });
    });
  },
);
