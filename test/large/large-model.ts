/** A model that gives back what it gets, and how clients of each protocol send it a tensor. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { decodePredictResponse, encodePredictRequest } from '#proto/predict.ts';
import { identity } from '../worker-gpu/models.ts';

/** The name of the model. */
export const LARGE_MODEL = 'large';

/** What came back. */
export interface LargeAnswer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** The output's bytes; of an error, its text. */
  readonly bytes: Uint8Array;
}

/** Writes version 1 of the model into a folder and returns its base path. */
export function putLargeModel(folder: string): string {
  const base = join(folder, LARGE_MODEL);
  mkdirSync(join(base, '1'), { recursive: true });
  writeFileSync(join(base, '1', 'model.onnx'), identity('float'));
  return base;
}

/** Floats that differ from place to place and from seed to seed, as bytes of a tensor [1, count]. */
export function largeInput(count: number, seed: number): Uint8Array {
  const values = new Float32Array(count);
  for (let index = 0; index < count; index++) values[index] = (index % 65_521) + seed;
  return new Uint8Array(values.buffer);
}

/** Sends raw bytes over REST on a connection of its own. */
export function predictRaw(port: number, input: Uint8Array): Promise<LargeAnswer> {
  return predictRest(port, input, {
    'content-type': 'application/octet-stream',
    accept: 'application/octet-stream',
    'x-headrace-tensors': JSON.stringify({ inputs: [{ name: 'x', dtype: 'DT_FLOAT', shape: [1, input.byteLength / 4] }] }),
  });
}

/** Sends JSON over REST; the answer's numbers are given back as bytes again. */
export async function predictJson(port: number, input: Uint8Array): Promise<LargeAnswer> {
  const values = new Float32Array(input.buffer, input.byteOffset, input.byteLength / 4);
  const answer = await predictRest(port, Buffer.from(`{"instances":[[${values.join(',')}]]}`), {});
  if (answer.status !== 200) return answer;
  const { predictions } = JSON.parse(Buffer.from(answer.bytes).toString()) as { readonly predictions: readonly (readonly number[])[] };
  return { ...answer, bytes: new Uint8Array(Float32Array.from(predictions[0] ?? []).buffer) };
}

/** Sends `tensor_content` over gRPC; a status other than OK is given as the HTTP status that TensorFlow Serving has for it, or 500. */
export async function predictGrpc(port: number, input: Uint8Array): Promise<LargeAnswer> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });
  const tensor = { dtype: 'float' as const, shape: [1, input.byteLength / 4], bytes: input };
  const message = encodePredictRequest({ name: LARGE_MODEL, version: null, label: null, signatureName: '' }, new Map([['x', tensor]]), {
    tensorContent: true,
  });
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(
        '/tensorflow.serving.PredictionService/Predict',
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        Buffer.from(message.buffer, message.byteOffset, message.byteLength),
        (problem, answer) => {
          if (problem || answer === undefined) {
            const text = Buffer.from(problem?.message ?? 'no answer');
            resolve({ status: problem?.code === 8 ? 429 : 500, retryAfter: undefined, bytes: text });
          } else {
            const bytes = decodePredictResponse(answer).outputs.get('y')?.bytes ?? new Uint8Array(0);
            resolve({ status: 200, retryAfter: undefined, bytes });
          }
        },
      );
    });
  } finally {
    client.close();
  }
}

function predictRest(port: number, body: Uint8Array, headers: Readonly<Record<string, string>>): Promise<LargeAnswer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: '127.0.0.1',
        port,
        method: 'POST',
        path: `/v1/models/${LARGE_MODEL}:predict`,
        agent: false,
        headers: { 'content-length': body.byteLength, ...headers },
      },
      (response) => {
        // Memory for all of it at once: a client that joins pieces would have the answer twice.
        const bytes = Buffer.allocUnsafeSlow(Number(response.headers['content-length'] ?? 0));
        let filled = 0;
        response.on('data', (chunk: Buffer) => {
          filled += chunk.copy(bytes, filled);
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], bytes }));
        response.on('error', reject);
      },
    );
    asked.on('error', reject);
    asked.end(body);
  });
}
