import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import { servableModules, servablePlatform } from '../../services/worker-gpu/servable-modules.ts';
import { assigned } from './models.ts';

const ROOT = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'headrace-modules-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Long enough for a process to start on a busy machine. */
const limits = { clock: createSystemClock(), limitMs: 30_000, memoryBytes: 2 ** 27 };
const version = assigned('m', folder, { platform: 'own' });

/** Prepares a version with a module of this source. */
async function prepare(name: string, source: string, { signal = new AbortController().signal, limitMs = limits.limitMs } = {}) {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, source);
  const platform = servablePlatform({ name: 'own', file }, { ...limits, limitMs });
  const prepared = await platform.prepare?.(version, signal);
  return { prepared, userCode: await platform.userCode?.(version, prepared) };
}
const estimating = (body: string) => `export default (path, { name, version }) => ({ estimate() { ${body} }, load() {} });`;

describe('a servable module', () => {
  test('says what a version will take, and is another one when its file changes', async () => {
    const first = await prepare('good', estimating('return 1000.5;'));
    expect(first.prepared).toMatchObject({ memoryBytes: 1001, module: { name: 'own' } });
    expect(first.userCode?.names).toEqual(['servable module own']);
    const second = await prepare('good', estimating('return version;'));
    expect(second.prepared).toMatchObject({ memoryBytes: 1 });
    expect(second.prepared?.module?.url).not.toBe(first.prepared?.module?.url);
    expect(second.userCode?.group).not.toBe(first.userCode?.group);
  }, 60_000);

  test.each([
    ['no function', 'export default 7;', 'INVALID_ARGUMENT', 'has no default export that is a function'],
    ['a mistake', 'export default (;', 'INVALID_ARGUMENT', 'the servable module own, cannot be imported'],
    ['no number', estimating('return "much";'), 'INTERNAL', 'the estimate is much, which is no number of bytes'],
    ['a status', estimating('throw Object.assign(new Error("gone"), { code: "NOT_FOUND" });'), 'NOT_FOUND', 'gone'],
    ['an end', estimating('process.exit(3);'), 'INTERNAL', 'servable module own ended its process (code 3) estimating'],
  ])(
    'that has %s fails with its name',
    async (what, source, code, why) => {
      const outcome = prepare(what.replaceAll(' ', '-'), source);
      await expect(outcome).rejects.toMatchObject({ code, message: expect.stringContaining(why) });
    },
    60_000,
  );

  test('that does not come to an end is ended', async () => {
    const outcome = prepare('no-end', estimating('for (;;);'), { limitMs: 1000 });
    const why = 'servable module own took longer than 1000 ms (--user_code_call_limit_ms) estimating';
    await expect(outcome).rejects.toMatchObject({ code: 'INTERNAL', message: expect.stringContaining(why) });
  });

  test('is not waited for when the version is not wanted any more', async () => {
    const unwanted = new AbortController();
    const outcome = prepare('slow', estimating('return new Promise(() => setTimeout(() => {}, 60000));'), unwanted);
    unwanted.abort(new ServeError('CANCELLED', 'not wanted any more'));
    await expect(outcome).rejects.toThrow('not wanted any more');
  });

  test('that comes with Headrace is there, unless another takes its name', () => {
    const image = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n');
    for (const { file } of servableModules('')) {
      expect(existsSync(file)).toBe(true);
      expect(image).toContain(`!${relative(ROOT, file)}`);
    }
    expect(servableModules('').map(({ name }) => name)).toEqual(['hashmap']);
    expect(servableModules('hashmap=/x/own.ts,b=/x/b.ts')).toEqual([
      { name: 'hashmap', file: '/x/own.ts' },
      { name: 'b', file: '/x/b.ts' },
    ]);
  });
});
