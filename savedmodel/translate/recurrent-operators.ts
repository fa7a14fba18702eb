/** ONNX's LSTM, GRU and RNN, with weights put together out of the graph's. */
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { graphInside } from './graph-inside.ts';
import type { Bias, Product, Span } from './recurrent-algebra.ts';
import type { Affine, Cell } from './recurrent-cells.ts';
import type { OnnxAttributes, TensorType, TranslationContext, TypedValue } from './translator.ts';

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
  /** Before the first step, [batch, units]; `memory` is LSTM's. */
  readonly output: TypedValue;
  readonly memory: TypedValue | null;
  /** The matrices and vectors of the cell. */
  weights(ref: ValueRef): TypedValue;
}

/**
 * Adds the operator. The runtime ends the process when one of these gets no batch or no steps: then an If around the operator hands on the
 * states instead.
 */
export function emitCell(cell: Cell, given: CellInputs, builder: GraphBuilder, node: FlatNode): CellOutputs {
  const context = builder.at(node, []);
  const { input } = given;
  const [gate] = cell.gates;
  if (gate === undefined) throw new TypeError('a cell has gates (this is a bug)');
  const units = gate.state.columns[1] - gate.state.columns[0];
  const [steps = -1, batch = -1] = input.shape ?? [];
  const states = [given.output, ...(given.memory === null ? [] : [given.memory])].map((one) => ofBatch(one, input, units, context));
  const operands = [input, ...parameters(cell, units, given, context)];
  const types = [{ dtype: 'float' as const, shape: [steps, batch, units] }, ...states];
  const operator = (at: TranslationContext): readonly TypedValue[] => {
    const before = states.map((state) => at.unsqueeze(state, [0]));
    const made = types.map(({ dtype, shape }, index) => ({ dtype, shape: index === 0 ? [steps, 1, batch, units] : [1, ...(shape ?? [])] }));
    const results = at.emitMany(cell.op, [...operands, null, ...before], made, attributesOf(cell, units));
    return results.map((result, index) => at.squeeze(result, [index === 0 ? 1 : 0]));
  };
  const [all, output, memory] =
    steps > 0 && batch > 0 ? operator(context) : unlessEmpty(input, units, states, types, operator, builder, node);
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

function unlessEmpty(
  input: TypedValue,
  units: number,
  states: readonly TypedValue[],
  types: readonly TensorType[],
  operator: (context: TranslationContext) => readonly TypedValue[],
  builder: GraphBuilder,
  node: FlatNode,
): readonly TypedValue[] {
  const context = builder.at(node, []);
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
  return context.emitMany('If', [isEmpty], types, { then_branch: branch(nothing), else_branch: branch(operator) });
}

function attributesOf(cell: Cell, units: number): OnnxAttributes {
  const shared = { hidden_size: units, activations: { strings: cell.activations } };
  return cell.op === 'GRU' ? { ...shared, linear_before_reset: cell.linearBeforeReset ? 1 : 0 } : shared;
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
