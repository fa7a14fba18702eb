import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { startControlPlane } from './harness.ts';

const MODELS = 40;

test('a version that was replaced leaves as soon as gateways have heard of it, whatever the poll', async () => {
  await using plane = await startControlPlane();
  await plane.writeVersion('m', 1);
  const worker = await plane.worker('worker-a');
  await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`, '--version_settle_ms=0']);
  await plane.until(() => plane.version('m', 1)?.routable);
  await plane.until(() => worker.available().includes('m@1'));
  await plane.writeVersion('m', 2);
  await plane.until(() => plane.version('m', 2)?.state === 'AVAILABLE');
  const fromMs = plane.clock.now();
  await plane.until(() => !worker.assignments.at(-1)?.servables.some(({ id }) => id.version === 1));
  expect(plane.clock.now() - fromMs).toBeLessThan(450);
});

test('among many models at rest one that changes is the only one that workers and gateways hear of', async () => {
  await using plane = await startControlPlane();
  const names = Array.from({ length: MODELS }, (_, index) => `m${index}`);
  for (const name of names) await plane.writeVersion(name, 1);
  const worker = await plane.worker('worker-a');
  const list = names.map((name) => `config { name: "${name}" base_path: "${join(plane.folder, name)}" model_platform: "onnx" }`);
  await plane.registry(['--version_settle_ms=0'], { defaultConfigText: `model_config_list { ${list.join(' ')} }` });
  await plane.until(() => names.every((name) => plane.version(name, 1)?.state === 'AVAILABLE'));
  await plane.clock.advance(10_000);
  const updates = plane.updates.length;
  const told = worker.assignments.length;
  await plane.clock.advance(10_000);
  expect(plane.updates.length).toBe(updates);
  expect(worker.assignments.length).toBe(told);

  await plane.writeVersion('m7', 2);
  await plane.until(() => plane.version('m7', 1)?.state === 'END');
  await plane.until(() => worker.available().length === MODELS);
  expect(worker.available()).toContain('m7@2');
  expect(new Set(plane.updates.slice(updates).flatMap(({ models }) => models.map(({ name }) => name)))).toEqual(new Set(['m7']));
});

test('a worker that comes takes up models at rest, and one that goes is missed', async () => {
  await using plane = await startControlPlane();
  for (const name of ['a', 'b']) await plane.writeVersion(name, 1);
  const first = await plane.worker('worker-a');
  const list = ['a', 'b'].map((name) => `config { name: "${name}" base_path: "${join(plane.folder, name)}" model_platform: "onnx" }`);
  await plane.registry(['--version_settle_ms=0'], { defaultConfigText: `model_config_list { ${list.join(' ')} }` });
  await plane.until(() => first.available().length === 2);
  await plane.clock.advance(10_000);
  const second = await plane.worker('worker-b');
  await plane.until(() => second.available().length === 2);
  await plane.clock.advance(10_000);
  first.die();
  await plane.clock.advance(10_000);
  const third = await plane.worker('worker-c');
  await plane.until(() => third.available().length === 2);
  expect(['a', 'b'].map((name) => plane.version(name, 1)?.state)).toEqual(['AVAILABLE', 'AVAILABLE']);
});
