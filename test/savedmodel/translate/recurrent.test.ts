import { describe, expect, test } from '@jest/globals';
import { elementCount, type Tensor } from '#mesh/tensor.ts';
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import { tensorOf } from '../../../savedmodel/translate/constants.ts';
import { translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import { answers, body, bool, constant, dtype, type Feed, type Input, int, node, regionOf } from './flat-nodes.ts';

const UNITS = 3;
const FEATURES = 2;
const FLOAT = dtype(1);
const attrs = { element_dtype: FLOAT };
const zero = constant('zero', 'int32', [], [0]);
const one = constant('one', 'int32', [], [1]);
const axis = constant('axis', 'int32', [], [1]);
const unknown = constant('unknown', 'int32', [], [-1]);
const arg = (name: string) => node(name, '_Arg');

/** Numbers between -1 and 1 that repeat late. */
function numbered(shape: readonly number[], seed: number): readonly number[] {
  return Array.from({ length: elementCount(shape) }, (_, index) => Math.sin(seed * 7 + index * 1.3));
}

const weights = (name: string, shape: readonly number[], seed: number) => constant(name, 'float', shape, numbered(shape, seed));

/** [steps, batch, features]. */
function sequence(steps: number, batch: number): Tensor {
  const shape = [steps, batch, FEATURES];
  return tensorOf('float', shape, numbered(shape, 5));
}

type Cell = (x: FlatNode, states: readonly FlatNode[]) => readonly [FlatNode, ...FlatNode[]];

/** The parts along axis 1 of a matrix. */
function parts(name: string, value: Input, count: number): (index: number) => Input {
  const split = node(name, 'Split', [axis, value], { num_split: int(count) }, { outputCount: count });
  return (index) => ({ node: split, output: index });
}

const apply = (name: string, op: string, ...inputs: readonly Input[]) => node(name, op, inputs);
const product = (name: string, left: Input, right: Input, transposed = false) =>
  node(name, 'MatMul', [left, right], { transpose_a: bool(false), transpose_b: bool(transposed) });

/** Keras' LSTM: gates in, forget, candidate, out. */
const lstmOf =
  (features: number): Cell =>
  (x, [h = zero, c = zero]) => {
    const sum = apply(
      'sum',
      'AddV2',
      product('xw', x, weights('w', [features, 4 * UNITS], 1)),
      product('hr', h, weights('r', [UNITS, 4 * UNITS], 2)),
    );
    const part = parts('gates', apply('biased', 'BiasAdd', sum, weights('b', [4 * UNITS], 3)), 4);
    const kept = apply('kept', 'Mul', apply('f', 'Sigmoid', part(1)), c);
    const memory = apply('memory', 'AddV2', kept, apply('new', 'Mul', apply('i', 'Sigmoid', part(0)), apply('g', 'Tanh', part(2))));
    return [apply('out', 'Mul', apply('o', 'Sigmoid', part(3)), apply('active', 'Tanh', memory)), memory];
  };

const lstm = lstmOf(FEATURES);

/** TensorFlow 1's LSTM: one matrix for input and state joined, gates in, candidate, forget with 1 added, out. */
const joinedLstm: Cell = (x, [h = zero, c = zero]) => {
  const joined = node('joined', 'ConcatV2', [x, h, axis], { N: int(2) });
  const part = parts(
    'gates',
    apply('biased', 'BiasAdd', product('xhw', joined, weights('w', [FEATURES + UNITS, 4 * UNITS], 1)), weights('b', [4 * UNITS], 3)),
    4,
  );
  const forget = apply('f', 'Sigmoid', apply('more', 'AddV2', part(2), constant('bias', 'float', [], [1])));
  const memory = apply(
    'memory',
    'AddV2',
    apply('kept', 'Mul', c, forget),
    apply('new', 'Mul', apply('i', 'Sigmoid', part(0)), apply('g', 'Tanh', part(1))),
  );
  return [apply('out', 'Mul', apply('active', 'Tanh', memory), apply('o', 'Sigmoid', part(3))), memory];
};

/** A GRU whose candidate is made of the state after or before the reset gate's product. */
function gru(resetAfter: boolean): Cell {
  return (x, [h = zero]) => {
    const w = weights('w', [FEATURES, 3 * UNITS], 1);
    const fromX = parts('fromX', apply('xb', 'BiasAdd', product('xw', x, w), weights('b', [3 * UNITS], 3)), 3);
    const fromH = parts(
      'fromH',
      apply('hb', 'BiasAdd', product('hr', h, weights('r', [UNITS, 3 * UNITS], 2)), weights('c', [3 * UNITS], 4)),
      3,
    );
    const z = apply('z', 'Sigmoid', apply('zs', 'AddV2', fromX(0), fromH(0)));
    const r = apply('rs', 'Sigmoid', apply('rsum', 'AddV2', fromH(1), fromX(1)));
    const inner = resetAfter
      ? apply('reset', 'Mul', r, fromH(2))
      : product('reset', apply('rh', 'Mul', r, h), weights('r2', [UNITS, UNITS], 6));
    const candidate = apply('candidate', 'Tanh', apply('cs', 'AddV2', fromX(2), inner));
    const rest = apply('rest', 'Sub', constant('whole', 'float', [], [1]), z);
    return [apply('out', 'AddV2', apply('kept', 'Mul', z, h), apply('new', 'Mul', rest, candidate))];
  };
}

/** A plain recurrent layer, with weights stored the other way round. */
const plain: Cell = (x, [h = zero]) => {
  const sum = apply(
    'sum',
    'AddV2',
    product('xw', x, weights('w', [UNITS, FEATURES], 1), true),
    product('hr', h, weights('r', [UNITS, UNITS], 2)),
  );
  return [apply('out', 'Relu', apply('biased', 'AddV2', sum, weights('b', [UNITS], 3)))];
};

/** Nearly an LSTM. */
const strange: Cell = (x, states) => {
  const [output, memory = output] = lstm(x, states);
  return [apply('squashed', 'Tanh', output), memory];
};

interface Built {
  readonly feeds: readonly Feed[];
  readonly fetches: readonly Input[];
}

/** A While that runs a cell over a sequence: fetches all outputs, the last states and the number of rounds. */
function layer(
  cell: Cell,
  states: number,
  tensor: Tensor,
  { steps = null as number | null, isHidden = false, isZero = false, from = null as FlatNode | null } = {},
): Built {
  const x: Feed = { node: node('x', 'Placeholder'), tensor };
  const rows = from ?? x.node;
  const [, batch = 0] = tensor.shape;
  const starts = Array.from({ length: states }, (_, index): Feed => {
    const shape = [batch, UNITS];
    return { node: node(`s${index}`, 'Placeholder'), tensor: tensorOf('float', shape, numbered(shape, 9 + index)), shape: [-1, UNITS] };
  });
  const limit = steps === null ? sizeOf(rows) : constant('limit', 'int32', [], [steps]);
  const list = node('rows', 'TensorListFromTensor', [rows, unknown], attrs);
  const reserve = node('reserve', 'TensorListReserve', [unknown, isZero ? limit : sizeOf(rows)], attrs);
  const start = (index: number): FlatNode => (isZero ? zeroState(rows, `zeros${index}`) : (starts[index]?.node ?? zero));
  const names = ['counter', 'list', ...starts.map((_, index) => `state${index}`)];
  const [counter = zero, made = zero, ...values] = names.map(arg);
  const initialStates = starts.map((_, index) => start(index));
  const around = [zero, one, axis, unknown, limit, list, reserve, rows, ...initialStates];
  const [tested = zero, ...others] = names.map((name) => arg(`${name}?`));
  const condition = body([tested, ...others], [node('less', 'Less', [tested, limit])], around);
  const next = cell(node('read', 'TensorListGetItem', [list, counter, unknown], attrs), values);
  // Another state, of another kind, hides the layer: then it becomes a Loop.
  const extra = isHidden ? [node('shown', 'Mul', [values.at(-1) ?? zero, constant('two', 'float', [], [2])])] : [];
  const hidden = isHidden
    ? { initial: [node('start', 'Identity', [start(0)])], parameter: [arg('hidden')] }
    : { initial: [], parameter: [] };
  const written = node('write', 'TensorListSetItem', [made, counter, next[0]], attrs);
  const inside = body(
    [counter, made, ...values, ...hidden.parameter],
    [node('next', 'AddV2', [counter, one]), written, ...next, ...extra],
    around,
  );
  const bodies = [{ ...condition, parameters: [...condition.parameters, ...hidden.parameter.map(() => arg('unused'))] }, inside];
  const initials = [zero, reserve, ...initialStates, ...hidden.initial];
  const loop = node('while', 'While', initials, {}, { outputCount: initials.length, bodies });
  const stack = node('stack', 'TensorListStack', [{ node: loop, output: 1 }, unknown], { ...attrs, num_elements: int(-1) });
  return {
    feeds: isZero ? [x] : [x, ...starts],
    fetches: [stack, ...starts.map((_, index) => ({ node: loop, output: index + 2 })), { node: loop, output: 0 }],
  };
}

/** Zeros for each row of the batch, as Keras makes them. */
function zeroState(x: FlatNode, name: string): FlatNode {
  const sizes = node(`${name}/sizes`, 'Pack', [sizeOf(x, 1), constant('units', 'int32', [], [UNITS])], { axis: int(0) });
  return node(name, 'Fill', [sizes, constant('nothing', 'float', [], [0])]);
}

/** A size of a tensor, the first by default, as Keras asks for it. */
function sizeOf(value: FlatNode, at = 0): FlatNode {
  const bounds = (
    [
      ['from', at],
      ['to', at + 1],
      ['by', 1],
    ] as const
  ).map(([name, number]) => constant(name, 'int32', [1], [number]));
  return node('steps', 'StridedSlice', [node('shape', 'Shape', [value]), ...bounds], { shrink_axis_mask: int(1) });
}

const opsOf = ({ feeds, fetches }: Built) =>
  JSON.stringify(
    translateGraph(regionOf(feeds, fetches)).model.nodes.map((made) => [made.op, made.attributes]),
    (_, value) => (value instanceof Uint8Array ? [] : value),
  );
const run = ({ feeds, fetches }: Built) => answers(feeds, fetches);

/** Equal shapes, and elements to 1e-5. */
function expectClose(found: ReturnType<typeof run>, expected: ReturnType<typeof run>): void {
  if (typeof found === 'string' || typeof expected === 'string') throw new Error(`${found} ${expected}`);
  expect(found.map(({ shape }) => shape)).toEqual(expected.map(({ shape }) => shape));
  const [left, right] = [found, expected].map((all) => all.flatMap(({ values }) => values as readonly number[]));
  left?.forEach((value, index) => {
    expect(value).toBeCloseTo(right?.[index] ?? Number.NaN, 5);
  });
}

describe('a loop that is a recurrent layer', () => {
  test.each([
    ['LSTM', 'LSTM', lstm, 2],
    ['LSTM with one matrix and a forget bias', 'LSTM', joinedLstm, 2],
    ['GRU that resets after its product', 'GRU', gru(true), 1],
    ['GRU that resets before its product', 'GRU', gru(false), 1],
    ['plain layer', 'RNN', plain, 1],
  ] as const)('%s becomes the operator, which answers as the loop does', (_name, op, cell, states) => {
    const [found, loop] = [layer(cell, states, sequence(4, 2)), layer(cell, states, sequence(4, 2), { isHidden: true })];
    expect(opsOf(found)).toContain(`"${op}"`);
    expect(opsOf(found)).not.toContain('"Loop"');
    expect(opsOf(loop)).toContain('"Loop"');
    expectClose(run(found), run(loop));
  });

  test('that ends before its input does takes as many steps', () => {
    const [found, loop] = [layer(lstm, 2, sequence(5, 2), { steps: 3 }), layer(lstm, 2, sequence(5, 2), { steps: 3, isHidden: true })];
    expect(opsOf(found)).toContain('"LSTM"');
    expectClose(run(found), run(loop));
  });

  test.each([
    ['batch', 4, 0],
    ['steps', 0, 2],
  ])('answers without any %s, where the operator would end the process', (_name, steps, batch) => {
    for (const [cell, states] of [
      [lstm, 2],
      [gru(true), 1],
      [plain, 1],
    ] as const) {
      const [all, state] = run(layer(cell, states, sequence(steps, batch)));
      const before = steps === 0 ? numbered([batch, UNITS], 9).map(Math.fround) : [];
      expect(all).toEqual({ shape: [steps, batch, UNITS], values: [] });
      expect(state).toEqual({ shape: [batch, UNITS], values: before });
    }
  });

  test.each([
    ['LSTM', lstm, 2],
    ['GRU', gru(true), 1],
    ['RNN', plain, 1],
  ] as const)('%s over a known number of steps from zeros needs no branch, and an empty batch comes back empty', (op, cell, states) => {
    const options = { steps: 4, isZero: true };
    const found = layer(cell, states, sequence(4, 2), options);
    expect(opsOf(found)).toContain(`"${op}"`);
    expect(opsOf(found)).not.toMatch(/"(If|Loop)"/);
    expectClose(run(found), run(layer(cell, states, sequence(4, 2), { ...options, isHidden: true })));
    const [all, state] = run(layer(cell, states, sequence(4, 0), options));
    expect(all).toEqual({ shape: [4, 0, UNITS], values: [] });
    expect(state).toEqual({ shape: [0, UNITS], values: [] });
  });

  test('takes the first of more steps than it was made for, and refuses fewer as TensorFlow does', () => {
    const options = { steps: 4, isZero: true };
    const [more, loop] = [layer(lstm, 2, sequence(5, 2), options), layer(lstm, 2, sequence(5, 2), { ...options, isHidden: true })];
    expectClose(run(more), run(loop));
    expect(run(layer(lstm, 2, sequence(3, 2), options))).toMatch(/out of (data )?bounds/);
    expect(run(layer(lstm, 2, sequence(0, 0), options))).toMatch(/out of (data )?bounds/);
  });

  test('after another takes its rows as they are: what was put in for an empty batch is cut off once', () => {
    for (const batch of [2, 0]) {
      const first = layer(lstm, 2, sequence(4, batch), { steps: 4, isZero: true });
      const turned = node('turned', 'Transpose', [first.fetches[0] ?? zero, constant('order', 'int32', [3], [1, 0, 2])]);
      const back = node('back', 'Transpose', [turned, constant('order', 'int32', [3], [1, 0, 2])]);
      const second = layer(lstmOf(UNITS), 2, sequence(4, batch), { steps: 4, isZero: true, from: back });
      const both = { feeds: first.feeds, fetches: second.fetches.slice(0, 1) };
      const apart = {
        feeds: first.feeds,
        fetches: layer(lstmOf(UNITS), 2, sequence(4, batch), { steps: 4, isZero: true, from: back, isHidden: true }).fetches.slice(0, 1),
      };
      expect(opsOf(both).match(/"Pad"/g)).toHaveLength(1);
      expect(opsOf(both).match(/"LSTM"/g)).toHaveLength(2);
      expectClose(run(both), run(apart));
    }
  });

  test('but for one thing stays a loop', () => {
    expect(opsOf(layer(strange, 2, sequence(4, 2)))).toContain('"Loop"');
  });
});
