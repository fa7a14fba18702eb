import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { utf8 } from '#mesh/bytes.ts';
import type { DType } from '#mesh/tensor.ts';
import { packStrings, unpackStrings } from '#mesh/tensor.ts';
import { encodeExample, type Feature } from '#proto/example.ts';
import { affine, assigned, createModelFolder, halfPlusTwo, identity, model, single } from './models.ts';
import { errorOf, floatInput, floatsOf, input, outputsOf, startRig } from './worker-rig.ts';

type Rig = Awaited<ReturnType<typeof startRig>>;
const folder = createModelFolder();
let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ args: ['--executors=1'] });
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** Loads one folder and gives its state; other servables go. */
async function load(name: string, files: Parameters<typeof folder.version>[1]) {
  rig.assign([assigned(name, folder.version(name, files))]);
  return rig.untilHeld(name, ({ state }) => state === 'AVAILABLE' || state === 'END');
}

const bytesOf = (tensor: { readonly payload: { readonly type: string; readonly bytes?: Uint8Array } } | undefined) =>
  Buffer.from(tensor?.payload.bytes ?? []).toString('hex');

describe('dtypes', () => {
  const samples: [DType, Uint8Array][] = [
    ['float', new Uint8Array(Float32Array.of(1.5, Number.NaN, -0).buffer)],
    ['double', new Uint8Array(Float64Array.of(1e300, -1, 0).buffer)],
    ['int8', new Uint8Array(Int8Array.of(-128, 0, 127).buffer)],
    ['int16', new Uint8Array(Int16Array.of(-32768, 0, 32767).buffer)],
    ['int32', new Uint8Array(Int32Array.of(-(2 ** 31), 0, 1).buffer)],
    ['int64', new Uint8Array(BigInt64Array.of(-(2n ** 63n), 0n, 2n ** 53n + 1n).buffer)],
    ['uint8', Uint8Array.of(0, 1, 255)],
    ['uint16', new Uint8Array(Uint16Array.of(0, 1, 65535).buffer)],
    ['uint32', new Uint8Array(Uint32Array.of(0, 1, 4294967295).buffer)],
    ['uint64', new Uint8Array(BigUint64Array.of(0n, 1n, 2n ** 64n - 1n).buffer)],
    ['bool', Uint8Array.of(1, 0, 1)],
    ['half', new Uint8Array(Uint16Array.of(0x3c00, 0xbc00, 0x7bff).buffer)],
    ['string', packStrings([utf8('a'), utf8(''), utf8('größe')])],
  ];
  test.each(samples)('%s goes through onnxruntime unchanged', async (dtype, bytes) => {
    await load(`ident-${dtype}`, { 'model.onnx': identity(dtype) });
    const [output] = outputsOf(await rig.ask(`ident-${dtype}`, [input('x', dtype, [3], bytes)])).outputs;
    expect(output).toMatchObject({ dtype, shape: [3] });
    expect(bytesOf(output)).toBe(Buffer.from(bytes).toString('hex'));
  });

  test('no elements at all are fine', async () => {
    await load('empty', { 'model.onnx': identity('float') });
    const [output] = outputsOf(await rig.ask('empty', [floatInput('x', [], [0, 3])])).outputs;
    expect(output).toMatchObject({ shape: [0, 3] });
    expect(bytesOf(output)).toBe('');
  });

  test.each([
    ['not UTF-8', Uint8Array.of(0xff, 0x61)],
    ['with NUL', Uint8Array.of(0x61, 0, 0x62)],
  ])('a string %s is refused, because ONNX cannot carry it', async (_, element) => {
    await load('text', { 'model.onnx': identity('string') });
    const answer = errorOf(await rig.ask('text', [input('x', 'string', [1], packStrings([element]))]));
    expect(answer).toEqual({
      code: 'INVALID_ARGUMENT',
      message: 'input x, element 0: ONNX strings carry UTF-8 text without NUL, not bytes',
    });
  });

  test('bfloat16 in the graph fails the load with its name', async () => {
    const held = await load('bf16', { 'model.onnx': identity('bfloat16') });
    expect(held.status.message).toContain('bfloat16');
  });
});

describe('a folder without signatures.json', () => {
  test('serves one signature made of the graph', async () => {
    await load('derived', {
      'model.onnx': model({
        inputs: [
          { name: 'a', dtype: 'float', shape: ['N', 3] },
          { name: 'b', dtype: 'float', shape: null },
        ],
        outputs: [{ name: 'sum', dtype: 'float', shape: ['N', 3] }],
        nodes: [{ op: 'Add', inputs: ['a', 'b'], outputs: ['sum'] }],
      }),
    });
    expect((await rig.signatures('derived')).signatures).toEqual({
      serving_default: {
        method: 'tensorflow/serving/predict',
        batchable: true,
        inputs: {
          a: { dtype: 'float', shape: [-1, 3], accepts: [-1, 3], tensorName: 'a:0', dimNames: ['N', ''] },
          b: { dtype: 'float', shape: null, accepts: null, tensorName: 'b:0' },
        },
        outputs: { sum: { dtype: 'float', shape: [-1, 3], accepts: [-1, 3], tensorName: 'sum:0', dimNames: ['N', ''] } },
      },
    });
  });

  test('is not batchable when a first dimension is fixed', async () => {
    await load('fixed', { 'model.onnx': affine(1, 0, [1, 3]) });
    expect((await rig.signatures('fixed')).signatures?.serving_default?.batchable).toBe(false);
  });

  test('a signature of a servable that is not held is null', async () => {
    expect(await rig.signatures('nobody')).toEqual({ signatures: null });
  });
});

describe('signatures.json', () => {
  const x = { dtype: 'DT_FLOAT', shape: [-1, 1], onnx: 'x' };
  const feature = { dtype: 'DT_FLOAT', shape: [1], onnx: 'x' };
  const graph = affine(0.5, 2, null);
  const classify = (more: object = {}) =>
    JSON.stringify({
      signatures: {
        serving_default: {
          method: 'classify',
          inputs: {
            inputs: { dtype: 'DT_STRING', shape: null, tensor_name: 'tf_example:0', parse_example: { x: { ...feature, ...more } } },
          },
          outputs: { scores: { dtype: 'DT_FLOAT', shape: [-1, 1], onnx: 'y', tensor_name: 'y:0' } },
        },
      },
    });
  const example = (name: string, value: Feature) => encodeExample(new Map([[name, value]]));
  const floats = (...values: number[]): Feature => ({ kind: 'float', values: Float32Array.from(values) });
  const askClassify = (...examples: Uint8Array[]) =>
    rig.ask('classify', [input('inputs', 'string', [examples.length], packStrings(examples))], { outputs: ['scores'] });

  test('names inputs and outputs for clients, with advertised and enforced shapes', async () => {
    await load('named', {
      'model.onnx': halfPlusTwo(),
      'signatures.json': JSON.stringify({
        stateful: true,
        signatures: {
          serving_default: {
            inputs: { in: { ...x, tensor_name: 'ph:0' } },
            outputs: { out: { dtype: 'DT_FLOAT', shape: [-1, 1], onnx: 'y' } },
          },
        },
      }),
    });
    const { signatures } = await rig.signatures('named');
    expect(signatures?.serving_default).toMatchObject({
      method: 'tensorflow/serving/predict',
      batchable: true,
      inputs: { in: { shape: [-1, 1], accepts: [-1], tensorName: 'ph:0' } },
      outputs: { out: { tensorName: 'y:0' } },
    });
    expect(rig.held('named')?.stateful).toBe(true);
    expect(floatsOf(outputsOf(await rig.ask('named', [floatInput('in', [6])], { outputs: ['out'] })).outputs[0])).toEqual([5]);
  });

  test('features of tf.Examples feed the graph', async () => {
    await load('classify', { 'model.onnx': graph, 'signatures.json': classify() });
    const answer = outputsOf(await askClassify(example('x', floats(1)), example('x', floats(2))));
    expect(answer.outputs[0]).toMatchObject({ name: 'scores', shape: [2, 1] });
    expect(floatsOf(answer.outputs[0])).toEqual([2.5, 3]);
  });

  test.each<[string, Uint8Array, string]>([
    [
      'of another type',
      example('x', { kind: 'bytes', values: [utf8('a')] }),
      "Name: <unknown>, Key: x, Index: 0.  Data types don't match. Data type: string but expected type: float",
    ],
    ['that is missing', example('q', floats(1)), 'Name: <unknown>, Feature: x (data type: float) is required but could not be found.'],
    [
      'with too many values',
      example('x', floats(1, 2)),
      'Name: <unknown>, Key: x, Index: 0.  Number of float values != expected.  Values size: 2 but output shape: [1]',
    ],
    ['that is no Example', utf8('no'), "Could not parse example input, value: 'no'"],
  ])('a feature %s is refused in the words of TensorFlow', async (_, bytes, text) => {
    await load('classify', { 'model.onnx': graph, 'signatures.json': classify() });
    expect(errorOf(await askClassify(bytes))).toEqual({
      code: 'INVALID_ARGUMENT',
      message: `${text}\n\t [[{{node ParseExample/ParseExample}}]]`,
    });
  });

  test('a missing feature with a default takes it', async () => {
    await load('classify-default', { 'model.onnx': graph, 'signatures.json': classify({ default: [8] }) });
    const tensors = [input('inputs', 'string', [1], packStrings([new Uint8Array(0)]))];
    expect(floatsOf(outputsOf(await rig.ask('classify-default', tensors, { outputs: ['scores'] })).outputs[0])).toEqual([6]);
  });

  test('host ops carry byte strings and bfloat16, without any graph', async () => {
    await load('host', {
      'signatures.json': JSON.stringify({
        signatures: {
          serving_default: {
            inputs: { x: { dtype: 'DT_STRING', shape: null }, b: { dtype: 'DT_BFLOAT16', shape: null } },
            outputs: {
              y: { dtype: 'DT_STRING', shape: null, host: { op: 'Identity', input: 'x' } },
              len: { dtype: 'DT_INT32', shape: [-1], host: { op: 'StringLength', input: 'x' } },
              same: { dtype: 'DT_BFLOAT16', shape: null, host: { op: 'Identity', input: 'b' } },
            },
          },
        },
      }),
    });
    const strings = [Uint8Array.of(0xff, 0, 0x61), utf8('größe')];
    const tensors = [input('x', 'string', [2], packStrings(strings)), input('b', 'bfloat16', [1], Uint8Array.of(0x80, 0x3f))];
    const { outputs } = outputsOf(await rig.ask('host', tensors, { outputs: ['len', 'y', 'same'] }));
    expect(outputs.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
      ['len', 'int32', [2]],
      ['y', 'string', [2]],
      ['same', 'bfloat16', [1]],
    ]);
    expect(bytesOf(outputs[0])).toBe('0300000007000000');
    const [, y] = outputs;
    expect(y?.payload.type === 'inline' && unpackStrings(y.payload.bytes, 2).map((one) => [...one])).toEqual(
      strings.map((one) => [...one]),
    );
    expect(bytesOf(outputs[2])).toBe('803f');
  });

  test('signatures may use several model files', async () => {
    const entry = (file: string) => ({ model: file, inputs: { x }, outputs: { y: { dtype: 'DT_FLOAT', shape: [-1] } } });
    await load('several', {
      'double.onnx': affine(2, 0),
      'triple.onnx': affine(3, 0),
      'signatures.json': JSON.stringify({ signatures: { serving_default: entry('double.onnx'), triple: entry('triple.onnx') } }),
    });
    expect(floatsOf(outputsOf(await rig.ask('several', [floatInput('x', [5])])).outputs[0])).toEqual([10]);
    expect(floatsOf(outputsOf(await rig.ask('several', [floatInput('x', [5])], { signature: 'triple' })).outputs[0])).toEqual([15]);
  });

  const y = { dtype: 'DT_FLOAT', shape: [-1], onnx: 'y' };
  test.each<[string, unknown, RegExp]>([
    ['text that is not JSON', '{', /signatures\.json is not JSON/],
    [
      'an unknown dtype',
      { inputs: { x: { ...x, dtype: 'DT_FLAOT' } }, outputs: { y } },
      /signatures\.serving_default\.inputs\.x\.dtype "DT_FLAOT" is not a dtype/,
    ],
    [
      'a dtype the graph does not have',
      { inputs: { x: { ...x, dtype: 'DT_INT32' } }, outputs: { y } },
      /inputs\.x\.dtype is int32, x in model\.onnx is float/,
    ],
    [
      'an input the graph does not have',
      { inputs: { z: { ...x, onnx: 'z' } }, outputs: { y } },
      /inputs\.z\.onnx "z" is not in the graph of model\.onnx, which has x/,
    ],
    ['an input of the graph left out', { inputs: {}, outputs: { y } }, /inputs lack x, which the graph of model\.onnx needs/],
    [
      'an output the graph does not have',
      { inputs: { x }, outputs: { w: { ...y, onnx: 'w' } } },
      /outputs\.w\.onnx "w" is not in the graph/,
    ],
    ['an unknown field', { inputs: { x }, outputs: { y }, batchible: true }, /signatures\.serving_default\.batchible is not a field/],
    ['no outputs', { inputs: { x }, outputs: {} }, /outputs must name at least one output/],
    [
      'an unknown host op',
      { inputs: { x }, outputs: { y: { ...y, host: { op: 'Reverse', input: 'x' } } } },
      /host\.op "Reverse" is not Identity or StringLength/,
    ],
    [
      'a model outside of the folder',
      { model: '../model.onnx', inputs: { x }, outputs: { y } },
      /model "\.\.\/model\.onnx" must be a file in the version's own folder/,
    ],
  ])('%s fails the load, naming file and field', async (what, signature, text) => {
    const json = typeof signature === 'string' ? signature : JSON.stringify({ signatures: { serving_default: signature } });
    const name = `wrong-${what.replaceAll(' ', '-')}`;
    const held = await load(name, { 'model.onnx': halfPlusTwo(), 'signatures.json': json });
    expect(held).toMatchObject({ state: 'END', status: { code: 'INVALID_ARGUMENT' } });
    expect(held.status.message).toMatch(text);
    expect(held.status.message).toContain(join(folder.root, name, 'signatures.json'));
  });
});

describe('errors of onnxruntime', () => {
  test("a wrong inner shape is the caller's fault, in clean words", async () => {
    await load('inner', { 'model.onnx': affine(1, 0, ['N', 3]) });
    expect(errorOf(await rig.ask('inner', [floatInput('x', [1, 2], [1, 2])]))).toEqual({
      code: 'INVALID_ARGUMENT',
      message: 'Got invalid dimensions for input: x for the following indices index: 1 Got: 2 Expected: 3',
    });
  });

  test("a shape that an operator refuses is the caller's fault, without source files in the text", async () => {
    const reshape = { op: 'Reshape', inputs: ['x', 'shape'], outputs: ['y'] };
    await load('reshape', {
      'model.onnx': model({
        inputs: [{ name: 'x', dtype: 'float', shape: null }],
        outputs: [{ name: 'y', dtype: 'float', shape: null }],
        initializers: [{ name: 'shape', dtype: 'int64', shape: [2], bytes: new Uint8Array(BigInt64Array.of(2n, 2n).buffer) }],
        nodes: [reshape],
      }),
    });
    const answer = errorOf(await rig.ask('reshape', [floatInput('x', [1, 2, 3, 4, 5])]));
    expect(answer.code).toBe('INVALID_ARGUMENT');
    expect(answer.message).toContain('cannot be reshaped to the requested shape. Input shape:{5}, requested shape:{2,2}');
    expect(answer.message).not.toMatch(/onnxruntime_src|::/);
  });

  test("a dtype that is not the signature's is refused before onnxruntime sees it", async () => {
    await load('dtype', { 'model.onnx': halfPlusTwo() });
    expect(errorOf(await rig.ask('dtype', [input('x', 'int32', [1], new Uint8Array(4))]))).toEqual({
      code: 'INVALID_ARGUMENT',
      message: 'input x is float, but int32 is provided',
    });
  });

  test.each<[string, Uint8Array | undefined, string, RegExp]>([
    ['a truncated file', halfPlusTwo().subarray(0, 90), 'DATA_LOSS', /model\.onnx: not a readable ONNX model/],
    ['a file of something else', utf8('{ "not": "a model" }'), 'DATA_LOSS', /model\.onnx/],
    ['an operator that does not exist', single('float', { op: 'NoSuchOp', inputs: ['x'], outputs: ['y'] }), 'INVALID_ARGUMENT', /NoSuchOp/],
    ['no model at all', undefined, 'NOT_FOUND', /^Could not find SavedModel \.pb or \.pbtxt at supplied export directory path/],
  ])('%s fails the load', async (what, bytes, code, text) => {
    const held = await load(what.replaceAll(' ', '-'), bytes ? { 'model.onnx': bytes } : { 'readme.txt': '' });
    expect(held).toMatchObject({ state: 'END', status: { code } });
    expect(held.status.message).toMatch(text);
  });
});

const SHARED_MODEL = join(import.meta.dirname, '../../../shared/models/onnx/mlp64.onnx');
(existsSync(SHARED_MODEL) ? test : test.skip)('a real model answers as its sum over rows (needs ../shared/models)', async () => {
  await load('mlp', { 'model.onnx': readFileSync(SHARED_MODEL) });
  const rows = [0, 1].map((row) => Array.from({ length: 64 }, (_, index) => ((row + 1) * index) / 64));
  const batch = await rig.run(
    'mlp',
    rows.map((row) => rig.part([floatInput('x', row, [1, 64])])),
  );
  const alone = await rig.ask('mlp', [floatInput('x', rows.flat(), [2, 64])]);
  const apart = batch.flatMap((answer) => floatsOf(outputsOf(answer).outputs[0]));
  const together = floatsOf(outputsOf(alone).outputs[0]);
  expect(apart).toHaveLength(20);
  for (const [index, value] of apart.entries()) expect(value).toBeCloseTo(together[index] ?? Number.NaN, 5);
});
