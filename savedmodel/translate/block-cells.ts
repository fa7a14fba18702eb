/** Recurrent cells and layers that TensorFlow has as one op. */
import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import type { AttrValue } from '../graph.ts';
import { boolAttr, floatAttr } from './attributes.ts';
import { tensorOf } from './constants.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

/** x · W + b for x of the input and a state, side by side. */
function affine(parts: readonly TypedValue[], weights: TypedValue, bias: TypedValue, context: TranslationContext): TypedValue {
  const [first] = parts;
  const shape = [first?.shape?.[0] ?? -1, weights.shape?.[0] ?? -1];
  const joined = context.compute('Concat', parts, { dtype: weights.dtype, shape }, { axis: 1 });
  const product = { dtype: weights.dtype, shape: [first?.shape?.[0] ?? -1, weights.shape?.[1] ?? -1] };
  return context.binary('Add', context.compute('MatMul', [joined, weights], product), bias);
}

function split(value: TypedValue, count: number, context: TranslationContext): readonly TypedValue[] {
  const [rows = -1, columns = -1] = value.shape ?? [];
  const part = { dtype: value.dtype, shape: [rows, columns < 0 ? -1 : columns / count] };
  return context.emitMany(
    'Split',
    [value],
    Array.from({ length: count }, () => part),
    { axis: 1, num_outputs: count },
  );
}

const apply = (op: string, value: TypedValue, context: TranslationContext) => context.compute(op, [value], value);

const IS_V2 = '_v2';

/** Gates lie in the order in, candidate, forget, out; in those of BlockLSTMV2 forget comes before the candidate. */
const lstmBlockCell: Translator = (node, _inputs, context) => {
  const [x, before, h, weights, wci, wcf, wco, bias] = Array.from({ length: 8 }, (_, index) => context.input(index));
  if (!x || !before || !h || !weights || !wci || !wcf || !wco || !bias) throw new TypeError('eight inputs were read (this is a bug)');
  const isV2 = boolAttr(node, IS_V2, false);
  const [first, second, third, last] = split(affine([x, h], weights, bias, context), 4, context);
  if (!first || !second || !third || !last) throw new TypeError('a split in four gives four (this is a bug)');
  const [candidate, forget] = isV2 ? [third, second] : [second, third];
  const peeps = boolAttr(node, 'use_peephole', false);
  const peeped = (gate: TypedValue, by: TypedValue, memory: TypedValue) =>
    peeps ? context.binary('Add', gate, context.binary('Mul', memory, by)) : gate;
  const kept = context.binary('Add', forget, context.scalar(isV2 ? 0 : floatAttr(node, 'forget_bias', 1), forget.dtype));
  const i = apply('Sigmoid', peeped(first, wci, before), context);
  const f = apply('Sigmoid', peeped(kept, wcf, before), context);
  const ci = apply('Tanh', candidate, context);
  const sum = context.binary('Add', context.binary('Mul', ci, i), context.binary('Mul', before, f));
  const cs = clipped(sum, floatAttr(node, 'cell_clip', isV2 ? 0 : 3), context);
  const o = apply('Sigmoid', peeped(last, wco, cs), context);
  const co = apply('Tanh', cs, context);
  return [i, cs, f, o, ci, co, context.binary('Mul', co, o)];
};

function clipped(value: TypedValue, limit: number, context: TranslationContext): TypedValue {
  if (limit <= 0) return value;
  const low = context.binary('Max', value, context.scalar(-limit, value.dtype));
  return context.binary('Min', low, context.scalar(limit, value.dtype));
}

const gruBlockCell: Translator = (_node, _inputs, context) => {
  const [x, h, gateWeights, weights, gateBias, bias] = Array.from({ length: 6 }, (_, index) => context.input(index));
  if (!x || !h || !gateWeights || !weights || !gateBias || !bias) throw new TypeError('six inputs were read (this is a bug)');
  const gates = apply('Sigmoid', affine([x, h], gateWeights, gateBias, context), context);
  const [r, u] = split(gates, 2, context);
  if (!r || !u) throw new TypeError('a split in two gives two (this is a bug)');
  const c = apply('Tanh', affine([x, context.binary('Mul', r, h)], weights, bias, context), context);
  const rest = context.binary('Sub', context.scalar(1, u.dtype), u);
  return [r, u, c, context.binary('Add', context.binary('Mul', u, h), context.binary('Mul', rest, c))];
};

/** Translators of this family by op. */
export const BLOCK_CELLS: Readonly<Record<string, Translator>> = { LSTMBlockCell: lstmBlockCell, GRUBlockCell: gruBlockCell };

/** Which outputs of LSTMBlockCell are the memory and the output. */
const [MEMORY, OUTPUT, OUTPUTS] = [1, 6, 7];

/**
 * BlockLSTM and its second version as a While over LSTMBlockCell, whose outputs of all steps are lists. Steps from `seq_len_max` on are zeros.
 * Gives the nodes to translate in order, and the seven outputs.
 */
export function blockLstmLoop(node: FlatNode): { readonly nodes: readonly FlatNode[]; readonly outputs: readonly ValueRef[] } | null {
  const [limit, x, memory, output, ...weights] = node.inputs;
  if (limit === undefined || x === undefined || memory === undefined || output === undefined) return null;
  const type = node.attrs.get('T') ?? { type: 'dtype', value: 1 };
  const nodes: FlatNode[] = [];
  const make = (
    name: string,
    op: string,
    inputs: readonly ValueRef[],
    attrs: Readonly<Record<string, AttrValue>> = {},
    outputCount = 1,
  ) => {
    return { name: `${node.name}/${name}`, op, inputs, controls: [], attrs: new Map(Object.entries(attrs)), outputCount };
  };
  const add = (one: FlatNode): ValueRef => {
    nodes.push(one);
    return { node: one, output: 0 };
  };
  const scalar = (name: string, dtype: 'int32' | 'int64', shape: readonly number[], value: number) =>
    add(make(name, 'Const', [], { value: { type: 'tensor', value: tensorOf(dtype, shape, [value]) } }));
  const [zero, one, unknown] = [scalar('zero', 'int32', [], 0), scalar('one', 'int32', [], 1), scalar('unknown', 'int32', [], -1)];
  const element: Readonly<Record<string, AttrValue>> = { element_dtype: type };
  const rows = add(make('rows', 'TensorListFromTensor', [x, unknown], element));
  const steps = add(make('steps', 'TensorListLength', [rows]));
  const wide = add(make('limit', 'Cast', [limit], { DstT: { type: 'dtype', value: 3 } }));
  const last = add(make('last', 'Minimum', [wide, steps]));
  const lists = Array.from({ length: OUTPUTS }, (_, index) => add(make(`list${index}`, 'TensorListReserve', [unknown, steps], element)));
  const parameter = (name: string): ValueRef => ({ node: make(name, '_Arg', []), output: 0 });
  const [counter, h, cs] = [parameter('counter'), parameter('h'), parameter('cs')];
  const made = lists.map((_, index) => parameter(`made${index}`));
  const step = make('step', 'TensorListGetItem', [rows, counter, unknown], element);
  const isV2: Readonly<Record<string, AttrValue>> = node.op === 'BlockLSTMV2' ? { [IS_V2]: { type: 'bool', value: true } } : {};
  const attrs = new Map([...node.attrs, ...Object.entries(isV2)]);
  const inputs = [{ node: step, output: 0 }, cs, h, ...weights];
  const cell: FlatNode = { ...make('cell', 'LSTMBlockCell', inputs, {}, OUTPUTS), attrs };
  const written = made.map((list, index) =>
    make(`write${index}`, 'TensorListSetItem', [list, counter, { node: cell, output: index }], element),
  );
  const next = make('next', 'AddV2', [counter, one]);
  const body: Body = {
    parameters: [counter, h, cs, ...made].map((ref) => ref.node),
    nodes: [step, cell, ...written, next],
    results: [
      { node: next, output: 0 },
      { node: cell, output: OUTPUT },
      { node: cell, output: MEMORY },
      ...written.map((list) => ({ node: list, output: 0 })),
    ],
  };
  const tested = [parameter('tested'), parameter('h?'), parameter('cs?'), ...lists.map((_, index) => parameter(`list${index}?`))];
  const less = make('less', 'Less', [tested[0] ?? counter, last]);
  const condition: Body = { parameters: tested.map((ref) => ref.node), nodes: [less], results: [{ node: less, output: 0 }] };
  const loop = { ...make('loop', 'While', [zero, output, memory, ...lists], {}, OUTPUTS + 3), bodies: [condition, body] };
  nodes.push(loop);
  const outputs = lists.map((_, index) =>
    add(make(`stack${index}`, 'TensorListStack', [{ node: loop, output: index + 3 }, unknown], element)),
  );
  return { nodes, outputs };
}
