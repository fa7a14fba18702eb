import { describe, expect, test } from '@jest/globals';
import { type FoldOptions, flatten, foldConstants } from '../../../savedmodel/flatten/index.ts';
import type { StoredNode } from '../../../savedmodel/graph.ts';
import { bool, constant, dtype, int32, metaGraph, node } from './graphs.ts';

const T = { T: dtype(3) };

function fold(nodes: readonly StoredNode[], options?: FoldOptions) {
  return foldConstants(flatten(metaGraph(nodes)), options);
}

/** The elements of a folded value, or undefined. */
function numbersAt(nodes: readonly StoredNode[], name: string, options?: FoldOptions): number[] | undefined {
  const graph = fold(nodes, options);
  const value = graph.constant(graph.value(name));
  return value === undefined ? undefined : Array.from(value.data as ArrayLike<number>, Number);
}

/** A cond on a predicate: p ? a + 1 : a, as TF1 builds it. */
function cond(predicate: StoredNode): StoredNode[] {
  return [
    predicate,
    node('a', 'Placeholder', [], { dtype: dtype(3) }),
    node('pivot', 'Switch', ['p', 'p'], { T: dtype(10) }),
    node('t', 'Identity', ['pivot:1'], { T: dtype(10) }),
    node('f', 'Identity', ['pivot:0'], { T: dtype(10) }),
    node('pred_id', 'Identity', ['p'], { T: dtype(10) }),
    constant('one', int32([1], []), ['^t']),
    node('in', 'Switch', ['a', 'pred_id'], T),
    node('plus', 'AddV2', ['in:1', 'one'], T),
    node('merge', 'Merge', ['in:0', 'plus'], { ...T, N: 2 }),
    node('out', 'Neg', ['merge'], T),
    node('index', 'Neg', ['merge:1'], T),
  ];
}

describe('foldConstants', () => {
  test('folds a chain of shape arithmetic to one constant', () => {
    const nodes = [
      constant('data', int32([1, 2, 3, 4, 5, 6], [2, 3])),
      node('shape', 'Shape', ['data'], { ...T, out_type: dtype(3) }),
      constant('zero', int32([0])),
      constant('one', int32([1])),
      constant('axis', int32([0], [])),
      node('first', 'StridedSlice', ['shape', 'zero', 'one', 'one'], { ...T, Index: dtype(3), shrink_axis_mask: 1 }),
      node('all', 'Prod', ['shape', 'zero'], { ...T, Tidx: dtype(3) }),
      node('pair', 'Pack', ['first', 'all'], { ...T, N: 2 }),
      node('joined', 'ConcatV2', ['pair', 'one', 'axis'], { ...T, N: 2, Tidx: dtype(3) }),
      node('wide', 'Cast', ['joined'], { SrcT: dtype(3), DstT: dtype(9) }),
    ];
    expect(numbersAt(nodes, 'wide:0')).toEqual([2, 6, 1]);
    expect(fold(nodes).value('wide:0').node.op).toBe('Const');
  });

  test('keeps only what the roots need', () => {
    const flat = flatten(
      metaGraph([constant('a', int32([1])), node('b', 'Neg', ['a'], T), node('p', 'Placeholder'), node('s', 'AddV2', ['p', 'b'], T)]),
    );
    const graph = foldConstants(flat, { roots: [flat.value('s:0')] });
    expect(graph.nodes.map((one) => `${one.name} ${one.op}`)).toEqual(['p Placeholder', 'b Const', 's AddV2']);
  });

  test('shapes of placeholders stay open, shapes of variables and large constants are known without a copy', () => {
    const large = int32(new Array(70_000).fill(0));
    const shape = { type: 'shape' as const, value: [4, 5] };
    const nodes = [
      node('x', 'Placeholder', [], { dtype: dtype(3), shape }),
      node('v', 'VarHandleOp', [], { dtype: dtype(3), shape }),
      node('read', 'ReadVariableOp', ['v'], { dtype: dtype(3) }),
      constant('large', large),
      node('same', 'Identity', ['large'], T),
      ...['x', 'read', 'same'].map((of) => node(`shape_${of}`, 'Shape', [of], T)),
      node('size', 'Size', ['large'], T),
      node('negated', 'Neg', ['large'], T),
    ];
    expect(numbersAt(nodes, 'shape_x:0')).toBeUndefined();
    expect(numbersAt(nodes, 'shape_read:0')).toEqual([4, 5]);
    expect(numbersAt(nodes, 'shape_same:0')).toEqual([70_000]);
    expect(numbersAt(nodes, 'size:0')).toEqual([70_000]);
    expect(numbersAt(nodes, 'negated:0')).toBeUndefined();
    const tensor = fold(nodes).value('same:0').node.attrs.get('value');
    expect(tensor?.type === 'tensor' && tensor.value).toBe(large);
  });

  test('results beyond the bound are left to run', () => {
    const nodes = [constant('dims', int32([1000, 1000])), constant('one', int32([1], [])), node('fill', 'Fill', ['dims', 'one'], T)];
    expect(numbersAt(nodes, 'fill:0')).toBeUndefined();
    expect(numbersAt(nodes, 'fill:0', { maxElements: 1_000_000 })?.length).toBe(1_000_000);
  });

  test('what fails is left to fail when it runs', () => {
    const nodes = [constant('a', int32([1])), constant('z', int32([0])), node('d', 'FloorDiv', ['a', 'z'], T)];
    expect(fold(nodes).value('d:0').node.op).toBe('FloorDiv');
  });

  test('a value that is given becomes a constant', () => {
    const nodes = [node('p', 'Placeholder', [], { dtype: dtype(3) }), node('n', 'Neg', ['p'], T)];
    expect(numbersAt(nodes, 'n:0', { value: (ref) => (ref.node.name === 'p' ? int32([7]) : undefined) })).toEqual([-7]);
  });

  test.each([
    [true, 'plus', 1],
    [false, 'a', 0],
  ])('a conditional on the constant %s is its branch', (value, branch, index) => {
    const graph = fold(cond(constant('p', bool(value))));
    expect(graph.value('out:0').node.inputs[0]?.node.name).toBe(branch);
    expect(Number(graph.constant(graph.value('index:0'))?.data[0]) + index).toBe(0);
    expect(graph.nodes.filter((one) => one.op === 'Switch' || one.op === 'Merge')).toEqual([]);
    if (!value) expect(() => graph.value('plus:0')).toThrow('tensor plus:0 is never computed');
  });

  test('a default decides a conditional only when asked', () => {
    const phase = [constant('off', bool(false)), node('p', 'PlaceholderWithDefault', ['off'], { dtype: dtype(10) })];
    const nodes = [...phase, ...cond(node('unused', 'NoOp')).slice(1)];
    expect(fold(nodes).value('out:0').node.inputs[0]?.node.name).toBe('merge');
    expect(fold(nodes, { usePlaceholderDefaults: () => true }).value('out:0').node.inputs[0]?.node.name).toBe('a');
  });

  test('an untouched node stays the same object', () => {
    const flat = flatten(metaGraph([node('p', 'Placeholder'), node('r', 'Relu', ['p'], T)]));
    expect(foldConstants(flat).nodes).toEqual(flat.nodes);
    expect(foldConstants(flat).nodes[1]).toBe(flat.nodes[1]);
  });
});
