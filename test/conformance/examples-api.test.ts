import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { encodeExamplesRequest } from '#proto/classification.ts';
import { decodeExample, encodeExample, type Feature } from '#proto/example.ts';
import { encodeMultiInferenceRequest } from '#proto/inference.ts';
import type { InputRows } from '#proto/input.ts';
import type { RunningMesh } from '../embedded/running-mesh.ts';
import { exampleJson, floats, type GoldenExamples, goldenClasses, goldenExamples } from './golden-examples.ts';
import { type GrpcAnswer, GrpcCaller } from './grpc-caller.ts';
import { startRealModels } from './real-models.ts';
import { isClose } from './tolerance.ts';
import { hasTranscripts } from './transcripts.ts';

const MODELS = ['half_plus_two', 'wide_deep_tabular', 'wide_deep_census', 'estimator_regressor', 'multi_tag'];
const CLASSIFY = 'tensorflow/serving/classify';
const REGRESS = 'tensorflow/serving/regress';
const classifying = hasTranscripts ? MODELS.flatMap((model) => goldenExamples(model, ['scores'])) : [];
const regressing = hasTranscripts ? MODELS.flatMap((model) => goldenExamples(model, ['outputs'])) : [];
const titled = (golden: GoldenExamples) => [`${golden.model} ${golden.signature} of ${golden.examples.length} examples`, golden] as const;

type Classes = readonly (readonly { readonly label: string; readonly score: number }[])[];
/** A label that is empty is not on the wire. */
type ClassifyResult = {
  readonly classifications: readonly { readonly classes: readonly { readonly label?: string; readonly score: number }[] }[];
};
type RegressResult = { readonly regressions: readonly { readonly value: number }[] };

function example(features: Readonly<Record<string, readonly number[] | string>>): Uint8Array {
  const featureOf = (value: readonly number[] | string): Feature =>
    typeof value === 'string' ? { kind: 'bytes', values: [Buffer.from(value)] } : { kind: 'float', values: Float32Array.from(value) };
  return encodeExample(new Map(Object.entries(features).map(([name, value]) => [name, featureOf(value)])));
}

function expectClose(received: readonly number[], wanted: readonly number[]): void {
  expect(received).toHaveLength(wanted.length);
  expect(received.map((value, index) => (isClose(wanted[index] ?? Number.NaN, value) ? wanted[index] : value))).toEqual(wanted);
}

function expectClasses(received: Classes, wanted: Classes): void {
  expect(received.map((row) => row.map(({ label }) => label))).toEqual(wanted.map((row) => row.map(({ label }) => label)));
  const scoresOf = (rows: Classes) => rows.flatMap((row) => row.map(({ score }) => score));
  expectClose(scoresOf(received), scoresOf(wanted));
}

(hasTranscripts ? describe : describe.skip)('Classify, Regress and MultiInference on real models (skipped without ../shared)', () => {
  let mesh: RunningMesh;
  let client: GrpcCaller;
  beforeAll(async () => {
    mesh = await startRealModels(MODELS);
    client = new GrpcCaller(mesh.grpcPort);
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await mesh?.[Symbol.asyncDispose]();
  });

  const specOf = (name: string, signatureName: string) => ({ name, version: null, label: null, signatureName });
  const path = (method: string) => `/tensorflow.serving.PredictionService/${method}`;

  function call(method: 'Classify' | 'Regress', model: string, signature: string, input: InputRows): Promise<GrpcAnswer> {
    return client.call(path(method), encodeExamplesRequest(specOf(model, signature), input));
  }

  async function resultOf<Result>(method: 'Classify' | 'Regress', model: string, signature: string, input: InputRows): Promise<Result> {
    const answer = await call(method, model, signature, input);
    if (!('response' in answer)) throw new Error(`${answer.code}: ${answer.details}`);
    const { result, model_spec: spec } = client.decode(path(method), answer.response) as { result: Result; model_spec: object };
    expect(spec).toMatchObject({ name: model, signature_name: signature === '' ? 'serving_default' : signature });
    return result;
  }

  const classesOf = (result: ClassifyResult) =>
    result.classifications.map(({ classes }) => classes.map(({ label = '', score }) => ({ label, score })));
  const valuesOf = (result: RegressResult) => result.regressions.map(({ value }) => value);

  function multiInference(model: string, tasks: readonly (readonly [string, string, string?])[], input: InputRows): Promise<GrpcAnswer> {
    const encoded = tasks.map(([signature, methodName, other]) => ({
      spec: { present: true, ...specOf(other ?? model, signature) },
      methodName,
    }));
    return client.call(path('MultiInference'), encodeMultiInferenceRequest(encoded, input));
  }

  test('there are goldens for both methods', () => {
    expect(classifying.length).toBeGreaterThanOrEqual(9);
    expect(regressing.length).toBeGreaterThanOrEqual(6);
  });

  describe.each(classifying.map(titled))('Classify: %s', (_, golden) => {
    test('gives the classes and scores of TensorFlow over gRPC', async () => {
      const result = await resultOf<ClassifyResult>('Classify', golden.model, golden.signature, golden);
      expectClasses(classesOf(result), goldenClasses(golden));
    });

    test('gives them over REST', async () => {
      const body = `{"signature_name":${JSON.stringify(golden.signature)},"examples":[${golden.examples.map(exampleJson)}]}`;
      const { status, text } = await mesh.send('POST', `/v1/models/${golden.model}:classify`, body);
      expect({ status, text: status === 200 ? '' : text }).toEqual({ status: 200, text: '' });
      const { results } = JSON.parse(text) as { results: (readonly [string, number])[][] };
      expectClasses(
        results.map((row) => row.map(([label, score]) => ({ label, score }))),
        goldenClasses(golden),
      );
    });

    test('takes what all examples share from the context', async () => {
      const [first = new Uint8Array()] = golden.examples;
      // Half of the features come from the context; the first of them is given otherwise there, and the example's own wins.
      const features = [...decodeExample(first)];
      const own = features.filter((__, index) => index % 2 === 0);
      const context = features.map(([name, feature], index): [string, Feature] => (index === 0 ? [name, other(feature)] : [name, feature]));
      const input = { examples: [encodeExample(new Map(own))], context: encodeExample(new Map(context)) };
      const result = await resultOf<ClassifyResult>('Classify', golden.model, golden.signature, input);
      expectClasses(classesOf(result), goldenClasses(golden).slice(0, 1));
      const body = `{"signature_name":${JSON.stringify(golden.signature)},"context":${exampleJson(input.context)},"examples":[${input.examples.map(exampleJson)}]}`;
      const { text } = await mesh.send('POST', `/v1/models/${golden.model}:classify`, body);
      const { results } = JSON.parse(text) as { results: (readonly [string, number])[][] };
      expect(results.map((row) => row.map(([label]) => label))).toEqual(classesOf(result).map((row) => row.map(({ label }) => label)));
      expectClose(
        results.flatMap((row) => row.map(([, score]) => score)),
        classesOf(result).flatMap((row) => row.map(({ score }) => score)),
      );
    });
  });

  describe.each(regressing.map(titled))('Regress: %s', (_, golden) => {
    test('gives the values of TensorFlow over gRPC', async () => {
      const result = await resultOf<RegressResult>('Regress', golden.model, golden.signature, golden);
      expectClose(valuesOf(result), floats(golden.outputs.get('outputs')));
    });

    test('gives them over REST', async () => {
      const body = `{"signature_name":${JSON.stringify(golden.signature)},"examples":[${golden.examples.map(exampleJson)}]}`;
      const { status, text } = await mesh.send('POST', `/v1/models/${golden.model}:regress`, body);
      expect({ status, text: status === 200 ? '' : text }).toEqual({ status: 200, text: '' });
      expectClose((JSON.parse(text) as { results: number[] }).results, floats(golden.outputs.get('outputs')));
    });
  });

  test('MultiInference answers its tasks in their order, each with its signature', async () => {
    const tasks = [
      ['regress_x_to_y2', REGRESS],
      ['classify_x_to_y', CLASSIFY],
      ['regress_x_to_y', REGRESS],
    ] as const;
    const answer = await multiInference('half_plus_two', tasks, {
      examples: [example({ x: [2] }), example({})],
      context: example({ x: [4] }),
    });
    if (!('response' in answer)) throw new Error(`${answer.code}: ${answer.details}`);
    const { results } = client.decode(path('MultiInference'), answer.response) as { results: readonly object[] };
    const spec = (signature: string) => ({ name: 'half_plus_two', version: { value: '123' }, signature_name: signature });
    expect(results).toEqual([
      expect.objectContaining({
        model_spec: expect.objectContaining(spec('regress_x_to_y2')),
        regression_result: { regressions: [{ value: 4 }, { value: 5 }] },
      }),
      expect.objectContaining({
        model_spec: expect.objectContaining(spec('classify_x_to_y')),
        classification_result: { classifications: [{ classes: [{ score: 3 }] }, { classes: [{ score: 4 }] }] },
      }),
      expect.objectContaining({
        model_spec: expect.objectContaining(spec('regress_x_to_y')),
        regression_result: { regressions: [{ value: 3 }, { value: 4 }] },
      }),
    ]);
  });

  test('MultiInference classifies with two signatures of an estimator at once', async () => {
    const golden = classifying.find(({ model, signature }) => model === 'wide_deep_census' && signature === 'serving_default');
    if (golden === undefined) throw new Error('wide_deep_census has no golden');
    const tasks = [
      ['serving_default', CLASSIFY],
      ['default_input_alternative:None', CLASSIFY],
    ] as const;
    const answer = await multiInference('wide_deep_census', tasks, golden);
    if (!('response' in answer)) throw new Error(`${answer.code}: ${answer.details}`);
    const { results } = client.decode(path('MultiInference'), answer.response) as { results: { classification_result: ClassifyResult }[] };
    expect(results).toHaveLength(2);
    for (const { classification_result: result } of results) expectClasses(classesOf(result), goldenClasses(golden));
  });

  describe('refusals', () => {
    const one = { examples: [example({ x: [1] })] };

    test.each<['Classify' | 'Regress', string, string, string]>([
      ['Classify', 'half_plus_two', 'no_such', 'No signature was found with the name: no_such'],
      ['Regress', 'estimator_regressor', '', 'No signature was found with the name: serving_default'],
      ['Classify', 'estimator_regressor', 'predict', 'Expected one input Tensor.'],
      ['Regress', 'estimator_regressor', 'predict', 'Expected one input Tensor.'],
      ['Classify', 'multi_tag', '', 'Expected one input Tensor.'],
      ['Classify', 'wide_deep_tabular', 'predict', 'Expected one or two output Tensors, found 5'],
      ['Regress', 'wide_deep_tabular', 'classification', 'Expected one output Tensor.'],
      ['Regress', 'half_plus_two', 'regress_x2_to_y3', 'Expects arg[0] to be float but string is provided'],
    ])('%s of %s with the signature "%s"', async (method, model, signature, details) => {
      expect(await call(method, model, signature, one)).toEqual({ code: 'INVALID_ARGUMENT', details });
    });

    test.each<['Classify' | 'Regress', string, string, string]>([
      ['Classify', 'half_plus_two', 'serving_default', 'No classification inputs found in SignatureDef: '],
      ['Regress', 'half_plus_two', 'serving_default', 'No regression inputs found in SignatureDef: '],
      [
        'Classify',
        'half_plus_two',
        'regress_x_to_y',
        'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: ',
      ],
      ['Regress', 'half_plus_two', 'classify_x_to_y', 'No regression outputs found in SignatureDef: '],
    ])('%s of %s with the signature "%s", whose aliases are others', async (method, model, signature, details) => {
      expect(await call(method, model, signature, one)).toEqual({
        code: 'FAILED_PRECONDITION',
        details: expect.stringMatching(new RegExp(`^${details}`)),
      });
    });

    test('no examples at all are refused by all three, with or without a context', async () => {
      const empty = { code: 'INVALID_ARGUMENT', details: 'Input is empty.' };
      for (const input of [{ examples: [] }, { examples: [], context: example({ x: [1] }) }]) {
        expect(await call('Classify', 'half_plus_two', 'classify_x_to_y', input)).toEqual(empty);
        expect(await call('Regress', 'half_plus_two', 'regress_x_to_y', input)).toEqual(empty);
        expect(await multiInference('half_plus_two', [['regress_x_to_y', REGRESS]], input)).toEqual(empty);
      }
    });

    test('a feature of another kind is refused with the place in the graph where TensorFlow finds it', async () => {
      const input = { examples: [example({ x: 'text' })] };
      const details =
        "Name: <unknown>, Key: x, Index: 0.  Data types don't match. Data type: string but expected type: float\n\t [[{{node ParseExample/ParseExample}}]]";
      expect(await call('Regress', 'half_plus_two', 'regress_x_to_y', input)).toEqual({ code: 'INVALID_ARGUMENT', details });
      expect(await multiInference('half_plus_two', [['regress_x_to_y', REGRESS]], input)).toEqual({ code: 'INVALID_ARGUMENT', details });
    });

    test.each<[string, string, readonly (readonly [string, string, string?])[], string, string]>([
      [
        'an unknown signature',
        'half_plus_two',
        [['nope', CLASSIFY]],
        'INVALID_ARGUMENT',
        'Requested signature not found in model graph: nope',
      ],
      [
        'another method',
        'half_plus_two',
        [['regress_x_to_y', 'tensorflow/serving/score']],
        'UNIMPLEMENTED',
        'Unsupported signature method_name: tensorflow/serving/score',
      ],
      ['an empty method', 'half_plus_two', [['regress_x_to_y', '']], 'UNIMPLEMENTED', 'Unsupported signature method_name: '],
      [
        'two models',
        'half_plus_two',
        [
          ['regress_x_to_y', REGRESS],
          ['regress', REGRESS, 'multi_tag'],
        ],
        'INVALID_ARGUMENT',
        'All ModelSpecs in a MultiInferenceRequest must access the same model name.',
      ],
      [
        'a second task without a model',
        'half_plus_two',
        [
          ['regress_x_to_y', REGRESS],
          ['classify_x_to_y', CLASSIFY, ''],
        ],
        'INVALID_ARGUMENT',
        'Found ModelSpec with an empty model name.',
      ],
      [
        'signatures with inputs of their own',
        'wide_deep_tabular',
        [
          ['classification', CLASSIFY],
          ['regression', REGRESS],
        ],
        'INVALID_ARGUMENT',
        'Input tensor must be the same for all Signatures.',
      ],
      [
        'a signature twice',
        'multi_tag',
        [
          ['regress', REGRESS],
          ['regress', REGRESS],
        ],
        'INVALID_ARGUMENT',
        'Duplicate evaluation of signature: regress',
      ],
    ])('MultiInference with %s', async (_, model, tasks, code, details) => {
      expect(await multiInference(model, tasks, one)).toEqual({ code, details });
    });
  });
});

/** A feature of the same kind with another value. */
function other(feature: Feature): Feature {
  switch (feature.kind) {
    case 'bytes':
      return { kind: 'bytes', values: [Buffer.from('something else')] };
    case 'float':
      return { kind: 'float', values: feature.values.map((value) => value + 1) };
    case 'int64':
      return { kind: 'int64', values: feature.values.map((value) => value + 1n) };
    case 'none':
      return feature;
  }
}
