import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { configOf, EXAMPLES, FIXTURES, putVersion, ROOT } from '../extend/servable-mesh.ts';
import { type MeshProcess, type MeshProcesses, startMeshProcesses } from '../servers/mesh-processes.ts';
import { hasNatsServer } from '../servers/nats-server.ts';
import { hasRedisServer } from '../servers/redis-server.ts';

const REQUEST = { b64: readFileSync(join(ROOT, 'examples/digits/request.png')).toString('base64') };

(hasNatsServer && hasRedisServer ? describe : describe.skip)(
  'custom servables in a fleet of real processes (skipped without nats-server and redis-server)',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'headrace-fleet-servables-'));
    let mesh: MeshProcesses;
    let gateway: MeshProcess;
    let other: MeshProcess;
    let worker: MeshProcess;

    beforeAll(async () => {
      putVersion(join(folder, 'reader'), 1, { 'labels.txt': 'zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n' });
      for (const name of ['caller', 'probe']) putVersion(join(folder, name), 1, {});
      const modules = `--servable_modules=reader=${EXAMPLES}/pipeline.ts,caller=${FIXTURES}/caller.ts,probe=${FIXTURES}/probe.ts`;
      const config = join(folder, 'models.config');
      const digits = { platform: 'onnx', base: join(ROOT, 'examples/models/digits') };
      const named = (platform: string) => ({ platform });
      writeFileSync(config, configOf(folder, { digits, reader: named('reader'), caller: named('caller'), probe: named('probe') }));
      mesh = await startMeshProcesses([`--model_config_file=${config}`, '--version_settle_ms=100', '--enable_batching', modules]);
      const workerFlags = [modules, '--instances=1'];
      [gateway, other, worker] = await Promise.all([
        mesh.start('gateway'),
        mesh.start('gateway'),
        mesh.start('worker-gpu', workerFlags),
        mesh.start('worker-gpu', workerFlags),
        mesh.start('registry'),
        mesh.start('batcher'),
      ]);
      for (const model of ['digits', 'reader', 'caller', 'probe']) {
        while ((await fetch(`http://127.0.0.1:${gateway.restPort}/v1/models/${model}/ready`)).status !== 200)
          await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }, 60_000);
    afterAll(async () => {
      await mesh[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });

    async function ask(model: string, body: unknown): Promise<unknown> {
      const url = `http://127.0.0.1:${gateway.restPort}/v1/models/${model}:predict`;
      return (await fetch(url, { method: 'POST', body: JSON.stringify(body) })).json();
    }

    /** Asks the pipeline without a pause while `act` goes on and for some answers more; gives all answers that were wrong. */
    async function underLoad(act: () => Promise<void>): Promise<readonly unknown[]> {
      const wrong: unknown[] = [];
      let answered = 0;
      let going = true;
      const clients = Array.from({ length: 4 }, async () => {
        while (going) {
          const answer = await ask('reader', { instances: [REQUEST] });
          if (!JSON.stringify(answer).includes('"label":"seven"')) wrong.push(answer);
          answered++;
        }
      });
      const until = async (count: number) => {
        while (answered < count) await new Promise((resolve) => setTimeout(resolve, 5));
      };
      await until(20);
      await act();
      await until(answered + 100);
      going = false;
      await Promise.all(clients);
      return wrong;
    }

    test('call models over NATS, with tensors larger than its messages', async () => {
      expect(await ask('reader', { instances: [REQUEST, REQUEST] })).toMatchObject({
        predictions: [{ label: 'seven' }, { label: 'seven' }],
      });
      const count = 1_000_000;
      expect(await ask('caller', { inputs: { model: 'probe', signature: 'whole', count } })).toEqual({
        outputs: count * (count - 1) + count,
      });
    }, 30_000);

    test('go on without an error when a gateway that calls went through dies, and when a worker does', async () => {
      expect(await underLoad(() => other.kill())).toEqual([]);
      expect(await underLoad(() => worker.kill())).toEqual([]);
    }, 60_000);
  },
);
