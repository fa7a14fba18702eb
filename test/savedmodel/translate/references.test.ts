import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { elementCount, type Tensor } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import type { AttrValue } from '../../../savedmodel/graph.ts';
import { tensorOf } from '../../../savedmodel/translate/constants.ts';
import { type Region, translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import type { ConstantReference } from '../../../savedmodel/translate/translator.ts';
import { difference } from './golden-regions.ts';
import { opCounts } from './op-counts.ts';
import { runOnnx } from './run-onnx.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-references-'));
afterAll(() => rmSync(folder, { recursive: true }));

const text = (value: string): AttrValue => ({ type: 'string', value: new TextEncoder().encode(value) });
const ints = (...values: readonly number[]): AttrValue => ({ type: 'list', values: values.map((value) => ({ type: 'int', value })) });

function node(name: string, op: string, inputs: readonly FlatNode[] = [], attrs: Readonly<Record<string, AttrValue>> = {}): FlatNode {
  const refs = inputs.map((one) => ({ node: one, output: 0 }));
  return { name, op, inputs: refs, controls: [], attrs: new Map(Object.entries(attrs)), outputCount: 1 };
}

/** A float tensor of small numbers that differ. */
function numbered(shape: readonly number[]): Tensor {
  return tensorOf(
    'float',
    shape,
    Array.from({ length: elementCount(shape) }, (_, index) => ((index * 37) % 101) / 50 - 1),
  );
}

/** Variables in one file, with a count of how many were read. */
function variables(tensors: readonly Tensor[]): { readonly references: readonly ConstantReference[]; readonly loads: () => number } {
  let offset = 0;
  let loads = 0;
  const references = tensors.map(({ dtype, shape, bytes }): ConstantReference => {
    const external = { location: 'variables.bin', offset, byteLength: bytes.byteLength };
    offset += bytes.byteLength;
    const load = () => {
      loads++;
      return { dtype, shape, bytes: bytes.slice() };
    };
    return { dtype, shape, external, load };
  });
  writeFileSync(join(folder, 'variables.bin'), Buffer.concat(tensors.map(({ bytes }) => bytes)));
  return { references, loads: () => loads };
}

const x = node('x', 'Placeholder');
const conv = { strides: ints(1, 1, 1, 1), padding: text('SAME'), data_format: text('NHWC') };

function convRegion(filter: Tensor | ConstantReference, bias: Tensor | ConstantReference): Region {
  const [w, b] = [node('w', 'VarHandleOp'), node('b', 'VarHandleOp')];
  const [readW, readB] = [node('readW', 'ReadVariableOp', [w]), node('readB', 'ReadVariableOp', [b])];
  const product = node('conv', 'Conv2D', [x, readW], conv);
  const last = node('biased', 'BiasAdd', [product, readB]);
  return {
    nodes: [w, b, readW, readB, product, last],
    feeds: [{ value: { node: x, output: 0 }, name: 'x', dtype: 'float', shape: [-1, 5, 5, 64] }],
    fetches: [{ value: { node: last, output: 0 }, name: 'y' }],
    constants: new Map([
      [w, filter],
      [b, bias],
    ]),
  };
}

describe('constants beside the model', () => {
  const [filter, bias] = [numbered([3, 3, 64, 48]), numbered([48])];

  test('large ones are referred to and never read, small ones are read and become part of the model', () => {
    const { references, loads } = variables([filter, bias]);
    const [w, b] = references;
    if (w === undefined || b === undefined) throw new Error('there are two variables');
    const { model, outputs } = translateGraph(convRegion(w, b));
    expect(loads()).toBe(1);
    expect(model.initializers.map((one) => one.external)).toContainEqual(w.external);
    expect(model.initializers.filter((one) => one.external !== undefined).length).toBe(1);
    expect(outputs[0]?.shape).toEqual([-1, 5, 5, 48]);
  });

  test('one that no node uses is neither read nor in the model', () => {
    const { references, loads } = variables([bias]);
    const unused = node('unused', 'VarHandleOp');
    const last = node('last', 'Relu', [x]);
    const { model } = translateGraph({
      nodes: [unused, last],
      feeds: [{ value: { node: x, output: 0 }, name: 'x', dtype: 'float', shape: [-1] }],
      fetches: [{ value: { node: last, output: 0 }, name: 'y' }],
      constants: new Map([[unused, references[0]]]),
    });
    expect([loads(), model.initializers]).toEqual([0, []]);
  });

  test('a convolution answers as with its filter in the model, and the runtime turns the filter when it loads the model', () => {
    const { references } = variables([filter, bias]);
    const [w, b] = references;
    if (w === undefined || b === undefined) throw new Error('there are two variables');
    const [path, optimized] = [join(folder, 'conv.onnx'), join(folder, 'optimized.onnx')];
    writeFileSync(path, buildModel(translateGraph(convRegion(w, b)).model));
    const inside = buildModel(translateGraph(convRegion(filter, bias)).model);
    const runs = [{ x: numbered([2, 5, 5, 64]) }];
    const [[beside] = [], [within] = []] = runOnnx([
      { model: path, optimized, runs },
      { model: inside, runs },
    ]);
    if (beside?.type !== 'outputs' || within?.type !== 'outputs' || within.outputs.y === undefined) throw new Error('a model failed');
    expect(difference(beside.outputs.y, within.outputs.y, 1e-5)).toBeNull();
    // The two that stay turn the image to channels first and the result back.
    expect(opCounts(readFileSync(optimized)).Transpose).toBe(2);
  });
});
