import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { packStrings, unpackStrings } from '#mesh/tensor.ts';
import { decodePredictResponse, encodePredictRequest } from '#proto/predict.ts';
import { encodePredictionLog } from '#proto/prediction-log.ts';
import { writeTfRecords } from '#proto/tfrecord.ts';
import { callRaw, rawClient } from '../gateway/grpc/grpc-mesh.ts';
import { configOf, FIXTURES, putVersion, type ServableMesh, startServableMesh } from './servable-mesh.ts';

const MODELS = {
  probe: { platform: 'probe', more: 'version_labels { key: "stable" value: 1 }' },
  stateful: { platform: 'probe' },
  broken: { platform: 'probe' },
  huge: { platform: 'probe' },
  syntax: { platform: 'syntax' },
  caller: { platform: 'caller' },
  brother: { platform: 'caller' },
};

const floats = (values: readonly number[]) => ({
  dtype: 'float' as const,
  shape: [values.length],
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

describe('a servable of a user', () => {
  let running: ServableMesh;
  let lent: string;
  beforeAll(async () => {
    running = await startServableMesh({
      modules: () => [`probe=${FIXTURES}/probe.ts`, `caller=${FIXTURES}/caller.ts`, 'syntax=/nowhere/else.ts'],
      models: MODELS,
      flags: ['--instances=1', '--max_num_load_retries=0', '--memory_limit_bytes=1000000000'],
      prepare(folder) {
        const spec = { name: 'probe', version: null, label: null, signatureName: 'text' };
        const text = { dtype: 'string' as const, shape: [1], bytes: packStrings([Buffer.from('warm')]) };
        const warmup = writeTfRecords([encodePredictionLog('predict', encodePredictRequest(spec, new Map([['x', text]])))]);
        putVersion(join(folder, 'probe'), 1, { 'assets.extra/tf_serving_warmup_requests': warmup });
        putVersion(join(folder, 'stateful'), 1, { stateful: '' });
        putVersion(join(folder, 'broken'), 1, { broken: 'half of it is missing' });
        putVersion(join(folder, 'huge'), 1, { estimate: '2000000000' });
        for (const name of ['syntax', 'caller', 'brother']) putVersion(join(folder, name), 1, {});
        lent = folder;
      },
    });
  }, 60_000);
  afterAll(async () => running[Symbol.asyncDispose]());

  const statusOf = async (model: string) => (await running.mesh.send('GET', `/v1/models/${model}`)).text;

  test('answers REST by rows and by columns, by version and by label', async () => {
    expect(await running.ask('probe:predict', { instances: [1, 2] })).toEqual({ status: 200, json: { predictions: [3, 5] } });
    expect((await running.ask('probe/versions/1:predict', { inputs: [1, 2] })).json).toEqual({ outputs: [3, 5] });
    expect((await running.ask('probe/labels/stable:predict', { instances: [1] })).json).toEqual({ predictions: [3] });
    expect((await running.ask('probe/versions/7:predict', { instances: [1] })).status).toBe(404);
    expect((await running.ask('probe:predict', { signature_name: 'text', instances: ['grüße'] })).json).toEqual({
      predictions: ['GRÜSSE'],
    });
  });

  test('answers gRPC with its version and signature', async () => {
    const client = rawClient(`127.0.0.1:${running.mesh.grpcPort}`);
    const spec = { name: 'probe', version: null, label: 'stable', signatureName: 'text' };
    const x = { dtype: 'string' as const, shape: [2], bytes: packStrings([Buffer.from('a'), Buffer.from('b')]) };
    const request = encodePredictRequest(spec, new Map([['x', x]]));
    const { response } = await callRaw(client, '/tensorflow.serving.PredictionService/Predict', request);
    client.close();
    const { outputs, spec: answered } = decodePredictResponse(response ?? new Uint8Array(0));
    expect(unpackStrings(outputs.get('y')?.bytes ?? new Uint8Array(0), 2).map(String)).toEqual(['65', '66']);
    expect(answered).toMatchObject({ name: 'probe', version: 1 });
  });

  test('shows its signatures as metadata, and refuses shapes and names that do not fit them', async () => {
    const { metadata } = JSON.parse((await running.mesh.send('GET', '/v1/models/probe/metadata')).text);
    expect(metadata.signature_def.signature_def.text).toMatchObject({
      inputs: { x: { dtype: 'DT_STRING', tensor_shape: { dim: [{ size: '-1' }] }, name: 'x:0' } },
      outputs: { y: { dtype: 'DT_STRING', name: 'y:0' } },
      method_name: 'tensorflow/serving/predict',
    });
    expect((await running.ask('probe:predict', { inputs: [[1]] })).json).toEqual({ error: 'input x has shape [1,1], expected [?]' });
    expect((await running.ask('probe:predict', { inputs: { z: [1] } })).status).toBe(400);
  });

  test('replays its warmup requests, and writes to the log of the worker', () => {
    expect(running.lines).toContainEqual(expect.objectContaining({ msg: 'servable warmed up', status: 'OK', records: 1 }));
    const said = { msg: 'servable module says', module: 'probe', said: 'loaded', name: 'probe', version: 1 };
    expect(running.lines).toContainEqual(expect.objectContaining(said));
  });

  test('gets requests of several callers in one batch where its rows are independent, and one by one where not', async () => {
    const asked = (signature_name: string) =>
      Promise.all(Array.from({ length: 12 }, () => running.ask('probe:predict', { signature_name, instances: [0] })));
    const sizes = (await asked('batch')).map(({ json }) => (json.predictions as number[])[0] ?? 0);
    expect(Math.max(...sizes)).toBeGreaterThan(1);
    const counts = (await asked('count')).map(({ json }) => (json.predictions as number[])[0] ?? 0);
    expect(new Set(counts).size).toBe(12);
  });

  test.each([
    ['missing', 'is missing'],
    ['dtype', 'is int32, the signature says float'],
    ['kind', 'has Float64Array data, float is Float32Array'],
    ['elements', 'has 3 elements of data, its shape [2] of float has 2'],
    ['rank', 'has the shape [2,1], the signature says [-1]'],
    ['rows', 'has the shape [7] for inputs of 2 rows: a batchable signature gives one row for each'],
  ])('that gives an output wrong (%s) fails with the names of module and output', async (signature_name, why) => {
    expect(await running.ask('probe:predict', { signature_name, instances: [1, 2] })).toEqual({
      status: 500,
      json: { error: `servable module probe: output "y" ${why}` },
    });
  });

  test('that throws fails with its name, or with the status it gives', async () => {
    expect(await running.ask('probe:predict', { signature_name: 'throws', instances: [1] })).toEqual({
      status: 500,
      json: { error: 'servable module probe failed running throws: no idea' },
    });
    expect(await running.ask('probe:predict', { signature_name: 'says', instances: [1] })).toEqual({
      status: 400,
      json: { error: 'too much of it' },
    });
  });

  test.each([
    ['broken', 'half of it is missing'],
    ['huge', 'Insufficient resources to load servable {name: huge version: 1}: it needs an estimated 20'],
    ['syntax', '/nowhere/else.ts, the servable module syntax, is not there'],
  ])('that cannot be loaded says why in its status: %s', async (model, why) => {
    const { model_version_status: versions } = JSON.parse(await statusOf(model));
    expect(versions[0]).toMatchObject({ state: 'END', status: { error_message: expect.stringContaining(why) } });
  });

  test('that keeps state is on one executor, although it says so only when it is loaded', async () => {
    const answers = [];
    for (let index = 0; index < 6; index++)
      answers.push(await running.ask('stateful:predict', { signature_name: 'count', instances: [0] }));
    expect(answers.map(({ json }) => (json.predictions as number[])[0])).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('hears when nobody waits any more, and how much time a request has', async () => {
    const client = rawClient(`127.0.0.1:${running.mesh.grpcPort}`);
    const spec = { name: 'probe', version: null, label: null, signatureName: 'wait' };
    const request = encodePredictRequest(spec, new Map([['x', floats([1])]]));
    const outcome = await callRaw(client, '/tensorflow.serving.PredictionService/Predict', request, {
      deadline: new Date(Date.now() + 400),
    });
    client.close();
    expect(outcome.code).toBe(4);
    const marker = join(lent, 'probe', '1', 'aborted');
    await running.until(() => existsSync(marker));
    const { before, reason } = JSON.parse(readFileSync(marker, 'utf8'));
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThanOrEqual(400);
    expect(['DEADLINE_EXCEEDED', 'CANCELLED']).toContain(reason);
  });

  describe('that calls another one through the mesh', () => {
    const call = (model: string, signature = '', count = 3) => running.ask('caller:predict', { inputs: { model, signature, count } });

    test('gets its outputs, also when they are larger than a message', async () => {
      expect((await call('probe')).json).toEqual({ outputs: 9 });
      const many = 1_000_000;
      expect((await call('probe', 'whole', many)).json).toEqual({ outputs: many * (many - 1) + many });
    });

    test('gets the error that a client would get', async () => {
      expect((await call('nope')).json).toEqual({ error: 'Servable not found for request: Latest(nope)' });
      expect(await call('probe', 'says')).toEqual({ status: 400, json: { error: 'too much of it' } });
      expect((await call('probe', 'throws')).json).toEqual({ error: 'servable module probe failed running throws: no idea' });
      const counted = await running.telemetry.metrics.getSingleMetricAsString('headrace_worker_servable_calls_total');
      expect(counted).toMatch(/model="caller",version="1",code="OK"\} 2$/m);
      expect(counted).toMatch(/model="caller",version="1",code="OUT_OF_RANGE"\} 1$/m);
    });

    test('fails with its own deadline when the other one takes too long', async () => {
      const client = rawClient(`127.0.0.1:${running.mesh.grpcPort}`);
      const text = (value: string) => ({ dtype: 'string' as const, shape: [], bytes: packStrings([Buffer.from(value)]) });
      const count = { dtype: 'int32' as const, shape: [], bytes: new Uint8Array(Int32Array.of(1).buffer) };
      const inputs = new Map(Object.entries({ model: text('probe'), signature: text('wait'), count }));
      const request = encodePredictRequest({ name: 'caller', version: null, label: null, signatureName: '' }, inputs);
      const outcome = await callRaw(client, '/tensorflow.serving.PredictionService/Predict', request, {
        deadline: new Date(Date.now() + 300),
      });
      client.close();
      expect(outcome.code).toBe(4);
      // Neither of the two is held up by it.
      expect((await call('probe')).json).toEqual({ outputs: 9 });
    });

    test('is refused at once where the calls would wait for each other', async () => {
      expect((await running.ask('caller:predict', { signature_name: 'relay', inputs: 'caller' })).json).toEqual({
        outputs: 'FAILED_PRECONDITION: servables call each other in a circle: caller@1 calls caller@1',
      });
      expect((await running.ask('caller:predict', { signature_name: 'relay', inputs: 'brother' })).json).toEqual({
        outputs:
          'FAILED_PRECONDITION: caller@1 waits for brother@1 on the executors that brother@1 needs: servables of one module cannot call each other',
      });
    });
  });

  test('is unloaded when its model goes', async () => {
    const { stateful: _, ...rest } = MODELS;
    await running.mesh.embedded.core.reload(configOf(lent, rest), 20_000);
    await running.until(() => existsSync(join(lent, 'stateful', '1', 'unloaded')));
    expect((await running.ask('stateful:predict', { instances: [1] })).status).toBe(404);
  });
});

test('a version of the hashmap may be a file, and a registry accepts no platform that is no module', async () => {
  const config = (folder: string, platform: string) => configOf(folder, { map: { platform } });
  await using running = await startServableMesh({
    modules: () => [],
    models: { map: { platform: 'hashmap' } },
    prepare(folder) {
      mkdirSync(join(folder, 'map'));
      writeFileSync(join(folder, 'map', '7'), 'a,1\n');
    },
  });
  expect((await running.ask('map/versions/7:predict', { inputs: ['a'] })).json).toEqual({ outputs: { values: ['1'], found: [true] } });
  writeFileSync(join(running.folder, 'map', '8'), 'a,2\n');
  await running.until(async () => (await running.ask('map/versions/8:predict', { inputs: ['a'] })).status === 200);
  await expect(running.mesh.embedded.core.reload(config(running.folder, 'hashmaps'), 1000)).rejects.toThrow(
    'Model map requests unsupported platform hashmaps',
  );
}, 60_000);

test('a module that changed counts for versions that are loaded after it', async () => {
  let folder = '';
  const put = (factor: number) => writeFileSync(join(folder, 'times.mjs'), sourceOf(factor));
  await using running = await startServableMesh({
    modules: (made) => [`times=${made}/times.mjs`],
    models: { times: { platform: 'times', more: 'model_version_policy { all {} }' } },
    flags: ['--instances=1'],
    prepare(made) {
      folder = made;
      put(2);
      putVersion(join(made, 'times'), 1, {});
    },
  });
  put(3);
  putVersion(join(folder, 'times'), 2, {});
  await running.until(async () => (await running.ask('times/versions/2:predict', { instances: [1] })).status === 200);
  expect((await running.ask('times/versions/1:predict', { instances: [10] })).json).toEqual({ predictions: [20] });
  expect((await running.ask('times/versions/2:predict', { instances: [10] })).json).toEqual({ predictions: [30] });
}, 60_000);

/** A module that multiplies. */
function sourceOf(factor: number): string {
  return `
    const tensor = { dtype: 'float', shape: [-1] };
    export default () => ({
      estimate: () => 1,
      load: () => ({
        signatures: { serving_default: { inputs: { x: tensor }, outputs: { y: tensor } } },
        run: (_, { x }) => ({ y: { ...x, data: x.data.map((value) => value * ${factor}) } }),
      }),
    });`;
}
