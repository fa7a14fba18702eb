import { describe, expect, test } from '@jest/globals';
import { utf8 } from '#mesh/bytes.ts';
import type { AttrValue } from '../../../../savedmodel/graph.ts';
import { decodeAttr, decodeAttrs, encodeAttr, hostAttrs, storeAttrs } from '../../../../savedmodel/plan/run/stored-attr.ts';

const ATTRS: readonly AttrValue[] = [
  { type: 'string', value: new Uint8Array([0, 255, 10]) },
  { type: 'int', value: -7 },
  { type: 'int', value: -(2 ** 63) },
  { type: 'float', value: 0.1 },
  { type: 'float', value: Number.NaN },
  { type: 'float', value: Number.NEGATIVE_INFINITY },
  { type: 'float', value: -0 },
  { type: 'bool', value: true },
  { type: 'dtype', value: 21 },
  { type: 'shape', value: null },
  { type: 'shape', value: [-1, 3] },
  { type: 'tensor', value: { dtype: 'int32', shape: [2], bytes: new Uint8Array([1, 0, 0, 0, 2, 0, 0, 0]) } },
  { type: 'list', values: [{ type: 'int', value: 1 }] },
  { type: 'list', values: [] },
];

describe('stored attributes', () => {
  test('come back through JSON as they were', () => {
    for (const attr of ATTRS) expect(decodeAttr(JSON.parse(JSON.stringify(encodeAttr(attr))))).toEqual(attr);
  });

  test('leave out functions and notes of TensorFlow’s runtime, but keep _grows', () => {
    const yes: AttrValue = { type: 'bool', value: true };
    const stored = storeAttrs(
      new Map<string, AttrValue>([
        ['_grows', yes],
        ['_class', yes],
        ['body', { type: 'function', name: 'f', attrs: new Map() }],
        ['T', { type: 'dtype', value: 1 }],
      ]),
    );
    expect(Object.keys(stored)).toEqual(['_grows', 'T']);
  });

  test('a list of functions is refused', () => {
    expect(() => encodeAttr({ type: 'list', values: [{ type: 'function', name: 'f', attrs: new Map() }] })).toThrow(
      'function is no attribute',
    );
  });

  test('are read as kernels read them, and an error names node and op', () => {
    const attrs = hostAttrs({ node: 'a/b', op: 'Split' }, decodeAttrs(storeAttrs(new Map([['s', { type: 'string', value: utf8('é') }]]))));
    expect(attrs.text('s')).toBe('é');
    expect(() => attrs.int('num_split')).toThrow('attribute num_split of node a/b (Split) is nothing, not int');
  });
});
