import { describe, expect, test } from '@jest/globals';
import { analyzeConditionals, analyzeLoops, flatten, foldConstants } from '../../../savedmodel/flatten/index.ts';
import type { StoredNode } from '../../../savedmodel/graph.ts';
import { constant, dtype, int32, metaGraph, node } from './graphs.ts';

const T = { T: dtype(3) };
const B = { T: dtype(10) };
const names = (nodes: readonly { readonly name: string }[]) => nodes.map((one) => one.name);

/** while (i < limit) i += 1, named after a frame; the start and the limit come from outside. */
function loop(frame: string, start: string, limit: string, body: (i: string) => { nodes: StoredNode[]; next: string }): StoredNode[] {
  const n = (name: string) => `${frame}/${name}`;
  const { nodes, next } = body(n('Identity'));
  return [
    node(n('Enter'), 'Enter', [start], { ...T, frame_name: frame }),
    node(n('Enter_limit'), 'Enter', [limit], { ...T, frame_name: frame, is_constant: true }),
    node(n('Merge'), 'Merge', [n('Enter'), n('NextIteration')], { ...T, N: 2 }),
    node(n('Less'), 'Less', [n('Merge'), n('Enter_limit')], T),
    node(n('LoopCond'), 'LoopCond', [n('Less')]),
    node(n('Switch'), 'Switch', [n('Merge'), n('LoopCond')], T),
    node(n('Identity'), 'Identity', [`${n('Switch')}:1`], T),
    ...nodes,
    node(n('NextIteration'), 'NextIteration', [next], T),
    node(n('Exit'), 'Exit', [n('Switch')], T),
  ];
}

function addOne(frame: string) {
  return (i: string) => ({
    nodes: [constant(`${frame}/one`, int32([1], []), [`^${i}`]), node(`${frame}/add`, 'AddV2', [i, `${frame}/one`], T)],
    next: `${frame}/add`,
  });
}

const outside = [node('start', 'Placeholder', [], { dtype: dtype(3) }), node('limit', 'Placeholder', [], { dtype: dtype(3) })];

describe('analyzeLoops', () => {
  test('reads a while_loop: what is carried, what stays, condition, body and exits', () => {
    const graph = flatten(
      metaGraph([...outside, ...loop('while', 'start', 'limit', addOne('while')), node('out', 'Neg', ['while/Exit'], T)]),
    );
    const { loops, loopOf } = analyzeLoops(graph);
    const [found] = loops;
    expect(loops.length).toBe(1);
    expect(found?.frame).toBe('while');
    expect(
      found?.carried.map((one) => [one.initial.node.name, one.merge.name, one.switch?.name, one.next.node.name, names(one.exits)]),
    ).toEqual([['start', 'while/Merge', 'while/Switch', 'while/add', ['while/Exit']]]);
    expect(found?.invariants.map((one) => one.value.node.name)).toEqual(['limit']);
    expect(found?.condition.node.name).toBe('while/Less');
    expect(names(found?.conditionNodes ?? [])).toEqual(['while/Less']);
    expect(names(found?.body ?? []).sort()).toEqual(['while/Identity', 'while/add', 'while/one']);
    expect(loopOf(graph.value('out').node)).toBeNull();
    expect(loopOf(graph.value('while/one').node)).toBe(found);
  });

  test('a loop in a loop has its parent, and its nodes are its own', () => {
    const nested = loop('outer', 'start', 'limit', (i) => ({
      nodes: loop('inner', i, 'outer/Enter_limit', addOne('inner')),
      next: 'inner/Exit',
    }));
    const { loops, loopOf } = analyzeLoops(flatten(metaGraph([...outside, ...nested])));
    expect(loops.map((one) => [one.frame, one.parent?.frame])).toEqual([
      ['outer', undefined],
      ['inner', 'outer'],
    ]);
    expect(names(loops[0]?.body ?? [])).toEqual(['outer/Identity']);
    expect(loops[0]?.carried[0]?.next.node.name).toBe('inner/Exit');
    expect(loops[1]?.carried[0]?.exits.map(loopOf)).toEqual([loops[0]]);
  });

  test('a loop survives folding, constants inside included', () => {
    const body = (i: string) => ({
      nodes: [
        constant('while/one', int32([1], []), [`^${i}`]),
        node('while/two', 'AddV2', ['while/one', 'while/one'], T),
        node('while/add', 'AddV2', [i, 'while/two'], T),
      ],
      next: 'while/add',
    });
    const nodes = [constant('start', int32([0], [])), constant('limit', int32([9], [])), ...loop('while', 'start', 'limit', body)];
    const [found] = analyzeLoops(foldConstants(flatten(metaGraph(nodes)))).loops;
    expect(found?.body.map((one) => `${one.name} ${one.op}`)).toEqual(expect.arrayContaining(['while/two Const', 'while/add AddV2']));
    expect(found?.carried[0]?.next.node.inputs.map((ref) => ref.node.op)).toEqual(['Identity', 'Const']);
    expect(found?.carried[0]?.next.node.name).toBe('while/add');
  });

  test('a frame with two conditions is refused', () => {
    const twice = [...loop('while', 'start', 'limit', addOne('while')), node('while/Other', 'LoopCond', ['while/Less'])];
    expect(() => analyzeLoops(flatten(metaGraph([...outside, ...twice])))).toThrow('loop while has 2 LoopCond nodes');
  });
});

/** A cond named after its scope on `predicate`, with a data input `x`: x + 1, or a constant that only a control edge puts in its branch. */
function cond(scope: string, predicate: string, x: string): StoredNode[] {
  const n = (name: string) => `${scope}/${name}`;
  return [
    node(n('Switch'), 'Switch', [predicate, predicate], B),
    node(n('t'), 'Identity', [`${n('Switch')}:1`], B),
    node(n('f'), 'Identity', [n('Switch')], B),
    node(n('pred_id'), 'Identity', [predicate], B),
    node(n('in'), 'Switch', [x, n('pred_id')], T),
    constant(n('one'), int32([1], []), [`^${n('t')}`]),
    node(n('plus'), 'AddV2', [`${n('in')}:1`, n('one')], T),
    constant(n('seven'), int32([7], []), [`^${n('f')}`]),
    node(n('Merge'), 'Merge', [n('seven'), n('plus')], { ...T, N: 2 }),
  ];
}

describe('analyzeConditionals', () => {
  const given = [
    node('p', 'Placeholder', [], { dtype: dtype(10) }),
    node('q', 'Placeholder', [], { dtype: dtype(10) }),
    node('x', 'Placeholder'),
  ];

  test('finds the branches of a cond, by values and by control edges alone', () => {
    const graph = flatten(metaGraph([...given, ...cond('cond', 'p', 'x')]));
    const { conditionals, ofMerge, branchesOf } = analyzeConditionals(graph);
    const [found] = conditionals;
    expect(conditionals.length).toBe(1);
    expect(found?.predicate.node.name).toBe('p');
    expect(found?.values.map((one) => [one.merge.name, one.whenTrue.node.name, one.whenFalse.node.name])).toEqual([
      ['cond/Merge', 'cond/plus', 'cond/seven'],
    ]);
    expect(names(found?.trueNodes ?? []).sort()).toEqual(['cond/one', 'cond/plus', 'cond/t']);
    expect(names(found?.falseNodes ?? []).sort()).toEqual(['cond/f', 'cond/seven']);
    expect(names(found?.switches ?? []).sort()).toEqual(['cond/Switch', 'cond/in']);
    expect(ofMerge(graph.value('cond/Merge').node)).toBe(found);
    expect(branchesOf(graph.value('cond/Merge').node)).toEqual([]);
    expect(branchesOf(graph.value('cond/seven').node).map((one) => [one.predicate.node.name, one.side])).toEqual([['p', false]]);
  });

  test('two conds of one predicate that follow each other stay two', () => {
    const graph = flatten(metaGraph([...given, ...cond('first', 'p', 'x'), ...cond('second', 'p', 'first/Merge')]));
    expect(analyzeConditionals(graph).conditionals.map((one) => one.values.map((value) => value.merge.name))).toEqual([
      ['first/Merge'],
      ['second/Merge'],
    ]);
  });

  test('a cond in a branch belongs to the branch and comes first', () => {
    const inner = [
      node('outer/q', 'Switch', ['q', 'p'], B),
      node('outer/x', 'Switch', ['x', 'p'], T),
      ...cond('inner', 'outer/q:1', 'outer/x:1'),
      node('outer/Merge', 'Merge', ['outer/x', 'inner/Merge'], { ...T, N: 2 }),
    ];
    const { conditionals, branchesOf } = analyzeConditionals(flatten(metaGraph([...given, ...inner])));
    expect(conditionals.map((one) => [one.predicate.node.name, one.values[0]?.merge.name])).toEqual([
      ['q', 'inner/Merge'],
      ['p', 'outer/Merge'],
    ]);
    expect(names(conditionals[1]?.trueNodes ?? [])).toEqual(expect.arrayContaining(['inner/plus', 'inner/Merge', 'inner/seven']));
    const innerMerge = conditionals[0]?.values[0]?.merge;
    expect(innerMerge && branchesOf(innerMerge).map((one) => one.predicate.node.name)).toEqual(['p']);
  });

  test('conds of one predicate in both branches of another are one in each', () => {
    const inner = (scope: string, side: 0 | 1) => [
      node(`${scope}/q`, 'Switch', ['q', 'p'], B),
      node(`${scope}/x`, 'Switch', ['x', 'p'], T),
      ...cond(scope, `${scope}/q:${side}`, `${scope}/x:${side}`),
    ];
    const out = node('out', 'Merge', ['no/Merge', 'yes/Merge'], { ...T, N: 2 });
    const { conditionals } = analyzeConditionals(flatten(metaGraph([...given, ...inner('yes', 1), ...inner('no', 0), out])));
    expect(conditionals.map((one) => one.values.map((value) => value.merge.name)).sort()).toEqual([['no/Merge'], ['out'], ['yes/Merge']]);
  });

  test('by depth, Merges that have as many others before them share a conditional', () => {
    const crossed = [...cond('a1', 'p', 'x'), ...cond('b1', 'q', 'a1/Merge'), ...cond('b2', 'q', 'x'), ...cond('a2', 'p', 'b2/Merge')];
    const graph = flatten(metaGraph([...given, ...crossed]));
    const merges = (byDepth: boolean) =>
      analyzeConditionals(graph, { byDepth }).conditionals.map((one) => one.values.map((value) => value.merge.name).join(' '));
    expect(merges(false).sort()).toEqual(['a1/Merge a2/Merge', 'b1/Merge b2/Merge']);
    expect(merges(true).sort()).toEqual(['a1/Merge', 'a2/Merge', 'b1/Merge', 'b2/Merge']);
  });

  test('the Switch and Merge of a loop are no conditional', () => {
    expect(analyzeConditionals(flatten(metaGraph([...outside, ...loop('while', 'start', 'limit', addOne('while'))]))).conditionals).toEqual(
      [],
    );
  });
});
