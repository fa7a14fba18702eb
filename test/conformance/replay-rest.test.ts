import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { hasTranscripts, parsePrinted, readTranscript, withoutSignatureDef } from './transcripts.ts';
import { startTwins, type Twins } from './twins.ts';

interface Recorded {
  readonly method: string;
  readonly path: string;
  readonly body?: string | null;
  readonly req_headers: Readonly<Record<string, string>>;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

interface Answered {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly text: string;
}

/** Where we answer differently on purpose. Each id has a section of this name in docs/compatibility.md. */
const DIFFERENCES: readonly { readonly id: string; readonly applies: (recorded: Recorded) => boolean }[] = [
  { id: 'kernel-texts', applies: ({ text }) => text.includes('[[{{node') && !text.includes('ParseExample') },
];

const entries = readTranscript<Recorded>('tfs-rest.jsonl');

function send(port: number, recorded: Recorded): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const body = recorded.body === undefined || recorded.body === null ? undefined : Buffer.from(recorded.body);
    const asked = request(
      {
        port,
        host: '127.0.0.1',
        method: recorded.method,
        path: recorded.path,
        headers: { ...recorded.req_headers, ...(body ? { 'content-length': body.byteLength } : {}) },
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            contentType: response.headers['content-type'],
            text: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    asked.on('error', reject);
    asked.end(body);
  });
}

/** The recorded answer without the pseudo-signature that only a SavedModel has (docs/compatibility.md, init-op-signature). */
function withoutInitOp(body: unknown): unknown {
  const signatures = (body as { metadata?: { signature_def?: { signature_def?: Record<string, unknown> } } })?.metadata?.signature_def
    ?.signature_def;
  if (signatures) delete signatures.__saved_model_init_op;
  return body;
}

const comparable = (text: string) => withoutInitOp(parsePrinted(withoutSignatureDef(text)));

(hasTranscripts ? describe : describe.skip)(
  'the REST transcript of TensorFlow Serving replays on ONNX twins (skipped without ../shared)',
  () => {
    let twins: Twins;
    beforeAll(async () => {
      twins = await startTwins();
    }, 60_000);
    afterAll(async () => {
      await twins[Symbol.asyncDispose]();
    });

    test('the documented differences are in docs/compatibility.md', () => {
      const document = readFileSync(join(import.meta.dirname, '../../docs/compatibility.md'), 'utf8');
      for (const id of ['init-op-signature', ...DIFFERENCES.map((one) => one.id)]) expect(document).toContain(`### ${id}`);
      expect(entries.length).toBeGreaterThan(100);
    });

    test.each(entries.map((entry, index) => [`${index} ${entry.method} ${entry.path} ${(entry.body ?? '').slice(0, 60)}`, entry] as const))(
      '%s',
      async (_name, recorded) => {
        const answered = await send(twins.restPort, recorded);
        if (DIFFERENCES.some(({ applies }) => applies(recorded))) return;
        expect({ status: answered.status, body: comparable(answered.text) }).toEqual({
          status: recorded.status,
          body: comparable(recorded.text),
        });
        expect(answered.contentType).toBe(recorded.headers['content-type']);
      },
    );
  },
);
