/** Collects ONNX nodes and constants while TensorFlow nodes are translated. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, elementCount, type Tensor } from '#mesh/tensor.ts';
import { ONNX_TYPE } from '#proto/onnx-types.ts';
import type { OnnxNode } from '#proto/onnx-writer.ts';
import type { FlatNode } from '../flat-graph.ts';
import { ConstantPool } from './constant-pool.ts';
import { numbersOf, tensorOf } from './constants.ts';
import { computeDtype } from './dtype-support.ts';
import { broadcastShapes, isFullyKnown, mergeShapes } from './static-shapes.ts';
import type { Dim, OnnxAttributes, TensorType, TranslationContext, TypedValue } from './translator.ts';
import { UntranslatableError } from './untranslatable.ts';
import { ValueOrigins } from './value-origins.ts';

/**
 * The nodes of one ONNX graph in the making, and the constants of its whole model. Translate a node with `at`; a loop's or branch's graph is an
 * `inner` builder, whose nodes use values of this one by name.
 */
export class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly pool: ConstantPool;
  readonly origins: ValueOrigins;
  /** The builder of the model's own graph. */
  readonly root: GraphBuilder;

  constructor(parent?: GraphBuilder) {
    this.pool = parent?.pool ?? new ConstantPool();
    this.origins = parent?.origins ?? new ValueOrigins();
    this.root = parent?.root ?? this;
  }

  /** A builder for a graph inside this one. */
  inner(): GraphBuilder {
    return new GraphBuilder(this);
  }

  /** A context that translates one node with the inputs given. */
  at(node: FlatNode, inputs: readonly TypedValue[]): TranslationContext {
    return new NodeContext(this, node, inputs);
  }
}

class NodeContext implements TranslationContext {
  readonly node: FlatNode;
  readonly #builder: GraphBuilder;
  readonly #inputs: readonly TypedValue[];

  constructor(builder: GraphBuilder, node: FlatNode, inputs: readonly TypedValue[]) {
    this.#builder = builder;
    this.node = node;
    this.#inputs = inputs;
  }

  emit(op: string, inputs: readonly (TypedValue | null)[], result: TensorType, attributes?: OnnxAttributes): TypedValue {
    const [value] = this.emitMany(op, inputs, [result], attributes);
    if (value === undefined) throw new TypeError('a node of one output gave none (this is a bug)');
    return value;
  }

  emitMany(op: string, inputs: readonly (TypedValue | null)[], results: readonly TensorType[], attributes?: OnnxAttributes): TypedValue[] {
    const name = this.#builder.pool.freshName(this.node.name);
    const outputs = results.map((_, index) => this.#builder.pool.freshName(`${name}:${index}`));
    const names = inputs.map((input) => input?.name ?? '');
    this.#builder.nodes.push({ op, name, inputs: names, outputs, ...(attributes === undefined ? {} : { attributes }) });
    return results.map((result, index) => ({ name: outputs[index] ?? '', dtype: result.dtype, shape: result.shape }));
  }

  compute(
    op: string,
    data: readonly TypedValue[],
    result: TensorType,
    attributes?: OnnxAttributes,
    others: readonly (TypedValue | null)[] = [],
  ): TypedValue {
    const dtype = data[0]?.dtype ?? result.dtype;
    const wider = this.computeDtype(op, dtype);
    const cast = data.map((one) => this.castTo(op === 'MatMul' ? this.#unfused(one) : one, wider));
    const made = this.emit(op, [...cast, ...others], { ...result, dtype: result.dtype === dtype ? wider : result.dtype }, attributes);
    return this.castTo(made, result.dtype);
  }

  /** A factor of a product that the runtime does not join with the transpose before it, where that ends the process when an axis is empty. */
  #unfused(value: TypedValue): TypedValue {
    if (!this.#builder.origins.isRiskyFactor(value)) return value;
    // Without `allowzero` 0 stands for the size that is there.
    const same = this.int64s((value.shape ?? []).map(() => 0));
    return this.emit('Reshape', [value, same], { dtype: value.dtype, shape: value.shape });
  }

  computeDtype(op: string, dtype: DType): DType {
    const found = computeDtype(op, dtype);
    if (found === null || dtype === 'string' || dtype.startsWith('complex')) throw this.unsupported(`${dtype} data is not supported`);
    return found;
  }

  constant(tensor: Tensor): TypedValue {
    return this.#builder.pool.constant(tensor);
  }

  scalar(value: number, dtype: DType): TypedValue {
    return this.constant(tensorOf(dtype, [], [value]));
  }

  int64s(values: readonly number[]): TypedValue {
    return this.constant(tensorOf('int64', [values.length], values));
  }

  castTo(value: TypedValue, dtype: DType): TypedValue {
    if (value.dtype === dtype) return value;
    if ([value.dtype, dtype].some((one) => one === 'string' || one.startsWith('complex'))) {
      throw this.unsupported(`a cast from ${value.dtype} to ${dtype} is not supported`);
    }
    const folded = this.#castConstant(value, dtype);
    if (folded !== null) return folded;
    const made = this.emit('Cast', [value], { dtype, shape: value.shape }, { to: ONNX_TYPE[dtype] });
    return value.partial === undefined || !isInteger(dtype) ? made : this.refine(made, { partial: value.partial });
  }

  #castConstant(value: TypedValue, dtype: DType): TypedValue | null {
    if (value.constant === undefined || !isInteger(value.dtype) || value.constant.bytes.byteLength > 4096) return null;
    const numbers = numbersOf(value.constant);
    const exact = numbers?.every((one) => Number.isSafeInteger(one)) ?? false;
    if (numbers === null || !exact) return null;
    return this.constant(tensorOf(dtype, value.constant.shape, dtype === 'bool' ? numbers.map((one) => (one === 0 ? 0 : 1)) : numbers));
  }

  toInt64Vector(value: TypedValue): TypedValue {
    const known = this.staticInts(value);
    if (known !== null) return this.int64s(known);
    const wide = this.castTo(value, 'int64');
    if (wide.shape?.length === 1) return wide;
    const size = wide.shape?.length === 0 ? 1 : -1;
    return this.refine(this.emit('Reshape', [wide, this.int64s([-1])], { dtype: 'int64', shape: [size] }), {
      partial: value.partial ?? [],
    });
  }

  shapeOf(value: TypedValue): TypedValue {
    if (value.shape !== null && isFullyKnown(value.shape)) return this.int64s(value.shape);
    const made = this.emit('Shape', [value], { dtype: 'int64', shape: value.shape === null ? [-1] : [value.shape.length] });
    if (value.shape === null) return made;
    return this.refine(made, { partial: value.shape.map((size) => (size === -1 ? null : size)) });
  }

  dimOf(value: TypedValue, axis: number): Dim {
    const known = value.shape?.[axis] ?? -1;
    if (known >= 0) return known;
    return this.emit('Shape', [value], { dtype: 'int64', shape: [1] }, { start: axis, end: axis + 1 });
  }

  dims(sizes: readonly Dim[]): TypedValue {
    const numbers = sizes.filter((size) => typeof size === 'number');
    if (numbers.length === sizes.length) return this.int64s(numbers);
    const parts = sizes.map((size) => (typeof size === 'number' ? this.int64s([size]) : size));
    const [only] = parts;
    const partial = sizes.map((size) => (typeof size === 'number' ? size : null));
    if (parts.length === 1 && only !== undefined) return this.refine(only, { partial });
    return this.refine(this.emit('Concat', parts, { dtype: 'int64', shape: [sizes.length] }, { axis: 0 }), { partial });
  }

  reshape(value: TypedValue, sizes: readonly Dim[]): TypedValue {
    const shape = sizes.map((size) => (typeof size === 'number' ? size : -1));
    const unknown = sizes.filter((size) => typeof size !== 'number' || size === -1).length;
    const target = unknown === 1 && !shape.includes(0) ? this.int64s(shape) : this.dims(sizes);
    const known = unknown === 1 ? this.#inferRest(value, shape) : shape;
    return this.emit('Reshape', [value, target], { dtype: value.dtype, shape: known }, { allowzero: 1 });
  }

  #inferRest(value: TypedValue, shape: readonly number[]): readonly number[] {
    if (!isFullyKnown(value.shape) || shape.includes(0)) return shape;
    const known = shape.reduce((product, size) => (size === -1 ? product : product * size), 1);
    return shape.map((size) => (size === -1 ? elementCount(value.shape ?? []) / known : size));
  }

  unsqueeze(value: TypedValue, axes: readonly number[]): TypedValue {
    if (axes.length === 0) return value;
    const rank = value.shape === null ? null : value.shape.length + axes.length;
    const places = new Set(axes.map((axis) => (axis < 0 && rank !== null ? axis + rank : axis)));
    const rest = [...(value.shape ?? [])];
    const shape = rank === null ? null : Array.from({ length: rank }, (_, axis) => (places.has(axis) ? 1 : (rest.shift() ?? -1)));
    const made = this.emit('Unsqueeze', [value, this.int64s(axes)], { dtype: value.dtype, shape });
    if (shape !== null) this.#builder.origins.addUnsqueezed(made, value, [...places]);
    return made;
  }

  squeeze(value: TypedValue, axes: readonly number[]): TypedValue {
    if (axes.length === 0) return value;
    const { shape } = value;
    const places = new Set(axes.map((axis) => (axis < 0 ? axis + (shape?.length ?? 0) : axis)));
    const left = shape === null ? null : shape.filter((_, axis) => !places.has(axis));
    const before = shape === null ? undefined : this.#builder.origins.withoutAxes(value, [...places]);
    if (before !== undefined) return this.refine(before, { shape: left });
    return this.emit('Squeeze', [value, this.int64s(axes)], { dtype: value.dtype, shape: left });
  }

  transpose(value: TypedValue, permutation: readonly number[]): TypedValue {
    if (permutation.every((axis, index) => axis === index)) return value;
    const { shape } = value;
    const result = { dtype: value.dtype, shape: permutation.map((axis) => shape?.[axis] ?? -1) };
    const emit = (context: TranslationContext) => context.emit('Transpose', [value], result, { perm: permutation });
    const { pool, root, origins } = this.#builder;
    const isConstant = (value.constant !== undefined && value.dtype !== 'string') || pool.isReference(value);
    if (isConstant) return pool.transposed(value, permutation, () => emit(root.at(this.node, [])));
    const made = emit(this);
    origins.addTransposed(made, permutation);
    const cut = origins.cutFrom(value);
    if (cut !== undefined) {
      origins.addCut(made, { ...cut, whole: this.transpose(cut.whole, permutation), axis: permutation.indexOf(cut.axis) });
    }
    return made;
  }

  binary(op: string, left: TypedValue, right: TypedValue, dtype: DType = left.dtype): TypedValue {
    return this.compute(op, [left, right], { dtype, shape: broadcastShapes(left.shape, right.shape) });
  }

  where(condition: TypedValue, left: TypedValue, right: TypedValue): TypedValue {
    const wider = this.computeDtype('Where', left.dtype);
    const shape = broadcastShapes(condition.shape, broadcastShapes(left.shape, right.shape));
    const inputs = [condition, this.castTo(left, wider), this.castTo(right, wider)];
    return this.castTo(this.emit('Where', inputs, { dtype: wider, shape }), left.dtype);
  }

  refine(
    value: TypedValue,
    known: { readonly shape?: readonly number[] | null; readonly partial?: readonly (number | null)[] },
  ): TypedValue {
    const shape = known.shape === undefined ? value.shape : mergeShapes(value.shape, known.shape);
    const partial = known.partial === undefined || known.partial.length === 0 ? value.partial : known.partial;
    return { ...value, shape, ...(partial === undefined ? {} : { partial }) };
  }

  staticInts(value: TypedValue): readonly number[] | null {
    if (!isInteger(value.dtype)) return null;
    if (value.constant !== undefined && value.constant.shape.length <= 1) return numbersOf(value.constant);
    if (value.partial === undefined) return null;
    const known = value.partial.filter((one) => one !== null);
    return known.length === value.partial.length && known.length > 0 ? known : null;
  }

  requireInts(value: TypedValue, what: string): readonly number[] {
    const known = this.staticInts(value);
    if (known === null) throw this.unsupported(`${what} must be a constant`);
    return known;
  }

  requireRank(value: TypedValue): number {
    if (value.shape === null) throw this.unsupported(`the rank of ${value.name} must be known`);
    return value.shape.length;
  }

  input(index: number): TypedValue {
    const value = this.#inputs[index];
    if (value !== undefined) return value;
    throw new ServeError(
      'INVALID_ARGUMENT',
      `${this.node.op} node ${this.node.name} has ${this.#inputs.length} inputs, input ${index} is needed`,
    );
  }

  unsupported(reason: string): UntranslatableError {
    return new UntranslatableError(this.node, reason);
  }
}

function isInteger(dtype: DType): boolean {
  return /^u?int/.test(dtype) || dtype === 'bool';
}
