/** Products of matrices. */
import { boolAttr, dtypeAttr, textAttr } from './attributes.ts';
import { broadcastShapes, type StaticShape, unknownSizes } from './static-shapes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

function swapLastTwo(value: TypedValue, context: TranslationContext): TypedValue {
  const rank = context.requireRank(value);
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  return context.transpose(value, [...axes.slice(0, -2), rank - 1, rank - 2]);
}

function product(left: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  return context.compute('MatMul', [left, right], { dtype: left.dtype, shape: productShape(left.shape, right.shape) });
}

function productShape(left: StaticShape, right: StaticShape): StaticShape {
  if (left === null || right === null || left.length < 2 || right.length < 2) return null;
  const batch = broadcastShapes(left.slice(0, -2), right.slice(0, -2)) ?? [];
  return [...batch, left.at(-2) ?? -1, right.at(-1) ?? -1];
}

const matMul: Translator = (node, _inputs, context) => {
  const side = (index: number, attr: string) => {
    const value = context.refine(context.input(index), { shape: unknownSizes(2) });
    return boolAttr(node, attr, false) ? swapLastTwo(value, context) : value;
  };
  return [product(side(0, 'transpose_a'), side(1, 'transpose_b'), context)];
};

const batchMatMul: Translator = (node, _inputs, context) => {
  const side = (index: number, attr: string) => {
    const value = context.input(index);
    return boolAttr(node, attr, false) ? swapLastTwo(value, context) : value;
  };
  const [left, right] = [side(0, 'adj_x'), side(1, 'adj_y')];
  if (!node.attrs.has('Tout')) return [product(left, right, context)];
  const out = dtypeAttr(node, 'Tout');
  return [product(context.castTo(left, out), context.castTo(right, out), context)];
};

const einsum: Translator = (node, inputs, context) => {
  const equation = textAttr(node, 'equation').replaceAll(' ', '');
  // The runtime wants equal batch axes behind an ellipsis; the product of matrices broadcasts them.
  const matrices = /^\.\.\.([a-zA-Z])([a-zA-Z]),\.\.\.\2([a-zA-Z])->\.\.\.\1\3$/.exec(equation);
  if (matrices !== null && new Set(matrices.slice(1)).size === 3) return [product(context.input(0), context.input(1), context)];
  const shape = einsumShape(equation, inputs);
  return [context.compute('Einsum', inputs, { dtype: context.input(0).dtype, shape }, { equation })];
};

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

const fusedMatMul: Translator = (node, inputs, context) => {
  const [result] = matMul(node, inputs, context);
  if (result === undefined) throw new TypeError('a product gives one value (this is a bug)');
  const fused = node.attrs.get('fused_ops');
  const names = fused?.type === 'list' ? fused.values.map((one) => (one.type === 'string' ? new TextDecoder().decode(one.value) : '')) : [];
  const finished = names.reduce((value, name) => {
    if (name === 'BiasAdd') return context.binary('Add', value, context.input(2));
    if (name === 'Relu' || name === 'Elu' || name === 'Tanh' || name === 'Sigmoid') return context.compute(name, [value], value);
    throw context.unsupported(`the fused op ${name} is not supported`);
  }, result);
  return [finished];
};

/** Translators of this family by op. */
export const MATRIX_PRODUCTS: Readonly<Record<string, Translator>> = {
  MatMul: matMul,
  BatchMatMul: batchMatMul,
  BatchMatMulV2: batchMatMul,
  BatchMatMulV3: batchMatMul,
  Einsum: einsum,
  _FusedMatMul: fusedMatMul,
};
