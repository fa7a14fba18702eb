import { describe, expect, test } from '@jest/globals';
import { packStrings } from '#mesh/tensor.ts';
import { checkedResults, signaturesOf, tensorOfUser, userInputs } from '../../services/worker-gpu/runtimes/user-tensors.ts';

const tensor = { dtype: 'float', shape: [-1] } as const;
const one = { inputs: { x: tensor }, outputs: { y: tensor } };

describe('the signatures of a servable of a user', () => {
  test('become what clients see and are held to', () => {
    expect(signaturesOf('m', { serving_default: { ...one, batchable: true } })).toEqual({
      serving_default: {
        method: 'tensorflow/serving/predict',
        inputs: { x: { dtype: 'float', shape: [-1], accepts: [-1], tensorName: 'x:0' } },
        outputs: { y: { dtype: 'float', shape: [-1], accepts: [-1], tensorName: 'y:0' } },
        batchable: true,
      },
    });
  });

  test.each([
    ['none', undefined, 'load gives no signatures'],
    ['an empty list', {}, 'load gives no signatures'],
    ['a method of its own', { s: { ...one, method: 'own' } }, 'signature "s" has the method own'],
    ['no outputs', { s: { inputs: { x: tensor } } }, 'signature "s" has no outputs'],
    ['a dtype that does not exist', { s: { ...one, inputs: { x: { ...tensor, dtype: 'float32' } } } }, 'the dtype float32'],
    ['a shape that is none', { s: { ...one, inputs: { x: { ...tensor, shape: [-2] } } } }, 'the shape [-2], which is none'],
    ['a batchable scalar', { s: { ...one, batchable: true, inputs: { x: { ...tensor, shape: [] } } } }, 'it begins with -1'],
  ])('with %s are refused, with the name of the module', (_, signatures, why) => {
    expect(() => signaturesOf('m', signatures)).toThrow(why);
    expect(() => signaturesOf('m', signatures)).toThrow(/^servable module m: /);
  });
});

describe('tensors of user code', () => {
  test('get strings out of shared memory, and leave numbers in it', () => {
    const packed = packStrings([Buffer.from('a'), Buffer.from('é')]);
    const shared = new Uint8Array(new SharedArrayBuffer(packed.byteLength + 8));
    shared.set(packed);
    const { text, x } = userInputs(
      new Map([
        ['text', { dtype: 'string', shape: [2], bytes: shared.subarray(0, packed.byteLength) }],
        ['x', { dtype: 'float', shape: [1], bytes: new Uint8Array(new SharedArrayBuffer(4)) }],
      ]),
    );
    const decoded = Array.from(text?.data as readonly Uint8Array[], (bytes) => new TextDecoder().decode(bytes));
    expect(decoded).toEqual(['a', 'é']);
    expect(x?.data).toHaveProperty('buffer', expect.any(SharedArrayBuffer));
  });

  test.each([
    ['undefined', undefined, 'is missing'],
    ['a bare array', [1], 'is not a tensor'],
    ['a negative size', { dtype: 'float', shape: [-1], data: new Float32Array(1) }, 'the shape [-1], which is none'],
    ['a text for bytes', { dtype: 'string', shape: [1], data: ['a'] }, 'has a string at 0, where a Uint8Array belongs'],
    ['too few strings', { dtype: 'string', shape: [2], data: [new Uint8Array(1)] }, 'has 1 elements, its shape [2] has 2'],
    ['numbers for strings', { dtype: 'string', shape: [1], data: new Uint8Array(1) }, 'has strings that are not an array'],
    ['int32 in an int64', { dtype: 'int64', shape: [1], data: new Int32Array(1) }, 'has Int32Array data, int64 is BigInt64Array'],
    ['half of a complex number', { dtype: 'complex64', shape: [1], data: new Float32Array(1) }, 'of two each'],
  ])('are refused: %s', (_, given, why) => {
    expect(() => tensorOfUser('output "y"', given)).toThrow(why);
  });

  test('are given by outputs asked for, in that order', () => {
    const signature = signaturesOf('m', { s: { inputs: { x: tensor }, outputs: { a: tensor, b: tensor } } }).s;
    if (signature === undefined) throw new Error('no signature');
    const made = {
      a: { dtype: 'float', shape: [1], data: Float32Array.of(1) },
      b: { dtype: 'float', shape: [1], data: Float32Array.of(2) },
    } as const;
    const results = checkedResults('m', signature, { outputs: ['b', 'a'], rows: undefined }, made);
    expect(results.map(({ bytes }) => new Float32Array(bytes.slice().buffer)[0])).toEqual([2, 1]);
    expect(checkedResults('m', signature, { outputs: ['a'], rows: undefined }, { a: made.a })).toHaveLength(1);
  });
});
