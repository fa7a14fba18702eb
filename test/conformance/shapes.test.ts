import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DTYPES, type DType, tensorByteLength } from '#mesh/tensor.ts';
import type { RunningMesh } from '../embedded/running-mesh.ts';
import { startRealModels } from './real-models.ts';
import { hasTranscripts } from './transcripts.ts';

const MODELS = [
  'half_plus_two',
  'mlp',
  'mnist_conv',
  'keras_lstm',
  'digit_detector',
  'text_sentiment',
  'transformer_tiny',
  'bilstm_tagger',
  'multi_tag',
  'wide_deep_tabular',
];

(hasTranscripts ? describe : describe.skip)('shapes that a signature does not declare (skipped without ../shared)', () => {
  let mesh: RunningMesh;
  beforeAll(async () => {
    mesh = await startRealModels(MODELS);
  }, 60_000);
  afterAll(async () => {
    await mesh?.[Symbol.asyncDispose]();
  });

  /** Sends zeros of a shape to a model's only input, and gives the shape of the first output or the error. */
  async function answerTo(model: string, name: string, shape: readonly number[], dtype: DType = 'float') {
    const input = { name, dtype: DTYPES[dtype].protoName, shape };
    const { status, headers, text } = await mesh.send(
      'POST',
      `/v1/models/${model}:predict`,
      new Uint8Array(tensorByteLength(dtype, shape)),
      {
        'content-type': 'application/octet-stream',
        accept: 'application/octet-stream',
        'x-headrace-tensors': JSON.stringify({ inputs: [input] }),
      },
    );
    if (status !== 200) return { status, error: (JSON.parse(text) as { error: string }).error };
    const { outputs } = JSON.parse(String(headers['x-headrace-tensors'])) as { outputs: { shape: number[] }[] };
    return { status, shape: outputs[0]?.shape };
  }

  test.each([[[]], [[3]], [[2, 2]], [[0]], [[3, 0]], [[2, 1, 3]]])('half_plus_two, which declares [-1,1], takes %j', async (shape) => {
    expect(await answerTo('half_plus_two', 'x', shape)).toEqual({ status: 200, shape });
  });

  test('half_plus_two computes every element of a square', async () => {
    const { text } = await mesh.send('POST', '/v1/models/half_plus_two:predict', '{"inputs":[[1,2],[3,4]]}');
    expect(JSON.parse(text)).toEqual({
      outputs: [
        [2.5, 3],
        [3.5, 4],
      ],
    });
  });

  test.each([
    ['a sequence of another length', 'keras_lstm', 'input_6', [2, 9, 1], [2, 1]],
    ['no rows', 'mlp', 'x', [0, 64], [0, 10]],
    ['no rows of pictures', 'mnist_conv', 'Features', [0, 28, 28, 1], [0, 10]],
  ])('%s is taken', async (_, model, name, shape, wanted) => {
    expect(await answerTo(model, name, shape)).toEqual({ status: 200, shape: wanted });
  });

  test.each([
    ['transformer_tiny', [0, 9], [0, 8]],
    ['bilstm_tagger', [0, 12], [0, 12, 5]],
  ])('%s takes no rows of tokens, and lives on', async (model, shape, wanted) => {
    expect(await answerTo(model, 'tokens', shape, 'int32')).toEqual({ status: 200, shape: wanted });
    expect((await answerTo(model, 'tokens', [1, ...shape.slice(1)], 'int32')).status).toBe(200);
  });

  test.each([
    ['multi_tag', 'classify', { classes: [], scores: [] }],
    ['multi_tag', 'regress', []],
    ['wide_deep_tabular', 'classification', { classes: [], scores: [] }],
    ['wide_deep_tabular', 'regression', []],
    ['text_sentiment', 'serving_default', []],
  ])('%s %s takes no rows of texts', async (model, signature, outputs) => {
    const { status, text } = await mesh.send(
      'POST',
      `/v1/models/${model}:predict`,
      JSON.stringify({ signature_name: signature, inputs: [] }),
    );
    expect({ status, body: JSON.parse(text) }).toEqual({ status: 200, body: { outputs } });
  });

  test.each([
    ['a vector for a matrix product', 'mlp', 'x', [64]],
    ['a matrix with other columns', 'mlp', 'x', [2, 3]],
    ['a matrix without columns', 'mlp', 'x', [2, 0]],
    ['a scalar for a conv net', 'mnist_conv', 'Features', []],
    ['a picture without a batch', 'mnist_conv', 'Features', [28, 28, 1]],
    ['a picture with an axis too many', 'mnist_conv', 'Features', [1, 28, 28, 1, 1]],
    ['a picture of other channels', 'mnist_conv', 'Features', [1, 28, 28, 3]],
    ['a picture of no channels', 'digit_detector', 'images', [1, 64, 64, 0]],
    ['a picture of another size', 'digit_detector', 'images', [1, 65, 64, 3]],
    ['a sequence without features', 'keras_lstm', 'input_6', [2, 5]],
    ['a sequence of other features', 'keras_lstm', 'input_6', [2, 5, 2]],
  ])('%s is INVALID_ARGUMENT, 400', async (_, model, name, shape) => {
    expect(await answerTo(model, name, shape)).toEqual({ status: 400, error: expect.stringMatching(/\S/) });
  });

  test('the first request of an executor may have no bytes', async () => {
    await using fresh = await startRealModels(['half_plus_two']);
    const { status, text } = await fresh.send('POST', '/v1/models/half_plus_two:predict', '{"inputs":[]}');
    expect({ status, body: JSON.parse(text) }).toEqual({ status: 200, body: { outputs: [] } });
  });

  test('texts of another rank are refused with the kernel’s words and its place in its function', async () => {
    const { status, text } = await mesh.send('POST', '/v1/models/text_sentiment:predict', '{"inputs":[["one","two"]]}');
    expect({ status, error: (JSON.parse(text) as { error: string }).error }).toEqual({
      status: 400,
      error: expect.stringMatching(
        /^input must be a vector, got shape: \[1,2\]\n\t \[\[\{\{function_node __inference_\w+\}\}\{\{node \S+\/StringSplitV2\}\}\]\]$/,
      ),
    });
  });
});
