/** A whole mesh behind real ports, for hostile clients: with its log and its metrics in hand. */
import { cpSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { createTelemetry } from '#mesh/telemetry.ts';
import { startRunningMesh } from '../embedded/running-mesh.ts';

const MODELS = join(import.meta.dirname, '../fixtures/twins');

/** Starts half_plus_two (version 123) and ident (1 and 3, labels stable and canary). */
export async function startDoors(flags: readonly string[] = []) {
  /** What a process reports when something is its own fault. */
  const faults: Record<string, unknown>[] = [];
  const telemetry = createTelemetry({
    service: 'fuzz',
    logLevel: 'error',
    otlpEndpoint: '',
    logTo: new Writable({
      write(line, _, done) {
        faults.push(JSON.parse(String(line)));
        done();
      },
    }),
  });
  const mesh = await startRunningMesh({
    prepare: (folder) => cpSync(MODELS, folder, { recursive: true }),
    config: (folder) => {
      const base = (name: string) => `name: '${name}' base_path: '${join(folder, name)}' model_platform: 'tensorflow'`;
      return `model_config_list {
        config { ${base('half_plus_two')} }
        config { ${base('ident')} model_version_policy { all {} } version_labels { key: 'stable' value: 1 } version_labels { key: 'canary' value: 3 } }
      }`;
    },
    flags: () => ['--rest_api_body_timeout_in_ms=2000', ...flags],
    telemetry,
  });

  return {
    mesh,
    faults,
    /** Requests that wait for an answer, by the gateway's own gauge. */
    async inFlight(): Promise<number> {
      const metrics = await telemetry.metrics.metrics();
      return Number(/^headrace_gateway_requests_in_flight(?:{[^}]*})? (\d+)/m.exec(metrics)?.[1] ?? Number.NaN);
    },
    /** Sends bytes on a connection of their own; resolves with what came back once nothing more comes. Half-closes after `parts`. */
    raw: (parts: readonly (string | Uint8Array)[], how: { readonly idleMs?: number; readonly abort?: boolean } = {}): Promise<Buffer> =>
      new Promise((resolve) => {
        const socket = connect(mesh.restPort, '127.0.0.1');
        const chunks: Buffer[] = [];
        const finish = () => {
          socket.destroy();
          resolve(Buffer.concat(chunks));
        };
        socket.setTimeout(how.idleMs ?? 250, finish);
        socket.on('data', (chunk) => chunks.push(chunk));
        socket.on('error', () => {});
        socket.on('close', finish);
        socket.on('connect', () => {
          for (const part of parts) socket.write(part);
          if (how.abort) socket.destroy();
        });
      }),
    [Symbol.asyncDispose]: () => mesh[Symbol.asyncDispose](),
  };
}

export type Doors = Awaited<ReturnType<typeof startDoors>>;
