/** Layers that Keras writes as several ops and that are one operator, or fewer, in ONNX. Each is recognised by its last node. */
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import { constantNumbers, originOf } from './body-patterns.ts';
import { matrixProduct } from './einsum.ts';
import type { Scope } from './scope.ts';
import type { TypedValue } from './translator.ts';

/** Translates a node that ends a layer with the layer's own operators; null for any other node. What is between is pruned when nothing else takes it. */
export function translateLayer(node: FlatNode, scope: Scope): readonly TypedValue[] | null {
  const found = LAYERS[node.op]?.(node, scope) ?? null;
  return found === null ? null : [found];
}

const LAYERS: Readonly<Record<string, (node: FlatNode, scope: Scope) => TypedValue | null>> = {
  AddV2: layerNormalisation,
  Mul: exactGelu,
  Reshape: tensordot,
};

/** The inputs of the node behind a ref when it is of that op. */
function inputsOf(ref: ValueRef | undefined, ...ops: readonly string[]): readonly ValueRef[] | null {
  if (ref === undefined) return null;
  const { node, output } = originOf(ref);
  return output === 0 && ops.includes(node.op) ? node.inputs : null;
}

/** Both orders of two inputs. */
function orders(inputs: readonly ValueRef[] | null): readonly (readonly [ValueRef, ValueRef])[] {
  const [left, right] = inputs ?? [];
  if (left === undefined || right === undefined) return [];
  return [
    [left, right],
    [right, left],
  ];
}

function isSame(one: ValueRef | undefined, other: ValueRef | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  const [left, right] = [originOf(one), originOf(other)];
  return left.node === right.node && left.output === right.output;
}

/** A tensor that this scope has, of floats; null for what lies in another segment. */
function floats(ref: ValueRef | undefined, node: FlatNode, scope: Scope): TypedValue | null {
  if (ref === undefined || !scope.has(ref)) return null;
  const value = scope.tensor(ref, node);
  return value.dtype === 'float' ? value : null;
}

interface Normalised {
  readonly x: ValueRef;
  readonly scale: ValueRef;
  readonly offset: ValueRef;
  readonly epsilon: number;
}

/** x · (scale / √(variance + ε)) and what is left of offset - mean · (scale / √(variance + ε)), in the ways Keras 3 and TensorFlow write it. */
function layerNormalisation(node: FlatNode, scope: Scope): TypedValue | null {
  for (const [scaled, rest] of orders(node.inputs)) {
    for (const [x, factor] of orders(inputsOf(scaled, 'Mul'))) {
      const found = normalisedOf(x, factor, rest);
      const value = found === null ? null : emitNormalisation(found, node, scope);
      if (value !== null) return value;
    }
  }
  return null;
}

function normalisedOf(x: ValueRef, factor: ValueRef, rest: ValueRef): Normalised | null {
  for (const [root, scale] of orders(inputsOf(factor, 'Mul'))) {
    const [sum] = inputsOf(root, 'Rsqrt') ?? [];
    for (const [variance, epsilon] of orders(inputsOf(sum, 'AddV2', 'Add'))) {
      const [number, ...more] = constantNumbers(epsilon) ?? [];
      const mean = meanOfVariance(variance, x);
      const offset = mean === null ? null : offsetOf(rest, mean, factor);
      if (number !== undefined && more.length === 0 && offset !== null) return { x, scale, offset, epsilon: number };
    }
  }
  return null;
}

/** The mean in mean((x - mean)²), both along the last axis only; null for another value. */
function meanOfVariance(variance: ValueRef, x: ValueRef): ValueRef | null {
  const [distances] = alongLastAxis(variance);
  for (const [of, mean] of orders(inputsOf(distances, 'SquaredDifference'))) {
    const [averaged] = alongLastAxis(mean);
    if (isSame(of, x) && isSame(averaged, x)) return mean;
  }
  return null;
}

/** The inputs of a mean along axis -1 that keeps the axis. */
function alongLastAxis(ref: ValueRef | undefined): readonly ValueRef[] {
  const inputs = inputsOf(ref, 'Mean');
  const axes = inputs?.[1];
  if (ref === undefined || inputs === null || axes === undefined || constantNumbers(axes)?.join() !== '-1') {
    return [];
  }
  const keeps = originOf(ref).node.attrs.get('keep_dims');
  return keeps?.type === 'bool' && keeps.value ? inputs : [];
}

/** The offset in offset - mean · factor, or in -mean · factor + offset. */
function offsetOf(rest: ValueRef, mean: ValueRef, factor: ValueRef): ValueRef | null {
  const isProduct = (ref: ValueRef, of: (one: ValueRef) => boolean) =>
    orders(inputsOf(ref, 'Mul')).some(([one, other]) => of(one) && isSame(other, factor));
  const [offset, taken] = inputsOf(rest, 'Sub') ?? [];
  if (offset !== undefined && taken !== undefined && isProduct(taken, (one) => isSame(one, mean))) return offset;
  const isNegative = (one: ValueRef) => isSame(inputsOf(one, 'Neg')?.[0], mean);
  return orders(inputsOf(rest, 'AddV2', 'Add')).find(([product]) => isProduct(product, isNegative))?.[1] ?? null;
}

function emitNormalisation({ x, scale, offset, epsilon }: Normalised, node: FlatNode, scope: Scope): TypedValue | null {
  const [data, gain, bias] = [x, scale, offset].map((ref) => floats(ref, node, scope));
  if (!data?.shape || !gain || !bias) return null;
  const [width, size] = [vectorSize(gain), data.shape.at(-1) ?? -1];
  // One number for all columns would be broadcast, which the operator does not do.
  if (width < 2 || vectorSize(bias) !== width || (size >= 0 && size !== width) || (gain.shape?.length ?? 0) > data.shape.length)
    return null;
  const context = scope.builder.at(node, []);
  const vector = (value: TypedValue) => {
    if (value.shape?.length === 1) return value;
    return value.constant === undefined ? context.reshape(value, [width]) : context.constant({ ...value.constant, shape: [width] });
  };
  const attributes = { axis: -1, epsilon: { float: epsilon } };
  return context.emit('LayerNormalization', [data, vector(gain), vector(bias)], { dtype: 'float', shape: data.shape }, attributes);
}

/** The size of a value that has one axis, or others of size 1 before it; -1 for another one. */
function vectorSize({ shape }: TypedValue): number {
  return shape?.slice(0, -1).every((size) => size === 1) ? (shape.at(-1) ?? -1) : -1;
}

/** x / 2 · erfc(-x / √2), as Keras 3 writes it: the operators of x / 2 · (1 + erf(x / √2)), which the runtime has one for. */
function exactGelu(node: FlatNode, scope: Scope): TypedValue | null {
  for (const [halved, tail] of orders(node.inputs)) {
    const [argument] = inputsOf(tail, 'Erfc') ?? [];
    for (const [half, x] of orders(inputsOf(halved, 'Mul'))) {
      const isHalf = isNumber(half, 0.5);
      const isArgument = orders(inputsOf(argument, 'Mul')).some(
        ([negative, root]) => isSame(inputsOf(negative, 'Neg')?.[0], x) && isNumber(root, Math.SQRT1_2),
      );
      const value = isHalf && isArgument ? floats(x, node, scope) : null;
      if (value === null) continue;
      const context = scope.builder.at(node, []);
      const plain: TypedValue = { name: value.name, dtype: 'float', shape: value.shape };
      const erf = context.emit('Erf', [context.binary('Div', plain, context.scalar(Math.SQRT2, 'float'))], plain);
      const product = context.binary('Mul', plain, context.binary('Add', erf, context.scalar(1, 'float')));
      return context.binary('Mul', product, context.scalar(0.5, 'float'));
    }
  }
  return null;
}

function isNumber(ref: ValueRef, number: number): boolean {
  const [found, ...more] = constantNumbers(ref) ?? [];
  return found !== undefined && more.length === 0 && Math.abs(found - number) <= 1e-7;
}

/** A product with a matrix over the last axis: all others are made one before it, and put back after it. The product of ONNX does so itself. */
function tensordot(node: FlatNode, scope: Scope): TypedValue | null {
  const [product, target] = node.inputs;
  const [flat, matrix] = inputsOf(product, 'MatMul') ?? [];
  const [turned, rows] = inputsOf(flat, 'Reshape') ?? [];
  if (product === undefined || flat === undefined || matrix === undefined || turned === undefined) return null;
  if (['transpose_a', 'transpose_b'].some((name) => isTrue(originOf(product).node, name))) return null;
  const x = untransposed(turned);
  const free = freeSizes(rows, x);
  const [kept, last, axis, ...others] = inputsOf(target, 'ConcatV2') ?? [];
  if (free === null || axis === undefined || others.length > 0 || constantNumbers(axis)?.join() !== '0' || !isSame(kept, free.sizes))
    return null;
  const data = floats(x, node, scope);
  const weights = floats(matrix, node, scope);
  const width = last === undefined ? undefined : constantNumbers(last);
  if (data?.shape?.length !== free.count + 1 || weights?.shape?.length !== 2 || width?.length !== 1) return null;
  if (width[0] !== weights.shape[1]) return null;
  return matrixProduct({ name: data.name, dtype: 'float', shape: data.shape }, weights, scope.builder.at(node, []));
}

function isTrue(node: FlatNode, name: string): boolean {
  const attr = node.attrs.get(name);
  return attr?.type === 'bool' && attr.value;
}

/** What is transposed by a permutation that changes nothing. */
function untransposed(ref: ValueRef): ValueRef {
  const [of, order] = inputsOf(ref, 'Transpose') ?? [];
  const axes = order === undefined ? null : constantNumbers(order);
  return of !== undefined && axes?.every((axis, index) => axis === index) ? of : ref;
}

/** From [product of the sizes of the axes 0 … n - 1 of x, size of axis n]: those sizes, and n. */
function freeSizes(target: ValueRef | undefined, x: ValueRef): { readonly sizes: ValueRef; readonly count: number } | null {
  const [first, second, ...more] = inputsOf(target, 'Pack') ?? [];
  const sizes = productOf(first);
  const summed = productOf(second);
  if (sizes === null || summed === null || more.length > 0) return null;
  const [before, last] = [sizesOf(sizes, x), sizesOf(summed, x)];
  if (before === null || last === null || !before.every((axis, index) => axis === index)) return null;
  return last.join() === `${before.length}` ? { sizes, count: before.length } : null;
}

/** What all elements of which are multiplied. */
function productOf(ref: ValueRef | undefined): ValueRef | null {
  const [of, axes] = inputsOf(ref, 'Prod') ?? [];
  return of !== undefined && axes !== undefined && constantNumbers(axes)?.join() === '0' ? of : null;
}

/** Which axes of x these are the sizes of. */
function sizesOf(ref: ValueRef, x: ValueRef): readonly number[] | null {
  const [shape, axes, axis] = inputsOf(ref, 'GatherV2') ?? [];
  const [of] = inputsOf(shape, 'Shape') ?? [];
  if (axes === undefined || axis === undefined || constantNumbers(axis)?.join() !== '0' || !isSame(of, x)) return null;
  return constantNumbers(axes);
}
