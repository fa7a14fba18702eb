import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { packStrings, unpackStrings } from '#mesh/tensor.ts';
import { decodePredictResponse, encodePredictRequest } from '#proto/predict.ts';
import { configOf, EXAMPLES, FIXTURES, putVersion, ROOT, type ServableMesh, startServableMesh } from '../extend/servable-mesh.ts';
import { callRaw, rawClient } from '../gateway/grpc/grpc-mesh.ts';

const DIGITS = { platform: 'onnx', base: join(ROOT, 'examples/models/digits') };
const LABELS = 'zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n';
const image = (name: string) => ({ b64: readFileSync(join(ROOT, 'examples', name)).toString('base64') });

describe('the vocabulary that all versions share', () => {
  const models = (versions: string) => ({ mood: { platform: 'vocabulary', more: `model_version_policy { ${versions} }` } });
  let running: ServableMesh;
  beforeAll(async () => {
    running = await startServableMesh({
      modules: () => [`vocabulary=${EXAMPLES}/vocabulary.ts`],
      models: models('specific { versions: 1 versions: 2 }'),
      flags: ['--instances=1', '--max_num_load_retries=0'],
      prepare(folder) {
        const base = join(folder, 'mood');
        putVersion(base, 1, { 'scores.txt': '1\n-1\n0\n' });
        putVersion(base, 2, { 'scores.txt': '2\n-2\n0\n' });
        putVersion(base, 3, { 'scores.txt': '2\n-2\n' });
        putVersion(base, 4, { '../vocabulary.txt': 'good\nbad\nweather\n', 'scores.txt': '4\n-4\n0\n' });
      },
    });
  }, 60_000);
  afterAll(async () => running[Symbol.asyncDispose]());

  const said = (message: string) => running.lines.filter((line) => line.said === message).length;
  const reload = (versions: string) => running.mesh.embedded.core.reload(configOf(running.folder, models(versions)), 20_000);
  const scoreBy = async (version: number) =>
    (await running.ask(`mood/versions/${version}:predict`, { instances: ['Good weather!', 'bad', 'who knows'] })).json;

  test('is read once, by the first version', async () => {
    expect(await scoreBy(1)).toEqual({ predictions: [0.5, -1, 0] });
    expect(await scoreBy(2)).toEqual({ predictions: [1, -2, 0] });
    expect([said('vocabulary read'), said('vocabulary dropped')]).toEqual([1, 0]);
  });

  test('stays while a version uses it, also when another one could not be loaded', async () => {
    await reload('specific { versions: 2 versions: 3 }');
    const why = async () => (await running.mesh.send('GET', '/v1/models/mood/versions/3')).text;
    await running.until(async () => (await why()).includes('scores 2 words, the vocabulary has 3'));
    await running.until(async () => (await scoreBy(1)).error !== undefined);
    expect(await scoreBy(2)).toEqual({ predictions: [1, -2, 0] });
    expect([said('vocabulary read'), said('vocabulary dropped')]).toEqual([1, 0]);
  });

  test('is dropped with the last one, and read again by the next', async () => {
    await running.mesh.embedded.core.reload('model_config_list { }', 20_000);
    await running.until(() => said('vocabulary dropped') === 1);
    await reload('specific { versions: 4 }');
    expect(await scoreBy(4)).toEqual({ predictions: [2, -4, 0] });
    expect([said('vocabulary read'), said('vocabulary dropped')]).toEqual([2, 1]);
  });
});

describe('the pipeline from images to labels', () => {
  let running: ServableMesh;
  beforeAll(async () => {
    running = await startServableMesh({
      modules: () => [`reader=${EXAMPLES}/pipeline.ts`, `probe=${FIXTURES}/probe.ts`],
      models: { digits: DIGITS, reader: { platform: 'reader' } },
      prepare: (folder) => putVersion(join(folder, 'reader'), 1, { 'labels.txt': LABELS }),
    });
  }, 60_000);
  afterAll(async () => running[Symbol.asyncDispose]());

  test('reads PNG images over REST', async () => {
    const { json } = await running.ask('reader:predict', { instances: [image('digits/request.png'), image('images/three.png')] });
    expect(json).toEqual({
      predictions: [
        { label: 'seven', probability: expect.any(Number) },
        { label: expect.any(String), probability: expect.any(Number) },
      ],
    });
  });

  test('reads them over gRPC', async () => {
    const client = rawClient(`127.0.0.1:${running.mesh.grpcPort}`);
    const images = { dtype: 'string' as const, shape: [1], bytes: packStrings([readFileSync(join(ROOT, 'examples/digits/request.png'))]) };
    const spec = { name: 'reader', version: null, label: null, signatureName: '' };
    const { response } = await callRaw(
      client,
      '/tensorflow.serving.PredictionService/Predict',
      encodePredictRequest(spec, new Map([['images', images]])),
    );
    client.close();
    const label = decodePredictResponse(response ?? new Uint8Array(0)).outputs.get('label');
    expect(unpackStrings(label?.bytes ?? new Uint8Array(0), 1).map((bytes) => Buffer.from(bytes).toString())).toEqual(['seven']);
  });

  test('fails a request with a broken image, and no other that shares its batch', async () => {
    const good = image('digits/request.png');
    const broken = { b64: Buffer.from('not an image').toString('base64') };
    const asked = await Promise.all(
      Array.from({ length: 20 }, (_, index) => running.ask('reader:predict', { instances: [index % 5 === 2 ? broken : good] })),
    );
    for (const [index, { status, json }] of asked.entries()) {
      if (index % 5 === 2) expect({ status, json }).toEqual({ status: 400, json: { error: 'an image is neither a PNG nor a JPEG' } });
      else expect(json).toEqual({ predictions: [{ label: 'seven', probability: expect.any(Number) }] });
    }
  });

  test('says so when the model that it calls is not there', async () => {
    const config = configOf(running.folder, { reader: { platform: 'reader' } });
    await running.mesh.embedded.core.reload(config, 20_000);
    await running.until(() => running.mesh.embedded.core.models().length === 1);
    expect(await running.ask('reader:predict', { instances: [image('digits/request.png')] })).toEqual({
      status: 404,
      json: { error: 'Servable not found for request: Latest(digits)' },
    });
  });
});

test('swapping versions of a custom servable, and of the model that a pipeline calls, under load gives 0 errors', async () => {
  const SWAPS = 12;
  const models = (version: number) => {
    const more = `model_version_policy { specific { versions: ${version} } }`;
    return { map: { platform: 'hashmap', more }, reader: { platform: 'reader', more }, digits: DIGITS };
  };
  await using running = await startServableMesh({
    modules: () => [`reader=${EXAMPLES}/pipeline.ts`],
    models: models(1),
    flags: ['--instances=2'],
    prepare(folder) {
      for (const version of [1, 2]) {
        putVersion(join(folder, 'map'), version, { 'hashmap.csv': `which,${version}\n` });
        putVersion(join(folder, 'reader'), version, { 'labels.txt': LABELS.replaceAll('\n', ` ${version}\n`) });
      }
    },
  });
  const { core } = running.mesh.embedded;
  const wrong: unknown[] = [];
  let swapping = true;
  let answered = 0;
  const client = async (path: string, body: unknown, right: (answer: unknown) => boolean) => {
    while (swapping) {
      const answer = await running.ask(path, body);
      answered++;
      if (answer.status !== 200 || !right(answer.json)) wrong.push(answer);
    }
  };
  const mapped = (answer: unknown) => /^\{"predictions":\[\{"values":"[12]","found":true\}\]\}$/.test(JSON.stringify(answer));
  const read = (answer: unknown) => /"label":"seven [12]"/.test(JSON.stringify(answer));
  const load = Array.from({ length: 6 }, (_, index) =>
    index % 2 === 0
      ? client('map:predict', { instances: ['which'] }, mapped)
      : client('reader:predict', { instances: [image('digits/request.png')] }, read),
  );
  for (let swap = 1; swap <= SWAPS; swap++) {
    const version = (swap % 2) + 1;
    await core.reload(configOf(running.folder, models(version)), 20_000);
    await running.until(async () =>
      JSON.stringify((await running.ask('map:predict', { instances: ['which'] })).json).includes(`"${version}"`),
    );
  }
  swapping = false;
  await Promise.all(load);
  expect(wrong).toEqual([]);
  expect(answered).toBeGreaterThan(10 * SWAPS);
}, 120_000);
