/** TF1's control flow: Switch, Merge, frames and TensorArrays. */
import { describe, expect, test } from '@jest/globals';
import { flatten, foldConstants } from '../../../savedmodel/flatten/index.ts';
import type { StoredNode } from '../../../savedmodel/graph.ts';
import { structureGraph } from '../../../savedmodel/structure/index.ts';
import { constant, dtype, int32, metaGraph, node } from '../flatten/graphs.ts';
import { answers, BOOL, everywhere, INT, input, only, opsOf, scalar, structure } from './structured.ts';

const one = (name: string, value: number, controls: readonly string[] = []) => constant(name, int32([value], []), controls);
const flag = (name: string) => node(name, 'Placeholder', [], { dtype: dtype(10) });

/** predicate ? x + 1 : x * 2, named after a scope; its Merge is `scope/Merge`. */
function cond(scope: string, predicate: string, x: string): StoredNode[] {
  const n = (name: string) => `${scope}/${name}`;
  return [
    node(n('Switch'), 'Switch', [predicate, predicate], BOOL),
    node(n('t'), 'Identity', [`${n('Switch')}:1`], BOOL),
    node(n('f'), 'Identity', [n('Switch')], BOOL),
    node(n('in'), 'Switch', [x, predicate], INT),
    one(n('one'), 1, [`^${n('t')}`]),
    one(n('two'), 2, [`^${n('f')}`]),
    node(n('plus'), 'AddV2', [`${n('in')}:1`, n('one')], INT),
    node(n('times'), 'Mul', [n('in'), n('two')], INT),
    node(n('Merge'), 'Merge', [n('times'), n('plus')], { ...INT, N: 2 }),
  ];
}

/** while (i < limit) i = body(i), with more in the body and in the condition. */
function loop(frame: string, start: string, limit: string, body: (i: string, limit: string) => { nodes: StoredNode[]; next: string }) {
  const n = (name: string) => `${frame}/${name}`;
  const { nodes, next } = body(n('Identity'), n('Enter_limit'));
  return [
    node(n('Enter'), 'Enter', [start], { ...INT, frame_name: frame }),
    node(n('Enter_limit'), 'Enter', [limit], { ...INT, frame_name: frame, is_constant: true }),
    node(n('Merge'), 'Merge', [n('Enter'), n('NextIteration')], { ...INT, N: 2 }),
    node(n('Less'), 'Less', [n('Merge'), n('Enter_limit')], INT),
    node(n('LoopCond'), 'LoopCond', [n('Less')]),
    node(n('Switch'), 'Switch', [n('Merge'), n('LoopCond')], INT),
    node(n('Identity'), 'Identity', [`${n('Switch')}:1`], INT),
    ...nodes,
    node(n('NextIteration'), 'NextIteration', [next], INT),
    node(n('Exit'), 'Exit', [n('Switch')], INT),
  ];
}

const addTwo = (frame: string) => (i: string) => ({
  nodes: [one(`${frame}/two`, 2, [`^${i}`]), node(`${frame}/add`, 'AddV2', [i, `${frame}/two`], INT)],
  next: `${frame}/add`,
});

const given = [flag('p'), flag('q'), input('x'), input('limit')];

describe('a conditional', () => {
  test('becomes an If whose branches hold what runs in them, constants that only a control edge puts there included', () => {
    const graph = structure([...given, ...cond('cond', 'p', 'x')], [], ['cond/Merge:0']);
    const branch = only(graph, 'If');
    expect(branch.bodies?.map((body) => opsOf(body.nodes))).toEqual([
      ['AddV2', 'Const'],
      ['Const', 'Mul'],
    ]);
    expect(opsOf(graph.nodes)).toEqual(['If', 'Placeholder', 'Placeholder']);
    expect(everywhere(graph.nodes).flatMap((node) => node.controls)).toEqual([]);
    expect([true, false].map((p) => answers(graph, { p, x: 5 }, ['cond/Merge:0']))).toEqual([[6], [10]]);
  });

  test('tells by the Merge’s second output which input came', () => {
    const graph = structure([...given, ...cond('cond', 'p', 'x')], [], ['cond/Merge:1']);
    expect(only(graph, 'If').outputCount).toBe(1);
    expect([true, false].map((p) => answers(graph, { p }, ['cond/Merge:1']))).toEqual([[1], [0]]);
  });

  test('of one predicate in both branches of another is two Ifs, one in each', () => {
    const inner = (scope: string, side: 0 | 1) => [
      node(`${scope}/x`, 'Switch', ['x', 'p'], INT),
      node(`${scope}/q`, 'Switch', ['q', 'p'], BOOL),
      ...cond(scope, `${scope}/q:${side}`, `${scope}/x:${side}`),
    ];
    const nodes = [...given, ...inner('yes', 1), ...inner('no', 0), node('no/neg', 'Neg', ['no/Merge'], INT)];
    const graph = structure([...nodes, node('out', 'Merge', ['no/neg', 'yes/Merge'], { ...INT, N: 2 })], [], ['out:0']);
    const outer = graph.nodes.find((node) => node.op === 'If');
    expect(outer?.bodies?.map((body) => opsOf(body.nodes))).toEqual([['If'], ['If', 'Neg']]);
    const cases = [true, false].flatMap((p) => [true, false].map((q) => answers(graph, { p, q, x: 5 }, ['out:0'])));
    expect(cases).toEqual([[6], [10], [-6], [-10]]);
  });

  test('may need another’s result while that one needs it for another value', () => {
    const crossed = [...cond('a1', 'p', 'x'), ...cond('b1', 'q', 'a1/Merge'), ...cond('b2', 'q', 'x'), ...cond('a2', 'p', 'b2/Merge')];
    const graph = structure([...given, ...crossed], [], ['b1/Merge:0', 'a2/Merge:0']);
    expect(answers(graph, { p: true, q: false, x: 5 }, ['b1/Merge:0', 'a2/Merge:0'])).toEqual([12, 11]);
    expect(answers(graph, { p: false, q: true, x: 5 }, ['b1/Merge:0', 'a2/Merge:0'])).toEqual([11, 12]);
  });

  test('runs an assertion in the branch that makes it, and in no other', () => {
    const nodes = [
      ...given,
      ...cond('cond', 'p', 'x'),
      one('none', 0),
      node('isMore', 'Greater', ['cond/in:1', 'cond/zero'], INT),
      one('cond/zero', 0, ['^cond/t']),
      node('assert', 'Assert', ['isMore', 'cond/in:1'], { T: { type: 'list', values: [dtype(3)] } }),
      node('guarded', 'Identity', ['cond/plus', '^assert'], INT),
      node('checked', 'Merge', ['cond/times', 'guarded'], { ...INT, N: 2 }),
    ];
    const graph = structure(nodes, [], ['checked:0']);
    expect(answers(graph, { p: false, x: -1 }, ['checked:0'])).toEqual([-2]);
    expect(answers(graph, { p: true, x: 1 }, ['checked:0'])).toEqual([2]);
    expect(() => answers(graph, { p: true, x: -1 }, ['checked:0'])).toThrow('assertion assert failed');
  });
});

test('what a branch waits for outside of it, the If waits for', () => {
  const nodes = [
    ...given,
    node('v', 'VarHandleOp', [], { dtype: dtype(3), shape: { type: 'shape', value: [] } }),
    node('write', 'AssignVariableOp', ['v', 'x'], { dtype: dtype(3) }),
    node('handle', 'Switch', ['v', 'p'], { T: dtype(20) }),
    node('read', 'ReadVariableOp', ['handle:1', '^write'], { dtype: dtype(3) }),
    node('in', 'Switch', ['limit', 'p'], INT),
    node('out', 'Merge', ['in', 'read'], { ...INT, N: 2 }),
  ];
  const graph = structure(nodes, [], ['out:0']);
  const branch = only(graph, 'If');
  expect(branch.controls.map((before) => before.name)).toEqual(['write']);
  expect(only(graph, 'ReadVariableOp').controls).toEqual([]);
  expect(answers(graph, { p: true, x: 5, limit: 7 }, ['out:0'])).toEqual([5]);
});

describe('a loop', () => {
  test('becomes a While; what it enters as constant is used where it is', () => {
    const graph = structure([...given, ...loop('while', 'x', 'limit', addTwo('while'))], [], ['while/Exit:0']);
    expect(only(graph, 'While').inputs.map((ref) => ref.node.name)).toEqual(['x']);
    expect(opsOf(graph.nodes)).toEqual(['Placeholder', 'Placeholder', 'While']);
    expect(answers(graph, { x: 0, limit: 7 }, ['while/Exit:0'])).toEqual([8]);
    expect(answers(graph, { x: 9, limit: 7 }, ['while/Exit:0'])).toEqual([9]);
  });

  test('in a loop, in a branch, with a conditional inside, nests as it is written', () => {
    const inner = (i: string, limit: string) => ({
      nodes: loop('inner', i, limit, (j) => ({
        nodes: [
          one('inner/five', 5, [`^${j}`]),
          node('inner/isLess', 'Less', [j, 'inner/five'], INT),
          ...cond('choice', 'inner/isLess', j),
        ],
        next: 'choice/Merge',
      })),
      next: 'outer/more',
    });
    const outer = loop('outer', 'in:1', 'top:1', (i, limit) => {
      const { nodes, next } = inner(i, limit);
      return { nodes: [...nodes, one('outer/one', 1, [`^${i}`]), node('outer/more', 'AddV2', ['inner/Exit', 'outer/one'], INT)], next };
    });
    const nodes = [
      ...given,
      node('in', 'Switch', ['x', 'p'], INT),
      node('top', 'Switch', ['limit', 'p'], INT),
      ...outer,
      node('out', 'Merge', ['in', 'outer/Exit'], { ...INT, N: 2 }),
    ];
    const graph = structure(nodes, [], ['out:0']);
    const path = ['If', 'While', 'While', 'If'];
    let at = graph.nodes;
    for (const op of path) {
      const found = at.find((node) => node.op === op);
      expect(found?.bodies?.length).toBe(2);
      at = (op === 'If' ? found?.bodies?.[0] : found?.bodies?.[1])?.nodes ?? [];
    }
    // 1 2 3 4 5 10 20 (not less than 12), then + 1.
    expect(answers(graph, { p: true, x: 1, limit: 12 }, ['out:0'])).toEqual([21]);
    expect(answers(graph, { p: false, x: 1, limit: 12 }, ['out:0'])).toEqual([1]);
  });

  test('whose body asserts something that its condition computes asserts it in each round', () => {
    const body = (i: string) => ({
      nodes: [
        node('assert', 'Assert', ['while/Less', i], { T: { type: 'list', values: [dtype(3)] } }),
        one('while/two', 2, [`^${i}`, '^assert']),
        node('while/add', 'AddV2', [i, 'while/two'], INT),
      ],
      next: 'while/add',
    });
    const graph = structure([...given, ...loop('while', 'x', 'limit', body)], [], ['while/Exit:0']);
    expect(opsOf(only(graph, 'While').bodies?.[1]?.nodes ?? [])).toEqual(['AddV2', 'Assert', 'Const', 'Identity', 'Less']);
    expect(answers(graph, { x: 0, limit: 3 }, ['while/Exit:0'])).toEqual([4]);
  });
});

describe('what cannot be asked for', () => {
  test('a Merge that no conditional explains makes only what needs it fail, with its name', () => {
    const nodes = [
      ...given,
      node('odd', 'Merge', ['x', 'limit', 'x'], { ...INT, N: 3 }),
      node('neg', 'Neg', ['odd'], INT),
      node('fine', 'Neg', ['x'], INT),
    ];
    const graph = structure(nodes, [], ['neg:0', 'fine:0']);
    expect(() => graph.value('neg:0')).toThrow(
      expect.objectContaining({ code: 'UNIMPLEMENTED', message: expect.stringContaining('node odd (Merge)') }),
    );
    expect(answers(graph, { x: 5 }, ['fine:0'])).toEqual([-5]);
  });

  test('a value in a branch or a loop is refused with its name', () => {
    const nodes = [...given, ...cond('cond', 'p', 'x'), ...loop('while', 'x', 'limit', addTwo('while'))];
    const fetches = ['cond/Merge:0', 'while/Exit:0', 'cond/plus:0', 'while/add:0'];
    const graph = structure(nodes, [], fetches);
    expect(() => graph.value('cond/plus:0')).toThrow('node cond/plus (AddV2) of the main graph runs in a loop or in one branch');
    expect(() => graph.value('while/add:0')).toThrow('node while/add (AddV2) of the main graph runs in a loop or in one branch');
  });

  test('a name that is not there, or was not among the fetches', () => {
    const graph = structure([...given, node('neg', 'Neg', ['x'], INT)], [], ['x:0']);
    expect(() => graph.value('nobody:0')).toThrow('the main graph has no value nobody:0');
    expect(() => graph.value('neg:0')).toThrow('tensor neg:0 is not among what was kept of the graph');
  });
});

describe('a TensorArray', () => {
  const array = (more: Parameters<typeof node>[3] = {}) =>
    node('array', 'TensorArrayV3', ['size'], { dtype: dtype(3), element_shape: { type: 'shape', value: [] }, ...more });
  const write = (name: string, index: string, value: string, flow: string) =>
    node(name, 'TensorArrayWriteV3', ['array', index, value, flow], INT);
  const base = [...given, one('size', 2), one('zero', 0), one('first', 1)];

  test('becomes a list: written, read, measured, gathered, and closed by nothing', () => {
    const nodes = [
      ...base,
      array(),
      write('w0', 'zero', 'x', 'array:1'),
      write('w1', 'first', 'limit', 'w0'),
      node('read', 'TensorArrayReadV3', ['array', 'first', 'w1'], { dtype: dtype(3) }),
      node('length', 'TensorArraySizeV3', ['array', 'w1']),
      constant('both', int32([1, 0])),
      node('gather', 'TensorArrayGatherV3', ['array', 'both', 'w1'], { dtype: dtype(3), element_shape: { type: 'shape', value: null } }),
      node('close', 'TensorArrayCloseV3', ['array']),
      node('out', 'Identity', ['gather', '^close'], INT),
    ];
    const fetches = ['read:0', 'length:0', 'out:0'];
    const graph = structure(nodes, [], fetches);
    expect(opsOf(graph.nodes).filter((op) => op.startsWith('Tensor'))).toEqual([
      'TensorListGather',
      'TensorListGetItem',
      'TensorListLength',
      'TensorListReserve',
      'TensorListSetItem',
      'TensorListSetItem',
    ]);
    expect(only(graph, 'TensorListReserve').attrs.get('element_dtype')).toEqual(dtype(3));
    expect(answers(graph, { x: 7, limit: 9 }, fetches)).toEqual([9, 2, 9, 7]);
  });

  test('that a loop writes is what the loop carries, and may grow', () => {
    const n = (name: string) => `while/${name}`;
    const nodes = [
      ...base,
      array({ dynamic_size: true }),
      ...loop('while', 'zero', 'limit', (i) => ({
        nodes: [
          node(n('handle'), 'Enter', ['array'], { T: dtype(20), frame_name: 'while', is_constant: true }),
          node(n('flow'), 'Enter', ['array:1'], { T: dtype(1), frame_name: 'while' }),
          node(n('mergeFlow'), 'Merge', [n('flow'), n('nextFlow')], { T: dtype(1), N: 2 }),
          node(n('switchFlow'), 'Switch', [n('mergeFlow'), n('LoopCond')], { T: dtype(1) }),
          node(n('write'), 'TensorArrayWriteV3', [n('handle'), i, i, `${n('switchFlow')}:1`], INT),
          node(n('nextFlow'), 'NextIteration', [n('write')], { T: dtype(1) }),
          node(n('exitFlow'), 'Exit', [n('switchFlow')], { T: dtype(1) }),
          one(n('step'), 1, [`^${i}`]),
          node(n('add'), 'AddV2', [i, n('step')], INT),
        ],
        next: n('add'),
      })),
      node('length', 'TensorArraySizeV3', ['array', n('exitFlow')]),
    ];
    const graph = structure(nodes, [], ['length:0']);
    expect(only(graph, 'TensorListSetItem').attrs.get('_grows')).toEqual({ type: 'bool', value: true });
    expect(only(graph, 'TensorListReserve').attrs.get('_grows')).toEqual({ type: 'bool', value: true });
    const loopNode = only(graph, 'While');
    expect(loopNode.bodies?.[1]?.parameters.map((parameter) => parameter.attrs.get('T'))).toEqual([dtype(3), dtype(21)]);
    expect(answers(graph, { limit: 5 }, ['length:0'])).toEqual([5]);
  });

  test('ops on gradients and on older arrays make only what needs them fail', () => {
    const nodes = [
      ...base,
      array(),
      node('grad', 'TensorArrayGradV3', ['array', 'array:1'], { source: 's' }),
      node('fine', 'Neg', ['x'], INT),
    ];
    const graph = structure(nodes, [], ['grad:1', 'fine:0']);
    expect(() => graph.value('grad:1')).toThrow('tensor grad:1 needs node grad (TensorArrayGradV3), which is not supported');
    expect(answers(graph, { x: 5 }, ['fine:0'])).toEqual([-5]);
  });
});

test('variables are the same nodes before and after, and moved leads to where values are', () => {
  const variable = node('v', 'VarHandleOp', [], { dtype: dtype(3), shape: { type: 'shape', value: [] } });
  const stored = metaGraph([...given, variable, node('read', 'ReadVariableOp', ['v'], { dtype: dtype(3) }), ...cond('cond', 'p', 'read')]);
  const before = foldConstants(flatten(stored));
  const graph = structureGraph(stored, before, { fetches: ['cond/Merge:0'] });
  expect(graph.nodes).toContain(before.value('v:0').node);
  expect(graph.moved(before.value('cond/Merge:0'))).toEqual({ node: only(graph, 'If'), output: 0 });
  expect(answers(graph, { p: true }, ['cond/Merge:0'], new Map([['variable  v', scalar(4)]]))).toEqual([5]);
});
