import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import type { Tensor } from '#mesh/tensor.ts';
import { readOnnxHeader } from '#proto/onnx-header.ts';
import { buildModel, type OnnxGraph, type OnnxInitializer, type OnnxModel } from '#proto/onnx-writer.ts';
import { runOnnx } from '../savedmodel/translate/run-onnx.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-external-'));
afterAll(() => rmSync(folder, { recursive: true }));

const floats = (...values: readonly number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
const vector = (...values: readonly number[]): Tensor => ({ dtype: 'float', shape: [values.length], bytes: floats(...values) });
const free = (name: string) => ({ name, dtype: 'float', shape: ['n'] }) as const;

function sum(initializers: readonly OnnxInitializer[]): OnnxModel {
  const nodes = [{ op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }];
  return { name: 'sum', opset: 18, inputs: [free('x')], outputs: [free('y')], initializers, nodes };
}

function answer(model: Uint8Array | string, x: Tensor): Tensor | string | undefined {
  const [[result] = []] = runOnnx([{ model, runs: [{ x }] }]);
  return result?.type === 'outputs' ? result.outputs.y : result?.message;
}

describe('constants in another file', () => {
  const external = { location: 'weights.bin', offset: 4, byteLength: 8 };

  test('are read by the runtime from the folder of the model, at their offset', () => {
    const path = join(folder, 'sum.onnx');
    writeFileSync(join(folder, 'weights.bin'), floats(-1, 10, 20, -1));
    writeFileSync(path, buildModel(sum([{ name: 'w', dtype: 'float', shape: [2], external }])));
    expect(answer(path, vector(1, 2))).toEqual(vector(11, 22));
  });

  test('take the model no more bytes than their reference, whatever their size', () => {
    const huge = { location: 'weights.bin', offset: 2 ** 32, byteLength: 4 * 2 ** 30 };
    const model = buildModel(sum([{ name: 'w', dtype: 'float', shape: [2 ** 30], external: huge }]));
    expect(model.byteLength).toBeLessThan(300);
    expect(readOnnxHeader(model)).toMatchObject({ externalFiles: ['weights.bin'], initializerBytes: 2 ** 32, initializerCount: 1 });
  });

  test('are refused by name when their length is not that of their shape, and for strings', () => {
    const initializer = { name: 'w', dtype: 'float', shape: [3], external } as const;
    expect(() => buildModel(sum([initializer]))).toThrow('w: float of shape [3] takes 12 bytes, 8 were given');
    expect(() => buildModel(sum([{ ...initializer, dtype: 'string' }]))).toThrow('w: strings cannot lie in another file');
  });
});

describe('graphs inside nodes', () => {
  const one: OnnxInitializer = { name: 'one', dtype: 'float', shape: [], bytes: floats(1) };
  const branch = (op: string): OnnxGraph => ({
    name: op,
    inputs: [],
    outputs: [{ name: `${op}_y`, dtype: 'float', shape: null }],
    initializers: [{ ...one, name: `${op}_one` }],
    nodes: [{ op, inputs: ['x', `${op}_one`], outputs: [`${op}_y`] }],
  });

  test('use values of the graph around them by name, and bring their own constants', () => {
    const nodes = [
      { op: 'ReduceSum', inputs: ['x'], outputs: ['total'], attributes: { keepdims: 0 } },
      { op: 'Less', inputs: ['total', 'one'], outputs: ['small'] },
      {
        op: 'If',
        inputs: ['small'],
        outputs: ['y'],
        attributes: { then_branch: { graph: branch('Add') }, else_branch: { graph: branch('Sub') } },
      },
    ];
    const model = buildModel({ name: 'choice', opset: 18, inputs: [free('x')], outputs: [free('y')], initializers: [one], nodes });
    expect(answer(model, vector(-1, 1))).toEqual(vector(0, 2));
    expect(answer(model, vector(5, 6))).toEqual(vector(4, 5));
  });

  test('have their operator domains imported by the model', () => {
    const inner: OnnxGraph = { ...branch('Add'), nodes: [{ op: 'Strange', domain: 'my.ops', inputs: ['x'], outputs: ['Add_y'] }] };
    const nodes = [
      { op: 'If', inputs: ['x'], outputs: ['y'], attributes: { then_branch: { graph: inner }, else_branch: { graph: inner } } },
    ];
    const model = { ...sum([]), nodes };
    expect(readOnnxHeader(buildModel(model)).opsets.get('my.ops')).toBe(1);
  });
});
