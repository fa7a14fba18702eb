import { describe, expect, test } from '@jest/globals';
import type { DType, Tensor } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import type { AttrValue } from '../../../savedmodel/graph.ts';
import { numbersOf, tensorOf } from '../../../savedmodel/translate/constants.ts';
import { type Region, translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import { TRANSLATORS } from '../../../savedmodel/translate/translators.ts';
import { UntranslatableError } from '../../../savedmodel/translate/untranslatable.ts';
import { runOnnx } from './run-onnx.ts';

function node(
  name: string,
  op: string,
  inputs: readonly FlatNode[] = [],
  attrs: Readonly<Record<string, AttrValue>> = {},
  outputCount = 1,
): FlatNode {
  const refs = inputs.map((one) => ({ node: one, output: 0 }));
  return { name, op, inputs: refs, controls: [], attrs: new Map(Object.entries(attrs)), outputCount };
}

function constant(name: string, dtype: DType, shape: readonly number[], values: readonly number[]): FlatNode {
  return node(name, 'Const', [], { value: { type: 'tensor', value: tensorOf(dtype, shape, values) } });
}

const int = (value: number): AttrValue => ({ type: 'int', value });

const x = node('x', 'Placeholder');

function region(nodes: readonly FlatNode[], fetched: FlatNode, shape: readonly number[] | null, dtype: DType = 'float'): Region {
  return {
    nodes,
    feeds: [{ value: { node: x, output: 0 }, name: 'x', dtype, shape }],
    fetches: [{ value: { node: fetched, output: 0 }, name: 'y' }],
  };
}

function run(translated: Region, feed: Tensor): Tensor | string {
  const [[result] = []] = runOnnx([{ model: buildModel(translateGraph(translated).model), runs: [{ x: feed }] }]);
  return result?.type === 'outputs' ? (result.outputs.y ?? 'no y') : (result?.message ?? 'no result');
}

/** Flattens all but the first axis, as Keras writes it for a batch of unknown size: Shape, StridedSlice, Pack, Reshape. */
function flatten(): { readonly nodes: readonly FlatNode[]; readonly last: FlatNode } {
  const shape = node('shape', 'Shape', [x]);
  const [zero, one] = [constant('zero', 'int32', [1], [0]), constant('one', 'int32', [1], [1])];
  const batch = node('batch', 'StridedSlice', [shape, zero, one, one], { shrink_axis_mask: int(1) });
  const size = constant('size', 'int32', [], [6]);
  const target = node('target', 'Pack', [batch, size], { axis: int(0) });
  const last = node('flat', 'Reshape', [x, target]);
  return { nodes: [shape, zero, one, batch, size, target, last], last };
}

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (caught) {
    return caught;
  }
  throw new Error('nothing was thrown');
}

describe('a region', () => {
  test('there are translators for more than 180 ops', () => {
    expect(TRANSLATORS.size).toBeGreaterThan(180);
  });

  test('sizes that are known stay known through a computed shape, and the free batch is computed', () => {
    const { nodes, last } = flatten();
    const translated = region(nodes, last, [-1, 2, 3]);
    expect(translateGraph(translated).outputs[0]?.shape).toEqual([-1, 6]);
    const y = run(translated, tensorOf('float', [2, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
    expect(y).toMatchObject({ shape: [2, 6] });
  });

  test('a shape that is wholly known becomes constants: no Shape is left', () => {
    const { nodes, last } = flatten();
    const { model } = translateGraph(region(nodes, last, [4, 2, 3]));
    expect(model.nodes.map((one) => one.op)).not.toContain('Shape');
  });

  test('a feed can be fetched as it is', () => {
    const feed = tensorOf('int32', [2], [7, -7]);
    expect(run(region([], x, [-1], 'int32'), feed)).toEqual(feed);
  });

  test('equal constants are stored once, and those that nothing uses not at all', () => {
    const [a, b, unused] = [constant('a', 'float', [], [2]), constant('b', 'float', [], [2]), constant('c', 'float', [], [3])];
    const doubled = node('doubled', 'Mul', [x, a]);
    const last = node('last', 'Add', [doubled, b]);
    const { model } = translateGraph(region([a, b, unused, doubled, last], last, [-1]));
    expect(model.initializers.map((one) => one.shape)).toEqual([[]]);
  });

  test('a large constant keeps the bytes of the graph', () => {
    const tensor = tensorOf(
      'float',
      [100],
      Array.from({ length: 100 }, (_, index) => index),
    );
    const weights = node('weights', 'Const', [], { value: { type: 'tensor', value: tensor } });
    const last = node('last', 'Add', [x, weights]);
    const { model } = translateGraph(region([weights, last], last, [-1]));
    expect(model.initializers[0]?.bytes).toBe(tensor.bytes);
  });

  test('a variable bound to a constant is read and gathered from', () => {
    const handle = node('handle', 'VarHandleOp');
    const table = node('table', 'ResourceGather', [handle, x]);
    const bound = {
      ...region([table], table, [-1], 'int32'),
      constants: new Map([[handle, tensorOf('float', [3, 2], [0, 1, 10, 11, 20, 21])]]),
    };
    const y = run(bound, tensorOf('int32', [2], [2, 0]));
    expect(typeof y === 'string' ? y : numbersOf(y)).toEqual([20, 21, 0, 1]);
  });

  test('the smallest integer divided by -1 wraps instead of ending the process, and a zero divisor is an error', () => {
    const least = constant('least', 'int32', [], [-(2 ** 31)]);
    for (const op of ['Div', 'TruncateDiv', 'FloorDiv', 'FloorMod', 'TruncateMod', 'Mod']) {
      const last = node('last', op, [least, x]);
      const divided = run(region([least, last], last, [-1], 'int32'), tensorOf('int32', [1], [-1]));
      expect(typeof divided === 'string' ? divided : numbersOf(divided)).toEqual([op.includes('Mod') ? 0 : -(2 ** 31)]);
      expect(run(region([least, last], last, [-1], 'int32'), tensorOf('int32', [1], [0]))).toMatch(/division by zero/);
    }
  });

  test('an op without translator is UNIMPLEMENTED and says which node', () => {
    const last = node('tower/rfft', 'RFFT', [x]);
    expect(() => translateGraph(region([last], last, [-1]))).toThrow(
      expect.objectContaining({ code: 'UNIMPLEMENTED', message: expect.stringContaining('RFFT node tower/rfft') }),
    );
  });

  test('the error has the node, also when it is an attribute that cannot be had', () => {
    const rfft = node('tower/rfft', 'RFFT', [x]);
    const cast = node('cast', 'Cast', [x], { DstT: { type: 'dtype', value: 21 } });
    for (const last of [rfft, cast]) {
      const error = thrownBy(() => translateGraph(region([last], last, [-1])));
      expect(error).toBeInstanceOf(UntranslatableError);
      expect(error).toMatchObject({ code: 'UNIMPLEMENTED', node: last });
    }
  });

  test('strings never reach the runtime', () => {
    const text = { dtype: 'string' as const, shape: [1], bytes: new Uint8Array(8) };
    const last = node('text', 'Const', [], { value: { type: 'tensor', value: text } });
    expect(() => translateGraph(region([last], last, [-1]))).toThrow(expect.objectContaining({ code: 'UNIMPLEMENTED' }));
  });

  test('a value that is neither computed nor fed is a bug that names it', () => {
    const last = node('last', 'Relu', [node('elsewhere', 'Relu')]);
    expect(() => translateGraph(region([last], last, [-1]))).toThrow(/elsewhere:0/);
  });
});
