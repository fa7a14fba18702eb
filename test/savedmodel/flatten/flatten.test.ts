import { describe, expect, test } from '@jest/globals';
import type { FlatGraph } from '../../../savedmodel/flat-graph.ts';
import { flatten, flattenFunction } from '../../../savedmodel/flatten/index.ts';
import { attrs, constant, dtype, fn, fun, int32, metaGraph, node } from './graphs.ts';

const types = (count: number) => ({ type: 'list' as const, values: Array.from({ length: count }, () => dtype(3)) });

/** `name(op) <- inputs ^controls`, for all nodes. */
function shown(graph: FlatGraph): string[] {
  return graph.nodes.map((one) => {
    const inputs = one.inputs.map((ref) => (ref.output === 0 ? ref.node.name : `${ref.node.name}:${ref.output}`));
    const controls = one.controls.map((before) => `^${before.name}`);
    return `${one.name}(${one.op})${[...inputs, ...controls].map((text) => ` ${text}`).join('')}`;
  });
}

describe('flatten', () => {
  const double = fun('double', {
    inputs: ['x'],
    nodes: [node('twice', 'AddV2', ['x', 'x'], { T: dtype(3) })],
    returns: { y: 'twice:z:0' },
  });

  test('a call becomes the body, with names below the call’s', () => {
    const graph = metaGraph(
      [
        node('in', 'Placeholder', [], { dtype: dtype(3) }),
        node('call', 'PartitionedCall', ['in'], { f: fn('double'), Tin: types(1), Tout: types(1) }),
        node('out', 'Identity', ['call'], { T: dtype(3) }),
      ],
      [double],
    );
    expect(shown(flatten(graph))).toEqual(['in(Placeholder)', 'call/twice(AddV2) in in', 'out(Identity) call/twice']);
  });

  test('calls nest, a node whose op is a function calls it, and BatchFunction passes captured values last', () => {
    const outer = fun('outer', {
      inputs: ['a', 'b'],
      nodes: [node('inner', 'double', ['b']), node('sum', 'Sub', ['inner:y:0', 'a'], { T: dtype(3) })],
      returns: { r: 'sum:z:0' },
    });
    const graph = metaGraph(
      [
        node('p', 'Placeholder'),
        node('q', 'Placeholder'),
        node('batched', 'BatchFunction', ['p', 'q'], { f: fn('outer'), Tin: types(1), Tcaptured: types(1), Tout: types(1) }),
      ],
      [double, outer],
    );
    const flat = flatten(graph, { fetches: ['batched:0'] });
    expect(shown(flat)).toEqual([
      'q(Placeholder)',
      'batched/inner/twice(AddV2) q q',
      'p(Placeholder)',
      'batched/sum(Sub) batched/inner/twice p',
    ]);
    expect(flat.value('batched:0').node.name).toBe('batched/sum');
  });

  test('output arguments of counted and listed outputs become flat indices', () => {
    const body = fun('split', {
      inputs: ['x'],
      nodes: [
        node('axis', 'Const', [], { dtype: dtype(3) }),
        node('parts', 'Split', ['axis:output:0', 'x'], { T: dtype(3), num_split: 3 }),
        node('moments', 'FusedBatchNormV3', ['parts:output:2'], { T: dtype(1), U: dtype(1) }),
      ],
      returns: { a: 'parts:output:1', b: 'moments:batch_variance:0' },
    });
    const graph = metaGraph(
      [node('x', 'Placeholder'), node('c', 'StatefulPartitionedCall', ['x'], { f: fn('split'), Tin: types(1), Tout: types(2) })],
      [body],
    );
    const flat = flatten(graph, { fetches: ['c:0', 'c:1'] });
    expect([flat.value('c:0').output, flat.value('c:1').output]).toEqual([1, 2]);
    expect(flat.value('c:1').node.inputs.map((ref) => ref.output)).toEqual([2]);
    expect(flat.value('c:0').node.outputCount).toBe(3);
  });

  test('placeholders are filled by the call, in types, lists and functions, and defaults are applied', () => {
    const body = fun('f', {
      inputs: ['x'],
      nodes: [
        node('id', 'Identity', ['x'], { T: { type: 'placeholder', name: 'Tx' } }),
        node('pick', 'StridedSlice', ['x', 'x', 'x', 'x'], { T: dtype(3), Index: dtype(3) }),
        node('branch', 'If', ['x', 'id:output:0'], {
          Tin: { type: 'list', values: [{ type: 'placeholder', name: 'Tx' }] },
          Tout: types(0),
          then_branch: fn('g', { U: { type: 'placeholder', name: 'Tx' } }),
        }),
      ],
      returns: { y: 'id:output:0', z: 'pick:output:0' },
      controlReturns: ['branch'],
    });
    const graph = metaGraph(
      [node('x', 'Placeholder'), node('c', 'f', ['x'], { Tx: dtype(9) }), node('after', 'NoOp', ['^c'])],
      [body, fun('g', { nodes: [node('fail', 'Assert')], returns: {}, controlReturns: ['fail'] })],
    );
    const flat = flatten(graph);
    const named = (name: string) => flat.nodes.find((one) => one.name === name)?.attrs;
    expect(named('c/id')?.get('T')).toEqual(dtype(9));
    expect(named('c/branch')?.get('Tin')).toEqual({ type: 'list', values: [dtype(9)] });
    expect(named('c/branch')?.get('then_branch')).toEqual(fn('g', { U: dtype(9) }));
    expect(named('c/pick')?.get('new_axis_mask')).toEqual({ type: 'int', value: 0 });
  });

  test('results of a call wait for its writes, and what waits for the call does too', () => {
    const body = fun('count', {
      inputs: ['v'],
      nodes: [
        constant('one', int32([1], [])),
        node('read', 'ReadVariableOp', ['v'], { dtype: dtype(3) }),
        node('add', 'AssignAddVariableOp', ['v', 'one:output:0', '^read'], { dtype: dtype(3) }),
      ],
      returns: { before: 'read:value:0' },
      controlReturns: ['read', 'add'],
    });
    const graph = metaGraph(
      [
        node('var', 'VarHandleOp'),
        node('first', 'NoOp'),
        node('call', 'StatefulPartitionedCall', ['var', '^first'], { f: fn('count'), Tin: types(1), Tout: types(1) }),
        node('after', 'NoOp', ['^call']),
      ],
      [body],
    );
    const lines = shown(flatten(graph, { fetches: ['call:0', 'after'] }));
    expect(lines).toContain('call/^result0(Identity) call/read ^call/add');
    expect(lines).toContain('call/add(AssignAddVariableOp) var call/one ^call/read');
    expect(lines).toContain('call/read(ReadVariableOp) var ^first');
    expect(lines).toContain('call/one(Const) ^first');
    expect(lines.find((line) => line.startsWith('after'))).toBe('after(NoOp) ^call/^done');
  });

  test('only what the fetches need is kept, and the rest is refused by name', () => {
    const graph = metaGraph([constant('a', int32([1])), constant('b', int32([2])), node('s', 'AddV2', ['a', 'a'], { T: dtype(3) })]);
    const flat = flatten(graph, { fetches: ['s:0'] });
    expect(flat.nodes.map((one) => one.name)).toEqual(['a', 's']);
    expect(() => flat.value('b:0')).toThrow('node b is not among what was kept of the graph');
    expect(() => flat.value('s:1')).toThrow('the main graph has no value s:1');
    expect(() => flatten(graph, { fetches: ['nothing:0'] })).toThrow('the main graph has no value nothing:0');
  });

  test('recursion is refused with the cycle', () => {
    const ping = fun('ping', { inputs: ['x'], nodes: [node('c', 'pong', ['x'])], returns: { y: 'c:y:0' } });
    const pong = fun('pong', { inputs: ['x'], nodes: [node('c', 'ping', ['x'])], returns: { y: 'c:y:0' } });
    const graph = metaGraph([node('x', 'Placeholder'), node('start', 'ping', ['x'])], [ping, pong]);
    expect(() => flatten(graph, { fetches: ['start:0'] })).toThrow('functions call themselves: ping → pong → ping');
  });

  test('functions that multiply end at the limit', () => {
    const functions = Array.from({ length: 40 }, (_, level) =>
      fun(`f${level}`, {
        inputs: ['x'],
        nodes:
          level === 39
            ? [node('sum', 'AddV2', ['x', 'x'], { T: dtype(3) })]
            : [
                node('a', `f${level + 1}`, ['x']),
                node('b', `f${level + 1}`, ['x']),
                node('sum', 'AddV2', ['a:y:0', 'b:y:0'], { T: dtype(3) }),
              ],
        returns: { y: 'sum:z:0' },
      }),
    );
    const graph = metaGraph([node('x', 'Placeholder'), node('c', 'f0', ['x'])], functions);
    expect(() => flatten(graph, { fetches: ['c:0'], maxNodes: 10_000 })).toThrow('more than 10000 nodes');
  });

  test('cycles of values and of calls are refused', () => {
    const loop = metaGraph([node('a', 'Identity', ['b'], { T: dtype(3) }), node('b', 'Identity', ['a'], { T: dtype(3) })]);
    expect(() => flatten(loop)).toThrow('the graph has a cycle that is no loop');
    const same = fun('same', { inputs: ['x'], nodes: [], returns: { y: 'x' } });
    expect(() => flatten(metaGraph([node('c', 'same', ['c:0'])], [same]), { fetches: ['c:0'] })).toThrow('is defined by itself');
  });

  test('a chain of a hundred thousand nodes needs no stack', () => {
    const nodes = Array.from({ length: 100_000 }, (_, at) =>
      at === 0 ? node('n0', 'Placeholder') : node(`n${at}`, 'Relu', [`n${at - 1}`], { T: dtype(1) }),
    );
    expect(flatten(metaGraph(nodes), { fetches: ['n99999:0'] }).nodes.length).toBe(100_000);
  });

  test('two calls of a function with a loop have two frames', () => {
    const body = fun('f', {
      inputs: ['x'],
      nodes: [node('e', 'Enter', ['x'], { T: dtype(3), frame_name: 'while' })],
      returns: { y: 'e:output:0' },
    });
    const flat = flatten(metaGraph([node('x', 'Placeholder'), node('a', 'f', ['x']), node('b', 'f', ['x'])], [body]));
    const frames = flat.nodes.flatMap((one) => one.attrs.get('frame_name') ?? []);
    expect(frames.map((one) => (one.type === 'string' ? new TextDecoder().decode(one.value) : ''))).toEqual(['a/while', 'b/while']);
  });

  test('an output of an op that nobody defines is refused in a function, and taken by number in the main graph', () => {
    const body = fun('f', { inputs: ['x'], nodes: [node('m', 'Mystery', ['x'])], returns: { y: 'm:out:0' } });
    expect(() => flatten(metaGraph([node('x', 'Placeholder'), node('c', 'f', ['x'])], [body]), { fetches: ['c:0'] })).toThrow(
      'node c/m (Mystery) of function f is of an op that is not known',
    );
    const main = flatten(metaGraph([node('m', 'Mystery'), node('i', 'Identity', ['m:2'], { T: dtype(3) })]));
    expect(main.value('m:2').node.outputCount).toBe(3);
  });
});

describe('flattenFunction', () => {
  test('gives parameters, results and effects, with the attributes that named it', () => {
    const body = fun('body', {
      inputs: ['i', 'x'],
      nodes: [
        constant('one', int32([1], [])),
        node('next', 'AddV2', ['i', 'one:output:0'], { T: { type: 'placeholder', name: 'T' } }),
        node('check', 'Assert', ['i'], { T: types(0) }),
      ],
      returns: { i2: 'next:z:0', x2: 'x' },
      controlReturns: ['check'],
    });
    const graph = flattenFunction(metaGraph([], [body]), 'body', attrs({ T: dtype(9) }));
    expect(graph.parameters.map((one) => `${one.name} ${one.op}`)).toEqual(['i _Arg', 'x _Arg']);
    expect(graph.results.map((ref) => ref.node.name)).toEqual(['next', 'x']);
    expect(graph.effects.map((one) => one.name)).toEqual(['check']);
    expect(graph.value('next:z:0').node.attrs.get('T')).toEqual(dtype(9));
    expect(() => flattenFunction(metaGraph([]), 'gone')).toThrow('function gone names function gone, which the library does not have');
  });
});
