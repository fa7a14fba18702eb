import { describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import { newMemberId } from '#mesh/ids.ts';
import type { Signature, TensorSpec } from '#mesh/signature.ts';
import { type NamedTensors, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { createExamplesApi } from '../../services/gateway/classify-regress.ts';
import type { InferRequest } from '../../services/gateway/core.ts';
import type { ExamplesRequest } from '../../services/gateway/examples-api.ts';
import { floats, servable, strings } from './half-mesh.ts';

const spec = (tensorName: string, dtype: TensorSpec['dtype']): TensorSpec => ({ dtype, shape: [-1, 1], accepts: null, tensorName });
const examplesInput = { inputs: { dtype: 'string', shape: null, accepts: null, tensorName: 'tf_example:0' } } as const;
const classify: Signature = {
  method: 'tensorflow/serving/classify',
  inputs: examplesInput,
  outputs: { classes: spec('c:0', 'string'), scores: spec('s:0', 'float') },
  batchable: true,
};
const regress: Signature = {
  method: 'tensorflow/serving/regress',
  inputs: examplesInput,
  outputs: { outputs: spec('y:0', 'float') },
  batchable: true,
};
const predict: Signature = {
  method: 'tensorflow/serving/predict',
  inputs: { x: spec('x:0', 'float') },
  outputs: { y: spec('y:0', 'float') },
  batchable: true,
};
const signatures = {
  serving_default: predict,
  classify,
  regress,
  scores: { ...classify, outputs: { scores: spec('s:0', 'float') } },
  other_input: { ...regress, inputs: { inputs: { ...examplesInput.inputs, tensorName: 'q:0' } } },
  float_input: { ...regress, inputs: { inputs: spec('x2:0', 'float') } },
  two_inputs: { ...classify, inputs: { ...examplesInput, more: spec('m:0', 'float') } },
  three_outputs: { ...classify, outputs: { ...classify.outputs, more: spec('m:0', 'float') } },
  other_outputs: { ...classify, outputs: { y: spec('y:0', 'float') } },
} satisfies Record<string, Signature>;

/** An API over a core that answers every request with `outputs`. */
function createApi(outputs: Readonly<Record<string, Tensor>>, methodNameCheck = false) {
  const inferred: InferRequest[] = [];
  const answered: [string, number][] = [];
  let cancelled = 0;
  const api = createExamplesApi({
    core: {
      infer(request) {
        inferred.push(request);
        const wanted: NamedTensors = new Map(
          request.outputs.flatMap((alias) => (outputs[alias] ? [[alias, outputs[alias]] as const] : [])),
        );
        const answer = Promise.resolve({
          outputs: wanted,
          timings: { queuedMs: 0, executedMs: 0, batchRows: 1, workerId: newMemberId('worker') },
        });
        return {
          answer,
          whenSettled: (onResult, onError) => void answer.then(onResult, onError),
          cancel: () => void cancelled++,
        };
      },
    },
    methodNameCheck,
    onAnswered: (model, count) => void answered.push([model, count]),
  });
  return { api, inferred, answered, cancelled: () => cancelled };
}

function ask(signatureName: string, examples: readonly Uint8Array[] = [utf8('one'), utf8('two')]): ExamplesRequest {
  return { servable: servable({ signatures }), signatureName, examples, deadlineMs: 7, traceparent: 't' };
}

describe('classify', () => {
  test('gives labels and scores by example', async () => {
    const { api, inferred, answered } = createApi({
      classes: { ...strings(['a', 'b', 'c', 'd']), shape: [2, 2] },
      scores: floats([1, 2, 3, 4], [2, 2]),
    });
    const results = await api.classify(ask('classify')).answer;
    expect(results.map((classes) => classes.map(({ label, score }) => [fromUtf8(label), score]))).toEqual([
      [
        ['a', 1],
        ['b', 2],
      ],
      [
        ['c', 3],
        ['d', 4],
      ],
    ]);
    const sent = inferred[0]?.inputs.get('inputs');
    expect(unpackStrings(sent?.bytes ?? new Uint8Array(0), 2).map(fromUtf8)).toEqual(['one', 'two']);
    expect(inferred[0]).toMatchObject({ signatureName: 'classify', outputs: ['classes', 'scores'], deadlineMs: 7, traceparent: 't' });
    expect(answered).toEqual([['half', 2]]);
  });

  test('without classes every label is empty', async () => {
    const { api } = createApi({ scores: floats([1, 2], [2, 1]) });
    const results = await api.classify(ask('scores')).answer;
    expect(results.map((classes) => classes.map(({ label, score }) => [label.byteLength, score]))).toEqual([[[0, 1]], [[0, 2]]]);
  });

  test.each<[string, string, string]>([
    ['nope', 'INVALID_ARGUMENT', 'No signature was found with the name: nope'],
    ['two_inputs', 'INVALID_ARGUMENT', 'Expected one input Tensor.'],
    ['three_outputs', 'INVALID_ARGUMENT', 'Expected one or two output Tensors, found 3'],
    [
      '',
      'FAILED_PRECONDITION',
      'No classification inputs found in SignatureDef: inputs {\n  key: "x"\n  value {\n    name: "x:0"\n    dtype: DT_FLOAT\n    tensor_shape {\n      dim {\n        size: -1\n      }\n      dim {\n        size: 1\n      }\n    }\n  }\n}\noutputs {\n  key: "y"\n  value {\n    name: "y:0"\n    dtype: DT_FLOAT\n    tensor_shape {\n      dim {\n        size: -1\n      }\n      dim {\n        size: 1\n      }\n    }\n  }\n}\nmethod_name: "tensorflow/serving/predict"\n',
    ],
  ])('the signature "%s" is refused', async (name, code, message) => {
    await expect(createApi({}).api.classify(ask(name)).answer).rejects.toMatchObject({ code, message });
  });

  test('a signature without classes and scores is refused', async () => {
    await expect(createApi({}).api.classify(ask('other_outputs')).answer).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining(
        'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: ',
      ),
    });
  });

  test('no examples is an empty input', async () => {
    await expect(createApi({}).api.classify(ask('classify', [])).answer).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'Input is empty.',
    });
  });

  test('an input that is no string tensor is refused in TensorFlow’s words', async () => {
    await expect(createApi({}).api.regress(ask('float_input')).answer).rejects.toThrow('Expects arg[0] to be float but string is provided');
  });

  test.each<[string, Readonly<Record<string, Tensor>>, string]>([
    [
      'rank',
      { classes: strings(['a', 'b']), scores: floats([1, 2], [2, 1]) },
      'Expected Tensor shape: [batch_size num_classes] but got [2]',
    ],
    ['classes dtype', { classes: floats([1, 2], [2, 1]) }, 'Expected classes Tensor of DT_STRING. Got: DT_FLOAT'],
    ['scores dtype', { scores: { ...strings(['a', 'b']), shape: [2, 1] } }, 'Expected scores Tensor of DT_FLOAT. Got: DT_STRING'],
    ['rows', { scores: floats([1, 2, 3], [3, 1]) }, 'Expected scores output batch size of 2. Got: 3'],
    [
      'columns',
      { classes: { ...strings(['a', 'b']), shape: [2, 1] }, scores: floats([1, 2, 3, 4], [2, 2]) },
      'Tensors class and score should match in dim_size(1). Got 1 vs. 2',
    ],
  ])('outputs of the wrong %s are refused', async (_, outputs, message) => {
    await expect(createApi(outputs).api.classify(ask('classify')).answer).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message });
  });

  test('with the method name check only classify signatures run', async () => {
    await expect(createApi({}, true).api.classify(ask('regress')).answer).rejects.toThrow(
      'Expected classification signature method_name to be tensorflow/serving/classify. Was: tensorflow/serving/regress',
    );
  });
});

describe('regress', () => {
  test.each([[[2]], [[2, 1]]])('takes outputs of shape %j', async (shape) => {
    expect(await createApi({ outputs: floats([2.5, 3], shape) }).api.regress(ask('regress')).answer).toEqual([2.5, 3]);
  });

  test.each<[string, Tensor, string]>([
    ['shape', floats([1, 2, 3, 4], [2, 2]), 'Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]'],
    ['rows', floats([1]), 'Input batch size did not match output batch size: 2 vs. 1'],
    ['dtype', strings(['a', 'b']), 'Expected output Tensor of DT_FLOAT.  Got: DT_STRING'],
  ])('an output of the wrong %s is refused', async (_, outputs, message) => {
    await expect(createApi({ outputs }).api.regress(ask('regress')).answer).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message });
  });

  test('its own inputs and outputs are wanted', async () => {
    await expect(createApi({}).api.regress(ask('')).answer).rejects.toThrow('No regression inputs found in SignatureDef: inputs {');
    await expect(createApi({}).api.regress(ask('scores')).answer).rejects.toThrow('No regression outputs found in SignatureDef: inputs {');
  });
});

describe('multiInference', () => {
  const REGRESS = 'tensorflow/serving/regress';
  const CLASSIFY = 'tensorflow/serving/classify';
  const run = (tasks: readonly [string, string][]) => {
    const made = createApi({ outputs: floats([2.5, 3]), scores: floats([1, 2], [2, 1]) });
    const tasksAsked = tasks.map(([signatureName, methodName]) => ({ signatureName, methodName }));
    return { ...made, pending: made.api.multiInference({ ...ask(''), tasks: tasksAsked }) };
  };

  test('answers in the order of the tasks', async () => {
    const { pending } = run([
      ['regress', REGRESS],
      ['scores', CLASSIFY],
    ]);
    const results = await pending.answer;
    expect(results).toMatchObject([
      { type: 'regress', signatureName: 'regress', values: [2.5, 3] },
      { type: 'classify', signatureName: 'scores', classifications: [[{ score: 1 }], [{ score: 2 }]] },
    ]);
  });

  test.each<[string, readonly [string, string][], string, string]>([
    [
      'a signature twice',
      [
        ['regress', REGRESS],
        ['regress', REGRESS],
      ],
      'INVALID_ARGUMENT',
      'Duplicate evaluation of signature: regress',
    ],
    ['an unknown signature', [['nope', REGRESS]], 'INVALID_ARGUMENT', 'Requested signature not found in model graph: nope'],
    [
      'another method',
      [['', 'tensorflow/serving/predict']],
      'UNIMPLEMENTED',
      'Unsupported signature method_name: tensorflow/serving/predict',
    ],
    [
      'another input',
      [
        ['regress', REGRESS],
        ['other_input', REGRESS],
      ],
      'INVALID_ARGUMENT',
      'Input tensor must be the same for all Signatures.',
    ],
  ])('%s is refused', async (_, tasks, code, message) => {
    await expect(run(tasks).pending.answer).rejects.toMatchObject({ code, message });
  });

  test('cancelling reaches every task', async () => {
    const { pending, cancelled } = run([
      ['regress', REGRESS],
      ['scores', CLASSIFY],
    ]);
    pending.cancel();
    expect(cancelled()).toBe(2);
    await pending.answer;
  });
});
