import { describe, expect, test } from '@jest/globals';
import type { AttrValue } from '../../../savedmodel/graph.ts';
import { tensorOf } from '../../../savedmodel/translate/constants.ts';
import { answers, bool, constant, int, node, ref, text } from './flat-nodes.ts';

/** An op over one float value and constants; what its first output's shape is when the value has the shape. */
type Case = readonly [
  op: string,
  shape: readonly number[],
  wanted: readonly number[],
  constants?: readonly (readonly [readonly number[], readonly number[]])[],
  attrs?: Readonly<Record<string, AttrValue>>,
];

const floats = (values: readonly number[]): AttrValue => ({
  type: 'list',
  values: values.map((value) => ({ type: 'float', value })),
});

const CASES: readonly Case[] = [
  ['TopKV2', [0, 5], [0, 2], [[[], [2]]]],
  ['TopKV2', [3, 0, 5], [3, 0, 2], [[[], [2]]]],
  ['TopKV2', [0, 0, 5], [0, 0, 2], [[[], [2]]]],
  ['TopKV2', [0], [0], [[[], [0]]]],
  ['Sum', [0, 5], [0], [[[1], [-1]]]],
  ['Max', [0, 5], [0, 1], [[[1], [-1]]], { keep_dims: bool(true) }],
  ['Mean', [4, 0, 5], [4, 0], [[[1], [-1]]]],
  ['Prod', [0, 3, 5], [0], [[[2], [-1, -2]]]],
  ['ArgMax', [0, 5], [0], [[[], [-1]]]],
  ['Softmax', [0, 5], [0, 5]],
  ['LogSoftmax', [2, 0, 5], [2, 0, 5]],
  ['Bucketize', [0], [0], [], { boundaries: floats([1, 2, 3]) }],
  ['Bucketize', [0, 4], [0, 4], [], { boundaries: floats([1, 2, 3]) }],
];

function answerTo(op: string, values: ReturnType<typeof tensorOf>, constants: Case[3] = [], attrs: Case[4] = {}) {
  const x = node('x', 'Placeholder');
  const others = constants.map(([shape, numbers], index) => constant(`c${index}`, 'int32', shape, numbers));
  const outputCount = op === 'TopKV2' ? 2 : 1;
  const made = node('y', op, [x, ...others], attrs, { outputCount });
  const fetches = Array.from({ length: outputCount }, (_, output) => ({ ...ref(made), output }));
  return answers([{ node: x, tensor: values }], fetches);
}

describe('values without elements', () => {
  test.each(CASES)('%s of %j is %j', (...[op, shape, wanted, constants, attrs]) => {
    const given = answerTo(op, tensorOf('float', shape, []), constants, attrs);
    expect(typeof given === 'string' ? given : given.map((one) => one.shape)).toEqual(op === 'TopKV2' ? [wanted, wanted] : [wanted]);
  });

  test('an Einsum of two batches without rows has none', () => {
    const [left, right] = [node('left', 'Placeholder'), node('right', 'Placeholder')];
    const product = node('y', 'Einsum', [left, right], { equation: text('BTNH,BSNH->BNTS'), N: int(2) });
    const none = tensorOf('float', [0, 9, 4, 8], []);
    const given = answers(
      [
        { node: left, tensor: none },
        { node: right, tensor: none },
      ],
      [product],
    );
    expect(given).toEqual([{ shape: [0, 4, 9, 9], values: [] }]);
  });

  test('TopKV2 finds the same in the rows that are there', () => {
    const given = answerTo('TopKV2', tensorOf('float', [2, 1, 3], [1, 5, 3, -1, -5, -3]), [[[], [2]]]);
    expect(given).toEqual([
      { shape: [2, 1, 2], values: [5, 3, -1, -3] },
      { shape: [2, 1, 2], values: [1, 2, 0, 2] },
    ]);
  });
});
