/** Starts a REST server over a computing core on a free port, and talks to it in plain HTTP. */
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { type Clock, createSystemClock } from '#mesh/clock.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { type RestEvents, type RestServer, type RestServerSettings, startRestServer } from '../../../services/gateway/rest/server.ts';
import { type ComputingCore, createComputingCore, HALF_EXAMPLES, HALF_PLUS_TWO, IDENT } from './computing-core.ts';

export type FinishedRequest = Parameters<RestEvents['requestFinished']>[0];

export interface RestHarness extends AsyncDisposable {
  readonly core: ComputingCore;
  readonly server: RestServer;
  readonly finished: FinishedRequest[];
  readonly telemetry: ReturnType<typeof createSilentTelemetry>;
  ask(method: string, path: string, body?: string | Uint8Array | null, headers?: Readonly<Record<string, string>>): Promise<HttpAnswer>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
}

export async function startHarness(settings: Partial<RestServerSettings> = {}, clock: Clock = createSystemClock()): Promise<RestHarness> {
  const core = createComputingCore({ half_plus_two: HALF_PLUS_TWO, ident: IDENT });
  const telemetry = createSilentTelemetry();
  const finished: FinishedRequest[] = [];
  const server = await startRestServer({
    core,
    clock,
    telemetry,
    settings: {
      port: 0,
      host: '127.0.0.1',
      timeoutMs: 30_000,
      enableCors: false,
      metricsPath: null,
      maxBodyBytes: 64 * 1024 * 1024,
      bodyTimeoutMs: 30_000,
      ...settings,
    },
    events: { requestFinished: (event) => void finished.push(event) },
    examples: HALF_EXAMPLES,
    validateInputs: (_, inputs) => inputs,
  });
  const agent = new Agent({ keepAlive: true });
  return {
    core,
    server,
    finished,
    telemetry,
    ask: (method, path, body = null, headers = {}) =>
      new Promise((resolve, reject) => {
        const length = body === null ? {} : { 'content-length': String(Buffer.byteLength(body)) };
        const sent = httpRequest(
          { host: '127.0.0.1', port: server.port, method, path, agent, headers: { ...length, ...headers } },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('end', () => {
              const bytes = Buffer.concat(chunks);
              resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes, text: bytes.toString() });
            });
            response.on('error', reject);
          },
        );
        sent.on('error', reject);
        sent.end(body ?? undefined);
      }),
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await server[Symbol.asyncDispose]();
      await telemetry[Symbol.asyncDispose]();
    },
  };
}
