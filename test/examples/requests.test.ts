import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { unpackStrings } from '#mesh/tensor.ts';
import { readPng } from '../../examples/clients/node/read-png.ts';
import { EXAMPLES, elementsOf, type GoldenCall, goldenCalls, MODELS } from './example-models.ts';

/** The first golden call of a signature. */
function firstCall(model: string, signature: string): GoldenCall {
  const call = goldenCalls(model).find((one) => one.signature === signature);
  if (call === undefined) throw new Error(`${model} has no golden answer of ${signature}`);
  return call;
}

/** The numbers of an input of the first golden call of serving_default. */
function defaultInput(model: string, input: string): readonly unknown[] {
  const tensor = firstCall(model, 'serving_default').inputs.get(input);
  return tensor === undefined ? [] : elementsOf(tensor);
}

const image = (name: string) => readFileSync(join(EXAMPLES, 'images', name));
const request = (model: string) => JSON.parse(readFileSync(join(EXAMPLES, 'requests', `${model}.json`), 'utf8')) as Record<string, unknown>;

describe('what the examples send is what TensorFlow was asked', () => {
  test.each(MODELS)('savedmodels.config serves %s from its folder', (model) => {
    expect(readFileSync(join(EXAMPLES, 'savedmodels.config'), 'utf8')).toContain(
      `name: "${model}" base_path: "/models/${model}" model_platform: "tensorflow"`,
    );
  });

  test('the pictures of digits', () => {
    const bytes = firstCall('mnist', 'image_bytes').inputs.get('image_bytes')?.bytes ?? new Uint8Array();
    expect(unpackStrings(bytes, 2).map((one) => Buffer.from(one))).toEqual([image('three.png'), image('seven.png')]);
  });

  test.each([
    ['segmentation', 'image', 'shapes.png'],
    ['digit_detector', 'inputs', 'digits.png'],
  ])('the picture for %s', (model, input, file) => {
    const { height, width, pixels } = readPng(image(file));
    expect(firstCall(model, 'serving_default').inputs.get(input)?.shape).toEqual([1, height, width, 3]);
    expect(Array.from(pixels)).toEqual(defaultInput(model, input));
  });

  test('the requests for curl', () => {
    const grey = [(request('mnist').instances as number[][])[0]].flat().map((one) => Math.fround(one ?? Number.NaN));
    expect(grey).toEqual(defaultInput('mnist', 'images').slice(0, 784));
    expect([request('digit_detector').instances].flat(5)).toEqual(defaultInput('digit_detector', 'inputs'));
    const { image, height, width } = request('segmentation').inputs as Record<string, unknown>;
    expect([image].flat(5)).toEqual(defaultInput('segmentation', 'image'));
    expect([height, width]).toEqual([[56], [96]]);
  });
});

describe('readPng', () => {
  test('refuses what is no PNG of 8 bits and RGB', () => {
    expect(() => readPng(Buffer.from('no picture'))).toThrow('not a PNG file');
    expect(() => readPng(image('seven.png'))).toThrow('RGB');
  });
});
