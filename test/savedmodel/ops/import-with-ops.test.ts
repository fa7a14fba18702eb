import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import { customOpModels } from '../../../examples/custom-ops/make-models.ts';
import { createPlanStore, type ObtainedPlan, type OpSources } from '../../../savedmodel/cache/plan-store.ts';
import { readPlan } from '../../../savedmodel/plan/run/index.ts';
import { FUNCTION_MODULE, kernelModule } from '../../extend/zero-out-modules.ts';

const HALF_PLUS_TWO = join(import.meta.dirname, '../../../examples/savedmodels/half_plus_two/1');
const never = new AbortController().signal;

/** A store over a folder with the model `zero_out` and the library `ops`. */
function rig(options: Partial<OpSources> & { readonly callMs?: number; readonly memoryBytes?: number } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-ops-'));
  const put = (file: string, content: string | Uint8Array) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), content);
  };
  put('zero_out/saved_model.pb', customOpModels().get('zero_out/1/saved_model.pb') ?? '');
  mkdirSync(join(folder, 'ops'));
  const imported: string[] = [];
  const { callMs = 20_000, memoryBytes = 2 ** 30, libraries = [join(folder, 'ops')], allowModelCode = false } = options;
  const store = createPlanStore({
    cacheFolder: join(folder, 'cache'),
    cacheMaxBytes: 0,
    clock: createSystemClock(),
    onImported: (facts) => imported.push(facts.folder),
    ops: { libraries, allowModelCode, bounds: { callMs, memoryBytes } },
  });
  return {
    put,
    imported,
    entries: () => readdirSync(join(folder, 'cache')),
    obtain: (path = join(folder, 'zero_out'), digest = ''): Promise<ObtainedPlan> =>
      store.obtain({ folder: path, digest, tags: ['serve'] }, { signal: never, onProgress: () => {} }),
    [Symbol.dispose]() {
      store[Symbol.dispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

describe('an import', () => {
  test('of a model with custom ops is made once for one content of the library, and anew for another', async () => {
    using one = rig();
    one.put('ops/zero.ts', kernelModule());
    const first = await one.obtain();
    expect((await readPlan(first.folder)).ops).toEqual([
      { name: 'ZeroOut', domain: 'custom', form: 'kernel', module: first.modules[0]?.digest },
    ]);
    expect((await one.obtain()).address).toBe(first.address);
    expect((await one.obtain(undefined, first.digest)).address).toBe(first.address);
    expect(one.imported.length).toBe(1);
    one.put('ops/zero.ts', kernelModule({ times: 2 }));
    const second = await one.obtain(undefined, first.digest);
    expect(second.address).not.toBe(first.address);
    expect(one.imported.length).toBe(2);
  });

  test('of a model that needs no custom op runs no code of the library, and its plan is the same with and without one', async () => {
    using one = rig();
    using other = rig({ libraries: [] });
    one.put('ops/broken.ts', 'while (true);');
    const plan = await one.obtain(HALF_PLUS_TWO);
    expect(plan.address).toBe((await other.obtain(HALF_PLUS_TWO)).address);
    expect((await readPlan(plan.folder)).ops).toBeUndefined();
  });

  test('finds the modules of the version folder only where that is allowed', async () => {
    using closed = rig();
    using open = rig({ allowModelCode: true });
    for (const one of [closed, open]) one.put('zero_out/assets.extra/ops/zero.js', kernelModule());
    await expect(closed.obtain()).rejects.toMatchObject({ code: 'UNIMPLEMENTED', message: expect.stringContaining('--op_library') });
    expect((await open.obtain()).modules.map(({ path }) => path)).toEqual([expect.stringMatching(/assets\.extra\/ops\/zero\.js$/)]);
  });

  test('fails for a library that is not there only where it is needed', async () => {
    using one = rig({ libraries: ['/nowhere/ops.ts'] });
    await expect(one.obtain()).rejects.toMatchObject({ code: 'NOT_FOUND', message: 'the op library /nowhere/ops.ts is not there' });
    expect((await one.obtain(HALF_PLUS_TWO)).digest).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('a module of the library', () => {
  const broken = 'INVALID_ARGUMENT';
  test.each([
    ['that throws', "throw new Error('no luck');", broken, /ops\/zero\.ts cannot be imported: no luck/],
    ['that is no code', 'export default [;', broken, /ops\/zero\.ts cannot be imported: /],
    ['that exports no ops', 'export const op = 1;', broken, /ops\/zero\.ts exports no list of ops, .*it exports op/],
    ['with a wrong definition', 'export default [{ name: "Z" }];', broken, /ops\/zero\.ts: op Z is wrong: "form" is missing/],
    [
      'that defines an op twice',
      `${kernelModule()}export const ops = [...[0, 0].map(() => ({ name: 'Z', form: 'kernel', outputs: [{ dtype: 'float' }], run() {} }))];`,
      broken,
      /ops\/zero\.ts: op Z of the domain custom is defined twice/,
    ],
    [
      'that leaves',
      'process.exit(7);',
      'INTERNAL',
      /zero_out cannot be imported: .*ops\/zero\.ts ended its thread, which left with code 7/,
    ],
    ['that never ends', 'while (true);', 'DEADLINE_EXCEEDED', /ops\/zero\.ts did not end within 700 ms \(--user_code_call_limit_ms\)/],
    [
      'whose shapes never end',
      FUNCTION_MODULE.replace('outputs:', 'shapes: () => { for (;;); }, outputs:'),
      'DEADLINE_EXCEEDED',
      /"shapes" of op ZeroOut in .*ops\/zero\.ts did not end within 700 ms/,
    ],
    [
      'that takes memory without end',
      'const held = []; for (;;) held.push(new Uint8Array(2 ** 20).fill(1));',
      'RESOURCE_EXHAUSTED',
      /ops\/zero\.ts took \d+ bytes of memory, 67108864 is the limit \(--user_code_memory_limit_bytes\)/,
    ],
  ])('%s fails the import by its name, and leaves nothing behind', async (_, source, code, message) => {
    using one = rig({ callMs: /memory/.test(message.source) ? 20_000 : 700, memoryBytes: 64 * 2 ** 20 });
    one.put('ops/zero.ts', source);
    await expect(one.obtain()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(one.entries()).toEqual([]);
  });

  test('may leave timers behind', async () => {
    using one = rig();
    one.put('ops/zero.ts', kernelModule({ more: 'setInterval(() => {}, 10);' }));
    expect((await one.obtain()).modules).toHaveLength(1);
  });

  test('and another that defines the same op are both named', async () => {
    using one = rig();
    one.put('ops/one.ts', kernelModule());
    one.put('ops/two.ts', kernelModule());
    await expect(one.obtain()).rejects.toThrow(/ops\/two\.ts: op ZeroOut of the domain custom is defined also in .*ops\/one\.ts/);
  });
});
