import { mkdtempSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { askLine, type LineAnswer } from '../embedded/line-client.ts';
import { putLineVersion } from '../embedded/line-models.ts';
import { type MeshProcess, type MeshProcesses, startMeshProcesses } from '../servers/mesh-processes.ts';
import { hasNatsServer } from '../servers/nats-server.ts';
import { hasRedisServer } from '../servers/redis-server.ts';

/** What a stretch of load came to. */
interface Tally {
  answered: number;
  readonly failed: LineAnswer[];
  readonly wrong: LineAnswer[];
}

const agent = new Agent({ keepAlive: true });

const predict = (port: number, x: number) => askLine(agent, port, x);

/** Runs `act` while clients ask without a pause, and for `after` answers more. */
async function underLoad(port: number, act: () => Promise<void>, after = 200): Promise<Tally> {
  const tally: Tally = { answered: 0, failed: [], wrong: [] };
  let going = true;
  const clients = Array.from({ length: 6 }, async (_, client) => {
    for (let index = 0; going; index++) {
      const x = client * 10_000 + (index % 10_000);
      const answer = await predict(port, x);
      if (answer.status !== 200) tally.failed.push(answer);
      else if (answer.value !== x / 2 + answer.version) tally.wrong.push(answer);
      tally.answered++;
    }
  });
  const until = async (count: number) => {
    while (tally.answered < count) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await until(100);
  await act();
  await until(tally.answered + after);
  going = false;
  await Promise.all(clients);
  return tally;
}

const complete = hasNatsServer && hasRedisServer;

(complete ? describe : describe.skip)(
  'a fleet of real processes over NATS and Redis (skipped without nats-server and redis-server)',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'headrace-fleet-'));
    const base = join(folder, 'line');
    let mesh: MeshProcesses;
    let gateway: MeshProcess;
    beforeAll(async () => {
      putLineVersion(base, 1);
      mesh = await startMeshProcesses([
        '--model_name=line',
        `--model_base_path=${base}`,
        '--enable_batching',
        '--version_settle_ms=100',
        '--file_system_poll_wait_seconds=1',
      ]);
      const [first] = await Promise.all([
        mesh.start('gateway'),
        mesh.start('registry'),
        mesh.start('registry'),
        mesh.start('batcher'),
        mesh.start('batcher'),
        mesh.start('worker-gpu'),
        mesh.start('worker-gpu'),
      ]);
      gateway = first;
      while ((await fetch(`http://127.0.0.1:${gateway.restPort}/v1/models/line/ready`)).status !== 200)
        await new Promise((resolve) => setTimeout(resolve, 50));
    }, 60_000);
    afterAll(async () => {
      agent.destroy();
      await mesh[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    }, 60_000);

    const live = (service: string) =>
      mesh.processes.filter((one) => one.service === service && one.child.exitCode === null && one.child.signalCode === null);
    const any = (service: string): MeshProcess => {
      const [one] = live(service);
      if (one === undefined) throw new Error(`no ${service} is alive`);
      return one;
    };
    const nothingLost = (tally: Tally) => {
      expect({ failed: tally.failed, wrong: tally.wrong }).toEqual({ failed: [], wrong: [] });
      expect(tally.answered).toBeGreaterThan(200);
    };

    test('a new version takes over under load without an error, and the old one comes back when it is removed', async () => {
      nothingLost(
        await underLoad(gateway.restPort, async () => {
          putLineVersion(base, 2);
          while ((await predict(gateway.restPort, 1)).version !== 2) await new Promise((resolve) => setTimeout(resolve, 50));
          rmSync(join(base, '2'), { recursive: true });
          while ((await predict(gateway.restPort, 1)).version !== 1) await new Promise((resolve) => setTimeout(resolve, 50));
        }),
      );
    }, 60_000);

    test('a worker killed under load costs no request', async () => {
      nothingLost(
        await underLoad(gateway.restPort, async () => {
          await any('worker-gpu').kill();
        }),
      );
      await mesh.start('worker-gpu');
    }, 60_000);

    test('a batcher killed under load costs no request', async () => {
      nothingLost(
        await underLoad(gateway.restPort, async () => {
          await any('batcher').kill();
        }),
      );
      await mesh.start('batcher');
    }, 60_000);

    test('both registries may die: traffic flows on, and a new one takes the fleet over as it is', async () => {
      nothingLost(
        await underLoad(gateway.restPort, async () => {
          await Promise.all(live('registry').map((one) => one.kill()));
          await underLoadPause();
          await mesh.start('registry');
        }),
      );
      expect((await fetch(`http://127.0.0.1:${gateway.restPort}/v1/models/line`)).status).toBe(200);
    }, 60_000);

    test('NATS restarts under load: what was in flight is sent again', async () => {
      nothingLost(await underLoad(gateway.restPort, () => mesh.nats.restart(), 100));
    }, 60_000);

    test('SIGTERM drains a worker, a batcher and a gateway without losing a request', async () => {
      nothingLost(
        await underLoad(gateway.restPort, async () => {
          await mesh.start('worker-gpu');
          expect(await any('worker-gpu').terminate()).toBe(0);
          expect(await any('batcher').terminate()).toBe(0);
        }),
      );
      expect(await gateway.terminate()).toBe(0);
    }, 90_000);
  },
);

/** Long enough for leases to end while nobody leads. */
function underLoadPause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1500));
}
