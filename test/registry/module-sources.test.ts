import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createMemoryStateStore } from '#mesh/state-store-memory.ts';
import type { RegistryDeps } from '../../services/registry/index.ts';
import { say, writeActingModule } from './acting-source.ts';
import { type ControlPlane, startControlPlane } from './harness.ts';

/** The fake clock runs far ahead of threads: only tests of the limit give calls less than this. */
const PATIENT = '--user_code_call_limit_ms=100000000';

/** A control plane with a registry whose models `names` are found by the acting module, and a worker. */
async function startActing(names: readonly string[], flags: readonly string[] = [PATIENT]) {
  const plane = await startControlPlane();
  const { file, diary } = writeActingModule(plane.folder);
  const location = (name: string) => join(plane.folder, `${name}.json`);
  const paths = new Map<string, string>();
  for (const name of names) {
    const path = await plane.writeVersion(`elsewhere-${name}`, 7);
    paths.set(name, path);
    await say(location(name), { versions: [{ version: 1, path }] });
  }
  const config = names.map((name) => `config { name: "${name}" base_path: "acting:${location(name)}" }`).join(' ');
  await plane.worker('worker-a');
  const start = (extra: Partial<RegistryDeps> = {}) =>
    plane.registry([`--source_modules=acting=${file}`, ...flags], { defaultConfigText: `model_config_list { ${config} }`, ...extra });
  const registry = await start();
  const pathOf = (name: string) => paths.get(name) ?? '';
  return { plane, registry, start, location, pathOf, diary: () => readFile(diary, 'utf8') };
}

const status = (plane: ControlPlane, model: string) => plane.table.get(model)?.versions[0]?.status.message ?? '';

describe('a module that is polled', () => {
  test('finds versions in folders of any name, and its list is followed', async () => {
    const { plane, location, pathOf } = await startActing(['m']);
    await using _plane = plane;
    await plane.until(() => plane.version('m', 1)?.routable);
    const second = await plane.writeVersion('elsewhere-m', 8);
    await say(location('m'), {
      versions: [
        { version: 1, path: pathOf('m') },
        { version: 4, path: second },
      ],
    });
    await plane.until(() => plane.version('m', 4)?.state === 'AVAILABLE' && plane.version('m', 1)?.state === 'END');
    await say(location('m'), { versions: [] });
    await plane.until(() => plane.version('m', 4)?.state === 'END');
  });

  test.each<[string, object, string]>([
    ['throws', { act: 'throw' }, 'source module acting: find of model m failed: the catalogue is on fire'],
    ['returns something else', { versions: 7 }, 'source module acting: find of model m failed: expected a list of versions, found 7'],
    [
      'lists a version twice',
      {
        versions: [
          { version: 1, path: '/a' },
          { version: 1, path: '/b' },
        ],
      },
      'source module acting: find of model m failed: version 1 is in the list twice',
    ],
    ['exits', { act: 'exit' }, 'source module acting ended its thread with exit code 3 in find of model m'],
    [
      'leaves an error uncaught',
      { act: 'reject' },
      'source module acting ended its thread by an error that nothing caught: nobody catches this in find of model m',
    ],
  ])('that %s is named in status and log, keeps what is loaded, and goes on afterwards', async (_, told, text) => {
    const { plane, location, pathOf } = await startActing(['m']);
    await using _plane = plane;
    await plane.until(() => plane.version('m', 1)?.routable);
    await say(location('m'), told as { versions: unknown });
    await plane.until(() => status(plane, 'm') === text, 'the status');
    expect(plane.logs).toContain(text);
    expect(plane.version('m', 1)).toMatchObject({ state: 'AVAILABLE', routable: true });
    await say(location('m'), { versions: [{ version: 1, path: pathOf('m') }] });
    await plane.until(() => status(plane, 'm') === '');
    expect(plane.version('m', 1)).toMatchObject({ state: 'AVAILABLE', routable: true });
  });

  test.each(['hang', 'wait'])('that does not answer (%s) is stopped at its limit, and the models beside it go on', async (act) => {
    const { plane, location, pathOf } = await startActing(['m', 'n'], ['--user_code_call_limit_ms=20000']);
    await using _plane = plane;
    await plane.until(() => plane.version('m', 1)?.routable && plane.version('n', 1)?.routable);
    await say(location('m'), { act });
    const text = 'source module acting: find of model m did not end within 20000 ms (--user_code_call_limit_ms)';
    await plane.until(() => status(plane, 'm') === text, 'the status');
    const second = await plane.writeVersion('elsewhere-n', 8);
    await say(location('n'), { versions: [{ version: 2, path: second }] });
    await plane.until(() => plane.version('n', 2)?.routable);
    expect(plane.version('m', 1)).toMatchObject({ state: 'AVAILABLE', routable: true });
    await say(location('m'), { versions: [{ version: 3, path: pathOf('m') }] });
    await plane.until(() => plane.version('m', 3)?.routable);
  });

  test.each(['heap', 'buffers'])('that allocates without end (%s) is stopped at its limit', async (act) => {
    const { plane, location } = await startActing(['m'], [PATIENT, `--user_code_memory_limit_bytes=${64 * 1024 * 1024}`]);
    await using _plane = plane;
    await plane.until(() => plane.version('m', 1)?.routable);
    await say(location('m'), { act });
    const text = 'source module acting held more than 67108864 bytes (--user_code_memory_limit_bytes) in find of model m';
    await plane.until(() => status(plane, 'm') === text, 'the status');
    expect(plane.logs).toContain('user code lost its thread');
    expect(plane.version('m', 1)).toMatchObject({ state: 'AVAILABLE', routable: true });
  });

  test('that fails from the start is in the status of a model without versions, and lets the registry go on', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('good', 1);
    const file = join(plane.folder, 'broken.ts');
    await writeFile(file, 'export default 7;');
    await plane.worker('worker-a');
    const registry = await plane.registry([`--source_modules=broken=${file}`, PATIENT], {
      defaultConfigText: `model_config_list { config { name: "m" base_path: "broken:" } config { name: "good" base_path: "${plane.folder}/good" } }`,
    });
    await plane.during(registry.initialLoad);
    await plane.until(() => status(plane, 'm') !== '');
    expect(plane.version('m', 0)).toMatchObject({
      state: 'END',
      status: {
        code: 'INTERNAL',
        message: `source module broken: start of model m failed: ${file} has no default export that is a function`,
      },
    });
    expect(plane.version('good', 1)).toMatchObject({ state: 'AVAILABLE', routable: true });
  });
});

describe('a module that pushes', () => {
  const PUSHING = `import { readFileSync, watchFile, unwatchFile } from 'node:fs';
export default ({ location }) => ({
  start(aspire, failed) {
    const read = () => {
      const told = JSON.parse(readFileSync(location, 'utf8'));
      if (told.act === 'exit') process.exit(0);
      if (told.act) failed(new Error('the watch broke')); else aspire(told.versions);
    };
    read();
    watchFile(location, { interval: 5 }, read);
  },
  stop: () => unwatchFile(location),
});
`;

  test('is followed without being asked, is heard when it cannot tell, and is started again when it loses its thread', async () => {
    await using plane = await startControlPlane();
    const file = join(plane.folder, 'pushing.mjs');
    const location = join(plane.folder, 'm.json');
    await writeFile(file, PUSHING);
    const path = await plane.writeVersion('elsewhere', 1);
    await say(location, { versions: [{ version: 1, path }] });
    await plane.worker('worker-a');
    await plane.registry([`--source_modules=pushing=${file}`, PATIENT, '--model_name=m', `--model_base_path=pushing:${location}`]);
    await plane.until(() => plane.version('m', 1)?.routable);
    await say(location, { versions: [{ version: 2, path }] });
    await plane.until(() => plane.version('m', 2)?.routable);
    await say(location, { act: 'fail' });
    await plane.until(() => status(plane, 'm') === 'source module pushing: the watch broke');
    await say(location, { act: 'exit' });
    await plane.until(() => status(plane, 'm').startsWith('source module pushing ended its thread with exit code 0'));
    expect(plane.version('m', 2)).toMatchObject({ state: 'AVAILABLE', routable: true });
    await say(location, { versions: [{ version: 3, path }] });
    await plane.until(() => plane.version('m', 3)?.routable && status(plane, 'm') === '');
  });
});

describe('sources and leadership', () => {
  test('sources start with leadership and stop with it, and the next leader takes over without a pause', async () => {
    const { plane, registry, start, diary } = await startActing(['m']);
    await using _plane = plane;
    const second = await start();
    await plane.until(() => plane.version('m', 1)?.routable);
    expect(second.leading).toBe(false);
    expect(await diary()).toBe('begin m\n');
    await registry[Symbol.asyncDispose]();
    expect(await diary()).toBe('begin m\nend m\n');
    const before = plane.updates.length;
    await plane.until(() => second.leading && plane.updates.length > before);
    await plane.clock.advance(3000);
    for (let rounds = 0; rounds < 100 && (await diary()) !== 'begin m\nend m\nbegin m\n'; rounds++) await plane.clock.advance(20);
    for (const { models } of plane.updates.slice(before)) expect(models[0]?.versions[0]).toMatchObject({ version: 1, routable: true });
  });

  test('a leader that knows nothing from before, and whose source fails, keeps what workers hold', async () => {
    const { plane, registry, start, location, pathOf } = await startActing(['m']);
    await using _plane = plane;
    await plane.until(() => plane.version('m', 1)?.routable);
    await say(location('m'), { act: 'throw' });
    await registry[Symbol.asyncDispose]();
    await start({ store: createMemoryStateStore({ clock: plane.clock }) });
    await plane.until(() => plane.version('m', 1)?.routable && status(plane, 'm').includes('on fire'));
    await plane.clock.advance(5000);
    expect(plane.version('m', 1)).toMatchObject({ state: 'AVAILABLE', routable: true });
    await say(location('m'), { versions: [{ version: 2, path: pathOf('m') }] });
    await plane.until(() => plane.version('m', 2)?.routable && plane.version('m', 1)?.state === 'END');
  });

  test('a source that is no longer configured is stopped', async () => {
    const { plane, diary } = await startActing(['m', 'n']);
    await using _plane = plane;
    await plane.until(() => plane.version('m', 1)?.routable && plane.version('n', 1)?.routable);
    await plane.ask({ type: 'remove-model', name: 'm', expectedRevision: null });
    await plane.until(() => !plane.table.has('m'));
    expect((await diary()).split('\n').filter((line) => line.startsWith('end'))).toEqual(['end m']);
    expect(plane.version('n', 1)?.routable).toBe(true);
  });
});

describe('settings', () => {
  test.each([
    ['--source_modules=etcd', 'INVALID_ARGUMENT', '--source_modules: expected NAME=FILE, found "etcd"'],
    ['--source_modules=a=/nowhere/a.ts', 'NOT_FOUND', '--source_modules: there is no file /nowhere/a.ts'],
    ['--source_modules=a=x,a=y', 'INVALID_ARGUMENT', '--source_modules names a twice'],
    ['--transition_policy_module=/nowhere/p.ts', 'NOT_FOUND', '--transition_policy_module: there is no file /nowhere/p.ts'],
  ])('%s stops the start', async (flag, code, message) => {
    await using plane = await startControlPlane();
    await expect(plane.registry([flag], { defaultConfigText: 'model_config_list { }' })).rejects.toMatchObject({ code, message });
  });

  test('a base path may begin with the name of a module and no other', async () => {
    const { plane } = await startActing([]);
    await using _plane = plane;
    await plane.until(() => plane.logs.includes('this registry leads'));
    const put = (basePath: string) =>
      plane.ask({ type: 'put-model', modelText: `name: "x" base_path: "${basePath}"`, expectedRevision: null, timeoutMs: 100 });
    expect(await put('etcd:x')).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'Expected model x to have an absolute path or URI; got base_path()=etcd:x (--source_modules has no module named etcd)',
    });
    expect(await put('relative/path')).toMatchObject({
      message: 'Expected model x to have an absolute path or URI; got base_path()=relative/path',
    });
  });
});
