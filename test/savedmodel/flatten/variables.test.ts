import { describe, expect, test } from '@jest/globals';
import { flatten } from '../../../savedmodel/flatten/flatten.ts';
import { foldConstants } from '../../../savedmodel/flatten/fold.ts';
import { bindVariables, prepareServing } from '../../../savedmodel/flatten/index.ts';
import type { MetaGraph } from '../../../savedmodel/graph.ts';
import { constant, dtype, fn, fun, int32, metaGraph, node, texts } from './graphs.ts';

const string = dtype(7);
const types = (count: number) => ({ type: 'list' as const, values: Array.from({ length: count }, () => dtype(3)) });

function restore(names: readonly string[], slices: readonly string[] = names.map(() => '')) {
  return [
    constant('file', texts([''], [])),
    constant('names', texts(names)),
    constant('slices', texts(slices)),
    node('restore', 'RestoreV2', ['file', 'names', 'slices'], { dtypes: types(names.length) }),
  ];
}

/** Sources by variable node, and reasons of the rest. */
function bound(graph: MetaGraph, keys: readonly string[]) {
  const result = bindVariables(foldConstants(flatten(graph)), new Set(keys), graph.assets);
  return {
    bound: Object.fromEntries([...result.bound].map(([one, source]) => [one.name, source])),
    unbound: Object.fromEntries(result.unbound.map((one) => [one.node.name, one.reason])),
  };
}

describe('bindVariables', () => {
  test('a TF1 restore graph binds references, slices of partitioned ones included', () => {
    const graph = metaGraph([
      ...restore(['w', 'part'], ['', '4 2 0,2:0,2']),
      node('w', 'VariableV2', [], { dtype: dtype(3) }),
      node('part/1', 'VariableV2', [], { dtype: dtype(3) }),
      node('a', 'Assign', ['w', 'restore'], { T: dtype(3) }),
      node('b', 'Assign', ['part/1', 'restore:1'], { T: dtype(3) }),
    ]);
    expect(bound(graph, ['w', 'part'])).toEqual({
      bound: { w: { type: 'checkpoint', key: 'w', slice: '' }, 'part/1': { type: 'checkpoint', key: 'part', slice: '4 2 0,2:0,2' } },
      unbound: {},
    });
  });

  test('a TF2 restore function binds the handles that it is called with', () => {
    const body = fun('restore_fn', {
      inputs: ['file', 'v'],
      nodes: [
        constant('names', texts(['layer/kernel/.ATTRIBUTES/VARIABLE_VALUE'])),
        constant('slices', texts([''])),
        node('restore', 'RestoreV2', ['file', 'names:output:0', 'slices:output:0'], { dtypes: types(1) }),
        node('same', 'Identity', ['restore:tensors:0'], { T: dtype(3) }),
        node('assign', 'AssignVariableOp', ['v', 'same:output:0'], { dtype: dtype(3) }),
        node('out', 'Identity', ['file', '^assign'], { T: string }),
      ],
      returns: { y: 'out:output:0' },
      controlReturns: ['assign'],
    });
    const graph = metaGraph(
      [
        node('file', 'Placeholder', [], { dtype: string }),
        node('kernel', 'VarHandleOp', [], { dtype: dtype(3), shared_name: 'k' }),
        node('again', 'VarHandleOp', [], { dtype: dtype(3), shared_name: 'k' }),
        node('call', 'StatefulPartitionedCall', ['file', 'kernel'], { f: fn('restore_fn'), Tin: types(2), Tout: types(1) }),
      ],
      [body],
    );
    const source = { type: 'checkpoint', key: 'layer/kernel/.ATTRIBUTES/VARIABLE_VALUE', slice: '' };
    expect(bound(graph, [source.key])).toEqual({ bound: { kernel: source, again: source }, unbound: {} });
  });

  test('without its key a variable falls back to its initialiser: a constant, or an asset', () => {
    const value = int32([5]);
    const graph = metaGraph(
      [
        ...restore(['gone']),
        constant('five', value),
        constant('path', texts(['/tmp/build/words.txt'], [])),
        node('v', 'VarHandleOp', [], { dtype: dtype(3) }),
        node('p', 'VarHandleOp', [], { dtype: string }),
        node('r', 'AssignVariableOp', ['v', 'restore'], { dtype: dtype(3) }),
        node('i', 'AssignVariableOp', ['v', 'five'], { dtype: dtype(3) }),
        node('j', 'AssignVariableOp', ['p', 'path'], { dtype: string }),
      ],
      [],
      { assets: [{ tensorName: 'path:0', fileName: 'words.txt' }] },
    );
    expect(bound(graph, [])).toEqual({
      bound: { v: { type: 'constant', value }, p: { type: 'asset', fileName: 'words.txt' } },
      unbound: {},
    });
  });

  test('says why a variable is unbound', () => {
    const graph = metaGraph([
      ...restore(['gone']),
      node('v', 'VariableV2', [], { dtype: dtype(3) }),
      node('w', 'VariableV2', [], { dtype: dtype(3) }),
      node('u', 'VariableV2', [], { dtype: dtype(3) }),
      node('x', 'Placeholder'),
      node('a', 'Assign', ['v', 'restore'], { T: dtype(3) }),
      node('b', 'Assign', ['w', 'x'], { T: dtype(3) }),
    ]);
    expect(bound(graph, []).unbound).toEqual({
      v: 'the checkpoint has no key gone',
      w: 'it is initialised by x (Placeholder), which is not constant',
      u: 'nothing restores or initialises it',
    });
  });

  test('initialisers are found where serving does not reach', () => {
    const out = { tensorName: 'read:0', dtype: 3, shape: null, dimNames: [] };
    const graph = metaGraph(
      [
        constant('five', int32([5])),
        node('v', 'VarHandleOp', [], { dtype: dtype(3) }),
        node('init', 'AssignVariableOp', ['v', 'five'], { dtype: dtype(3) }),
        node('read', 'ReadVariableOp', ['v'], { dtype: dtype(3) }),
      ],
      [],
      { signatures: new Map([['s', { inputs: new Map(), outputs: new Map([['y', out]]), methodName: '', defaults: new Map() }]]) },
    );
    const { graph: served, variables } = prepareServing(graph, new Set());
    expect(served.nodes.map((one) => one.name)).toEqual(['v', 'read']);
    expect(variables.sourceOf(served.value('read:0'))?.type).toBe('constant');
  });
});

describe('initTables', () => {
  const table = (name: string, op = 'HashTableV2') =>
    node(name, op, [], { key_dtype: string, value_dtype: dtype(9), shared_name: `hash_${name}` });

  test('lists tables with constants, text files and checkpoints, by the init op', () => {
    const graph = metaGraph(
      [
        ...restore(['t-keys', 't-values']),
        constant('keys', texts(['a', 'b'])),
        constant('values', int32([1, 2])),
        constant('path', texts(['/tmp/x/words.txt'], [])),
        table('one'),
        table('two'),
        table('three', 'MutableHashTableV2'),
        node('fill1', 'LookupTableImportV2', ['one', 'keys', 'values'], { Tin: string, Tout: dtype(3) }),
        node('fill2', 'InitializeTableFromTextFileV2', ['two', 'path'], { key_index: -2, value_index: -1, offset: 3 }),
        node('fill3', 'LookupTableImportV2', ['three', 'restore', 'restore:1'], { Tin: string, Tout: dtype(9) }),
        node('init', 'NoOp', ['^fill1', '^fill2', '^fill3']),
      ],
      [],
      { initOp: 'init', assets: [{ tensorName: 'path:0', fileName: 'words.txt' }] },
    );
    const tables = new Map(prepareServing(graph, new Set()).tables.map((one) => [one.table.name, one]));
    expect([tables.get('one')?.keyDtype, tables.get('one')?.valueDtype]).toEqual([7, 9]);
    expect(tables.get('one')?.sources).toEqual([
      { type: 'tensors', keys: { type: 'constant', value: texts(['a', 'b']) }, values: { type: 'constant', value: int32([1, 2]) } },
    ]);
    expect(tables.get('two')?.sources).toEqual([
      { type: 'text-file', fileName: 'words.txt', keyIndex: -2, valueIndex: -1, vocabSize: -1, delimiter: '\t', offset: 3 },
    ]);
    expect(tables.get('three')?.sources).toEqual([
      {
        type: 'tensors',
        keys: { type: 'checkpoint', key: 't-keys', slice: '' },
        values: { type: 'checkpoint', key: 't-values', slice: '' },
      },
    ]);
    expect([...tables.values()].map((one) => one.problem)).toEqual([null, null, null]);
  });

  test('a table that a request fills is named as a problem', () => {
    const graph = metaGraph([node('k', 'Placeholder'), table('t'), node('put', 'LookupTableInsertV2', ['t', 'k', 'k'], {})], [], {
      initOp: 'put',
    });
    expect(prepareServing(graph, new Set()).tables[0]?.problem).toBe('put (LookupTableInsertV2) fills the table with what is not constant');
  });
});
