/** ONNX's LSTM, GRU and RNN, with weights put together out of the graph's. */
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { graphInside } from './graph-inside.ts';
import type { Bias, Product, Span } from './recurrent-algebra.ts';
import type { Affine, Cell } from './recurrent-cells.ts';
import type { OnnxAttributes, TensorType, TranslationContext, TypedValue } from './translator.ts';
import type { CutValue } from './value-origins.ts';

/** What a layer gives. */
export interface CellOutputs {
  /** The outputs of all steps, [steps, batch, units]. */
  readonly all: TypedValue;
  /** The output of the last step, [batch, units]. */
  readonly output: TypedValue;
  /** LSTM's memory after the last step, [batch, units]. */
  readonly memory: TypedValue | null;
}

/** What goes into a layer. */
export interface CellInputs {
  /** [steps, batch, features]. */
  readonly input: TypedValue;
  /** Before the first step, [batch, units], or null for zeros; `memory` is LSTM's. */
  readonly output: TypedValue | null;
  readonly memory: TypedValue | null;
  /** The matrices and vectors of the cell. */
  weights(ref: ValueRef): TypedValue;
}

/**
 * Adds the operator. The runtime ends the process when one of these gets no batch or no steps. Where no batch may come and all states start as
 * zeros, a batch of one row of zeros is put in its place, and cut off afterwards; else an If around the operator hands on the states instead.
 */
export function emitCell(cell: Cell, given: CellInputs, builder: GraphBuilder, node: FlatNode): CellOutputs {
  const context = builder.at(node, []);
  const { input } = given;
  const [gate] = cell.gates;
  if (gate === undefined) throw new TypeError('a cell has gates (this is a bug)');
  const units = gate.state.columns[1] - gate.state.columns[0];
  const [steps = -1, batch = -1] = input.shape ?? [];
  const states = [given.output, ...(cell.memory === null ? [] : [given.memory])];
  const operands = parameters(cell, units, given, context);
  const run = (data: TypedValue, before: readonly (TypedValue | null)[], at: TranslationContext): readonly TypedValue[] => {
    const rows = data.shape?.[1] ?? -1;
    const initial = before.map((state) => (state === null ? null : at.unsqueeze(state, [0])));
    const inputs = initial.every((state) => state === null) ? [] : [null, ...initial];
    const made = [[steps, 1, rows, units], ...before.map(() => [1, rows, units])].map((shape) => ({ dtype: 'float' as const, shape }));
    const results = at.emitMany(cell.op, [data, ...operands, ...inputs], made, attributesOf(cell, units));
    return results.map((result, index) => at.squeeze(result, [index === 0 ? 1 : 0]));
  };
  const complete = () => states.map((one) => stateOf(one, input, units, context));
  const [all, output, memory] =
    steps > 0 && batch > 0
      ? run(
          input,
          states.map((one) => (one === null ? null : ofBatch(one, input, units, context))),
          context,
        )
      : steps > 0 && states.every((one) => one === null)
        ? withoutEmptyBatch(input, (data) => run(data, states, context), builder, node)
        : unlessEmpty(input, units, complete(), (before, at) => run(input, before, at), builder, node);
  if (all === undefined || output === undefined) throw new TypeError('a recurrent operator gives two outputs (this is a bug)');
  return { all, output, memory: memory ?? null };
}

/** W, R and B of the operator. */
function parameters(cell: Cell, units: number, { weights }: CellInputs, context: TranslationContext): readonly TypedValue[] {
  const matrix = (pick: (one: Affine) => Product) => {
    const rows = cell.gates.map((one) => turned(pick(one), weights, context));
    const shape = [rows.length * units, rows[0]?.shape?.[1] ?? -1];
    return context.unsqueeze(context.emit('Concat', rows, { dtype: 'float', shape }, { axis: 0 }), [0]);
  };
  const biases = [...cell.gates.map((one) => one.biases), ...cell.gates.map((one) => one.stateBiases)];
  const vectors = biases.map((one) => summed(one, units, weights, context));
  const bias = context.emit('Concat', vectors, { dtype: 'float', shape: [vectors.length * units] }, { axis: 0 });
  return [matrix((one) => one.input), matrix((one) => one.state), context.unsqueeze(bias, [0])];
}

/**
 * Runs the operator on the input, or on one row of zeros in its place when it has none; the results have the rows of the input: [steps, batch, units],
 * [batch, units]. An input that was cut off like that itself goes on from what it was cut from.
 */
function withoutEmptyBatch(
  input: TypedValue,
  run: (data: TypedValue) => readonly TypedValue[],
  builder: GraphBuilder,
  node: FlatNode,
): readonly TypedValue[] {
  const context = builder.at(node, []);
  const known = builder.origins.cutFrom(input);
  const { whole, rows } = known?.axis === 1 ? known : withRow(input, context);
  return run(whole).map((result, index) => {
    const axis = index === 0 ? 1 : 0;
    const bounds = [context.int64s([0]), rows, context.int64s([axis])];
    const made = context.emit('Slice', [result, ...bounds], { dtype: 'float', shape: result.shape });
    builder.origins.addCut(made, { whole: result, axis, rows });
    return made;
  });
}

/** The input with a row of zeros when it has none, and how many it has. */
function withRow(input: TypedValue, context: TranslationContext): Pick<CutValue, 'whole' | 'rows'> {
  const rows = context.dims([context.dimOf(input, 1)]);
  // Nothing before, and behind one row when there is none: no size is -1.
  const isEmpty = context.emit('Equal', [rows, context.int64s([-1, 0])], { dtype: 'bool', shape: [2] });
  const pads = [context.castTo(isEmpty, 'int64'), null, context.int64s([1])];
  return { whole: context.emit('Pad', [input, ...pads], { dtype: 'float', shape: input.shape }, { mode: 'constant' }), rows };
}

function unlessEmpty(
  input: TypedValue,
  units: number,
  states: readonly TypedValue[],
  operator: (states: readonly TypedValue[], context: TranslationContext) => readonly TypedValue[],
  builder: GraphBuilder,
  node: FlatNode,
): readonly TypedValue[] {
  const context = builder.at(node, []);
  const [steps = -1, batch = -1] = input.shape ?? [];
  const types: readonly TensorType[] = [{ dtype: 'float', shape: [steps, batch, units] }, ...states];
  const size = context.emit('Size', [input], { dtype: 'int64', shape: [] });
  const isEmpty = context.binary('Equal', size, context.scalar(0, 'int64'), 'bool');
  const branch = (translate: (at: TranslationContext) => readonly TypedValue[]) => {
    const inner = builder.inner();
    const results = translate(inner.at(node, []));
    return {
      graph: graphInside(
        inner,
        node,
        [],
        results.map((value, index) => ({ value, shape: types[index]?.shape ?? null })),
      ),
    };
  };
  const nothing = (at: TranslationContext) => {
    const sizes = at.dims([at.dimOf(input, 0), at.dimOf(input, 1), units]);
    return [at.emit('Expand', [at.scalar(0, 'float'), sizes], { dtype: 'float', shape: types[0]?.shape ?? null }), ...states];
  };
  const branches = { then_branch: branch(nothing), else_branch: branch((at) => operator(states, at)) };
  return context.emitMany('If', [isEmpty], types, branches);
}

function attributesOf(cell: Cell, units: number): OnnxAttributes {
  const shared = { hidden_size: units, activations: { strings: cell.activations } };
  return cell.op === 'GRU' ? { ...shared, linear_before_reset: cell.linearBeforeReset ? 1 : 0 } : shared;
}

/** A state that may be zeros, of the input's batch. */
function stateOf(state: TypedValue | null, input: TypedValue, units: number, context: TranslationContext): TypedValue {
  return ofBatch(state ?? context.scalar(0, 'float'), input, units, context);
}

/** A state of the input's batch: TensorFlow would broadcast one row. */
function ofBatch(state: TypedValue, input: TypedValue, units: number, context: TranslationContext): TypedValue {
  const batch = context.dimOf(input, 1);
  const known = typeof batch === 'number' ? batch : -1;
  if (known >= 0 && state.shape?.[0] === known) return state;
  return context.emit('Expand', [state, context.dims([batch, units])], { dtype: 'float', shape: [known, units] });
}

/** The product's part of its matrix, [units, features]. */
function turned(product: Product, weights: (ref: ValueRef) => TypedValue, context: TranslationContext): TypedValue {
  const matrix = weights(product.weights);
  const upright = product.transposed ? matrix : context.transpose(matrix, [1, 0]);
  return cut(cut(upright, 0, product.columns, context), 1, product.rows, context);
}

function cut(value: TypedValue, axis: number, [from, to]: Span, context: TranslationContext): TypedValue {
  if (from === 0 && to === value.shape?.[axis]) return value;
  const shape = value.shape?.map((size, at) => (at === axis ? to - from : size)) ?? null;
  const bounds = [context.int64s([from]), context.int64s([to]), context.int64s([axis])];
  return context.emit('Slice', [value, ...bounds], { dtype: value.dtype, shape });
}

/** The sum of biases, [units]. */
function summed(biases: readonly Bias[], units: number, weights: (ref: ValueRef) => TypedValue, context: TranslationContext): TypedValue {
  const numbers = biases.reduce((sum, one) => (one.type === 'number' ? sum + one.value : sum), 0);
  const vectors = biases.flatMap((one) => (one.type === 'bias' ? [cut(weights(one.vector), 0, one.columns, context)] : []));
  const [first, ...rest] = vectors;
  const type = { dtype: 'float' as const, shape: [units] };
  if (first === undefined) return context.emit('Expand', [context.scalar(numbers, 'float'), context.int64s([units])], type);
  const total = rest.reduce((sum, one) => context.binary('Add', sum, one), first);
  return numbers === 0 ? total : context.binary('Add', total, context.scalar(numbers, 'float'));
}
