import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import { createSystemClock } from '#mesh/clock.ts';
import { parseSettings } from '#mesh/config.ts';
import type { Assignment, RegistryAnswer, RegistryDetail, WorkerDetail } from '#mesh/control.ts';
import { newMemberId } from '#mesh/ids.ts';
import { connectBullMq } from '#mesh/job-queue-bullmq.ts';
import { startPresence } from '#mesh/presence.ts';
import { connectRedisStore } from '#mesh/state-store-redis.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { REGISTRY_SETTINGS } from '../../services/registry/config.ts';
import { startRegistry } from '../../services/registry/index.ts';
import { hasRedisServer, startRedisServer } from '../servers/redis-server.ts';
import { onnxBytes } from './harness.ts';

if (hasRedisServer) {
  describe('a registry over Redis and BullMQ', () => {
    test('checks, assigns, and hands over to another with everything it knew', async () => {
      await using server = await startRedisServer();
      await using stack = new AsyncDisposableStack();
      const folder = await mkdtemp(join(tmpdir(), 'headrace-redis-registry-'));
      stack.defer(() => rm(folder, { recursive: true, force: true }));
      await mkdir(join(folder, 'm', '1'), { recursive: true });
      await writeFile(join(folder, 'm', '1', 'model.onnx'), onnxBytes('graph'));
      const clock = createSystemClock();
      const broker = createMemoryBroker();
      const subjects = createSubjects('t');
      const transport = broker.connect();
      const workerId = newMemberId('worker');
      const assignments: Assignment[] = [];
      let assigned = () => {};
      transport.subscribe(subjects.assign(workerId), (message) => {
        const assignment = JSON.parse(fromUtf8(message.data)) as Assignment;
        assignments.push(assignment);
        worker.announce({ ...idle, fencingToken: assignment.fencingToken, assignmentRevision: assignment.revision });
        assigned();
      });
      const idle: WorkerDetail = { fencingToken: 0, assignmentRevision: 0, memoryLimitBytes: 0, servables: [], draining: false };
      const worker = stack.use(await startPresence({ transport, subjects, clock, kind: 'worker', id: workerId, detail: idle }));
      const settings = parseSettings(REGISTRY_SETTINGS, {
        args: ['--model_name=m', `--model_base_path=${join(folder, 'm')}`],
        env: {},
      }).values;
      const begin = async () => {
        const own = new AsyncDisposableStack();
        const store = own.use(await connectRedisStore(server.url, 't'));
        const jobs = own.use(await connectBullMq(server.url, 't'));
        const registry = own.use(
          await startRegistry({ transport: broker.connect(), subjects, clock, telemetry: createSilentTelemetry(), store, jobs, settings }),
        );
        return { own, registry };
      };
      const until = (condition: () => boolean) =>
        new Promise<void>((resolve) => {
          assigned = () => condition() && resolve();
          assigned();
        });

      const first = await begin();
      await until(() => assignments.some(({ servables }) => servables.length === 1));
      const second = await begin();
      stack.use(second.own);
      await second.registry.initialLoad;
      expect([first.registry.leading, second.registry.leading]).toEqual([true, false]);
      await first.own.disposeAsync();
      await until(
        () => (assignments.at(-1)?.fencingToken ?? 0) > (assignments[0]?.fencingToken ?? 0) && assignments.at(-1)?.servables.length === 1,
      );
      expect(assignments.at(-1)?.servables[0]).toMatchObject({ id: { name: 'm', version: 1 }, generation: 1 });
      stack.use(worker.onChange(() => assigned()));
      await until(() => worker.members<RegistryDetail>('registry').some(({ detail }) => detail.leading));
      const question = utf8(JSON.stringify({ type: 'read-config' }));
      const answer = JSON.parse(fromUtf8(await transport.request(subjects.registry, question, { timeoutMs: 5000 }))) as RegistryAnswer;
      expect(answer).toMatchObject({ type: 'config', revision: 1 });
    });
  });
} else {
  test.skip('a registry over Redis and BullMQ: redis-server is not installed', () => {});
}
