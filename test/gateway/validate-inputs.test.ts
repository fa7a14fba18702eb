import { describe, expect, test } from '@jest/globals';
import type { Signature } from '#mesh/signature.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import { validateInputs, wantedOutputs } from '../../services/gateway/validate-inputs.ts';
import { floats } from './half-mesh.ts';

const two: Signature = {
  method: 'tensorflow/serving/predict',
  inputs: {
    b: { dtype: 'int32', shape: [-1], accepts: null, tensorName: 'b:0' },
    a: { dtype: 'float', shape: [-1, 2], accepts: [-1, 2], tensorName: 'a:0' },
  },
  outputs: {
    y: { dtype: 'float', shape: [-1], accepts: null, tensorName: 'y:0' },
    x: { dtype: 'float', shape: [-1], accepts: null, tensorName: 'x:0' },
  },
  batchable: true,
};
const a = floats([1, 2], [1, 2]);
const b: Tensor = { dtype: 'int32', shape: [1], bytes: new Uint8Array(4) };

function named(entries: Readonly<Record<string, Tensor>>): NamedTensors {
  return new Map(Object.entries(entries));
}

describe('validateInputs', () => {
  test.each<[string, Readonly<Record<string, Tensor>>, string]>([
    ['none', {}, 'input size does not match signature: 0!=2 len({}) != len({a,b}). Sent extra: {}. Missing but required: {a,b}.'],
    [
      'too many',
      { a, b, c: a },
      'input size does not match signature: 3!=2 len({a,b,c}) != len({a,b}). Sent extra: {c}. Missing but required: {}.',
    ],
    [
      'another name',
      { z: a, b },
      'Signature input alias: a(feed name: a:0) not found in request and no default value provided. Inputs expected to be in the request {b,z}, or default input alias set: ',
    ],
    ['another dtype', { a, b: a }, 'Expects arg[1] to be int32 but float is provided'],
    ['another inner size', { a: floats([1, 2, 3], [1, 3]), b }, 'input a has shape [1,3], expected [?,2]'],
    ['another rank', { a: floats([1, 2]), b }, 'input a has shape [2], expected [?,2]'],
    ['too many dimensions', { a, b: { ...b, shape: new Array(255).fill(1) } }, 'input b has 255 dimensions, at most 254 are possible'],
  ])('%s is refused by name', (_, inputs, message) => {
    expect(() => validateInputs(two, named(inputs), 'all')).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message }) as never,
    );
  });

  test('the advertised shape is not enforced, the accepted one is', () => {
    expect(() => validateInputs(two, named({ a, b: { ...b, shape: [1, 1] } }), 'all')).not.toThrow();
  });

  test('in shapes mode dtypes are left to the protocol', () => {
    expect(() => validateInputs(two, named({ a, b: a }), 'shapes')).not.toThrow();
    expect(() => validateInputs(two, named({ a: floats([1]), b }), 'shapes')).toThrow('input a has shape [1], expected [?,2]');
  });
});

describe('inputs with defaults', () => {
  const one = { shape: [1], base64: Buffer.from(Int32Array.of(7).buffer).toString('base64') };
  const { a: specA, b: specB } = two.inputs;
  const lenient = { ...two, inputs: { ...(specA && { a: specA }), ...(specB && { b: { ...specB, default: one } }) } };

  test('are what the signature says when they are left out, and what the request says otherwise', () => {
    const filled = validateInputs(lenient, named({ a }), 'all');
    expect([...filled.keys()].sort()).toEqual(['a', 'b']);
    expect(filled.get('b')).toMatchObject({ dtype: 'int32', shape: [1] });
    expect([...(filled.get('b')?.bytes ?? [])]).toEqual([7, 0, 0, 0]);
    const given = named({ a, b });
    expect(validateInputs(lenient, given, 'all')).toBe(given);
  });

  test.each<[string, Readonly<Record<string, Tensor>>, string]>([
    [
      'an input without one is still needed',
      { b },
      'Signature input alias: a(feed name: a:0) not found in request and no default value provided. Inputs expected to be in the request {b}, or default input alias set: b',
    ],
    ['an unknown name is still refused', { a, z: b }, 'Inputs contains invalid name. Used request inputs: a, request input: a,z'],
    [
      'too many are still refused',
      { a, b, z: b },
      'input size does not match signature: 3!=2 len({a,b,z}) != len({a,b}). Sent extra: {z}. Missing but required: {}.',
    ],
  ])('%s', (_, inputs, message) => {
    expect(() => validateInputs(lenient, named(inputs), 'all')).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message }) as never,
    );
  });
});

describe('wantedOutputs', () => {
  test('no filter means all, in order', () => expect(wantedOutputs(two, [])).toEqual(['x', 'y']));
  test('a filter keeps its order', () => expect(wantedOutputs(two, ['y', 'x'])).toEqual(['y', 'x']));
  test('an output named twice is refused', () => expect(() => wantedOutputs(two, ['y', 'y'])).toThrow('duplicate output tensor alias: y'));
  test.each(['q', 'toString', '__proto__'])('the unknown output %s is refused', (alias) =>
    expect(() => wantedOutputs(two, [alias])).toThrow(
      `output tensor alias not found in signature: ${alias} Outputs expected to be in the set {x,y}.`,
    ),
  );
});
