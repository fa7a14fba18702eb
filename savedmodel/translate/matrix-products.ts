/** Products of matrices. */
import { boolAttr, dtypeAttr } from './attributes.ts';
import { einsum, matrixProduct } from './einsum.ts';
import { unknownSizes } from './static-shapes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

function swapLastTwo(value: TypedValue, context: TranslationContext): TypedValue {
  const rank = context.requireRank(value);
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  return context.transpose(value, [...axes.slice(0, -2), rank - 1, rank - 2]);
}

const matMul: Translator = (node, _inputs, context) => {
  const side = (index: number, attr: string) => {
    const value = context.refine(context.input(index), { shape: unknownSizes(2) });
    return boolAttr(node, attr, false) ? swapLastTwo(value, context) : value;
  };
  return [matrixProduct(side(0, 'transpose_a'), side(1, 'transpose_b'), context)];
};

const batchMatMul: Translator = (node, _inputs, context) => {
  const side = (index: number, attr: string) => {
    const value = context.input(index);
    return boolAttr(node, attr, false) ? swapLastTwo(value, context) : value;
  };
  const [left, right] = [side(0, 'adj_x'), side(1, 'adj_y')];
  if (!node.attrs.has('Tout')) return [matrixProduct(left, right, context)];
  const out = dtypeAttr(node, 'Tout');
  return [matrixProduct(context.castTo(left, out), context.castTo(right, out), context)];
};

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
