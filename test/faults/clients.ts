import { Agent, request } from 'node:http';
import { Client, credentials, status } from '@grpc/grpc-js';
import { decodePredictResponse, encodePredictRequest, type PredictResponse } from '#proto/predict.ts';
import type { ModelName } from './models.ts';

/** Rows for one model. */
export interface Question {
  readonly model: ModelName;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** What became of a question. */
export type Outcome =
  | { readonly type: 'answered'; readonly values: readonly number[]; readonly version: number | undefined }
  /** UNAVAILABLE or RESOURCE_EXHAUSTED with a reason, and over REST with Retry-After. */
  | { readonly type: 'refused'; readonly message: string }
  /** Any other error that the server answered, or no answer in time. */
  | { readonly type: 'failed'; readonly message: string }
  /** The connection ended before the answer: nobody knows, and another gateway may be asked. */
  | { readonly type: 'lost'; readonly message: string };

/** One client that keeps one connection to one gateway. */
export interface FaultClient {
  /** Never rejects. Gives up after `patienceMs`. `deadlineMs`: what a gRPC request says is its deadline; default the same. */
  ask(question: Question, patienceMs: number, deadlineMs?: number): Promise<Outcome>;
  close(): void;
}

/** The two protocols. */
export type Protocol = 'rest' | 'grpc';

/** Where a client finds its gateway. */
export interface Ports {
  readonly restPort: number;
  readonly grpcPort: number;
}

/** Makes a client; it connects when first asked. `connections`: the most that REST opens at once. */
export function createFaultClient(protocol: Protocol, ports: Ports, connections = 1): FaultClient {
  return protocol === 'rest' ? createRestClient(ports.restPort, connections) : createGrpcClient(ports.grpcPort);
}

function createRestClient(port: number, connections: number): FaultClient {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return {
    close: () => agent.destroy(),
    ask({ model, shape, values }, patienceMs) {
      const body = JSON.stringify({ instances: rowsOf(values, shape) });
      const path = `/v1/models/${model}:predict`;
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      return new Promise((resolve) => {
        const finish = (outcome: Outcome) => {
          clearTimeout(timer);
          resolve(outcome);
        };
        const lost = (error: Error) => finish({ type: 'lost', message: `REST ${error.message}` });
        const sent = request({ host: '127.0.0.1', port, agent, method: 'POST', path, headers }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', lost);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            const { statusCode = 0, headers: answered } = response;
            if (statusCode === 200) {
              const { predictions } = JSON.parse(text) as { predictions: (number | number[])[] };
              const version = Number(answered['x-headrace-model-version']);
              finish({ type: 'answered', values: predictions.flat(), version: Number.isNaN(version) ? undefined : version });
            } else {
              const refused = (statusCode === 503 || statusCode === 429) && Number(answered['retry-after']) > 0 && text.includes('error');
              finish({ type: refused ? 'refused' : 'failed', message: `REST ${statusCode}: ${text.slice(0, 200)}` });
            }
          });
        });
        const timer = setTimeout(() => {
          finish({ type: 'failed', message: `REST: no answer within ${patienceMs} ms` });
          sent.destroy();
        }, patienceMs);
        sent.on('error', lost);
        sent.end(body);
      });
    },
  };
}

/** A number that makes each client's options its own: equal options share one connection in a process. */
let grpcClients = 0;

function createGrpcClient(port: number): FaultClient {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 500,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.primary_user_agent': `faults-${++grpcClients}`,
  });
  return {
    close: () => client.close(),
    ask({ model, shape, values }, patienceMs, deadlineMs = patienceMs) {
      const tensor = { dtype: 'float', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) } as const;
      const spec = { name: model, version: null, label: null, signatureName: '' };
      const bytes = encodePredictRequest(spec, new Map([['x', tensor]]), { tensorContent: true });
      return new Promise((resolve) => {
        client.makeUnaryRequest(
          '/tensorflow.serving.PredictionService/Predict',
          (message: Uint8Array) => Buffer.from(message),
          (message: Buffer): PredictResponse => decodePredictResponse(message),
          bytes,
          { deadline: Date.now() + deadlineMs },
          (error, response) => {
            if (error) {
              const message = `gRPC ${status[error.code]}: ${error.details}`;
              if (isTransport(error.code, error.details)) resolve({ type: 'lost', message });
              else if (error.code === status.UNAVAILABLE || error.code === status.RESOURCE_EXHAUSTED) resolve({ type: 'refused', message });
              else resolve({ type: 'failed', message });
              return;
            }
            const output = response?.outputs.get('y');
            if (!output) return resolve({ type: 'failed', message: 'gRPC: an answer without the output y' });
            const aligned = Uint8Array.from(output.bytes);
            resolve({ type: 'answered', values: [...new Float32Array(aligned.buffer)], version: response?.spec.version ?? undefined });
          },
        );
      });
    },
  };
}

/** Errors that the client's own side makes when a connection ends. */
function isTransport(code: status, details: string): boolean {
  if (code === status.UNAVAILABLE) return /ECONN|EPIPE|GOAWAY|No connection established|Connection dropped|socket/i.test(details);
  return (code === status.INTERNAL || code === status.CANCELLED) && /RST_STREAM|stream terminated/i.test(details);
}

function rowsOf(values: readonly number[], shape: readonly number[]): readonly (number | readonly number[])[] {
  const [, width] = shape;
  if (width === undefined) return values;
  return Array.from({ length: values.length / width }, (_, index) => values.slice(index * width, (index + 1) * width));
}
