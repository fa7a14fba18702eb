/** Load of large requests: few connections, each with one request in flight, every answer looked at. wrk sends no body of its own per protocol. */
import { Agent, request } from 'node:http';
import { Client, credentials } from '@grpc/grpc-js';
import { percentile } from '../rounds.ts';
import { PREDICT_PATH } from './grpc-load.ts';
import type { LoadResult } from './result.ts';

/** One request, over and over. */
export interface LargeCall extends Disposable {
  /** Resolves with the bytes of the answer. Rejects when it is an error. */
  send(): Promise<number>;
}

/** Calls over REST on connections that are kept. */
export function restCall(port: number, path: string, body: Uint8Array, headers: Readonly<Record<string, string>>): LargeCall {
  const agent = new Agent({ keepAlive: true });
  return {
    send: () =>
      new Promise((resolve, reject) => {
        const asked = request(
          { agent, host: '127.0.0.1', port, path, method: 'POST', headers: { 'content-length': body.byteLength, ...headers } },
          (response) => {
            let byteLength = 0;
            response.on('data', (chunk: Buffer) => {
              byteLength += chunk.byteLength;
            });
            response.on('end', () => {
              if (response.statusCode === 200) resolve(byteLength);
              else reject(new Error(`${path} answered ${response.statusCode}`));
            });
            response.on('error', reject);
          },
        );
        asked.on('error', reject);
        asked.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** Predict over gRPC on one connection. */
export function grpcCall(port: number, message: Uint8Array): LargeCall {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const asIs = (value: Buffer) => value;
  return {
    send: () =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(PREDICT_PATH, asIs, asIs, bytes, (problem, answer) => {
          if (problem || answer === undefined) reject(problem ?? new Error('no answer'));
          else resolve(answer.byteLength);
        });
      }),
    [Symbol.dispose]: () => client.close(),
  };
}

/** Keeps `inFlight` calls under way for so many seconds, and at least one each. */
export async function runCalls({ send }: LargeCall, inFlight: number, seconds: number): Promise<LoadResult> {
  const latencies: number[] = [];
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  async function keepCalling(): Promise<void> {
    do {
      const sentMs = performance.now();
      await send();
      latencies.push(performance.now() - sentMs);
    } while (performance.now() < endMs);
  }
  await Promise.all(Array.from({ length: inFlight }, keepCalling));
  const tookSeconds = (performance.now() - startedMs) / 1000;
  const percent = (share: number) => percentile(latencies, share);
  return {
    requests: latencies.length,
    errors: 0,
    perSecond: latencies.length / tookSeconds,
    p50Ms: percent(0.5),
    p90Ms: percent(0.9),
    p99Ms: percent(0.99),
  };
}
