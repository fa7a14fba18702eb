import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import canary from '../../examples/custom-sources/canary-policy.ts';
import type { VersionSnapshot } from '../../extend/sources.ts';
import { putLineVersion } from '../embedded/line-models.ts';
import { type RunningMesh, startRunningMesh } from '../embedded/running-mesh.ts';
import { freePort } from '../servers/server-process.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples/custom-sources');

interface Listed {
  readonly version: string;
  readonly state: string;
  readonly status: { readonly error_message: string };
}

async function versions(mesh: RunningMesh, model: string): Promise<readonly Listed[]> {
  const { text } = await mesh.send('GET', `/v1/models/${model}`);
  return (JSON.parse(text) as { readonly model_version_status?: readonly Listed[] }).model_version_status ?? [];
}

const inShort = (listed: readonly Listed[]) => listed.map(({ version, state }) => `${version} ${state}`).join(', ');

/** Waits until a model's versions are as described. */
async function until(mesh: RunningMesh, model: string, condition: (listed: readonly Listed[]) => boolean): Promise<readonly Listed[]> {
  for (const deadline = performance.now() + 30_000; ; ) {
    const listed = await versions(mesh, model);
    if (condition(listed)) return listed;
    if (performance.now() > deadline) throw new Error(`${model} is at ${JSON.stringify(listed)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function predict(mesh: RunningMesh, path: string): Promise<unknown> {
  return JSON.parse((await mesh.send('POST', `/v1/models/${path}:predict`, '{"instances": [1]}')).text);
}

/** An HTTP server of lists; `answer` decides what it says. */
async function startCatalogue() {
  const port = await freePort();
  const seen: string[] = [];
  const state = { status: 200, body: '{"versions": []}', tag: '"0"' };
  const server = createServer((request, response) => {
    const held = request.headers['if-none-match'] === state.tag && state.status === 200;
    seen.push(held ? '304' : String(state.status));
    response.writeHead(held ? 304 : state.status, { etag: state.tag }).end(held ? undefined : state.body);
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${port}/m`,
    seen,
    say(body: unknown, status = 200) {
      state.status = status;
      state.body = typeof body === 'string' ? body : JSON.stringify(body);
      state.tag = `"${Number(state.tag.slice(1, -1)) + 1}"`;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('the static source', () => {
  test('serves the folders that a file names, relative to the file', async () => {
    await using mesh = await startRunningMesh({
      prepare(folder) {
        putLineVersion(join(folder, 'releases'), 5);
        writeFileSync(join(folder, 'list.json'), JSON.stringify({ versions: [{ version: 12, path: 'releases/5' }] }));
      },
      config: (folder) => `model_config_list { config { name: "m" base_path: "static:${folder}/list.json" } }`,
      flags: () => [`--source_modules=static=${join(EXAMPLES, 'static-source.ts')}`],
    });
    expect(inShort(await versions(mesh, 'm'))).toBe('12 AVAILABLE');
    expect(await predict(mesh, 'm/versions/12')).toEqual(await predict(mesh, 'm'));
  });

  test('without its file says so in the model status', async () => {
    await using mesh = await startRunningMesh({
      prepare: () => {},
      config: () => 'model_config_list { config { name: "m" base_path: "static:/nowhere/list.json" } }',
      flags: () => [`--source_modules=static=${join(EXAMPLES, 'static-source.ts')}`],
    });
    expect((await versions(mesh, 'm'))[0]?.status.error_message).toBe(
      "source module static: start of model m failed: ENOENT: no such file or directory, open '/nowhere/list.json'",
    );
  });
});

describe('the HTTP source', () => {
  test('follows the list at a URL, spares what has not changed, and keeps what is loaded while answers are bad', async () => {
    await using catalogue = await startCatalogue();
    await using mesh = await startRunningMesh({
      prepare(folder) {
        for (const version of [1, 2]) putLineVersion(join(folder, 'line'), version);
        catalogue.say({ versions: [{ version: 1, path: join(folder, 'line/1') }] });
      },
      config: () => `model_config_list { config { name: "m" base_path: "catalogue:${catalogue.url}" } }`,
      flags: () => [`--source_modules=catalogue=${join(EXAMPLES, 'http-source.ts')}`],
    });
    expect(inShort(await versions(mesh, 'm'))).toBe('1 AVAILABLE');
    const first = await predict(mesh, 'm');
    catalogue.say({ versions: [{ version: 2, path: join(mesh.folder, 'line/2') }] });
    await until(mesh, 'm', (listed) => inShort(listed) === '2 AVAILABLE, 1 END');
    expect(await predict(mesh, 'm')).not.toEqual(first);
    await until(mesh, 'm', () => catalogue.seen.includes('304'));

    const complaint = async (wanted: string) => {
      const [newest] = await until(mesh, 'm', (listed) => listed[0]?.status.error_message.includes(wanted) ?? false);
      expect(newest).toMatchObject({ version: '2', state: 'AVAILABLE' });
      expect(await predict(mesh, 'm')).not.toEqual(first);
    };
    catalogue.say('Bad Gateway', 502);
    await complaint(`source module catalogue: find of model m failed: ${catalogue.url} answers 502 Bad Gateway`);
    catalogue.say('<html>');
    await complaint('answers what is no JSON');
    catalogue.say({ versions: 'none' });
    await complaint('answers without a list "versions"');
    catalogue.say({ versions: [{ version: 3, path: 'line/2' }] });
    await complaint('expected version 3 to have an absolute path, found "line/2"');
    catalogue.say({ versions: [{ version: 2, path: join(mesh.folder, 'line/2') }] });
    await until(mesh, 'm', (listed) => listed[0]?.status.error_message === '');
  });
});

const at = (version: number, aspired: boolean, state: VersionSnapshot['state']): VersionSnapshot => ({
  version,
  aspired,
  state,
  complete: state === 'available',
});

describe('the canary policy', () => {
  test.each<[string, readonly VersionSnapshot[], ReturnType<typeof canary>]>([
    ['loads the first version', [at(1, true, 'new')], { type: 'load', version: 1 }],
    ['loads the second beside it', [at(2, true, 'new'), at(1, false, 'available')], { type: 'load', version: 2 }],
    ['keeps the first', [at(2, true, 'available'), at(1, false, 'available')], null],
    [
      'makes room for the third, from below',
      [at(3, true, 'new'), at(2, false, 'available'), at(1, false, 'available')],
      { type: 'unload', version: 1 },
    ],
    ['waits until it is gone', [at(3, true, 'new'), at(2, false, 'available'), at(1, false, 'unloading')], null],
    ['then loads the third', [at(3, true, 'new'), at(2, false, 'available')], { type: 'load', version: 3 }],
    ['gives up nothing that serves alone', [at(3, true, 'new'), at(2, false, 'loading'), at(1, false, 'available')], null],
  ])('%s', (_, snapshots, action) => {
    expect(canary(snapshots)).toEqual(action);
  });

  test('keeps the version before the newest, which can still be called', async () => {
    await using mesh = await startRunningMesh({
      prepare: (folder) => putLineVersion(join(folder, 'm'), 1),
      config: (folder) => `model_config_list { config { name: "m" base_path: "${folder}/m" } }`,
      flags: () => [`--transition_policy_module=${join(EXAMPLES, 'canary-policy.ts')}`],
    });
    const first = await predict(mesh, 'm');
    putLineVersion(join(mesh.folder, 'm'), 2);
    await until(mesh, 'm', (listed) => inShort(listed) === '2 AVAILABLE, 1 AVAILABLE');
    expect(await predict(mesh, 'm')).not.toEqual(first);
    expect(await predict(mesh, 'm/versions/1')).toEqual(first);
    putLineVersion(join(mesh.folder, 'm'), 3);
    await until(mesh, 'm', (listed) => inShort(listed) === '3 AVAILABLE, 2 AVAILABLE, 1 END');
  });
});
