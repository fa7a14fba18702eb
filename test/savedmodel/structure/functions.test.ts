/** While, If and Case that name functions. */
import { describe, expect, test } from '@jest/globals';
import { originOf } from '../../../savedmodel/flatten/index.ts';
import type { AttrValue } from '../../../savedmodel/graph.ts';
import { bool, constant, dtype, fn, fun, int32, node } from '../flatten/graphs.ts';
import { answers, everywhere, INT, input, only, opsOf, predicate, scalar, structure } from './structured.ts';

const RESOURCE: AttrValue = dtype(20);
const list = (...values: AttrValue[]): AttrValue => ({ type: 'list', values });
const types = (count: number): AttrValue => list(...Array.from({ length: count }, () => dtype(3)));

/** i < limit, of all that the loop carries. */
const isBelow = (inputs: readonly string[]) =>
  predicate('below', { inputs, nodes: [node('less', 'Less', ['i', 'limit'], INT)], returns: { r: 'less:z:0' } });

const whileNode = (inputs: readonly string[], more = {}) =>
  node('loop', 'StatelessWhile', inputs, { T: types(inputs.length), cond: fn('below'), body: fn('body'), ...more });

describe('a While', () => {
  const body = fun('body', {
    inputs: ['i', 'limit', 'step'],
    nodes: [node('same', 'Identity', ['limit'], INT), node('add', 'AddV2', ['i', 'step'], INT)],
    returns: { i: 'add:z:0', limit: 'same:output:0', step: 'step' },
  });
  const nodes = [input('start'), input('limit'), input('step'), whileNode(['start', 'limit', 'step'])];

  test('carries what changes; what stays the same is used where it is, and is the loop’s output', () => {
    const graph = structure(nodes, [isBelow(['i', 'limit', 'step']), body], ['loop:0', 'loop:1']);
    const loop = only(graph, 'While');
    expect(loop.inputs.map((ref) => ref.node.name)).toEqual(['start']);
    expect(loop.bodies?.map((one) => [one.parameters.length, one.results.length])).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect(loop.attrs.get('T')).toEqual(types(1));
    expect(loop.bodies?.[0]?.nodes.flatMap((one) => one.inputs.map((ref) => ref.node.op))).toEqual(['_Arg', 'Placeholder']);
    expect(graph.value('loop:1').node.name).toBe('limit');
    expect(answers(graph, { start: 3, limit: 10, step: 4 }, ['loop:0', 'loop:1'])).toEqual([11, 10]);
    expect(answers(graph, { start: 30, limit: 10, step: 4 }, ['loop:0'])).toEqual([30]);
  });

  test('in a While: what the inner one gives back unchanged, the outer one does not carry', () => {
    const inner = fun('inner', {
      inputs: ['i', 'limit', 'step'],
      nodes: [node('again', 'While', ['i', 'limit', 'step'], { T: types(3), cond: fn('below'), body: fn('body') })],
      returns: { i: 'again:output:0', limit: 'again:output:1', step: 'again:output:2' },
    });
    const outer = [...nodes.slice(0, 3), whileNode(['start', 'limit', 'step'], { body: fn('inner') })];
    const graph = structure(outer, [isBelow(['i', 'limit', 'step']), body, inner], ['loop:0']);
    const loops = everywhere(graph.nodes).filter((one) => one.op === 'While');
    expect(loops.map((one) => one.inputs.length)).toEqual([1, 1]);
    expect(answers(graph, { start: 0, limit: 5, step: 2 }, ['loop:0'])).toEqual([6]);
  });

  test('whose condition is never true is its first values', () => {
    const never = predicate('below', {
      inputs: ['i', 'limit', 'step'],
      nodes: [constant('no', bool(false))],
      returns: { r: 'no:output:0' },
    });
    const graph = structure(nodes, [never, body], ['loop:0']);
    expect(graph.value('loop:0').node.name).toBe('start');
    expect(opsOf(graph.nodes)).toEqual(['Placeholder']);
  });

  test('reads a variable by its handle, which it does not carry', () => {
    const reading = fun('body', {
      inputs: ['i', 'limit', 'handle'],
      nodes: [
        node('passed', 'Identity', ['handle'], { T: RESOURCE }),
        node('read', 'ReadVariableOp', ['passed:output:0'], { dtype: dtype(3) }),
        node('add', 'AddV2', ['i', 'read:value:0'], INT),
      ],
      returns: { i: 'add:z:0', limit: 'limit', handle: 'passed:output:0' },
    });
    const variable = node('v', 'VarHandleOp', [], { dtype: dtype(3), shape: { type: 'shape', value: [] } });
    const graph = structure(
      [input('start'), input('limit'), variable, whileNode(['start', 'limit', 'v'])],
      [isBelow(['i', 'limit', 'handle']), reading],
      ['loop:0'],
    );
    const [handle] = only(graph, 'ReadVariableOp').inputs;
    expect(handle && originOf(handle).node).toBe(only(graph, 'VarHandleOp'));
    expect(answers(graph, { start: 0, limit: 5 }, ['loop:0'], new Map([['variable  v', scalar(3)]]))).toEqual([6]);
  });

  test('a value that is carried for its own next round alone is dropped', () => {
    const counting = fun('body', {
      inputs: ['i', 'limit', 'count'],
      nodes: [
        constant('one', int32([1], [])),
        node('next', 'AddV2', ['count', 'one:output:0'], INT),
        node('add', 'AddV2', ['i', 'one:output:0'], INT),
      ],
      returns: { i: 'add:z:0', limit: 'limit', count: 'next:z:0' },
    });
    const functions = [isBelow(['i', 'limit', 'count']), counting];
    const made = [input('start'), input('limit'), input('zero'), whileNode(['start', 'limit', 'zero'])];
    expect(only(structure(made, functions, ['loop:0']), 'While').inputs.length).toBe(1);
    expect(answers(structure(made, functions, ['loop:2']), { start: 1, limit: 4, zero: 0 }, ['loop:2'])).toEqual([3]);
  });

  test('folds constants that its body uses from around it', () => {
    const scaled = fun('body', {
      inputs: ['i', 'limit', 'step'],
      nodes: [
        node('wide', 'Cast', ['step'], { SrcT: dtype(3), DstT: dtype(9) }),
        node('narrow', 'Cast', ['wide:y:0'], { SrcT: dtype(9), DstT: dtype(3) }),
        node('twice', 'AddV2', ['narrow:y:0', 'narrow:y:0'], INT),
        node('add', 'AddV2', ['i', 'twice:z:0'], INT),
      ],
      returns: { i: 'add:z:0', limit: 'limit', step: 'step' },
    });
    const made = [input('start'), input('limit'), constant('step', int32([4], [])), whileNode(['start', 'limit', 'step'])];
    const graph = structure(made, [isBelow(['i', 'limit', 'step']), scaled], ['loop:0']);
    expect(opsOf(only(graph, 'While').bodies?.[1]?.nodes ?? [])).toEqual(['AddV2', 'Const']);
    expect(answers(graph, { start: 0, limit: 9 }, ['loop:0'])).toEqual([16]);
  });

  test('takes the default of a PlaceholderWithDefault in its body, which nobody can feed', () => {
    const stepping = fun('body', {
      inputs: ['i', 'limit', 'step'],
      nodes: [
        constant('three', int32([3], [])),
        node('hidden', 'PlaceholderWithDefault', ['three:output:0'], { dtype: dtype(3) }),
        node('add', 'AddV2', ['i', 'hidden:output:0'], INT),
      ],
      returns: { i: 'add:z:0', limit: 'limit', step: 'step' },
    });
    const graph = structure(nodes, [isBelow(['i', 'limit', 'step']), stepping], ['loop:0']);
    expect(opsOf(only(graph, 'While').bodies?.[1]?.nodes ?? [])).toEqual(['AddV2', 'Const']);
  });

  test('with a condition that is no bool asks whether it is not zero', () => {
    const counts = fun('below', { inputs: ['i'], nodes: [], returns: { r: 'i' } });
    const down = fun('body', {
      inputs: ['i'],
      nodes: [constant('two', int32([2], [])), node('less', 'Sub', ['i', 'two:output:0'], INT)],
      returns: { i: 'less:z:0' },
    });
    const graph = structure([input('start'), whileNode(['start'])], [counts, down], ['loop:0']);
    expect(answers(graph, { start: 6 }, ['loop:0'])).toEqual([0]);
  });
});

describe('an If or a Case', () => {
  const plus = fun('plus', { inputs: ['a', 'b'], nodes: [node('add', 'AddV2', ['a', 'b'], INT)], returns: { r: 'add:z:0', s: 'b' } });
  const times = fun('times', { inputs: ['a', 'b'], nodes: [node('mul', 'Mul', ['a', 'b'], INT)], returns: { r: 'mul:z:0', s: 'b' } });
  const given = [node('p', 'Placeholder', [], { dtype: dtype(10) }), input('a'), input('b'), input('index')];
  const ifNode = (predicateName: string, more = {}) =>
    node('if', 'If', [predicateName, 'a', 'b'], {
      Tcond: dtype(10),
      Tin: types(2),
      Tout: types(2),
      then_branch: fn('plus'),
      else_branch: fn('times'),
      ...more,
    });

  test('has branches that use the values around them, and an output that both take from the same place is that value', () => {
    const graph = structure([...given, ifNode('p')], [plus, times], ['if:0', 'if:1']);
    const branch = only(graph, 'If');
    expect([branch.inputs.length, branch.outputCount]).toEqual([1, 1]);
    expect(branch.bodies?.map((body) => [body.parameters.length, opsOf(body.nodes)])).toEqual([
      [0, ['AddV2']],
      [0, ['Mul']],
    ]);
    expect(graph.value('if:1').node.name).toBe('b');
    expect([true, false].map((p) => answers(graph, { p, a: 3, b: 4 }, ['if:0']))).toEqual([[7], [12]]);
  });

  test('whose predicate is constant becomes its branch’s nodes', () => {
    const graph = structure([...given, constant('yes', bool(true)), ifNode('yes')], [plus, times], ['if:0']);
    expect(opsOf(graph.nodes)).toEqual(['AddV2', 'Placeholder', 'Placeholder']);
    expect(answers(graph, { a: 3, b: 4 }, ['if:0'])).toEqual([7]);
  });

  test('takes a number as a predicate: zero is false', () => {
    const graph = structure([...given, ifNode('index', { Tcond: dtype(3) })], [plus, times], ['if:0']);
    expect([0, 5].map((index) => answers(graph, { index, a: 3, b: 4 }, ['if:0']))).toEqual([[12], [7]]);
  });

  test('a Case takes its last branch for an index that is out of range, known or not', () => {
    const caseNode = (index: string) =>
      node('case', 'Case', [index, 'a', 'b'], { Tin: types(2), Tout: types(2), branches: list(fn('plus'), fn('times')) });
    const graph = structure([...given, caseNode('index')], [plus, times], ['case:0']);
    expect([0, 1, 7, -1].map((index) => answers(graph, { index, a: 3, b: 4 }, ['case:0']))).toEqual([[7], [12], [12], [12]]);
    const known = structure([...given, constant('nine', int32([9], [])), caseNode('nine')], [plus, times], ['case:0']);
    expect(opsOf(known.nodes)).toEqual(['Mul', 'Placeholder', 'Placeholder']);
  });

  test('keeps writes in the branch that makes them, in their order', () => {
    const variable = node('v', 'VarHandleOp', [], { dtype: dtype(3), shape: { type: 'shape', value: [] } });
    const writing = {
      ...fun('plus', {
        inputs: ['a', 'b'],
        nodes: [
          node('write', 'AssignVariableOp', ['b', 'a'], { dtype: dtype(3) }),
          node('read', 'ReadVariableOp', ['b', '^write'], { dtype: dtype(3) }),
        ],
        returns: { r: 'read:value:0', s: 'a' },
      }),
    };
    const other = fun('times', {
      inputs: ['a', 'b'],
      nodes: [node('read', 'ReadVariableOp', ['b'], { dtype: dtype(3) })],
      returns: { r: 'read:value:0', s: 'a' },
    });
    const stateful = node('if', 'If', ['p', 'a', 'v'], {
      Tcond: dtype(10),
      Tin: list(dtype(3), RESOURCE),
      Tout: types(2),
      then_branch: fn('plus'),
      else_branch: fn('times'),
    });
    const later = node('later', 'ReadVariableOp', ['v', '^if'], { dtype: dtype(3) });
    const graph = structure([...given, variable, stateful, later], [writing, other], ['later:0']);
    expect(opsOf(only(graph, 'If').bodies?.[0]?.nodes ?? [])).toEqual(['AssignVariableOp']);
    expect([true, false].map((p) => answers(graph, { p, a: 3 }, ['later:0'], new Map([['variable  v', scalar(8)]])))).toEqual([[3], [8]]);
  });

  test('brings TF1’s control flow inside of functions into bodies too', () => {
    const old = fun('plus', {
      inputs: ['a', 'b'],
      nodes: [
        node('isLess', 'Less', ['a', 'b'], INT),
        node('left', 'Switch', ['a', 'isLess:z:0'], INT),
        node('right', 'Switch', ['b', 'isLess:z:0'], INT),
        node('neg', 'Neg', ['left:output_true:0'], INT),
        node('merge', 'Merge', ['right:output_false:0', 'neg:y:0'], { ...INT, N: 2 }),
      ],
      returns: { r: 'merge:output:0', s: 'b' },
    });
    const graph = structure([...given, ifNode('p')], [old, times], ['if:0']);
    expect(everywhere(graph.nodes).filter((one) => one.op === 'If').length).toBe(2);
    expect(answers(graph, { p: true, a: 3, b: 4 }, ['if:0'])).toEqual([-3]);
    expect(answers(graph, { p: true, a: 5, b: 4 }, ['if:0'])).toEqual([4]);
  });

  test('uses one function in several places under different names', () => {
    const second = node('again', 'If', ['p', 'if', 'b'], { ...Object.fromEntries(ifNode('p').attrs) });
    const graph = structure([...given, ifNode('p'), second], [plus, times], ['again:0']);
    const names = everywhere(graph.nodes).map((one) => one.name);
    expect(new Set(names).size).toBe(names.length);
    expect(answers(graph, { p: false, a: 3, b: 4 }, ['again:0'])).toEqual([48]);
  });
});

describe('what is refused', () => {
  const p = node('p', 'Placeholder', [], { dtype: dtype(10) });
  const call = (name: string, inputs: readonly string[], count = 1) =>
    node(name, 'If', inputs, {
      Tcond: dtype(10),
      Tin: types(inputs.length - 1),
      Tout: types(count),
      then_branch: fn('f'),
      else_branch: fn('f'),
    });

  test('a function that contains itself', () => {
    const f = fun('f', {
      inputs: ['a'],
      nodes: [node('p', 'Less', ['a', 'a'], INT), call('if', ['p:z:0', 'a'])],
      returns: { r: 'if:output:0' },
    });
    expect(() => structure([p, input('a'), call('if', ['p', 'a'])], [f], ['if:0'])).toThrow('functions contain themselves: f → f');
  });

  test('a function that is not there, and one that takes or gives another number of values', () => {
    const f = fun('f', { inputs: ['a'], nodes: [], returns: { r: 'a' } });
    expect(() => structure([p, input('a'), call('if', ['p', 'a'])], [], ['if:0'])).toThrow(
      'node if (If) of the main graph names function f, which the library does not have',
    );
    expect(() => structure([p, call('if', ['p'])], [f], ['if:0'])).toThrow(
      'node if (If) of the main graph passes 0 values, function f takes 1',
    );
    expect(() => structure([p, input('a'), call('if', ['p', 'a'], 2)], [f], ['if:0'])).toThrow('has 2 outputs, function f gives 1');
  });

  test('bodies that hold more nodes than the limit', () => {
    const functions = Array.from({ length: 12 }, (_, depth) =>
      fun(`f${depth}`, {
        inputs: ['a'],
        nodes: [
          node('less', 'Less', ['a', 'a'], INT),
          node('if', 'If', ['less:z:0', 'a'], {
            Tcond: dtype(10),
            Tin: types(1),
            Tout: types(1),
            then_branch: fn(`f${depth + 1}`),
            else_branch: fn(`f${depth + 1}`),
          }),
        ],
        returns: { r: 'if:output:0' },
      }),
    );
    const last = fun('f12', { inputs: ['a'], nodes: [node('neg', 'Neg', ['a'], INT)], returns: { r: 'neg:y:0' } });
    const top = node('if', 'If', ['p', 'a'], {
      Tcond: dtype(10),
      Tin: types(1),
      Tout: types(1),
      then_branch: fn('f0'),
      else_branch: fn('f0'),
    });
    expect(() => structure([p, input('a'), top], [...functions, last], ['if:0'], { maxNodes: 1000 })).toThrow(
      'the bodies of loops and branches have more than 1000 nodes, the limit',
    );
  });

  test('a string as a predicate', () => {
    const text = node('text', 'Placeholder', [], { dtype: dtype(7) });
    const f = fun('f', { inputs: [], nodes: [constant('one', int32([1], []))], returns: { r: 'one:output:0' } });
    const onText = node('if', 'If', ['text'], {
      Tcond: dtype(7),
      Tin: types(0),
      Tout: types(1),
      then_branch: fn('f'),
      else_branch: fn('f'),
    });
    expect(() => structure([text, onText], [f], ['if:0'])).toThrow('node if (If) of the main graph has a string as its predicate');
  });
});
