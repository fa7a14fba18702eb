import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { elementCount } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import type { AttrValue } from '../../../savedmodel/graph.ts';
import { tensorOf } from '../../../savedmodel/translate/constants.ts';
import { translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import { answers, bool, constant, type Feed, type Input, int, node, regionOf, text } from './flat-nodes.ts';
import { opCounts } from './op-counts.ts';
import { runOnnx } from './run-onnx.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-fusion-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ints = (...values: readonly number[]): AttrValue => ({ type: 'list', values: values.map((value) => ({ type: 'int', value })) });
const numbered = (shape: readonly number[]) => Array.from({ length: elementCount(shape) }, (_, index) => Math.sin(index));
const tensor = (shape: readonly number[]) => tensorOf('float', shape, numbered(shape));
const weights = (name: string, shape: readonly number[]) => constant(name, 'float', shape, numbered(shape));
const image: Feed = { node: node('image', 'Placeholder'), tensor: tensor([2, 7, 6, 3]), shape: [-1, 7, 6, 3] };
const filter = weights('filter', [3, 3, 3, 4]);
const conv = (name: string, input: Input, padding: string) =>
  node(name, 'Conv2D', [input, filter], {
    strides: ints(1, 1, 1, 1),
    dilations: ints(1, 1, 1, 1),
    padding: text(padding),
    data_format: text('NHWC'),
  });

const emitted = (fetch: Input) => opCounts(buildModel(translateGraph(regionOf([image], [fetch])).model));

/** The operators after the runtime's optimiser. */
function optimized(name: string, fetch: Input): Readonly<Record<string, number>> {
  const path = join(folder, name);
  runOnnx([{ model: buildModel(translateGraph(regionOf([image], [fetch])).model), optimized: path, runs: [] }]);
  return opCounts(readFileSync(path));
}

describe('a convolution', () => {
  test('takes up its bias and its activation, although the next op wants channels last', () => {
    const biased = node('biased', 'BiasAdd', [conv('conv', image.node, 'SAME'), weights('bias', [4])]);
    const flat = node('flat', 'Reshape', [node('relu', 'Relu', [biased]), constant('shape', 'int32', [2], [-1, 168])]);
    expect(optimized('flat.onnx', flat)).toEqual({ FusedConv: 1, Transpose: 2, Reshape: 1 });
  });

  test('after another has no transposes between them', () => {
    const [first, bias] = [conv('conv', image.node, 'SAME'), weights('bias', [4])];
    const pooled = node('pool', 'MaxPool', [node('relu6', 'Relu6', [node('biased', 'BiasAdd', [first, bias])])], {
      ...{ ksize: ints(1, 2, 2, 1), strides: ints(1, 2, 2, 1), padding: text('VALID'), data_format: text('NHWC') },
    });
    expect(emitted(pooled)).toMatchObject({ Transpose: 2, Clip: 1 });
    expect(optimized('pooled.onnx', pooled)).toEqual({ FusedConv: 1, MaxPool: 1, Transpose: 2 });
  });
});

describe('what follows a convolution', () => {
  const axes = constant('axes', 'int32', [2], [1, 2]);
  const reduced = (op: string, keeps: boolean) => {
    const relu = node('relu', 'Relu', [node('biased', 'BiasAdd', [conv('conv', image.node, 'SAME'), weights('bias', [4])])]);
    return node('reduced', op, [relu, axes], { keep_dims: bool(keeps) });
  };
  /** The same, where nothing is known of the channels' order. */
  const apart = (op: string, keeps: boolean) => {
    const { inputs, attrs } = reduced(op, keeps);
    const [relu] = inputs;
    const twice = node('same', 'Reshape', [relu ?? axes, constant('shape', 'int32', [4], [-1, 7, 6, 4])]);
    return { ...node('reduced', op, [twice, axes]), attrs };
  };

  test.each([
    ['Mean', false, { FusedConv: 1, Transpose: 1, GlobalAveragePool: 1, Flatten: 1 }],
    ['Mean', true, { FusedConv: 1, Transpose: 2, GlobalAveragePool: 1 }],
    ['Max', false, { FusedConv: 1, Transpose: 1, ReduceMax: 1 }],
  ] as const)('%s over space, axes kept: %s, leaves no transpose before it', (op, keeps, expected) => {
    expect(optimized('reduced.onnx', reduced(op, keeps))).toEqual(expected);
    const [found, other] = [answers([image], [reduced(op, keeps)]), answers([image], [apart(op, keeps)])];
    if (typeof found === 'string' || typeof other === 'string') throw new Error(`${found} ${other}`);
    expect(found[0]?.shape).toEqual(other[0]?.shape);
    const [left, right] = [found, other].map((all) => all[0]?.values as readonly number[]);
    for (const [index, value] of (left ?? []).entries()) expect(value).toBeCloseTo(right?.[index] ?? Number.NaN, 5);
  });

  test('and is one number per channel, such as a batch normalisation of Keras 3, becomes part of it', () => {
    const scaled = node('scaled', 'Mul', [conv('conv', image.node, 'SAME'), weights('scale', [4])]);
    const shifted = node('shifted', 'AddV2', [scaled, weights('shift', [1, 1, 1, 4])]);
    const active = node('active', 'Relu', [node('less', 'Sub', [shifted, constant('half', 'float', [], [0.5])])]);
    expect(emitted(active)).toMatchObject({ Transpose: 2, Mul: 1, Add: 1, Sub: 1 });
    const kept = optimized('normalised.onnx', active);
    expect(kept).toMatchObject({ Transpose: 2 });
    expect(kept).not.toHaveProperty('Mul');
    expect(kept).not.toHaveProperty('Add');
  });

  test('and joins two of them does so in their own order', () => {
    const [one, other] = [conv('one', image.node, 'SAME'), conv('other', image.node, 'SAME')];
    const joined = node('joined', 'AddV2', [one, node('gated', 'Mul', [other, node('gate', 'Sigmoid', [other])])]);
    expect(optimized('joined.onnx', joined).Transpose).toBe(2);
    const spread = (value: ReturnType<typeof node>, name: string) =>
      node(name, 'Reshape', [value, constant('shape', 'int32', [4], [-1, 7, 6, 4])]);
    const plain = spread(other, 'plain');
    const expected = node('sum', 'AddV2', [spread(one, 'first'), node('gated2', 'Mul', [plain, node('gate2', 'Sigmoid', [plain])])]);
    const [found, wanted] = [answers([image], [joined]), answers([image], [expected])];
    if (typeof found === 'string' || typeof wanted === 'string') throw new Error(`${found} ${wanted}`);
    expect(found[0]?.shape).toEqual(wanted[0]?.shape);
    const [left, right] = [found, wanted].map((all) => all[0]?.values as readonly number[]);
    for (const [index, value] of (left ?? []).entries()) expect(value).toBeCloseTo(right?.[index] ?? Number.NaN, 4);
  });
});

describe('a convolution between SpaceToBatchND and BatchToSpaceND', () => {
  const block = constant('block', 'int32', [2], [2, 2]);
  const paddings = constant('paddings', 'int32', [2, 2], [2, 3, 2, 2]);
  const crops = constant('crops', 'int32', [2, 2], [0, 1, 0, 0]);
  const batched = node('batched', 'SpaceToBatchND', [image.node, block, paddings]);
  const inner = conv('conv', batched, 'VALID');
  const dilated = node('dilated', 'BatchToSpaceND', [inner, block, crops]);

  test('is one convolution with dilations, and answers as the three ops do', () => {
    const twice = node('again', 'Neg', [node('negated', 'Neg', [inner])]);
    const apart = node('apart', 'BatchToSpaceND', [twice, block, crops]);
    expect(emitted(dilated)).toEqual({ Transpose: 2, Conv: 1, Identity: 1 });
    expect(emitted(apart).Reshape).toBeGreaterThan(1);
    const [one, other] = [answers([image], [dilated]), answers([image], [apart])];
    expect(one[0]).toMatchObject({ shape: [2, 7, 6, 4] });
    const values = (found: typeof one) => (typeof found === 'string' ? [] : (found[0]?.values as readonly number[]));
    expect(values(one).map((value) => value.toFixed(4))).toEqual(values(other).map((value) => value.toFixed(4)));
  });

  test('that crops more than it pads stays three ops', () => {
    const more = node('more', 'BatchToSpaceND', [inner, block, constant('deep', 'int32', [2, 2], [3, 1, 0, 0])]);
    expect(emitted(more).Reshape).toBeGreaterThan(1);
  });
});

describe('an Einsum', () => {
  const pair = (left: readonly number[], right: readonly number[], equation: string) => {
    const feeds = [left, right].map((shape, index): Feed => ({ node: node(`x${index}`, 'Placeholder'), tensor: tensor(shape) }));
    const product = node(
      'einsum',
      'Einsum',
      feeds.map((feed) => feed.node),
      { N: int(2), equation: text(equation) },
    );
    return answers(feeds, [product]);
  };

  test.each([
    ['bqhk,bthk->bhqt', [0, 2, 3, 4], [0, 5, 3, 4], [0, 3, 2, 5]],
    ['abc,cde->abde', [0, 2, 3], [3, 4, 5], [0, 2, 4, 5]],
    ['abc,cd->abd', [2, 0, 3], [3, 4], [2, 0, 4]],
  ])('%s of nothing is nothing, where the runtime would end the process', (equation, left, right, shape) => {
    expect(pair(left, right, equation)).toEqual([{ shape, values: [] }]);
  });
});
