import { describe, expect, test } from '@jest/globals';
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import { tensorOf } from '../../../savedmodel/translate/constants.ts';
import { translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import { UntranslatableError } from '../../../savedmodel/translate/untranslatable.ts';
import { answers, body, bool, constant, dtype, type Feed, int, node, regionOf } from './flat-nodes.ts';

const FLOAT = dtype(1);
const zero = constant('zero', 'int32', [], [0]);
const one = constant('one', 'int32', [], [1]);
const arg = (name: string) => node(name, '_Arg');
const unknown = constant('unknown', 'int32', [], [-1]);
const nothing = constant('nothing', 'int32', [0], []);

const n: Feed = { node: node('n', 'Placeholder'), tensor: tensorOf('int32', [], [4]) };
const x: Feed = { node: node('x', 'Placeholder'), tensor: tensorOf('float', [2, 3], [1, 2, 3, 4, 5, 6]) };

interface LoopParts {
  readonly initials: readonly FlatNode[];
  /** Gives the next values, made of the counter and the other values. */
  readonly round: (counter: FlatNode, values: readonly FlatNode[]) => readonly FlatNode[];
  readonly outside?: readonly FlatNode[];
  readonly limit?: FlatNode;
}

/** A While that counts from 0 to a limit; its outputs are the counter and the other values. */
function counted({ initials, round, outside = [], limit = n.node }: LoopParts): FlatNode {
  const names = initials.map((_, index) => `v${index}`);
  const [tested, counter] = [arg('tested'), arg('counter')];
  const values = names.map(arg);
  const around = [zero, one, unknown, nothing, limit, ...outside];
  const condition = body([tested, ...names.map(arg)], [node('less', 'Less', [tested, limit])], around);
  const next = node('next', 'AddV2', [counter, one]);
  const inside = body([counter, ...values], [next, ...round(counter, values)], around);
  return node('while', 'While', [zero, ...initials], {}, { outputCount: initials.length + 1, bodies: [condition, inside] });
}

const output = (loop: FlatNode, index: number) => ({ node: loop, output: index });
const attrs = { element_dtype: FLOAT };
const reserve = (count: FlatNode, shape = unknown) => node('reserve', 'TensorListReserve', [shape, count], attrs);
const setItem = (list: FlatNode, index: FlatNode, item: FlatNode) => node('set', 'TensorListSetItem', [list, index, item], attrs);
const getItem = (list: FlatNode, index: FlatNode) => node('get', 'TensorListGetItem', [list, index, unknown], attrs);
const stack = (list: Parameters<typeof output>[0], index: number) =>
  node('stack', 'TensorListStack', [output(list, index), unknown], { ...attrs, num_elements: int(-1) });
const fromX = () => node('rows', 'TensorListFromTensor', [x.node, unknown], attrs);

const ops = (feeds: readonly Feed[], fetch: Parameters<typeof answers>[1]) =>
  translateGraph(regionOf(feeds, fetch)).model.nodes.map(({ op }) => op);

describe('a While', () => {
  test('carries values from round to round while its condition holds', () => {
    const loop = counted({ initials: [x.node], round: (_, [v = zero]) => [node('doubled', 'AddV2', [v, v])] });
    expect(answers([n, x], [output(loop, 0), output(loop, 1)])).toEqual([
      { shape: [], values: [4] },
      { shape: [2, 3], values: [16, 32, 48, 64, 80, 96] },
    ]);
  });

  test('gives what it was given when its condition never holds', () => {
    const never: Feed = { ...n, tensor: tensorOf('int32', [], [0]) };
    const loop = counted({ initials: [x.node], round: (_, [v = zero]) => [node('doubled', 'AddV2', [v, v])] });
    expect(answers([never, x], [output(loop, 1)])).toEqual([{ shape: [2, 3], values: [1, 2, 3, 4, 5, 6] }]);
  });

  test('uses values of the graph around it by name, also constants and what a round leaves alone', () => {
    const same = constant('same', 'float', [], [3]);
    const outside = node('outside', 'Neg', [x.node]);
    const loop = counted({
      initials: [x.node, same],
      round: (_, [v = zero, kept = zero]) => [
        node('sum', 'AddV2', [node('term', 'Mul', [outside, kept]), v]),
        node('id', 'Identity', [kept]),
      ],
      outside: [outside],
    });
    const fetches = [output(loop, 1), output(loop, 2), node('also', 'Identity', [outside])];
    expect(answers([n, x], fetches)).toMatchObject([
      { values: [-11, -22, -33, -44, -55, -66] },
      { values: [3] },
      { values: [-1, -2, -3, -4, -5, -6] },
    ]);
  });

  test('lets go of a size that changes from round to round', () => {
    const axis = constant('axis', 'int32', [], [0]);
    const start = constant('start', 'float', [1, 3], [0, 0, 0]);
    const loop = counted({
      initials: [start],
      round: (_, [v = zero]) => [node('longer', 'ConcatV2', [v, x.node, axis], { N: int(2) })],
      outside: [x.node, axis],
    });
    const [grown] = answers([n, { ...x, shape: [2, 3] }], [output(loop, 1)]);
    expect(grown).toMatchObject({ shape: [9, 3] });
    expect(translateGraph(regionOf([n, { ...x, shape: [2, 3] }], [output(loop, 1)])).outputs[0]?.shape).toEqual([-1, 3]);
  });

  test('lets go of a rank that changes from round to round', () => {
    const axis = constant('axis', 'int32', [], [0]);
    const loop = counted({ initials: [x.node], round: (_, [v = zero]) => [node('higher', 'ExpandDims', [v, axis])], outside: [axis] });
    expect(answers([n, x], [output(loop, 1)])).toMatchObject([{ shape: [1, 1, 1, 1, 2, 3] }]);
  });

  test('runs inside another', () => {
    const three = constant('three', 'int32', [], [3]);
    const addX = (_: FlatNode, [v = zero]: readonly FlatNode[]) => [node('sum', 'AddV2', [v, x.node])];
    const inner = (start: FlatNode) => counted({ initials: [start], round: addX, outside: [x.node], limit: three });
    const loop = counted({
      initials: [x.node],
      round: (_, [v = zero]) => [node('picked', 'Identity', [output(inner(v), 1)])],
      outside: [x.node, three],
    });
    expect(answers([n, x], [output(loop, 1)])).toMatchObject([{ values: [13, 26, 39, 52, 65, 78] }]);
  });

  test('whose body has a node without translation is refused with that node', () => {
    const strange = node('deep/strange', 'Strange');
    const loop = counted({ initials: [x.node], round: () => [strange] });
    const translate = () => translateGraph(regionOf([n, x], [output(loop, 1)]));
    expect(translate).toThrow(UntranslatableError);
    expect(translate).toThrow(expect.objectContaining({ code: 'UNIMPLEMENTED', node: strange }));
  });
});

describe('a list in a loop', () => {
  test('that every round writes once, in order, is a scan output: nothing is copied from round to round', () => {
    const loop = counted({
      initials: [reserve(n.node)],
      round: (counter, [list = zero]) => [setItem(list, counter, x.node)],
      outside: [x.node],
    });
    expect(answers([n, x], [stack(loop, 1)])).toEqual([{ shape: [4, 2, 3], values: Array.from({ length: 24 }, (_, at) => (at % 6) + 1) }]);
    const { model } = translateGraph(regionOf([n, x], [stack(loop, 1)]));
    const [attribute] = model.nodes.flatMap((made) =>
      Object.values(made.attributes ?? {}).filter((value) => typeof value === 'object' && 'graph' in value),
    );
    expect(attribute).toMatchObject({ graph: { nodes: expect.not.arrayContaining([expect.objectContaining({ op: 'ScatterND' })]) } });
  });

  test('longer than the loop runs has zeros at the end', () => {
    const five = constant('five', 'int32', [], [5]);
    const loop = counted({
      initials: [reserve(five)],
      round: (counter, [list = zero]) => [setItem(list, counter, x.node)],
      outside: [x.node, five],
    });
    expect(answers([{ ...n, tensor: tensorOf('int32', [], [1]) }, x], [stack(loop, 1)])).toEqual([
      { shape: [5, 2, 3], values: [1, 2, 3, 4, 5, 6, ...Array.from({ length: 24 }, () => 0)] },
    ]);
  });

  test('is read by index', () => {
    const rows = fromX();
    const two: Feed = { ...n, tensor: tensorOf('int32', [], [2]) };
    const start = constant('start', 'float', [3], [0, 0, 0]);
    const loop = counted({
      initials: [start],
      round: (counter, [sum = zero]) => [node('sum', 'AddV2', [sum, getItem(rows, counter)])],
      outside: [rows, x.node],
    });
    expect(answers([two, x], [output(loop, 1)])).toEqual([{ shape: [3], values: [5, 7, 9] }]);
  });

  test('is written anywhere, the last write staying', () => {
    const last = constant('last', 'int32', [], [3]);
    const backwards = (counter: FlatNode) => node('place', 'Sub', [last, counter]);
    const item = (counter: FlatNode) => node('item', 'Cast', [counter], { DstT: FLOAT });
    const loop = counted({
      initials: [reserve(n.node, nothing)],
      round: (counter, [list = zero]) => [setItem(list, backwards(counter), item(counter))],
      outside: [last],
    });
    expect(answers([n], [stack(loop, 1)])).toEqual([{ shape: [4], values: [3, 2, 1, 0] }]);
  });

  test('is written anywhere although the sizes of its elements are not known before the first write', () => {
    const last = constant('last', 'int32', [], [3]);
    const loop = counted({
      initials: [reserve(n.node)],
      round: (counter, [list = zero]) => [
        setItem(list, node('place', 'Sub', [last, counter]), node('item', 'Mul', [x.node, node('f', 'Cast', [counter], { DstT: FLOAT })])),
      ],
      outside: [x.node, last],
    });
    expect(answers([n, x], [stack(loop, 1)])).toMatchObject([
      { shape: [4, 2, 3], values: [3, 2, 1, 0].flatMap((f) => [1, 2, 3, 4, 5, 6].map((v) => v * f)) },
    ]);
  });

  test('that a round also reads is carried with what was written so far', () => {
    // Fibonacci: item i + 2 is the sum of the items before; the first two are given.
    const start = constant('first', 'float', [6], [1, 1, 0, 0, 0, 0]);
    const list = node('rows', 'TensorListFromTensor', [start, nothing], attrs);
    const two = constant('two', 'int32', [], [2]);
    const loop = counted({
      initials: [list],
      round: (counter, [rows = zero]) => {
        const sum = node('sum', 'AddV2', [getItem(rows, counter), getItem(rows, node('second', 'AddV2', [counter, one]))]);
        return [setItem(rows, node('place', 'AddV2', [counter, two]), sum)];
      },
      outside: [two],
    });
    expect(answers([n], [stack(loop, 1)])).toEqual([{ shape: [6], values: [1, 1, 2, 3, 5, 8] }]);
  });

  test('that grows by one item a round is a scan output behind what it had', () => {
    const push = (list: FlatNode, item: FlatNode) => node('push', 'TensorListPushBack', [list, item], attrs);
    const empty = node('empty', 'EmptyTensorList', [unknown, unknown], attrs);
    const given = fromX();
    const row = constant('row', 'float', [3], [7, 8, 9]);
    const loop = counted({
      initials: [empty, given],
      round: (_, [a = zero, b = zero]) => [push(a, x.node), push(b, row)],
      outside: [x.node, row],
    });
    expect(answers([n, x], [stack(loop, 1), stack(loop, 2)])).toMatchObject([{ shape: [4, 2, 3] }, { shape: [6, 3] }]);
  });

  test('comes out of a loop and goes into the next', () => {
    const first = counted({
      initials: [reserve(n.node)],
      round: (counter, [list = zero]) => [setItem(list, counter, x.node)],
      outside: [x.node],
    });
    const second = counted({
      initials: [reserve(n.node)],
      round: (counter, [list = zero]) => [
        setItem(list, counter, node('neg', 'Neg', [node('get', 'TensorListGetItem', [output(first, 1), counter, unknown], attrs)])),
      ],
      outside: [first],
    });
    expect(answers([n, x], [stack(second, 1)])).toMatchObject([{ shape: [4, 2, 3] }]);
  });

  test('that grows where it is written has zeros before what is written behind its end', () => {
    const empty = reserve(zero, nothing);
    const two = constant('two', 'int32', [], [2]);
    const grows = { ...attrs, resize_if_index_out_of_bounds: bool(true) };
    const loop = counted({
      initials: [empty],
      round: (counter, [list = zero]) => {
        const item = node('item', 'Cast', [node('next', 'AddV2', [counter, one])], { DstT: FLOAT });
        return [node('set', 'TensorListSetItem', [list, node('place', 'Mul', [counter, two]), item], grows)];
      },
      outside: [two],
    });
    expect(answers([n], [stack(loop, 1)])).toEqual([{ shape: [7], values: [1, 0, 2, 0, 3, 0, 4] }]);
  });

  test('whose elements may differ in length is not joined', () => {
    const list = fromX();
    const joined = node('joined', 'TensorListConcatV2', [list, unknown, nothing], attrs, { outputCount: 2 });
    expect(() => translateGraph(regionOf([x], [joined]))).toThrow(expect.objectContaining({ code: 'UNIMPLEMENTED', node: joined }));
    expect(answers([{ ...x, shape: [-1, 3] }], [joined, output(joined, 1)])).toEqual([
      { shape: [6], values: [1, 2, 3, 4, 5, 6] },
      { shape: [2], values: [3, 3] },
    ]);
  });

  test('from outside of the region is refused', () => {
    const list = node('elsewhere', 'Placeholder');
    const read = getItem(list, zero);
    const region = regionOf([{ node: list, tensor: tensorOf('float', [2], [1, 2]) }], [read]);
    expect(() => translateGraph(region)).toThrow(expect.objectContaining({ code: 'UNIMPLEMENTED', node: read }));
  });
});

describe('an If', () => {
  const p: Feed = { node: node('p', 'Placeholder'), tensor: tensorOf('bool', [], [1]) };
  const no: Feed = { ...p, tensor: tensorOf('bool', [], [0]) };
  const negated = node('negated', 'Neg', [x.node]);
  const picked = node('if', 'If', [p.node], {}, { bodies: [body([], [negated], [x.node]), body([], [x.node], [x.node])] });

  test('gives the results of the branch taken, which use values around it', () => {
    expect(answers([p, x], [picked])).toMatchObject([{ values: [-1, -2, -3, -4, -5, -6] }]);
    expect(answers([no, x], [picked])).toMatchObject([{ values: [1, 2, 3, 4, 5, 6] }]);
  });

  test('with a constant predicate is the branch itself', () => {
    const constantly = node('if', 'If', [constant('yes', 'bool', [], [1])], {}, { bodies: picked.bodies ?? [] });
    expect(ops([x], [constantly])).toEqual(['Neg', 'Identity']);
  });

  test('promises of shapes only what both branches keep', () => {
    const [small, large] = [constant('small', 'float', [1, 2], [1, 2]), constant('large', 'float', [3, 2], [1, 2, 3, 4, 5, 6])];
    const sized = node('if', 'If', [p.node], {}, { bodies: [body([], [small], []), body([], [large], [])] });
    expect(translateGraph(regionOf([p], [sized])).outputs[0]?.shape).toEqual([-1, 2]);
    expect(answers([p], [sized])).toMatchObject([{ shape: [1, 2] }]);
  });

  test('hands lists on', () => {
    const two = constant('two', 'int32', [], [2]);
    const list = reserve(two);
    const written = node(
      'if',
      'If',
      [p.node],
      {},
      { bodies: [body([], [setItem(list, one, x.node)], [list, x.node, one]), body([], [list], [list])] },
    );
    expect(answers([p, x], [stack(written, 0)])).toEqual([{ shape: [2, 2, 3], values: [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6] }]);
  });

  test('runs in a loop', () => {
    const two = constant('two', 'int32', [], [2]);
    const loop = counted({
      initials: [x.node],
      round: (counter, [v = zero]) => {
        const early = node('early', 'Less', [counter, two]);
        const bodies = [body([], [node('plus', 'AddV2', [v, x.node])], [v, x.node]), body([], [node('minus', 'Neg', [v])], [v])];
        return [node('step', 'If', [early], {}, { bodies })];
      },
      outside: [x.node, two],
    });
    expect(answers([{ ...n, tensor: tensorOf('int32', [], [3]) }, x], [output(loop, 1)])).toMatchObject([
      { values: [-3, -6, -9, -12, -15, -18] },
    ]);
  });
});

describe('a Case', () => {
  const index = (value: number): Feed => ({ node: at, tensor: tensorOf('int32', [], [value]) });
  const at = node('at', 'Placeholder');
  const branches = ['Neg', 'Square', 'Identity'].map((op) => body([], [node(op, op, [x.node])], [x.node]));
  const chosen = node('case', 'Case', [at], {}, { bodies: branches });

  test.each([
    [0, -2],
    [1, 4],
    [2, 2],
    [7, 2],
    [-1, 2],
  ])('of index %d takes that branch, and out of range the last', (value, expected) => {
    const [result] = answers([index(value), x], [chosen]);
    expect(result).toMatchObject({ values: expect.arrayContaining([expected]), shape: [2, 3] });
    expect((result as { values: readonly number[] }).values[1]).toBe(expected);
  });
});
