import { describe, expect, test } from '@jest/globals';
import { elementCount } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import { numbersOf, tensorOf } from '../../../savedmodel/translate/constants.ts';
import { translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import { answers, constant, type Feed, int, node, regionOf, text } from './flat-nodes.ts';
import { opCounts } from './op-counts.ts';
import { runOnnx } from './run-onnx.ts';

type Shape = readonly number[];

const numbered = (shape: Shape) => Array.from({ length: elementCount(shape) }, (_, index) => Math.sin(index * 1.7));
const feedOf = (name: string, shape: Shape): Feed => ({
  node: node(name, 'Placeholder'),
  tensor: tensorOf('float', shape, numbered(shape)),
});

/** An Einsum of values that are fed. */
function product(equation: string, shapes: readonly Shape[]): { readonly feeds: readonly Feed[]; readonly fetch: ReturnType<typeof node> } {
  const feeds = shapes.map((shape, index) => feedOf(`x${index}`, shape));
  const inputs = feeds.map((feed) => feed.node);
  return { feeds, fetch: node('y', 'Einsum', inputs, { N: int(shapes.length), equation: text(equation) }) };
}

function answerOf(equation: string, shapes: readonly Shape[]) {
  const { feeds, fetch } = product(equation, shapes);
  const found = answers(feeds, [fetch]);
  return typeof found === 'string' ? found : { shape: found[0]?.shape, values: found[0]?.values as readonly number[] };
}

function expectClose(found: ReturnType<typeof answerOf>, expected: { readonly shape: Shape; readonly values: readonly number[] }): void {
  if (typeof found === 'string') throw new Error(found);
  expect(found.shape).toEqual(expected.shape);
  for (const [index, value] of found.values.entries()) expect(value).toBeCloseTo(expected.values[index] ?? Number.NaN, 4);
}

const CASES: readonly (readonly [equation: string, spelled: string, ...shapes: Shape[]])[] = [
  ['ab->ba', 'ab->ba', [2, 3]],
  ['abc->b', 'abc->b', [2, 3, 4]],
  ['aab->b', 'aab->b', [3, 3, 2]],
  ['abab->ba', 'abab->ba', [3, 2, 3, 2]],
  ['aaa->a', 'aaa->a', [3, 3, 3]],
  ['aa->', 'aa->', [3, 3]],
  ['a...->...a', 'axy->xya', [2, 3, 4]],
  ['ab,cb->a', 'ab,cb->a', [2, 3], [4, 3]],
  ['abd,bce->ac', 'abd,bce->ac', [2, 3, 2], [3, 4, 2]],
  ['aab,bc->ac', 'aab,bc->ac', [2, 2, 3], [3, 4]],
  ['...a,ab->...b', 'xya,ab->xyb', [2, 3, 4], [4, 2]],
  ['...abc,...cbd->...ad', 'xabc,xcbd->xad', [2, 2, 3, 4], [2, 4, 3, 2]],
  ['...ab,b...->a...', 'xyab,bxy->axy', [3, 2, 2, 4], [4, 3, 2]],
  ['...a,...a->...', 'xya,ya->xy', [3, 2, 4], [2, 4]],
];

describe('a product of matrices', () => {
  test.each([
    [
      [1, 0, 2],
      [0, 2, 4],
      [2, 4, 3],
      [2, 0, 3],
    ],
    [
      [1, 2, 0],
      [0, 2, 4],
      [2, 0, 3],
      [2, 4, 3],
    ],
  ] as const)('with a factor turned by %j is no danger without elements', (order, left, right, shape) => {
    const feeds = [feedOf('x', left), feedOf('y', right)];
    const [one = feeds[0]?.node, other] = feeds.map((feed) => feed.node);
    if (one === undefined || other === undefined) throw new Error('two feeds were made');
    const turned = node('turned', 'Transpose', [one, constant('order', 'int32', [3], order)]);
    const made = answers(feeds, [node('product', 'BatchMatMulV2', [turned, other])]);
    expect(made).toMatchObject([{ shape }]);
  });
});

describe('an Einsum', () => {
  const trials = CASES.flatMap(([equation, spelled, ...shapes]) => {
    const operands = spelled.split('->')[0]?.split(',') ?? [];
    const without = (label: string) =>
      shapes.map((shape, operand) => shape.map((size, axis) => (operands[operand]?.[axis] === label ? 0 : size)));
    const all = [shapes, ...[...new Set(spelled.replace(/[^a-z]/g, ''))].map(without)];
    return all.map((each) => ({ equation, spelled, shapes: each, ...product(equation, each) }));
  });
  const models = trials.map(({ feeds, fetch }) => translateGraph(regionOf(feeds, [fetch])).model);
  const results = runOnnx(
    trials.map(({ feeds }, index) => {
      const model = models[index];
      if (model === undefined) throw new Error('each trial has a model');
      return { model: buildModel(model), runs: [Object.fromEntries(feeds.map((feed) => [feed.node.name, feed.tensor]))] };
    }),
  );

  test.each(CASES.map(([equation]) => equation))('%s answers as its definition says, without elements too', (equation) => {
    for (const [index, { spelled, shapes }] of trials.entries()) {
      if (trials[index]?.equation !== equation) continue;
      const result = results[index]?.[0];
      if (result?.type !== 'outputs' || result.outputs.y0 === undefined) throw new Error(`${equation} of ${JSON.stringify(shapes)} fails`);
      const { shape } = result.outputs.y0;
      expectClose({ shape, values: numbersOf(result.outputs.y0) ?? [] }, byDefinition(spelled, shapes));
    }
  });

  test('never becomes the operator of the runtime, which ends the process', () => {
    expect(models.flatMap((model) => model.nodes.map((one) => one.op))).not.toContain('Einsum');
  });

  test('broadcasts the axes of an ellipsis', () => {
    const found = answerOf('...abc,...cbd->...ad', [
      [2, 1, 2, 3, 4],
      [3, 4, 3, 2],
    ]);
    expect(found).toMatchObject({ shape: [2, 3, 2, 2] });
    const [first, second] = [0, 1].map((row) => {
      const left = numbered([2, 1, 2, 3, 4]).slice(row * 24, (row + 1) * 24);
      const right = numbered([3, 4, 3, 2]).slice(24, 48);
      return sums(
        'abc,cbd->ad',
        [
          [2, 3, 4],
          [4, 3, 2],
        ],
        [left, right],
      );
    });
    if (typeof found === 'string') throw new Error(found);
    expectClose({ shape: [4], values: found.values.slice(4, 8) }, { shape: [4], values: first ?? [] });
    expectClose({ shape: [4], values: found.values.slice(16, 20) }, { shape: [4], values: second ?? [] });
  });

  test.each([
    ['abc,cde->abde', [2, 3, 4], [4, 5, 6]],
    ['abcd,cde->abe', [2, 3, 4, 5], [4, 5, 6]],
    ['abc,cd->bad', [2, 3, 4], [4, 5]],
  ] as const)('%s with a matrix of the model has no shape to compute', (equation, left, right) => {
    const feed = feedOf('x', left);
    const fetch = node('y', 'Einsum', [feed.node, constant('w', 'float', right, numbered(right))], { N: int(2), equation: text(equation) });
    const counts = opCounts(buildModel(translateGraph(regionOf([feed], [fetch])).model));
    expect(counts).toMatchObject({ MatMul: 1 });
    expect(counts).not.toHaveProperty('Shape');
    const found = answers([feed], [fetch]);
    if (typeof found === 'string') throw new Error(found);
    expectClose({ shape: found[0]?.shape, values: found[0]?.values as readonly number[] }, byDefinition(equation, [left, right]));
    expect(answers([{ ...feed, tensor: tensorOf('float', [0, ...left.slice(1)], []) }], [fetch])).toMatchObject([{ values: [] }]);
  });

  test.each(['ab->aab', '...a->a', 'ab,bc', 'a b->?'])('%s is refused', (equation) => {
    const { feeds, fetch } = product(
      equation,
      equation.includes(',')
        ? [
            [2, 2],
            [2, 2],
          ]
        : [[2, 2]],
    );
    expect(() => translateGraph(regionOf(feeds, [fetch]))).toThrow(expect.objectContaining({ code: 'UNIMPLEMENTED' }));
  });
});

function byDefinition(equation: string, shapes: readonly Shape[]): { readonly shape: Shape; readonly values: readonly number[] } {
  const [operands = '', result = ''] = equation.split('->');
  const sizes = sizesOf(operands.split(','), shapes);
  return { shape: [...result].map((label) => sizes.get(label) ?? 1), values: sums(equation, shapes, shapes.map(numbered)) };
}

function sizesOf(operands: readonly string[], shapes: readonly Shape[]): ReadonlyMap<string, number> {
  return new Map(operands.flatMap((labels, operand) => [...labels].map((label, axis) => [label, shapes[operand]?.[axis] ?? 1] as const)));
}

/** For each place of the result the sum over all labels of the operands' products. */
function sums(equation: string, shapes: readonly Shape[], data: readonly (readonly number[])[]): readonly number[] {
  const [operands = '', result = ''] = equation.split('->');
  const names = operands.split(',');
  const sizes = sizesOf(names, shapes);
  const labels = [...result, ...[...sizes.keys()].filter((label) => !result.includes(label))];
  const sizeOf = (label: string) => sizes.get(label) ?? 1;
  const found = new Array<number>(elementCount([...result].map(sizeOf))).fill(0);
  const all = elementCount(labels.map(sizeOf));
  for (let at = 0; at < all; at++) {
    let rest = at;
    const index = new Map<string, number>();
    for (const label of labels.toReversed()) {
      index.set(label, rest % sizeOf(label));
      rest = Math.floor(rest / sizeOf(label));
    }
    const place = (of: string) => [...of].reduce((sum, label) => sum * sizeOf(label) + (index.get(label) ?? 0), 0);
    found[place(result)] = (found[place(result)] ?? 0) + names.reduce((value, of, operand) => value * (data[operand]?.[place(of)] ?? 0), 1);
  }
  return found;
}
