import { describe, expect, test } from '@jest/globals';
import { DEFAULT_BATCHING } from '#mesh/control.ts';
import type { Signature } from '#mesh/signature.ts';
import { createLaneFinder } from '../../services/gateway/lane-key.ts';
import { floats, halfSignature, request, servable } from './half-mesh.ts';

const find = createLaneFinder();
const pair: Signature = {
  ...halfSignature,
  inputs: { ...halfSignature.inputs, w: { dtype: 'float', shape: null, accepts: null, tensorName: 'w:0' } },
};

describe('lane', () => {
  test('requests that differ only in rows share one', () => {
    const one = find(request(floats([1, 2], [1, 2])));
    const three = find(request(floats([1, 2, 3, 4, 5, 6], [3, 2])));
    expect(one).toEqual({ key: three.key, rows: 1 });
    expect(three.rows).toBe(3);
  });

  test('servable, signature, outputs, dtype and inner shape each make another', () => {
    const x = floats([1, 2], [1, 2]);
    const keys = [
      request(x),
      request(x, { servable: servable({ id: { name: 'half', version: 2 } }) }),
      request(x, { signatureName: 'other' }),
      request(x, { outputs: ['y', 'z'] }),
      request({ ...x, dtype: 'int32' }),
      request(floats([1, 2], [2, 1])),
      request(floats([1, 2])),
    ].map((one) => find(one).key);
    expect(new Set(keys).size).toBe(keys.length);
  });

  test('names cannot be shaped so that two lanes share a key', () => {
    const x = floats([1]);
    const one = find(request(x, { signatureName: 'a1.b', outputs: ['c'] })).key;
    const other = find(request(x, { signatureName: 'a', outputs: ['b', 'c'] })).key;
    expect(one).not.toBe(other);
  });

  test('the order in which a client names its inputs does not matter', () => {
    const x = floats([1]);
    const w = floats([1, 2], [1, 2]);
    const one = find(
      request(x, {
        signature: pair,
        inputs: new Map([
          ['x', x],
          ['w', w],
        ]),
      }),
    );
    const other = find(
      request(x, {
        signature: pair,
        inputs: new Map([
          ['w', w],
          ['x', x],
        ]),
      }),
    );
    expect(one).toEqual(other);
  });

  test('with padding of variable lengths only the rank counts', () => {
    const padding = servable({ batching: { ...DEFAULT_BATCHING, padVariableLengthInputs: true } });
    const short = find(request(floats([1, 2], [1, 2]), { servable: padding }));
    expect(find(request(floats([1, 2, 3], [1, 3]), { servable: padding })).key).toBe(short.key);
    expect(find(request(floats([1, 2, 3], [1, 3, 1]), { servable: padding })).key).not.toBe(short.key);
  });

  test.each([
    ['a scalar input', request(floats([1], []))],
    ['no rows', request(floats([], [0, 2]))],
    [
      'unequal rows',
      request(floats([1]), {
        signature: pair,
        inputs: new Map([
          ['x', floats([1])],
          ['w', floats([1, 2])],
        ]),
      }),
    ],
    ['batching off', request(floats([1]), { servable: servable({ batching: null }) })],
    ['a signature that is not batchable', request(floats([1]), { signature: { ...halfSignature, batchable: false } })],
  ])('%s is executed alone', (_, one) => {
    expect(find(one).rows).toBe(0);
    expect(find(one).key).not.toBe(find(request(floats([1]))).key);
  });
});
