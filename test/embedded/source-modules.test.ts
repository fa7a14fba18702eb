import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { say, writeActingModule } from '../registry/acting-source.ts';
import { putLineVersion } from './line-models.ts';
import { startRunningMesh } from './running-mesh.ts';

describe('a source module in an embedded mesh', () => {
  test('that throws, hangs and exits disturbs no request, neither to its own model nor to another, and its module is counted by name', async () => {
    const telemetry = createSilentTelemetry();
    await using mesh = await startRunningMesh({
      prepare(folder) {
        for (const model of ['own', 'other']) putLineVersion(join(folder, model), 1);
        mkdirSync(join(folder, 'code'));
        writeActingModule(join(folder, 'code'));
      },
      config: (folder) =>
        `model_config_list { config { name: "other" base_path: "${folder}/other" } config { name: "own" base_path: "acting:${folder}/own.json" } }`,
      telemetry,
      flags: (folder) => [`--source_modules=acting=${folder}/code/acting.ts`, '--user_code_call_limit_ms=1500'],
    });
    const location = join(mesh.folder, 'own.json');
    await say(location, { versions: [{ version: 1, path: join(mesh.folder, 'own/1') }] });
    const status = async () => JSON.parse((await mesh.send('GET', '/v1/models/own')).text).model_version_status?.[0];
    const until = async (condition: (found: { state: string; status: { error_message: string } } | undefined) => boolean) => {
      for (const deadline = performance.now() + 30_000; !condition(await status()); ) {
        if (performance.now() > deadline) throw new Error(JSON.stringify(await status()));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await until((found) => found?.state === 'AVAILABLE');

    const answers = new Set<string>();
    let going = true;
    const traffic = (async () => {
      while (going) {
        for (const model of ['own', 'other']) {
          const { status: code, text } = await mesh.send('POST', `/v1/models/${model}:predict`, '{"instances": [2]}');
          answers.add(`${model} ${code} ${JSON.stringify(JSON.parse(text))}`);
        }
      }
    })();
    for (const [act, text] of [
      ['throw', 'the catalogue is on fire'],
      ['hang', 'did not end within 1500 ms'],
      ['exit', 'ended its thread with exit code 3'],
    ] as const) {
      await say(location, { act });
      await until((found) => found?.status.error_message.includes(text) ?? false);
    }
    putLineVersion(join(mesh.folder, 'own'), 2);
    await say(location, { versions: [{ version: 2, path: join(mesh.folder, 'own/2') }] });
    await until((found) => found?.state === 'AVAILABLE' && found.status.error_message === '');
    going = false;
    await traffic;
    expect([...answers].filter((answer) => answer.startsWith('other'))).toEqual(['other 200 {"predictions":[2]}']);
    expect(new Set([...answers].map((answer) => answer.split(' ')[1]))).toEqual(new Set(['200']));
    expect(await readFile(join(mesh.folder, 'code', 'diary.txt'), 'utf8')).toContain('begin own');
    expect(await telemetry.metrics.metrics()).toMatch(
      /headrace_registry_user_code_calls_total\{kind="source",name="acting",call="find",outcome="time-limit"\} \d/,
    );
  }, 120_000);
});
