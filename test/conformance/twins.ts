import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '#mesh/clock.ts';
import { parseSettings } from '#mesh/config.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { EMBEDDED_SETTINGS } from '../../services/embedded/config.ts';
import { startEmbedded } from '../../services/embedded/index.ts';
import { freePort } from '../servers/server-process.ts';
import { sharedPath } from './transcripts.ts';

/** An embedded mesh that serves ONNX twins of the models the transcripts were recorded with. */
export interface Twins extends AsyncDisposable {
  readonly restPort: number;
  readonly grpcPort: number;
}

const FIXTURES = join(import.meta.dirname, '../fixtures/twins');

/** Starts the twins with the flags of the recording: half_plus_two 123, ident 1 and 3 with labels, mlp. */
export async function startTwins(): Promise<Twins> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-twins-'));
  cpSync(FIXTURES, folder, { recursive: true });
  cpSync(sharedPath('models/onnx/mlp64.onnx'), join(folder, 'mlp/1/model.onnx'));
  const config = join(folder, 'models.config');
  const base = (name: string) => `name: '${name}' base_path: '${join(folder, name)}' model_platform: 'tensorflow'`;
  writeFileSync(
    config,
    `model_config_list {
       config { ${base('half_plus_two')} }
       config { ${base('ident')} model_version_policy { all {} } version_labels { key: 'stable' value: 1 } version_labels { key: 'canary' value: 3 } }
       config { ${base('mlp')} }
     }`,
  );
  const monitoring = join(folder, 'monitoring.config');
  writeFileSync(monitoring, 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }');
  const { values } = parseSettings(EMBEDDED_SETTINGS, {
    args: [
      `--port=${await freePort()}`,
      `--rest_api_port=${await freePort()}`,
      `--model_config_file=${config}`,
      `--monitoring_config_file=${monitoring}`,
      '--allow_version_labels_for_unavailable_models=true',
      '--version_settle_ms=0',
    ],
    env: {},
  });
  const embedded = await startEmbedded({ settings: values, telemetry: createSilentTelemetry(), clock: createSystemClock() });
  if (embedded.restPort === null || embedded.grpcPort === null) throw new Error('the twins need both ports');
  return {
    restPort: embedded.restPort,
    grpcPort: embedded.grpcPort,
    async [Symbol.asyncDispose]() {
      await embedded[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}
