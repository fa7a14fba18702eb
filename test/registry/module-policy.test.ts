import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { startControlPlane } from './harness.ts';

const PATIENT = '--user_code_call_limit_ms=100000000';

/** A control plane with a worker and a registry whose policy is this text, serving version 1 of model `m`. */
async function startWithPolicy(text: string, flags: readonly string[] = [PATIENT]) {
  const plane = await startControlPlane();
  const file = join(plane.folder, 'policy.ts');
  await writeFile(file, text);
  await plane.writeVersion('m', 1);
  const worker = await plane.worker('worker-a');
  const args = [`--transition_policy_module=${file}`, '--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`, ...flags];
  const registry = await plane.registry(args);
  await plane.until(() => plane.version('m', 1)?.routable);
  return { plane, worker, registry, file };
}

const text = (plane: Awaited<ReturnType<typeof startControlPlane>>) =>
  plane.table.get('m')?.versions.find(({ state }) => state === 'AVAILABLE')?.status.message ?? '';

describe('a policy of a module', () => {
  test('decides: one that unloads first leaves a gap, as it wants', async () => {
    const { plane, worker } = await startWithPolicy(`
export default (versions: readonly { version: number; aspired: boolean; state: string }[]) => {
  const old = versions.find(({ aspired, state }) => !aspired && state === 'available');
  if (old) return { type: 'unload', version: old.version };
  const fresh = versions.find(({ aspired, state }) => aspired && state === 'new');
  const busy = versions.some(({ aspired }) => !aspired);
  return fresh && !busy ? { type: 'load', version: fresh.version } : null;
};`);
    await using _plane = plane;
    const before = worker.assignments.length;
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.version('m', 2)?.routable);
    const held = worker.assignments.slice(before).map(({ servables }) => servables.map(({ id }) => id.version).join());
    expect(held).toEqual(['', '2']);
    expect(text(plane)).toBe('');
  });

  test.each<[string, string, string]>([
    ['throws', `throw new Error('no idea')`, 'decision of model m failed: no idea'],
    [
      'returns something else',
      `return 'load 2'`,
      "decision of model m failed: it returned neither null nor {type: 'load' or 'unload', version}",
    ],
    ['loads what is loaded', `return { type: 'load', version: 1 }`, 'for model m it wants to load version 1, but version 1 is'],
    ['unloads what is aspired', `return { type: 'unload', version: versions[0].version }`, 'for model m it wants to unload version'],
    [
      'names a version that is not there',
      `return { type: 'load', version: 77 }`,
      'it wants to load version 77, but there is no version 77',
    ],
    ['wants nothing, ever', 'return null', 'it wants nothing done, but none of its versions is loaded or on its way'],
    ['exits', 'process.exit(5)', 'ended its thread with exit code 5'],
  ])('that %s is overruled by availability_preserving and reported', async (_, body, why) => {
    const { plane, file } = await startWithPolicy(`export default (versions) => { ${body} };`);
    await using _plane = plane;
    const named = (line: string) => line.startsWith(`transition policy ${file}`) && line.includes(why);
    expect(plane.logs.some((line) => named(line) && line.endsWith('; availability_preserving decided instead'))).toBe(true);
    if (body === 'return null') return;
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.version('m', 2)?.routable && plane.version('m', 1)?.state === 'END');
    if (!body.includes('return null')) expect(text(plane)).toContain('availability_preserving decided instead');
  });

  test('that hangs is overruled at its limit', async () => {
    const { plane } = await startWithPolicy('export default () => { for (;;); };', ['--user_code_call_limit_ms=3000']);
    await using _plane = plane;
    expect(text(plane)).toMatch(/decision of model m did not end within 3000 ms \(--user_code_call_limit_ms\); availability_preserving/);
    expect(plane.version('m', 1)).toMatchObject({ state: 'AVAILABLE', routable: true });
  });

  test('is asked no more about the same versions, and not at all about a model that goes', async () => {
    const { plane } = await startWithPolicy(`
let asked = 0;
export default (versions) => {
  console.log('asked ' + ++asked);
  const fresh = versions.find(({ aspired, state }) => aspired && state === 'new');
  return fresh ? { type: 'load', version: fresh.version } : null;
};`);
    await using _plane = plane;
    await plane.clock.advance(20_000);
    const lines = () => plane.logs.filter((line) => line === 'user code printed a line').length;
    await plane.until(() => lines() > 0);
    const asked = lines();
    expect(asked).toBeLessThan(6);
    await plane.clock.advance(20_000);
    expect(lines()).toBe(asked);
    await plane.ask({ type: 'remove-model', name: 'm', expectedRevision: null });
    await plane.until(() => !plane.table.has('m'));
    expect(lines()).toBe(asked);
  });
});
