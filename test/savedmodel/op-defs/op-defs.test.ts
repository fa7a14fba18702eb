import { describe, expect, test } from '@jest/globals';
import { argSize, argsSize, createOpDefs, flatArgIndex } from '../../../savedmodel/op-defs/index.ts';
import { parseOpDef } from '../../../savedmodel/op-defs/parse-op-def.ts';
import { attrs, dtype } from '../flatten/graphs.ts';

describe('op definitions', () => {
  test('the tables hold over a thousand ops, and every one parses', () => {
    const defs = createOpDefs();
    expect(defs.names.size).toBeGreaterThan(1000);
    for (const name of defs.names) expect([name, defs.find(name)?.outputs.length]).toEqual([name, expect.any(Number)]);
  });

  test('each kind of argument and default is read', () => {
    const def = parseOpDef(
      'X|a:1,b:$T,c:$T*N,d:7*M,e:[L]|o:$T|{"s":{"s":"a|b"},"i":{"i":-2},"f":{"f":"inf"},"t":{"t":3},"h":{"h":[1]},"l":[{"b":true}]}',
    );
    expect(def.inputs).toEqual([
      { name: 'a', dtype: 1 },
      { name: 'b', typeAttr: 'T' },
      { name: 'c', typeAttr: 'T', numberAttr: 'N' },
      { name: 'd', dtype: 7, numberAttr: 'M' },
      { name: 'e', typeListAttr: 'L' },
    ]);
    expect(Object.fromEntries(def.defaults)).toEqual({
      s: { type: 'string', value: new TextEncoder().encode('a|b') },
      i: { type: 'int', value: -2 },
      f: { type: 'float', value: Number.POSITIVE_INFINITY },
      t: { type: 'dtype', value: 3 },
      h: { type: 'shape', value: [1] },
      l: { type: 'list', values: [{ type: 'bool', value: true }] },
    });
  });

  test('known ops have TensorFlow’s arguments and defaults', () => {
    const defs = createOpDefs();
    expect(defs.find('FusedBatchNormV3')?.outputs.map((arg) => arg.name)).toEqual([
      'y',
      'batch_mean',
      'batch_variance',
      'reserve_space_1',
      'reserve_space_2',
      'reserve_space_3',
    ]);
    expect(defs.find('StridedSlice')?.defaults.get('shrink_axis_mask')).toEqual({ type: 'int', value: 0 });
    expect(defs.find('LeakyRelu')?.defaults.get('alpha')).toEqual({ type: 'float', value: Math.fround(0.2) });
    expect(defs.find('StringSplitV2')?.defaults.get('maxsplit')).toEqual({ type: 'int', value: -1 });
  });

  test('an op of the model’s own is found after TensorFlow’s', () => {
    const own = { inputs: [], outputs: [{ name: 'zeroed', dtype: 3 }], defaults: new Map() };
    const defs = createOpDefs(
      new Map([
        ['ZeroOut', own],
        ['Identity', own],
      ]),
    );
    expect(defs.find('ZeroOut')).toBe(own);
    expect(defs.find('Identity')?.outputs[0]?.name).toBe('output');
    expect(defs.find('Nothing')).toBeUndefined();
  });

  test('outputs are numbered over counts and lists', () => {
    const def = createOpDefs().find('ParseExampleV2');
    const node = attrs({
      num_sparse: 2,
      sparse_types: { type: 'list', values: [dtype(1), dtype(9)] },
      Tdense: { type: 'list', values: [dtype(1)] },
      ragged_value_types: { type: 'list', values: [] },
      ragged_split_types: { type: 'list', values: [] },
    });
    const at = (name: string, index: number) => flatArgIndex(def?.outputs ?? [], node, { name, index }, 'node');
    expect([at('sparse_indices', 1), at('sparse_values', 0), at('sparse_shapes', 1), at('dense_values', 0), at('other', 0)]).toEqual([
      1,
      2,
      5,
      6,
      undefined,
    ]);
    expect(argsSize(def?.outputs ?? [], node, 'node')).toBe(7);
  });

  test('a missing count is refused with the node and the attribute', () => {
    expect(() => argSize({ name: 'values', numberAttr: 'N' }, new Map(), 'node pack (Pack)')).toThrow(
      'node pack (Pack) has no count attribute N, which sizes its argument values',
    );
  });
});
