import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { elementCount } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import { tensorOf } from '../../../savedmodel/translate/constants.ts';
import { translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import { answers, bool, constant, type Feed, type Input, int, node, regionOf } from './flat-nodes.ts';
import { opCounts } from './op-counts.ts';
import { runOnnx } from './run-onnx.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-layers-'));
afterAll(() => rmSync(folder, { recursive: true }));

const numbered = (shape: readonly number[]) => Array.from({ length: elementCount(shape) }, (_, index) => Math.sin(index * 1.7));
const weights = (name: string, shape: readonly number[]) => constant(name, 'float', shape, numbered(shape));
const number = (name: string, value: number) => constant(name, 'float', [], [value]);
const ints = (name: string, ...values: readonly number[]) => constant(name, 'int32', [values.length], values);
const WIDTH = 6;
const feedOf = (shape: readonly number[], known = shape.map(() => -1)): Feed => ({
  node: node('x', 'Placeholder'),
  tensor: tensorOf('float', shape, numbered(shape)),
  shape: known,
});
/** The same feed without elements. */
const without = (feed: Feed, shape: readonly number[]): Feed => ({ ...feed, tensor: tensorOf('float', shape, []) });
const apply = (op: string, ...inputs: readonly Input[]) => node(op.toLowerCase(), op, inputs);
const mean = (value: Input) => node('mean', 'Mean', [value, ints('axes', -1)], { keep_dims: bool(true) });

const modelOf = (feed: Feed, fetch: Input) => buildModel(translateGraph(regionOf([feed], [fetch])).model);
const emitted = (feed: Feed, fetch: Input) => opCounts(modelOf(feed, fetch));

/** The operators after the runtime's optimiser. */
function optimized(feed: Feed, fetch: Input): Readonly<Record<string, number>> {
  const path = join(folder, 'optimised.onnx');
  runOnnx([{ model: modelOf(feed, fetch), optimized: path, runs: [] }]);
  return opCounts(readFileSync(path));
}

/** The numbers that a fetch gives. */
function valuesOf(feed: Feed, fetch: Input): readonly number[] {
  const found = answers([feed], [fetch]);
  if (typeof found === 'string') throw new Error(found);
  return found[0]?.values as readonly number[];
}

function expectClose(found: readonly number[], expected: readonly number[]): void {
  expect(found.length).toBe(expected.length);
  for (const [index, value] of found.entries()) expect(value).toBeCloseTo(expected[index] ?? Number.NaN, 5);
}

describe('a layer normalisation', () => {
  const gain = weights('gain', [1, 1, WIDTH]);
  const offset = weights('offset', [WIDTH]);
  const parts = (x: FlatNode, axes = mean) => {
    const average = axes(x);
    const variance = mean(apply('SquaredDifference', x, apply('StopGradient', average)));
    const factor = apply('Mul', apply('Rsqrt', apply('AddV2', variance, number('epsilon', 1e-3))), gain);
    return { average, factor };
  };
  const keras3 = (x: FlatNode) => {
    const { average, factor } = parts(x);
    return apply('AddV2', apply('Mul', x, factor), apply('AddV2', apply('Mul', apply('Neg', average), factor), offset));
  };
  const batchNormalization = (x: FlatNode) => {
    const { average, factor } = parts(x);
    return apply('AddV2', apply('Mul', x, factor), apply('Sub', offset, apply('Mul', average, factor)));
  };
  /** By the formula. */
  const expected = ({ tensor }: Feed) => {
    const rows = elementCount(tensor.shape) / WIDTH;
    const x = numbered(tensor.shape);
    const [gains, offsets] = [numbered([WIDTH]), numbered([WIDTH])];
    return Array.from({ length: rows }, (_, row) => x.slice(row * WIDTH, (row + 1) * WIDTH)).flatMap((row) => {
      const centre = row.reduce((sum, value) => sum + value, 0) / WIDTH;
      const variance = row.reduce((sum, value) => sum + (value - centre) ** 2, 0) / WIDTH;
      return row.map((value, at) => ((value - centre) / Math.sqrt(variance + 1e-3)) * (gains[at] ?? 0) + (offsets[at] ?? 0));
    });
  };

  test.each([
    ['Keras 3', keras3],
    ['tf.nn.batch_normalization', batchNormalization],
  ] as const)('as %s writes it is one operator', (_name, layer) => {
    const feed = feedOf([2, 3, WIDTH]);
    expect(emitted(feed, layer(feed.node))).toEqual({ LayerNormalization: 1, Identity: 1 });
    expectClose(valuesOf(feed, layer(feed.node)), expected(feed));
    expect(answers([without(feed, [0, 3, WIDTH])], [layer(feed.node)])).toMatchObject([{ shape: [0, 3, WIDTH] }]);
  });

  test('of something else than the last axis, or of another value, stays as it is', () => {
    const feed = feedOf([2, 3, WIDTH]);
    const { average, factor } = parts(feed.node, (x) => node('mean', 'Mean', [x, ints('axes', 1)], { keep_dims: bool(true) }));
    const other = apply('AddV2', apply('Mul', feed.node, factor), apply('Sub', offset, apply('Mul', average, factor)));
    expect(emitted(feed, other).LayerNormalization).toBeUndefined();
    const { average: one, factor: two } = parts(feed.node);
    const twice = apply('Mul', apply('AddV2', feed.node, feed.node), two);
    const wrong = apply('AddV2', twice, apply('Sub', offset, apply('Mul', one, two)));
    expect(emitted(feed, wrong).LayerNormalization).toBeUndefined();
  });
});

describe('a GELU', () => {
  const feed = feedOf([2, WIDTH]);
  const x = feed.node;
  const half = apply('Mul', number('half', 0.5), x);
  const erfc = apply('Mul', half, apply('Erfc', apply('Mul', apply('Neg', x), number('root', Math.SQRT1_2))));
  const erf = apply('Mul', half, apply('AddV2', number('one', 1), apply('Erf', apply('RealDiv', x, number('root', Math.SQRT2)))));

  test.each([
    ['erfc', erfc],
    ['erf', erf],
  ] as const)('written with %s is one operator of the runtime', (_name, fetch) => {
    expect(optimized(feed, fetch)).toEqual({ Gelu: 1 });
    // The tanh form is near enough to tell the two signs and halves apart.
    const exact = (value: number) => 0.5 * value * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (value + 0.044715 * value ** 3)));
    const found = valuesOf(feed, fetch);
    numbered([2, WIDTH]).forEach((value, index) => {
      expect(found[index]).toBeCloseTo(exact(value), 2);
    });
  });
});

describe('a product over the last axis of many', () => {
  const shape = [2, 3, 4];
  /** As tf.tensordot makes it. */
  const dense = (x: FlatNode, free: readonly number[], summed: number) => {
    const sizes = node('sizes', 'Shape', [x]);
    const zero = constant('zero', 'int32', [], [0]);
    const kept = node('kept', 'GatherV2', [sizes, ints('free', ...free), zero]);
    const gone = node('gone', 'GatherV2', [sizes, ints('summed', summed), zero]);
    const target = node('target', 'Pack', [node('rows', 'Prod', [kept, ints('0', 0)]), node('columns', 'Prod', [gone, ints('0', 0)])], {
      axis: int(0),
    });
    const turned = node('turned', 'Transpose', [x, ints('order', ...free, summed)]);
    const product = node('product', 'MatMul', [node('flat', 'Reshape', [turned, target]), weights('w', [4, 5])]);
    return node('y', 'Reshape', [product, node('back', 'ConcatV2', [kept, ints('width', 5), zero], { N: int(2) })]);
  };

  test('is one product, also of no rows', () => {
    const feed = feedOf(shape);
    expect(emitted(feed, dense(feed.node, [0, 1], 2))).toEqual({ MatMul: 1, Identity: 1 });
    const [x, w] = [numbered(shape), numbered([4, 5])];
    const expected = Array.from({ length: 30 }, (_, at) =>
      [0, 1, 2, 3].reduce((sum, k) => sum + (x[Math.floor(at / 5) * 4 + k] ?? 0) * (w[k * 5 + (at % 5)] ?? 0), 0),
    );
    expectClose(valuesOf(feed, dense(feed.node, [0, 1], 2)), expected);
    expect(answers([without(feed, [0, 3, 4])], [dense(feed.node, [0, 1], 2)])).toMatchObject([{ shape: [0, 3, 5] }]);
  });

  test('over another axis stays as it is', () => {
    const feed = feedOf([2, 4, 3]);
    expect(emitted(feed, dense(feed.node, [0, 2], 1)).Reshape).toBe(2);
  });
});
