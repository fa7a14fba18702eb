import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { putLineVersion } from './line-models.ts';
import { type RunningMesh, startRunningMesh } from './running-mesh.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples/savedmodels');
const SHARED = join(import.meta.dirname, '../../../shared/models');
const hasModels = existsSync(join(SHARED, 'half_plus_three'));

/** An embedded mesh that serves copies of SavedModels from `<folder>/models`, with an import cache of its own. */
function startMesh(sources: readonly string[], flags: readonly string[] = [], prepare: (folder: string) => void = () => {}) {
  return startRunningMesh({
    prepare(folder) {
      for (const source of sources) cpSync(source, join(folder, 'models', basename(source)), { recursive: true });
      prepare(folder);
    },
    config: (folder) =>
      `model_config_list { ${readdirSync(join(folder, 'models'))
        .map((name) => `config { name: "${name}" base_path: "${join(folder, 'models', name)}" model_platform: "tensorflow" }`)
        .join(' ')} }`,
    flags: (folder) => [`--import_cache_dir=${join(folder, 'cache')}`, ...flags],
  });
}

async function predict(mesh: RunningMesh, model: string, body: object): Promise<{ readonly status: number; readonly document: unknown }> {
  const { status, text } = await mesh.send('POST', `/v1/models/${model}:predict`, JSON.stringify(body));
  return { status, document: JSON.parse(text) };
}

async function statusOf(mesh: RunningMesh, model: string): Promise<{ readonly state: string; readonly status: object }> {
  const { text } = await mesh.send('GET', `/v1/models/${model}`);
  return (JSON.parse(text) as { model_version_status: [{ state: string; status: object }] }).model_version_status[0];
}

const HALF_PLUS_TWO = join(EXAMPLES, 'half_plus_two');

describe('SavedModels in an embedded mesh', () => {
  test('half_plus_two is imported and answers', async () => {
    await using mesh = await startMesh([HALF_PLUS_TWO]);
    expect(await predict(mesh, 'half_plus_two', { instances: [1, 2, 5] })).toEqual({
      status: 200,
      document: { predictions: [2.5, 3, 4.5] },
    });
  });

  test('one that cannot be served says why in its status, and the others are served', async () => {
    await using mesh = await startMesh([HALF_PLUS_TWO], [], (folder) => {
      putLineVersion(join(folder, 'models', 'line'), 2);
      mkdirSync(join(folder, 'models', 'broken', '1'), { recursive: true });
      writeFileSync(join(folder, 'models', 'broken', '1', 'saved_model.pb'), 'not a protobuf message');
    });
    expect(await statusOf(mesh, 'broken')).toMatchObject({
      state: 'END',
      status: { error_message: expect.stringContaining('saved_model.pb') },
    });
    expect((await predict(mesh, 'half_plus_two', { instances: [2] })).document).toEqual({ predictions: [3] });
    expect((await predict(mesh, 'line', { instances: [2] })).document).toEqual({ predictions: [3] });
    expect(readdirSync(join(mesh.folder, 'cache'))).toHaveLength(1);
  });

  test('equal models are imported once, and wrong tags are refused in the words of TensorFlow', async () => {
    await using same = await startMesh([HALF_PLUS_TWO], [], (folder) =>
      cpSync(HALF_PLUS_TWO, join(folder, 'models', 'again'), { recursive: true }),
    );
    expect((await predict(same, 'again', { instances: [2] })).document).toEqual({ predictions: [3] });
    expect(readdirSync(join(same.folder, 'cache'))).toHaveLength(1);
    await using tagged = await startMesh([HALF_PLUS_TWO], ['--saved_model_tags=serve,gpu']);
    const { status } = await statusOf(tagged, 'half_plus_two');
    expect(status).toMatchObject({
      error_message: expect.stringContaining('Could not find meta graph def matching supplied tags: { serve gpu }'),
    });
  });
});

(hasModels ? describe : describe.skip)('SavedModels of others in an embedded mesh (skipped without ../shared)', () => {
  test('one with an op that cannot be served is refused by op and node', async () => {
    await using mesh = await startMesh([join(SHARED, 'zero_out')]);
    expect(await statusOf(mesh, 'zero_out')).toMatchObject({
      state: 'END',
      status: { error_code: 'UNIMPLEMENTED', error_message: expect.stringMatching(/op ZeroOut of node ZeroOut/) },
    });
  });

  test('a new version replaces the one before without a failed request, and labels follow', async () => {
    await using mesh = await startMesh([join(SHARED, 'half_plus_two')]);
    const ask = () => predict(mesh, 'half_plus_two', { instances: [2] });
    const staging = join(mesh.folder, 'staging');
    cpSync(join(SHARED, 'half_plus_three', '00000123'), staging, { recursive: true });
    renameSync(staging, join(mesh.folder, 'models', 'half_plus_two', '124'));
    const seen = new Set<string>();
    while (!seen.has('{"predictions":[4]}')) {
      const { status, document } = await ask();
      seen.add(status === 200 ? JSON.stringify(document) : `status ${status}`);
      if (seen.size > 2) break;
    }
    expect([...seen]).toEqual(['{"predictions":[3]}', '{"predictions":[4]}']);
    await mesh.embedded.core.putModel(
      `name: "half_plus_two" base_path: "${join(mesh.folder, 'models', 'half_plus_two')}" model_platform: "tensorflow" version_labels { key: "stable" value: 124 }`,
      null,
      10_000,
    );
    const { core } = mesh.embedded;
    await new Promise<void>((resolve) => {
      const look = () => core.labels('half_plus_two').stable === 124 && resolve();
      core.onRoutingChange(look);
      look();
    });
    const { text } = await mesh.send('POST', '/v1/models/half_plus_two/labels/stable:predict', '{"instances":[2]}');
    expect(JSON.parse(text)).toEqual({ predictions: [4] });
  });

  test('a servable that keeps state keeps one, whoever asks', async () => {
    await using mesh = await startMesh([join(SHARED, 'counter')], ['--enable_batching=true']);
    const raw = async (signature: string) => {
      const header = JSON.stringify({ signature_name: signature, inputs: [] });
      const { status, body } = await mesh.send('POST', '/v1/models/counter:predict', '', {
        'content-type': 'application/octet-stream',
        accept: 'application/octet-stream',
        'x-headrace-tensors': header,
      });
      expect(status).toBe(200);
      return body.readFloatLE();
    };
    await Promise.all(Array.from({ length: 20 }, () => raw('incr_counter')));
    expect(await raw('get_counter')).toBe(20);
    expect(mesh.embedded.core.resolve('counter', { type: 'latest' }).stateful).toBe(true);
  });
});
