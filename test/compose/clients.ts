import { Agent, request } from 'node:http';
import { Client, credentials, status } from '@grpc/grpc-js';
import { decodePredictResponse, encodePredictRequest, type PredictResponse } from '#proto/predict.ts';
import type { GatewayAddress } from './fleet.ts';

/** Rows to predict with one model, all of one width; a width of 0 stands for a flat list of numbers. */
export interface Question {
  readonly model: 'half_plus_two' | 'affine';
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Numbers, and the version that says it computed them when the protocol tells. */
export interface Reply {
  readonly values: readonly number[];
  readonly version: number | undefined;
}

/** The connection failed, so the request got no answer: another gateway may be asked. Everything else is an answer. */
export class ConnectionLost extends Error {}

/** One client that keeps a connection to one gateway. */
export interface PredictClient {
  /** Throws ConnectionLost, or an Error with the status and message of the answer. */
  predict(question: Question): Promise<Reply>;
  close(): void;
}

const DEADLINE_MS = 20_000;

/** A client of the REST API with a kept-alive connection. */
export function createRestClient(address: GatewayAddress): PredictClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    close: () => agent.destroy(),
    predict({ model, shape, values }) {
      const rows = shape.length === 1 ? values : rowsOf(values, shape[1] ?? 1);
      const body = JSON.stringify({ instances: rows });
      const [hostname, port] = address.rest.split(':');
      return new Promise((resolve, reject) => {
        const lost = (error: Error) => reject(new ConnectionLost(error.message, { cause: error }));
        const sent = request(
          {
            hostname,
            port,
            agent,
            method: 'POST',
            path: `/v1/models/${model}:predict`,
            timeout: DEADLINE_MS,
            headers: { 'content-type': 'application/json' },
          },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('error', lost);
            response.on('end', () => {
              const text = Buffer.concat(chunks).toString();
              if (response.statusCode !== 200) return reject(new Error(`REST ${response.statusCode}: ${text.slice(0, 300)}`));
              const version = Object.entries(response.headers).find(([name]) => name.endsWith('model-version'))?.[1];
              const { predictions } = JSON.parse(text) as { predictions: (number | number[])[] };
              resolve({ values: predictions.flat(), version: version === undefined ? undefined : Number(version) });
            });
          },
        );
        sent.on('timeout', () => sent.destroy(new Error(`no answer within ${DEADLINE_MS} ms`)));
        sent.on('error', (error: NodeJS.ErrnoException) => (error.message.startsWith('no answer') ? reject(error) : lost(error)));
        sent.end(body);
      });
    },
  };
}

/** A client of the gRPC API. */
export function createGrpcClient(address: GatewayAddress): PredictClient {
  const options = {
    'grpc.max_receive_message_length': -1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1000,
  };
  // `options` of two clients must differ, or grpc-js shares one connection among all of a process.
  const client = new Client(address.grpc, credentials.createInsecure(), { ...options, 'grpc.use_local_subchannel_pool': 1 });
  return {
    close: () => client.close(),
    predict({ model, shape, values }) {
      const tensor = { dtype: 'float', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) } as const;
      const spec = { name: model, version: null, label: null, signatureName: '' };
      const bytes = encodePredictRequest(spec, new Map([['x', tensor]]), { tensorContent: true });
      return new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          '/tensorflow.serving.PredictionService/Predict',
          (message: Uint8Array) => Buffer.from(message),
          (message: Buffer): PredictResponse => decodePredictResponse(message),
          bytes,
          { deadline: Date.now() + DEADLINE_MS },
          (error, response) => {
            if (error) {
              const transport =
                error.code === status.UNAVAILABLE && /connect|ECONN|EPIPE|socket|GOAWAY|stream|transport/i.test(error.details);
              return reject(transport ? new ConnectionLost(error.message) : new Error(`gRPC ${error.message}`));
            }
            const output = response?.outputs.get('y');
            if (!output) return reject(new Error('gRPC answer without the output y'));
            const aligned = Uint8Array.from(output.bytes);
            resolve({ values: [...new Float32Array(aligned.buffer)], version: response?.spec.version ?? undefined });
          },
        );
      });
    },
  };
}

function rowsOf(values: readonly number[], width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, index) => values.slice(index * width, (index + 1) * width));
}
