import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '#mesh/clock.ts';
import { parseSettings } from '#mesh/config.ts';
import { createSilentTelemetry, type Telemetry } from '#mesh/telemetry.ts';
import { EMBEDDED_SETTINGS } from '../../services/embedded/config.ts';
import { type Embedded, startEmbedded } from '../../services/embedded/index.ts';
import { freePort } from '../servers/server-process.ts';

/** What a REST client got. */
export interface RestAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
}

/** An embedded mesh on ports of its own with an empty folder for models. */
export interface RunningMesh extends AsyncDisposable {
  readonly embedded: Embedded;
  readonly folder: string;
  readonly restPort: number;
  readonly grpcPort: number;
  /** Sends one REST request on a kept-alive connection. */
  send(method: string, path: string, body?: string | Uint8Array, headers?: Readonly<Record<string, string>>): Promise<RestAnswer>;
}

/** Starts it. `prepare` puts models into the folder first; `config` names them in a ModelServerConfig. */
export async function startRunningMesh(options: {
  readonly prepare: (folder: string) => void;
  readonly config: (folder: string) => string;
  readonly flags?: (folder: string) => readonly string[];
  readonly telemetry?: Telemetry;
}): Promise<RunningMesh> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-mesh-'));
  options.prepare(folder);
  const args = [
    `--port=${await freePort()}`,
    `--rest_api_port=${await freePort()}`,
    '--version_settle_ms=0',
    '--file_system_poll_wait_seconds=1',
    `--import_cache_dir=${join(folder, '.imports')}`,
    ...(options.flags?.(folder) ?? []),
  ];
  const { values } = parseSettings(EMBEDDED_SETTINGS, { args, env: {} });
  const embedded = await startEmbedded({
    settings: values,
    telemetry: options.telemetry ?? createSilentTelemetry(),
    clock: createSystemClock(),
    defaultConfigText: options.config(folder),
  });
  const agent = new Agent({ keepAlive: true });
  const { restPort, grpcPort } = embedded;
  if (restPort === null || grpcPort === null) throw new Error('the mesh needs both ports');
  return {
    embedded,
    folder,
    restPort,
    grpcPort,
    send: (method, path, body, headers = {}) =>
      new Promise((resolve, reject) => {
        const bytes = body === undefined ? undefined : Buffer.from(body as string);
        const length = bytes === undefined ? {} : { 'content-length': bytes.byteLength };
        const asked = request(
          { agent, host: '127.0.0.1', port: restPort, method, path, headers: { ...length, ...headers } },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('end', () => {
              const whole = Buffer.concat(chunks);
              resolve({ status: response.statusCode ?? 0, headers: response.headers, body: whole, text: whole.toString() });
            });
            response.on('error', reject);
          },
        );
        asked.on('error', reject);
        asked.end(bytes);
      }),
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await embedded[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}
