import { mkdir, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseModelServerConfigText } from '#proto/model-server-config.ts';
import { type ControlPlane, onnxBytes, startControlPlane } from './harness.ts';

/** A ModelServerConfig of these models under the control plane's folder; a value may add fields. */
function configOf(plane: ControlPlane, models: Readonly<Record<string, string>>): string {
  const entries = Object.entries(models).map(
    ([name, fields]) => `config { name: "${name}" base_path: "${join(plane.folder, name)}" model_platform: "tensorflow" ${fields} }`,
  );
  return `model_config_list { ${entries.join(' ')} }`;
}

const ALL = 'model_version_policy { all {} }';

describe('a registry', () => {
  test('loads the latest version on every worker and tells gateways', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    await plane.writeVersion('m', '0002');
    const workers = [await plane.worker('worker-a'), await plane.worker('worker-b')];
    const registry = await plane.registry([`--model_name=m`, `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.during(registry.initialLoad);
    await plane.until(() => workers.every((worker) => worker.available().includes('m@2')));
    expect(plane.table.get('m')?.versions).toMatchObject([{ version: 2, state: 'AVAILABLE', routable: true }]);
    expect(plane.version('m', 2)?.signatures).toHaveProperty('serving_default');
    expect(workers[0]?.assignments.at(-1)?.servables[0]).toMatchObject({
      path: join(plane.folder, 'm', '0002'),
      platform: 'onnx',
      generation: 1,
    });
    expect(plane.logs).toContain('Adding/updating models.');
    expect(plane.logs).toContain(' (Re-)adding model: m');
    expect(plane.logs).toContain('Successfully loaded servable version {name: m version: 2}');
  });

  test('replaces a version without a moment in which none is routable, and unroutes it before it unloads it', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.until(() => plane.version('m', 1)?.routable);
    const before = plane.updates.length;
    await plane.writeVersion('m', 2);
    let unroutedAtMs = 0;
    let unassignedAtMs = 0;
    await plane.until(() => {
      if (unroutedAtMs === 0 && plane.version('m', 1)?.routable === false) unroutedAtMs = plane.clock.now();
      if (unassignedAtMs === 0 && !worker.assignments.at(-1)?.servables.some(({ id }) => id.version === 1))
        unassignedAtMs = plane.clock.now();
      return plane.version('m', 1)?.state === 'END';
    });
    for (const update of plane.updates.slice(before)) {
      for (const model of update.models) expect(model.versions.some((version) => version.routable)).toBe(true);
    }
    expect(unassignedAtMs - unroutedAtMs).toBeGreaterThanOrEqual(230);
    const states = plane.updates.flatMap(({ models }) =>
      models.flatMap(({ versions }) => versions.filter(({ version }) => version === 1).map(({ state }) => state)),
    );
    expect([...new Set(states.slice(-4))]).toEqual(['AVAILABLE', 'UNLOADING', 'END']);
  });

  test('keeps the old version when the new one fails to load, and says why', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    worker.failing.set('m@2', 'out of paper');
    await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.until(() => plane.version('m', 1)?.routable);
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.version('m', 2)?.state === 'END');
    await plane.clock.advance(5000);
    expect(plane.version('m', 2)).toMatchObject({ routable: false, status: { code: 'INTERNAL', message: 'out of paper' } });
    expect(plane.version('m', 1)).toMatchObject({ routable: true, state: 'AVAILABLE' });
  });

  test('never loads a half-copied version: neither one that grows nor one that was cut off', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.until(() => plane.version('m', 1)?.routable);
    const path = join(plane.folder, 'm', '2');
    await mkdir(path);
    const whole = onnxBytes('a graph that takes a while to copy');
    for (let bytes = 5; bytes < whole.byteLength; bytes += 5) {
      await writeFile(join(path, 'model.onnx'), whole.subarray(0, bytes));
      for (let step = 0; step < 5; step++) {
        await plane.clock.advance(60);
        await new Promise<void>((resolve) => setTimeout(resolve, 5));
      }
      expect(plane.version('m', 2)).toBeUndefined();
    }
    await plane.until(() => plane.version('m', 2)?.state === 'END');
    expect(plane.version('m', 2)?.status).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(plane.version('m', 2)?.status.message).toContain('it is cut off');
    expect(worker.assignments.flatMap(({ servables }) => servables.map(({ id }) => id.version))).not.toContain(2);
    expect(plane.version('m', 1)).toMatchObject({ state: 'AVAILABLE', routable: true });
    await writeFile(join(path, 'model.onnx'), whole);
    await plane.until(() => plane.version('m', 2)?.routable);
  });

  test('loads files that were replaced under the same number, and serves the old ones until then', async () => {
    await using plane = await startControlPlane();
    const path = await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.until(() => plane.version('m', 1)?.routable);
    await writeFile(join(path, 'model.onnx'), onnxBytes('another graph'));
    await plane.until(() => worker.assignments.at(-1)?.servables[0]?.generation === 2);
    await plane.until(() => plane.version('m', 1)?.state === 'AVAILABLE');
    for (const { models } of plane.updates.slice(4)) expect(models[0]?.versions[0]?.routable).toBe(true);
  });

  test('gives a version that was deleted and comes back with other files a new generation', async () => {
    await using plane = await startControlPlane();
    const path = await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.until(() => plane.version('m', 1)?.routable);
    await rename(path, join(plane.folder, 'away'));
    await plane.until(() => plane.version('m', 1)?.state === 'END');
    await plane.writeVersion('m', 1, 'other files');
    await plane.until(() => plane.version('m', 1)?.routable);
    expect(worker.assignments.at(-1)?.servables[0]?.generation).toBe(2);
  });

  test('keeps what is loaded when the base path vanishes, and unloads a version whose folder does', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    await plane.writeVersion('m', 2);
    await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { m: ALL }));
    await plane.registry([`--model_config_file=${config}`]);
    await plane.until(() => plane.version('m', 1)?.routable && plane.version('m', 2)?.routable);
    await rename(join(plane.folder, 'm'), join(plane.folder, 'gone'));
    await plane.until(() =>
      plane.logs.some((line) => line.startsWith(`Could not find base path ${join(plane.folder, 'm')} for servable m`)),
    );
    await plane.clock.advance(5000);
    expect(plane.version('m', 1)?.routable && plane.version('m', 2)?.routable).toBe(true);
    await rename(join(plane.folder, 'gone'), join(plane.folder, 'm'));
    await rm(join(plane.folder, 'm', '2'), { recursive: true });
    await plane.until(() => plane.version('m', 2)?.state === 'END');
    expect(plane.version('m', 1)?.routable).toBe(true);
  });

  test('serves every good model although others are missing, broken or empty', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('good', 1);
    await mkdir(join(plane.folder, 'empty'));
    const broken = await plane.writeVersion('broken', 1, 'a graph');
    await truncate(join(broken, 'model.onnx'), 6);
    await mkdir(join(plane.folder, 'tf', '1'), { recursive: true });
    await writeFile(join(plane.folder, 'tf', '1', 'saved_model.pb'), 'x');
    await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { missing: '', broken: '', good: '', empty: '', tf: '' }));
    const registry = await plane.registry([`--model_config_file=${config}`]);
    await plane.during(registry.initialLoad);
    expect(plane.version('good', 1)?.routable).toBe(true);
    expect(plane.version('broken', 1)).toMatchObject({ state: 'END', status: { code: 'INVALID_ARGUMENT' } });
    expect(plane.version('tf', 1)).toMatchObject({
      state: 'END',
      status: { code: 'DATA_LOSS', message: expect.stringContaining('saved_model.pb') },
    });
    expect(plane.table.get('missing')?.versions).toEqual([]);
    const emptyPath = join(plane.folder, 'empty');
    expect(plane.logs).toContain(
      `No versions of servable empty found under base path ${emptyPath}. Did you forget to name your leaf directory as a number (eg. '/1/')?`,
    );
  });

  test('keeps a version routable while its workers are gone, and gives it to the next worker', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const first = await plane.worker('worker-a');
    await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.until(() => plane.version('m', 1)?.routable);
    first.die();
    await plane.clock.advance(3000);
    expect(plane.version('m', 1)).toMatchObject({ routable: true, state: 'LOADING' });
    const second = await plane.worker('worker-b');
    await plane.until(() => second.available().includes('m@1') && plane.version('m', 1)?.state === 'AVAILABLE');
  });

  test('loads a replica elsewhere before it takes it from a worker that drains', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const workers = [await plane.worker('worker-a'), await plane.worker('worker-b'), await plane.worker('worker-c')];
    await plane.registry(['--replicas=1', '--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.until(() => plane.version('m', 1)?.state === 'AVAILABLE');
    const holders = () => workers.filter((worker) => worker.available().includes('m@1'));
    const [holder] = holders();
    expect(holders().length).toBe(1);
    holder?.drain();
    await plane.until(() => {
      expect(holders().length).toBeGreaterThan(0);
      return !holder?.available().includes('m@1');
    });
    expect(holders().length).toBe(1);
  });

  test('reports a version that fits no worker with the numbers, and loads it once one has room', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1, 'x'.repeat(1000));
    await plane.worker('worker-a', { memoryLimitBytes: 500 });
    await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    await plane.until(() => plane.version('m', 1)?.state === 'END');
    expect(plane.version('m', 1)?.status).toEqual({
      code: 'RESOURCE_EXHAUSTED',
      message: 'Insufficient resources to load servable {name: m version: 1}: it needs 1206 bytes; worker-a has 500 of 500 bytes left',
    });
    await plane.worker('worker-b', { memoryLimitBytes: 5000 });
    await plane.until(() => plane.version('m', 1)?.routable);
  });

  test('takes the old version away first with resource_preserving', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    await plane.registry([
      '--aspired_version_policy=resource_preserving',
      '--model_name=m',
      `--model_base_path=${join(plane.folder, 'm')}`,
    ]);
    await plane.until(() => plane.version('m', 1)?.routable);
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.version('m', 2)?.routable);
    const held = worker.assignments.map(({ servables }) => servables.map(({ id }) => id.version).join());
    expect(held).not.toContain('2,1');
  });

  test('tells a worker again what it has not heard', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const registry = await plane.registry(['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`]);
    const worker = await plane.worker('worker-a');
    await plane.until(() => plane.version('m', 1)?.routable);
    const told = worker.assignments.length;
    await plane.clock.advance(10_000);
    expect(worker.assignments.length).toBe(told);
    expect(registry.leading).toBe(true);
  });
});

describe('the configuration', () => {
  test('is reloaded as a whole: new models come, others go, and the answer waits for the new', async () => {
    await using plane = await startControlPlane();
    for (const model of ['a', 'b', 'c']) await plane.writeVersion(model, 1);
    const worker = await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { a: '', b: '' }));
    const registry = await plane.registry([`--model_config_file=${config}`]);
    await plane.during(registry.initialLoad);
    const answer = await plane.ask({ type: 'reload', configText: configOf(plane, { b: '', c: '' }), timeoutMs: 10_000 });
    expect(answer.type).toBe('config');
    expect(plane.version('c', 1)?.routable).toBe(true);
    await plane.until(() => !plane.table.has('a') && !worker.available().includes('a@1'));
    expect([...plane.table.keys()].sort()).toEqual(['b', 'c']);
  });

  test.each([
    ['a broken text', 'model_config_list {', 'Error parsing text-format tensorflow.serving.ModelServerConfig'],
    [
      'another kind of configuration',
      'custom_model_config { }',
      'ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported',
    ],
    [
      'a model listed twice',
      'model_config_list { config { name: "x" base_path: "/x" } config { name: "x" base_path: "/y" } }',
      'Illegal to list model x multiple times in config list',
    ],
    [
      'a relative path',
      'model_config_list { config { name: "x" base_path: "x/y" } }',
      'Expected model x to have an absolute path or URI; got base_path()=x/y',
    ],
    [
      'an unknown platform',
      'model_config_list { config { name: "x" base_path: "/x" model_platform: "abacus" } }',
      'Model x requests unsupported platform abacus',
    ],
    [
      'type and platform',
      'model_config_list { config { name: "x" base_path: "/x" model_platform: "onnx" model_type: TENSORFLOW } }',
      'Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, model name is x',
    ],
    [
      'a changed platform',
      'model_config_list { config { name: "m" base_path: "/x" model_platform: "onnx" } }',
      "Illegal to change a model's platform. For model m platform was tensorflow and new platform requested is onnx",
    ],
  ])('is not replaced by %s', async (_, configText, message) => {
    await using plane = await startControlPlane();
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { m: '' }));
    await plane.registry([`--model_config_file=${config}`]);
    await plane.until(() => plane.updates.length > 0);
    const before = await plane.ask({ type: 'read-config' });
    expect(await plane.ask({ type: 'reload', configText, timeoutMs: 1000 })).toEqual({
      type: 'error',
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message),
    });
    expect(await plane.ask({ type: 'read-config' })).toEqual(before);
  });

  test('stays applied when a new model does not become available, and the answer says which and why', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('a', 1);
    await plane.writeVersion('bad', 3);
    const worker = await plane.worker('worker-a');
    worker.failing.set('bad@3', 'no such op');
    await plane.registry(['--model_name=a', `--model_base_path=${join(plane.folder, 'a')}`]);
    await plane.until(() => plane.version('a', 1)?.routable);
    expect(await plane.ask({ type: 'reload', configText: configOf(plane, { a: '', bad: '', none: '' }), timeoutMs: 10_000 })).toEqual({
      type: 'error',
      code: 'UNKNOWN',
      message: `2 model(s) did not become available: {{{name: bad version: 3} due to error: INTERNAL: no such op}, {{name: none} due to error: NOT_FOUND: Could not find base path ${join(plane.folder, 'none')} for servable none with error NOT_FOUND: ${join(plane.folder, 'none')} not found}, }`,
    });
    const read = await plane.ask({ type: 'read-config' });
    expect(read.type === 'config' && read.configText).toContain('"bad"');
    expect(plane.version('a', 1)?.routable).toBe(true);
  });

  test('reports what is still loading when the time is over', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('slow', 1);
    await plane.worker('worker-a', { loadMs: 30_000 });
    await plane.registry([], { defaultConfigText: 'model_config_list { }' });
    await plane.until(() => plane.logs.includes('this registry leads'));
    expect(await plane.ask({ type: 'reload', configText: configOf(plane, { slow: '' }), timeoutMs: 2000 })).toMatchObject({
      type: 'error',
      code: 'DEADLINE_EXCEEDED',
    });
  });

  test('is changed one model at a time, by compare-and-swap', async () => {
    await using plane = await startControlPlane();
    for (const model of ['a', 'b']) await plane.writeVersion(model, 1);
    await plane.worker('worker-a');
    await plane.registry(['--model_name=a', `--model_base_path=${join(plane.folder, 'a')}`]);
    await plane.until(() => plane.version('a', 1)?.routable);
    const modelText = `name: "b" base_path: "${join(plane.folder, 'b')}"`;
    const put = await plane.ask({ type: 'put-model', modelText, expectedRevision: 1, timeoutMs: 10_000 });
    expect(put).toMatchObject({ type: 'config', revision: 2 });
    expect(plane.version('b', 1)?.routable).toBe(true);
    expect(await plane.ask({ type: 'put-model', modelText, expectedRevision: 1, timeoutMs: 10_000 })).toEqual({
      type: 'error',
      code: 'ABORTED',
      message: 'the configuration is at revision 2; the change expected revision 1',
    });
    expect(await plane.ask({ type: 'remove-model', name: 'b', expectedRevision: 1 })).toMatchObject({ code: 'ABORTED' });
    expect(await plane.ask({ type: 'remove-model', name: 'b', expectedRevision: 2 })).toMatchObject({ revision: 3 });
    expect(await plane.ask({ type: 'remove-model', name: 'b', expectedRevision: null })).toMatchObject({ code: 'NOT_FOUND' });
    await plane.until(() => !plane.table.has('b'));
    expect(plane.version('a', 1)?.routable).toBe(true);
  });

  test('lets exactly one of two concurrent changes of the same revision through', async () => {
    await using plane = await startControlPlane();
    await plane.registry([], { defaultConfigText: 'model_config_list { }' });
    await plane.until(() => plane.logs.includes('this registry leads'));
    const put = (name: string) =>
      plane.ask({ type: 'put-model', modelText: `name: "${name}" base_path: "/nowhere/${name}"`, expectedRevision: 1, timeoutMs: 500 });
    const answers = await Promise.all([put('x'), put('y')]);
    expect(answers.filter((answer) => answer.type === 'error' && answer.code === 'ABORTED').length).toBe(1);
    const read = await plane.ask({ type: 'read-config' });
    expect(read.type === 'config' && parseModelServerConfigText(read.configText)).toMatchObject({
      type: 'list',
      models: [{ basePath: expect.any(String) }],
    });
  });

  test('follows its file when that changes, and keeps what runs when the file breaks', async () => {
    await using plane = await startControlPlane();
    for (const model of ['a', 'b']) await plane.writeVersion(model, 1);
    await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { a: '' }));
    await plane.registry([`--model_config_file=${config}`, '--model_config_file_poll_wait_seconds=1']);
    await plane.until(() => plane.version('a', 1)?.routable);
    await writeFile(config, 'model_config_list { broken');
    await plane.until(() => plane.logs.includes('PollFilesystemAndReloadConfig failed to ReloadConfig'));
    expect(plane.version('a', 1)?.routable).toBe(true);
    await writeFile(config, configOf(plane, { a: '', b: '' }));
    await plane.until(() => plane.version('b', 1)?.routable);
  });

  test('changed by RPC survives a restart, until flags or file themselves change', async () => {
    await using plane = await startControlPlane();
    for (const model of ['a', 'b', 'c']) await plane.writeVersion(model, 1);
    await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { a: '' }));
    const first = await plane.registry([`--model_config_file=${config}`]);
    await plane.during(first.initialLoad);
    await plane.ask({ type: 'reload', configText: configOf(plane, { b: '' }), timeoutMs: 10_000 });
    await plane.until(() => !plane.table.has('a'));
    await first[Symbol.asyncDispose]();
    const second = await plane.registry([`--model_config_file=${config}`]);
    await plane.during(second.initialLoad);
    expect([...plane.table.keys()]).toEqual(['b']);
    await second[Symbol.asyncDispose]();
    await writeFile(config, configOf(plane, { c: '' }));
    const third = await plane.registry([`--model_config_file=${config}`]);
    await plane.during(third.initialLoad);
    await plane.until(() => [...plane.table.keys()].join() === 'c');
  });
});

describe('labels', () => {
  test('bind when their version is available, and keep their old binding until then', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(
      config,
      configOf(plane, { m: `${ALL} version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }` }),
    );
    await plane.registry([`--model_config_file=${config}`, '--model_config_file_poll_wait_seconds=1']);
    await plane.until(() => plane.version('m', 1)?.routable);
    await plane.until(() => plane.table.get('m')?.labels.stable === 1);
    expect(plane.table.get('m')?.labels).toEqual({ stable: 1 });
    await writeFile(
      config,
      configOf(plane, { m: `${ALL} version_labels { key: "stable" value: 2 } version_labels { key: "canary" value: 2 }` }),
    );
    await plane.clock.advance(5000);
    expect(plane.table.get('m')?.labels).toEqual({ stable: 1 });
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.table.get('m')?.labels.stable === 2);
    expect(plane.table.get('m')?.labels).toEqual({ stable: 2, canary: 2 });
  });

  test('of a reload are refused for a version that is not there, and nothing is changed', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { m: ALL }));
    await plane.registry([`--model_config_file=${config}`]);
    await plane.until(() => plane.version('m', 1)?.routable);
    const reload = (label: string) => plane.ask({ type: 'reload', configText: configOf(plane, { m: `${ALL} ${label}` }), timeoutMs: 5000 });
    expect(await reload('version_labels { key: "canary" value: 9 }')).toEqual({
      type: 'error',
      code: 'FAILED_PRECONDITION',
      message: 'Request to assign label to version 9 of model m, which is not currently available for inference',
    });
    expect(await reload('version_labels { key: "stable" value: 1 }')).toMatchObject({ type: 'config', revision: 2 });
    await plane.until(() => plane.table.get('m')?.labels.stable === 1);
  });

  test('bind at once to an unavailable version with --allow_version_labels_for_unavailable_models, unless they name another', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { m: `${ALL} version_labels { key: "canary" value: 9 }` }));
    await plane.registry([`--model_config_file=${config}`, '--allow_version_labels_for_unavailable_models=true']);
    await plane.until(() => plane.version('m', 1)?.routable && plane.table.get('m')?.labels.canary === 9);
    const reload = (version: number) =>
      plane.ask({
        type: 'reload',
        configText: configOf(plane, { m: `${ALL} version_labels { key: "canary" value: ${version} }` }),
        timeoutMs: 5000,
      });
    expect(await reload(8)).toMatchObject({ code: 'FAILED_PRECONDITION' });
    expect(await reload(1)).toMatchObject({ type: 'config' });
    await plane.until(() => plane.table.get('m')?.labels.canary === 1);
  });

  test('survive a change of leader', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    await plane.worker('worker-a');
    const config = join(plane.folder, 'models.config');
    await writeFile(config, configOf(plane, { m: `${ALL} version_labels { key: "stable" value: 1 }` }));
    const first = await plane.registry([`--model_config_file=${config}`]);
    await plane.until(() => plane.table.get('m')?.labels.stable === 1);
    await first[Symbol.asyncDispose]();
    const before = plane.updates.length;
    await plane.registry([`--model_config_file=${config}`]);
    await plane.until(() => plane.updates.length > before);
    for (const { models } of plane.updates.slice(before))
      expect(models[0]).toMatchObject({ labels: { stable: 1 }, versions: [{ routable: true }] });
  });
});
