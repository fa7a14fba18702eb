import { describe, expect, test } from '@jest/globals';
import { utf8 } from '#mesh/bytes.ts';
import { readSignaturesAnswer } from '#mesh/control-reader.ts';
import type { StoredSignature, StoredTensorInfo } from '../../../savedmodel/graph.ts';
import { signatureOf } from '../../../savedmodel/plan/signature-of.ts';

const PREDICT = 'tensorflow/serving/predict';
const FLOAT = 1;

function info(change: Partial<StoredTensorInfo> = {}): StoredTensorInfo {
  return { tensorName: 'x:0', dtype: FLOAT, shape: [-1, 3], dimNames: ['', ''], ...change };
}

function stored(inputs: Readonly<Record<string, StoredTensorInfo>>, outputs: Readonly<Record<string, StoredTensorInfo>>): StoredSignature {
  return { inputs: new Map(Object.entries(inputs)), outputs: new Map(Object.entries(outputs)), methodName: PREDICT, defaults: new Map() };
}

describe('the signature of a stored one', () => {
  test('keeps dtype, shape, tensor name and method, and takes any shape', () => {
    const signature = signatureOf(stored({ x: info() }, { y: info({ tensorName: 'y:1', dtype: 9, shape: null, dimNames: [] }) }));
    expect(signature).toEqual({
      method: PREDICT,
      inputs: { x: { dtype: 'float', shape: [-1, 3], accepts: null, tensorName: 'x:0' } },
      outputs: { y: { dtype: 'int64', shape: null, accepts: null, tensorName: 'y:1' } },
      batchable: true,
    });
  });

  test('takes from an input only the shapes that the runtime accepts', () => {
    const { inputs } = signatureOf(stored({ x: info(), z: info() }, { y: info() }), new Map([['x', [-1, 3]]]));
    expect([inputs.x?.accepts, inputs.z?.accepts]).toEqual([[-1, 3], null]);
  });

  test('sorts inputs and outputs by the bytes of their names', () => {
    const all = { ü: info(), b: info(), B: info(), a: info() };
    const { inputs, outputs } = signatureOf(stored(all, all));
    expect(Object.keys(inputs)).toEqual(['B', 'a', 'b', 'ü']);
    expect(Object.keys(outputs)).toEqual(['B', 'a', 'b', 'ü']);
  });

  test('keeps names of dimensions where a model has some', () => {
    expect(signatureOf(stored({ x: info({ dimNames: ['batch', ''] }) }, { y: info() })).inputs.x?.dimNames).toEqual(['batch', '']);
  });

  test('lists a reference to a variable as such, and sends what it refers to', () => {
    const { outputs, listedOnly } = signatureOf(stored({ x: info() }, { y: info({ dtype: 101 }) }));
    expect(outputs.y).toMatchObject({ dtype: 'float', listedDtype: { number: 101, protoName: 'DT_FLOAT_REF' } });
    expect(listedOnly).toBeUndefined();
  });

  test.each([
    ['of no dtype', info({ dtype: 0 }), { dtype: { number: 0, protoName: 'DT_INVALID' }, shape: [-1, 3], tensorName: 'x:0' }],
    ['that is a resource', info({ dtype: 20 }), { dtype: { number: 20, protoName: 'DT_RESOURCE' }, shape: [-1, 3], tensorName: 'x:0' }],
    [
      'that is sparse',
      info({ tensorName: '', sparse: { values: 'v:0', indices: 'i:0', denseShape: 's:0' } }),
      {
        dtype: { number: 1, protoName: 'DT_FLOAT' },
        shape: [-1, 3],
        tensorName: '',
        sparse: { values: 'v:0', indices: 'i:0', denseShape: 's:0' },
      },
    ],
  ])('only lists an input %s, and does not batch', (_what, input, expected) => {
    const signature = signatureOf(stored({ odd: input, x: info() }, { y: info() }));
    expect(signature.listedOnly).toEqual({ inputs: { odd: expected }, outputs: {} });
    expect(Object.keys(signature.inputs)).toEqual(['x']);
    expect(signature.batchable).toBe(false);
  });

  test.each<[string, boolean, Record<string, StoredTensorInfo>, Record<string, StoredTensorInfo>]>([
    ['with free rows everywhere', true, { x: info(), z: info({ shape: null }) }, { y: info({ shape: [-1] }) }],
    ['with an input of fixed rows', false, { x: info({ shape: [1, 3] }) }, { y: info() }],
    ['with an output of fixed rows', false, { x: info() }, { y: info({ shape: [4] }) }],
    ['with a scalar', false, { x: info({ shape: [] }) }, { y: info() }],
    ['without inputs', false, {}, { y: info() }],
    ['without outputs', false, { x: info() }, {}],
  ])('%s is batchable: %s', (_what, batchable, inputs, outputs) => {
    expect(signatureOf(stored(inputs, outputs)).batchable).toBe(batchable);
  });

  test('is not batchable where the runtime insists on a number of rows', () => {
    expect(signatureOf(stored({ x: info() }, { y: info() }), new Map([['x', [1, 3]]])).batchable).toBe(false);
  });

  test('reaches the registry as it is', () => {
    const all = { x: info({ dimNames: ['batch', 'feature'] }), ref: info({ dtype: 103 }) };
    const listed = { none: info({ dtype: 0, shape: null, dimNames: [] }) };
    const sparse = { s: info({ sparse: { values: 'v:0', indices: 'i:0', denseShape: 's:0' } }) };
    const signatures = { a: signatureOf(stored(all, listed)), b: signatureOf(stored(sparse, all)) };
    expect(readSignaturesAnswer(utf8(JSON.stringify({ signatures })))).toEqual({ signatures });
  });
});
