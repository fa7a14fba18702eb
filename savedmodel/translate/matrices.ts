/** Diagonals, bands and determinants of matrices in the last two axes. */
import { computeDtype } from './dtype-support.ts';
import { countUp, scalarCount } from './sequences.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

/** True on the diagonal of a matrix of `rows` by `columns`, int64 scalars. */
function diagonalMask(rows: TypedValue, columns: TypedValue, context: TranslationContext): TypedValue {
  return context.binary('Equal', context.unsqueeze(countUp(rows, context), [1]), countUp(columns, context), 'bool');
}

function sizeFromEnd(value: TypedValue, fromEnd: 1 | 2, context: TranslationContext): TypedValue {
  const known = value.shape?.at(-fromEnd) ?? -1;
  if (known >= 0) return context.scalar(known, 'int64');
  const end = fromEnd === 1 ? {} : { end: -1 };
  return scalarCount(context.emit('Shape', [value], { dtype: 'int64', shape: [1] }, { start: -fromEnd, ...end }), context);
}

/** Refuses what V2 and V3 can do beyond the main diagonal of a matrix whose size follows from it. */
function requireMainDiagonal(optional: readonly number[], context: TranslationContext): void {
  const [k, ...sizes] = optional;
  if (k !== undefined && context.node.inputs.length > k && context.requireInts(context.input(k), 'the diagonal').some((one) => one !== 0)) {
    throw context.unsupported('only the main diagonal is supported');
  }
  for (const size of sizes) {
    if (context.node.inputs.length <= size) continue;
    if (context.requireInts(context.input(size), 'the size').some((one) => one !== -1))
      throw context.unsupported('only square matrices are supported');
  }
}

const matrixDiag: Translator = (_node, _inputs, context) => {
  requireMainDiagonal([1, 2, 3], context);
  const diagonal = context.input(0);
  const size = sizeFromEnd(diagonal, 1, context);
  const rest = context.node.inputs.length > 4 ? context.input(4) : context.scalar(0, diagonal.dtype);
  return [context.where(diagonalMask(size, size, context), context.unsqueeze(diagonal, [-1]), rest)];
};

const matrixDiagPart: Translator = (_node, _inputs, context) => {
  requireMainDiagonal([1], context);
  const value = context.input(0);
  const [rows, columns] = [sizeFromEnd(value, 2, context), sizeFromEnd(value, 1, context)];
  const kept = context.where(diagonalMask(rows, columns, context), value, context.scalar(0, value.dtype));
  const shape = value.shape?.slice(0, -1) ?? null;
  const sums = context.compute('ReduceSum', [kept], { dtype: value.dtype, shape }, { keepdims: 0 }, [context.int64s([-1])]);
  const [height, width] = [value.shape?.at(-2) ?? -1, value.shape?.at(-1) ?? -1];
  const length = height < 0 || width < 0 ? -1 : Math.min(height, width);
  const count = context.toInt64Vector(context.binary('Min', rows, columns));
  const cut = shape?.map((size, axis) => (axis === shape.length - 1 ? length : size)) ?? null;
  return [
    context.compute('Slice', [sums], { dtype: value.dtype, shape: cut }, undefined, [context.int64s([0]), count, context.int64s([-1])]),
  ];
};

const matrixSetDiag: Translator = (_node, _inputs, context) => {
  requireMainDiagonal([2], context);
  const [value, diagonal] = [context.input(0), context.input(1)];
  const columns = sizeFromEnd(value, 1, context);
  const mask = diagonalMask(sizeFromEnd(value, 2, context), columns, context);
  // Every column is offered its own diagonal element (a column beyond the diagonal, any), and the mask picks one place in each.
  const last = context.binary('Sub', sizeFromEnd(diagonal, 1, context), context.scalar(1, 'int64'));
  const places = context.binary('Min', countUp(columns, context), last);
  const shape = diagonal.shape?.map((size, axis, all) => (axis === all.length - 1 ? -1 : size)) ?? null;
  const lined = context.compute('Gather', [diagonal], { dtype: value.dtype, shape }, { axis: -1 }, [places]);
  return [context.refine(context.where(mask, context.unsqueeze(lined, [-2]), value), { shape: value.shape })];
};

/** Diag: a tensor of rank r on the diagonal of one of rank 2r. */
const diag: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  const flat = context.reshape(value, [-1]);
  const size = scalarCount(context.emit('Shape', [flat], { dtype: 'int64', shape: [1] }), context);
  const square = context.where(diagonalMask(size, size, context), context.unsqueeze(flat, [-1]), context.scalar(0, value.dtype));
  if (value.shape?.length === 1) return [square];
  const sizes = context.shapeOf(value);
  const twice = context.emit('Concat', [sizes, sizes], { dtype: 'int64', shape: [-1] }, { axis: 0 });
  const shape = value.shape === null ? null : [...value.shape, ...value.shape];
  return [context.emit('Reshape', [square, twice], { dtype: value.dtype, shape }, { allowzero: 1 })];
};

const bandPart: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  const dtype = computeDtype('Trilu', value.dtype) ?? value.dtype;
  // A negative count keeps the whole triangle; a diagonal beyond the matrix does the same.
  const reach = (count: TypedValue) => {
    const wide = scalarCount(count, context);
    return context.where(context.binary('Less', wide, context.scalar(0, 'int64'), 'bool'), context.scalar(2 ** 30, 'int64'), wide);
  };
  const type = { dtype, shape: value.shape };
  const below = context.emit('Neg', [reach(context.input(1))], { dtype: 'int64', shape: [] });
  const upper = context.emit('Trilu', [context.castTo(value, dtype), below], type, { upper: 1 });
  const band = context.emit('Trilu', [upper, reach(context.input(2))], type, { upper: 0 });
  return [context.castTo(band, value.dtype)];
};

const determinant: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  return [context.compute('Det', [value], { dtype: value.dtype, shape: value.shape?.slice(0, -2) ?? null })];
};

const cross: Translator = (_node, _inputs, context) => {
  const [left, right] = [context.input(0), context.input(1)];
  const turned = (value: TypedValue, order: readonly number[]) =>
    context.compute('Gather', [value], { dtype: value.dtype, shape: value.shape }, { axis: -1 }, [context.int64s(order)]);
  const product = (one: readonly number[], other: readonly number[]) => context.binary('Mul', turned(left, one), turned(right, other));
  return [context.binary('Sub', product([1, 2, 0], [2, 0, 1]), product([2, 0, 1], [1, 2, 0]))];
};

/** Translators of this family by op. */
export const MATRICES: Readonly<Record<string, Translator>> = {
  MatrixDiag: matrixDiag,
  MatrixDiagV2: matrixDiag,
  MatrixDiagV3: matrixDiag,
  MatrixDiagPart: matrixDiagPart,
  MatrixDiagPartV2: matrixDiagPart,
  MatrixDiagPartV3: matrixDiagPart,
  DiagPart: (node, inputs, context) => {
    if (context.requireRank(context.input(0)) !== 2) throw context.unsupported('only the diagonal of a matrix is supported');
    return matrixDiagPart(node, inputs, context);
  },
  MatrixSetDiag: matrixSetDiag,
  MatrixSetDiagV2: matrixSetDiag,
  MatrixSetDiagV3: matrixSetDiag,
  Diag: diag,
  MatrixBandPart: bandPart,
  BatchMatrixBandPart: bandPart,
  MatrixDeterminant: determinant,
  Cross: cross,
};
