import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connect, type Example, type PredictionService } from '../../examples/clients/node/prediction-service.ts';
import { numbersOf } from '../../examples/clients/node/tensors.ts';
import type { RunningMesh } from '../embedded/running-mesh.ts';
import {
  differences,
  EXAMPLES,
  examplesOf,
  type GoldenCall,
  goldenCalls,
  jsonOf,
  MODELS,
  protoOf,
  startExampleMesh,
} from './example-models.ts';

const calls = MODELS.flatMap((model) =>
  goldenCalls(model).map((call, index) => [`${model} ${call.signature} (golden ${index})`, call] as const),
);
const withExamples = calls.flatMap(([name, call]) => {
  const examples = examplesOf(call);
  return examples === null ? [] : [[name, { call, examples }] as const];
});
const classified = withExamples.filter(([, { call }]) => call.methodName === 'tensorflow/serving/classify');
const regressed = withExamples.filter(([, { call }]) => call.methodName === 'tensorflow/serving/regress');

describe('the example SavedModels answer as TensorFlow did', () => {
  let mesh: RunningMesh;
  let service: PredictionService;
  beforeAll(async () => {
    mesh = await startExampleMesh();
    service = connect(`127.0.0.1:${mesh.grpcPort}`);
  }, 120_000);
  afterAll(async () => {
    service.close();
    await mesh[Symbol.asyncDispose]();
  });

  const post = async (path: string, body: string) => {
    const answer = await mesh.send('POST', `/v1/models/${path}`, body);
    if (answer.status !== 200) throw new Error(`${path} was answered ${answer.status}: ${answer.text}`);
    return JSON.parse(answer.text) as { readonly outputs?: unknown; readonly results?: readonly unknown[] };
  };

  test.each(MODELS)('%s is available', async (model) => {
    const { text } = await mesh.send('GET', `/v1/models/${model}`);
    expect(JSON.parse(text)).toEqual({
      model_version_status: [{ version: '1', state: 'AVAILABLE', status: { error_code: 'OK', error_message: '' } }],
    });
  });

  test.each(calls)('over gRPC: %s', async (_name, { model, signature, inputs, outputs }) => {
    const messages = Object.fromEntries([...inputs].map(([name, tensor]) => [name, protoOf(tensor)]));
    const answer = await service.predict({ name: model, signature_name: signature }, messages);
    expect(Object.keys(answer).sort()).toEqual([...outputs.keys()].sort());
    for (const [name, tensor] of outputs) {
      const found = answer[name];
      if (tensor.dtype === 'string') {
        expect(differences(found?.string_val?.map(String) ?? [], tensor)).toEqual([]);
      } else {
        expect(numbersOf(found).shape).toEqual(tensor.shape);
        expect(differences(numbersOf(found).values, tensor)).toEqual([]);
      }
    }
  });

  test.each(calls)('over REST: %s', async (_name, { model, signature, inputs, outputs }) => {
    const columns = Object.fromEntries([...inputs].map(([name, tensor]) => [name, jsonOf(tensor)]));
    const answer = await post(`${model}:predict`, JSON.stringify({ signature_name: signature, inputs: columns }));
    const found = outputs.size === 1 ? { [[...outputs.keys()].join()]: answer.outputs } : (answer.outputs as Record<string, unknown>);
    expect(Object.keys(found).sort()).toEqual([...outputs.keys()].sort());
    for (const [name, tensor] of outputs) {
      expect(shapeOf(found[name])).toEqual(tensor.shape);
      expect(differences([found[name]].flat(Number.POSITIVE_INFINITY), tensor)).toEqual([]);
    }
  });

  test.each(classified)('Classify over gRPC and REST: %s', async (_name, { call, examples }) => {
    const overGrpc = await service.classify({ name: call.model, signature_name: call.signature }, examples);
    expectClasses(
      overGrpc.map((classes) => classes.map(({ label, score }) => [label, score])),
      call,
    );
    const { results } = await post(`${call.model}:classify`, examplesBody(call.signature, examples));
    expectClasses(results as readonly (readonly (readonly [string, number])[])[], call);
  });

  test.each(regressed)('Regress over gRPC and REST: %s', async (_name, { call, examples }) => {
    const wanted = call.outputs.get('outputs');
    if (wanted === undefined) throw new Error(`${call.signature} has no golden answer`);
    expect(differences(await service.regress({ name: call.model, signature_name: call.signature }, examples), wanted)).toEqual([]);
    const { results } = await post(`${call.model}:regress`, examplesBody(call.signature, examples));
    expect(differences(results ?? [], wanted)).toEqual([]);
  });

  test.each(['mnist', 'segmentation', 'digit_detector'])('curl with examples/requests/%s.json gets an answer', async (model) => {
    const request = readFileSync(join(EXAMPLES, 'requests', `${model}.json`), 'utf8');
    const answer = await post(`${model}:predict`, request);
    expect(Object.keys(answer)).toEqual([request.startsWith('{"inputs"') ? 'outputs' : 'predictions']);
  });
});

/** The classes of each example against the golden `classes` (absent: labels are empty) and `scores`, in the model's order. */
function expectClasses(found: readonly (readonly (readonly [string, number])[])[], { outputs }: GoldenCall): void {
  const scores = outputs.get('scores');
  const labels = outputs.get('classes');
  if (scores === undefined) throw new Error('a classification without golden scores');
  const flat = found.flat();
  expect(found.length).toBe(scores.shape[0]);
  expect(
    differences(
      flat.map(([, score]) => score),
      scores,
    ),
  ).toEqual([]);
  if (labels === undefined) expect(new Set(flat.map(([label]) => label))).toEqual(new Set(['']));
  else
    expect(
      differences(
        flat.map(([label]) => label),
        labels,
      ),
    ).toEqual([]);
}

/** A classify or regress request: examples as `{feature: values}`. A float is written with a point, without which JSON means an integer. */
function examplesBody(signature: string, examples: readonly Example[]): string {
  const featureText = (feature: Example[string]) =>
    'bytes_list' in feature
      ? feature.bytes_list.value.map((bytes) => JSON.stringify({ b64: Buffer.from(bytes).toString('base64') }))
      : feature.float_list.value.map((value) => (Number.isInteger(value) ? value.toFixed(1) : String(value)));
  const listed = examples.map((example) => {
    const entries = Object.entries(example).map(([name, feature]) => `${JSON.stringify(name)}: [${featureText(feature)}]`);
    return `{${entries}}`;
  });
  return `{"signature_name": ${JSON.stringify(signature)}, "examples": [${listed}]}`;
}

/** The lengths of nested arrays, by their first elements. */
function shapeOf(value: unknown): readonly number[] {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : [];
}
