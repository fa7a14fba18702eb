/** Einsum as products of matrices. */
import { textAttr } from './attributes.ts';
import { broadcastShapes, type StaticShape } from './static-shapes.ts';
import type { Dim, TranslationContext, Translator, TypedValue } from './translator.ts';

/** Translates Einsum: of two operands to MatMul where that can be, because the runtime's Einsum ends the process when an axis is empty. */
export const einsum: Translator = (node, inputs, context) => {
  const equation = textAttr(node, 'equation').replaceAll(' ', '');
  // The runtime wants equal batch axes behind an ellipsis; the product of matrices broadcasts them.
  const matrices = /^\.\.\.([a-zA-Z])([a-zA-Z]),\.\.\.\2([a-zA-Z])->\.\.\.\1\3$/.exec(equation);
  if (matrices !== null && new Set(matrices.slice(1)).size === 3) return [matrixProduct(context.input(0), context.input(1), context)];
  const groups = groupLabels(equation, inputs);
  if (groups !== null) return [productOfGroups(groups, context.input(0), context.input(1), context)];
  return [context.compute('Einsum', inputs, { dtype: context.input(0).dtype, shape: einsumShape(equation, inputs) }, { equation })];
};

/** The product of the matrices in the last two axes, the others broadcast. */
export function matrixProduct(left: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  return context.compute('MatMul', [left, right], { dtype: left.dtype, shape: productShape(left.shape, right.shape) });
}

function productShape(left: StaticShape, right: StaticShape): StaticShape {
  if (left === null || right === null || left.length < 2 || right.length < 2) return null;
  const batch = broadcastShapes(left.slice(0, -2), right.slice(0, -2)) ?? [];
  return [...batch, left.at(-2) ?? -1, right.at(-1) ?? -1];
}

/** The labels of two operands by what becomes of their axes. */
interface Groups {
  readonly operands: readonly [string, string];
  readonly result: string;
  /** In both operands and in the result. */
  readonly batch: readonly string[];
  /** In both operands, and summed over. */
  readonly summed: readonly string[];
  /** In one operand and in the result. */
  readonly left: readonly string[];
  readonly right: readonly string[];
}

function groupLabels(equation: string, inputs: readonly TypedValue[]): Groups | null {
  const [, left, right, result] = /^([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]*)$/.exec(equation) ?? [];
  if (left === undefined || right === undefined || result === undefined) return null;
  const isOnce = (labels: string) => new Set(labels).size === labels.length;
  if (![left, right, result].every(isOnce)) return null;
  if (inputs[0]?.shape?.length !== left.length || inputs[1]?.shape?.length !== right.length) return null;
  const group = (labels: string, inOther: boolean, other: string, inResult: boolean) =>
    [...labels].filter((label) => other.includes(label) === inOther && result.includes(label) === inResult);
  if (group(left, false, right, false).length > 0 || group(right, false, left, false).length > 0) return null;
  return {
    operands: [left, right],
    result,
    batch: group(left, true, right, true),
    summed: group(left, true, right, false),
    left: group(left, false, right, true),
    right: group(right, false, left, true),
  };
}

function productOfGroups(groups: Groups, left: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  const sizes = (labels: readonly string[], value: TypedValue, names: string) =>
    labels.map((label) => context.dimOf(value, names.indexOf(label)));
  const [leftNames, rightNames] = groups.operands;
  const batch = () => sizes(groups.batch, left, leftNames);
  const matrix = (value: TypedValue, names: string, rows: readonly string[], columns: readonly string[]) => {
    const order = [...groups.batch, ...rows, ...columns].map((label) => names.indexOf(label));
    const turned = context.transpose(value, order);
    if (rows.length === 1 && columns.length === 1) return turned;
    const flat = [rows, columns].map((labels) => productOf(sizes(labels, value, names), context));
    return context.reshape(turned, [...sizes(groups.batch, value, names), ...flat]);
  };
  const product = matrixProduct(
    matrix(left, leftNames, groups.left, groups.summed),
    matrix(right, rightNames, groups.summed, groups.right),
    context,
  );
  const labels = [...groups.batch, ...groups.left, ...groups.right];
  const isFlat = groups.left.length !== 1 || groups.right.length !== 1;
  const inner = () => [...sizes(groups.left, left, leftNames), ...sizes(groups.right, right, rightNames)];
  const spread = isFlat ? context.reshape(product, [...batch(), ...inner()]) : product;
  const order = [...groups.result].map((label) => labels.indexOf(label));
  return context.transpose(spread, order);
}

function productOf(sizes: readonly Dim[], context: TranslationContext): Dim {
  return sizes.reduce((product: Dim, size) => {
    if (typeof product === 'number' && typeof size === 'number') return product * size;
    if (product === 1) return size;
    return context.binary('Mul', context.dims([product]), context.dims([size]));
  }, 1);
}

/** The result's shape when no operand has an ellipsis and every rank is known. */
function einsumShape(equation: string, inputs: readonly TypedValue[]): StaticShape {
  const [operands = '', result] = equation.split('->');
  if (result === undefined || equation.includes('.')) return null;
  const sizes = new Map<string, number>();
  operands.split(',').forEach((labels, operand) => {
    [...labels].forEach((label, axis) => {
      const size = inputs[operand]?.shape?.[axis] ?? -1;
      if ((sizes.get(label) ?? -1) < 0) sizes.set(label, size);
    });
  });
  return [...result].map((label) => sizes.get(label) ?? -1);
}
