import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type MeshProcess, type MeshProcesses, startMeshProcesses } from '../servers/mesh-processes.ts';
import { hasNatsServer } from '../servers/nats-server.ts';
import { hasRedisServer } from '../servers/redis-server.ts';

const SAVED_MODELS = join(import.meta.dirname, '../../examples/savedmodels');

interface VersionStatus {
  readonly state: string;
  readonly status: { readonly error_code: string; readonly error_message: string };
}

(hasNatsServer && hasRedisServer ? describe : describe.skip)(
  'SavedModels in a fleet of real processes (skipped without nats-server and redis-server)',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'headrace-fleet-imports-'));
    const shared = join(folder, 'shared-cache');
    const own = join(folder, 'own-cache');
    let mesh: MeshProcesses;
    let gateway: MeshProcess;

    beforeAll(async () => {
      cpSync(join(SAVED_MODELS, 'half_plus_two'), join(folder, 'half_plus_two'), { recursive: true });
      mkdirSync(join(folder, 'broken', '1'), { recursive: true });
      writeFileSync(join(folder, 'broken', '1', 'saved_model.pb'), 'not a protobuf message');
      const config = join(folder, 'models.config');
      const base = (name: string) => `config { name: "${name}" base_path: "${join(folder, name)}" model_platform: "tensorflow" }`;
      writeFileSync(config, `model_config_list { ${base('half_plus_two')} ${base('broken')} }`);
      mesh = await startMeshProcesses([`--model_config_file=${config}`, '--version_settle_ms=100', `--import_cache_dir=${shared}`]);
      [gateway] = await Promise.all([
        mesh.start('gateway'),
        mesh.start('registry'),
        mesh.start('registry'),
        mesh.start('batcher'),
        mesh.start('worker-gpu', [`--import_cache_dir=${shared}`]),
        mesh.start('worker-gpu', [`--import_cache_dir=${own}`]),
      ]);
      while ((await fetch(`http://127.0.0.1:${gateway.restPort}/v1/models/half_plus_two/ready`)).status !== 200)
        await new Promise((resolve) => setTimeout(resolve, 50));
    }, 60_000);
    afterAll(async () => {
      await mesh[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });

    async function statusOf(model: string): Promise<VersionStatus | undefined> {
      const response = await fetch(`http://127.0.0.1:${gateway.restPort}/v1/models/${model}`);
      return ((await response.json()) as { model_version_status?: VersionStatus[] }).model_version_status?.[0];
    }

    test('are imported by the job of a registry, found in the shared cache, and imported by the worker that does not share it', async () => {
      const answer = await fetch(`http://127.0.0.1:${gateway.restPort}/v1/models/half_plus_two:predict`, {
        method: 'POST',
        body: JSON.stringify({ instances: [1, 2, 5] }),
      });
      expect(await answer.json()).toEqual({ predictions: [2.5, 3, 4.5] });
      // The worker with a cache of its own may be the later one.
      while (!mesh.processes.filter(({ service }) => service === 'worker-gpu').every((one) => one.output().includes('Successfully loaded')))
        await new Promise((resolve) => setTimeout(resolve, 50));
      expect(readdirSync(shared)).toHaveLength(1);
      expect(readdirSync(own)).toEqual(readdirSync(shared));
    });

    test('that cannot be imported say why in their status, whichever registry found out', async () => {
      while ((await statusOf('broken'))?.state !== 'END') await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await statusOf('broken'))?.status).toMatchObject({
        error_code: 'DATA_LOSS',
        error_message: expect.stringContaining('saved_model.pb'),
      });
    });
  },
);
