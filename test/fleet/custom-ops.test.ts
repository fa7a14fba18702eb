import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { customOpModels } from '../../examples/custom-ops/make-models.ts';
import { kernelModule } from '../extend/zero-out-modules.ts';
import { type MeshProcess, type MeshProcesses, startMeshProcesses } from '../servers/mesh-processes.ts';
import { hasNatsServer } from '../servers/nats-server.ts';
import { hasRedisServer } from '../servers/redis-server.ts';

(hasNatsServer && hasRedisServer ? describe : describe.skip)(
  'Custom ops in a fleet of real processes (skipped without nats-server and redis-server)',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'headrace-fleet-ops-'));
    const library = `--op_library=${join(folder, 'ops.ts')}`;
    let mesh: MeshProcesses;
    let gateway: MeshProcess;

    beforeAll(async () => {
      writeFileSync(join(folder, 'ops.ts'), kernelModule());
      for (const [file, bytes] of customOpModels()) {
        mkdirSync(dirname(join(folder, file)), { recursive: true });
        writeFileSync(join(folder, file), bytes);
      }
      const base = (name: string) => `config { name: "${name}" base_path: "${join(folder, name)}" }`;
      const config = join(folder, 'models.config');
      writeFileSync(config, `model_config_list { ${base('zero_out')} ${base('zero_out_onnx')} }`);
      mesh = await startMeshProcesses([`--model_config_file=${config}`, '--version_settle_ms=100']);
      [gateway] = await Promise.all([
        mesh.start('gateway'),
        mesh.start('registry', [library, `--import_cache_dir=${join(folder, 'registry-cache')}`]),
        mesh.start('batcher'),
        mesh.start('worker-gpu', [library, '--instances=1', `--import_cache_dir=${join(folder, 'worker-cache')}`]),
      ]);
    }, 60_000);
    afterAll(async () => {
      await mesh[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });

    test.each([
      [
        'zero_out',
        [
          [1, 0],
          [0, 0],
        ],
      ],
      [
        'zero_out_onnx',
        [
          [3, 1],
          [1, 1],
        ],
      ],
    ])(
      '%s is imported where it is found, and runs where the library is',
      async (model, outputs) => {
        const url = `http://127.0.0.1:${gateway.restPort}/v1/models/${model}`;
        while ((await fetch(`${url}/ready`)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 50));
        const answer = await fetch(`${url}:predict`, {
          method: 'POST',
          body: JSON.stringify({
            inputs: [
              [1, 2],
              [3, 4],
            ],
          }),
        });
        expect(await answer.json()).toEqual({ outputs });
      },
      60_000,
    );
  },
);
