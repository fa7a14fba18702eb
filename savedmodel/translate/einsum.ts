/**
 * Einsum as products of matrices, sums and diagonals. The runtime's own Einsum is not used: with an ellipsis, or with labels that repeat or are
 * summed in one operand alone, it ends the process when an axis is empty.
 */
import { textAttr } from './attributes.ts';
import { broadcastShapes, type StaticShape, unknownSizes } from './static-shapes.ts';
import type { Dim, TranslationContext, Translator, TypedValue } from './translator.ts';

/** Translates Einsum of one or two operands. */
export const einsum: Translator = (node, inputs, context) => {
  const equation = textAttr(node, 'equation').replaceAll(' ', '');
  const matrices = /^\.\.\.([a-zA-Z])([a-zA-Z]),\.\.\.\2([a-zA-Z])->\.\.\.\1\3$/.exec(equation);
  if (matrices !== null && new Set(matrices.slice(1)).size === 3) return [matrixProduct(context.input(0), context.input(1), context)];
  const { operands, result } = labelled(equation, inputs, context);
  const prepared = operands.map((operand) => withoutRepeats(operand, context));
  const [left, right, ...others] = prepared;
  if (left === undefined || others.length > 0) throw context.unsupported(`${inputs.length} operands are not supported`);
  if (right === undefined) return [arranged(summedAlone(left, result, context), result, context)];
  const alone = [
    summedAlone(left, [...result, ...right.labels], context),
    summedAlone(right, [...result, ...left.labels], context),
  ] as const;
  const [one, other] = withEqualEllipses(alone, context);
  return [productOfGroups(groupLabels(one, other, result), context)];
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

/** A letter for an axis; `.0`, `.1` … for the axes of an ellipsis, counted from its last. */
type Label = string;

/** A value with a label for each axis. */
interface Operand {
  readonly value: TypedValue;
  readonly labels: readonly Label[];
}

function labelled(
  equation: string,
  inputs: readonly TypedValue[],
  context: TranslationContext,
): { readonly operands: readonly Operand[]; readonly result: readonly Label[] } {
  const [before = '', after] = equation.split('->');
  const texts = before.split(',');
  const isWellFormed = [...texts, after ?? '-'].every((text) => /^[a-zA-Z]*(\.\.\.)?[a-zA-Z]*$/.test(text));
  if (!isWellFormed || after === undefined || texts.length !== inputs.length)
    throw context.unsupported(`the equation ${equation} is not known`);
  const operands = texts.map((text, index): Operand => {
    const given = context.input(index);
    if (!text.includes('.')) return { value: context.refine(given, { shape: unknownSizes(text.length) }), labels: [...text] };
    return { value: given, labels: spelledOut(text, context.requireRank(given) - text.length + 3) };
  });
  for (const { value, labels } of operands) {
    if (value.shape?.length !== labels.length) throw context.unsupported(`${value.name} has not the axes that ${equation} names`);
  }
  const widest = Math.max(0, ...operands.map(({ labels }) => labels.filter(isEllipsis).length));
  const result = spelledOut(after, widest);
  const known = new Set(operands.flatMap(({ labels }) => labels));
  const isLeftOut = [...known].some((label) => isEllipsis(label) && !result.includes(label));
  if (isLeftOut || new Set(result).size < result.length || result.some((label) => !known.has(label))) {
    throw context.unsupported(`the result of ${equation} has no ONNX operator`);
  }
  return { operands, result };
}

/** The labels of a term whose ellipsis stands for so many axes. */
function spelledOut(text: string, count: number): Label[] {
  const [before = '', behind] = text.split('...');
  const dots = behind === undefined ? [] : Array.from({ length: Math.max(0, count) }, (_, index) => `.${count - 1 - index}`);
  return [...before, ...dots, ...(behind ?? '')];
}

function isEllipsis(label: Label): boolean {
  return label.startsWith('.');
}

/** The diagonal of axes with the same label: every (size + 1)th element of them as one. */
function withoutRepeats(operand: Operand, context: TranslationContext): Operand {
  const { value, labels } = operand;
  const second = labels.findIndex((label, index) => labels.indexOf(label) < index);
  if (second < 0) return operand;
  const first = labels.indexOf(labels[second] ?? '');
  const others = labels.map((_, axis) => axis).filter((axis) => axis !== first && axis !== second);
  const turned = context.transpose(value, [...others, first, second]);
  const size = context.dimOf(value, first);
  const sizes = others.map((axis) => context.dimOf(value, axis));
  const flat = context.reshape(turned, [...sizes, productOf([size, size], context)]);
  const step = typeof size === 'number' ? context.int64s([size + 1]) : context.binary('Add', size, context.int64s([1]));
  const shape = [...sizes, size].map((one) => (typeof one === 'number' ? one : -1));
  const bounds = [context.int64s([0]), context.int64s([Number.MAX_SAFE_INTEGER]), context.int64s([others.length]), step];
  const diagonal = context.compute('Slice', [flat], { dtype: value.dtype, shape }, undefined, bounds);
  return withoutRepeats({ value: diagonal, labels: [...others, first].map((axis) => labels[axis] ?? '') }, context);
}

/** Sums over the axes that nothing else has. */
function summedAlone({ value, labels }: Operand, needed: readonly Label[], context: TranslationContext): Operand {
  const axes = labels.flatMap((label, axis) => (needed.includes(label) ? [] : [axis]));
  if (axes.length === 0) return { value, labels };
  const shape = value.shape?.filter((_, axis) => !axes.includes(axis)) ?? null;
  const sum = context.compute('ReduceSum', [value], { dtype: value.dtype, shape }, { keepdims: 0 }, [context.int64s(axes)]);
  return { value: sum, labels: labels.filter((label) => needed.includes(label)) };
}

/** The axes in another order, none more and none less. */
function arranged({ value, labels }: Operand, order: readonly Label[], context: TranslationContext): TypedValue {
  return context.transpose(
    value,
    order.map((label) => labels.indexOf(label)),
  );
}

/** Broadcasts the axes that both ellipses have to the same sizes, unless these are known to be the same. */
function withEqualEllipses([left, right]: readonly [Operand, Operand], context: TranslationContext): readonly [Operand, Operand] {
  const shared = left.labels.filter((label) => isEllipsis(label) && right.labels.includes(label));
  const sizes = (label: Label) => [left, right].map(({ value, labels }) => context.dimOf(value, labels.indexOf(label)));
  const targets = new Map(shared.map((label) => [label, broadcastSize(sizes(label), context)] as const));
  const expanded = ({ value, labels }: Operand): Operand => {
    const wanted = labels.map((label): Dim => targets.get(label) ?? 1);
    const shape = labels.map((label, axis) => {
      const target = targets.get(label);
      return target === undefined ? (value.shape?.[axis] ?? -1) : typeof target === 'number' ? target : -1;
    });
    const isThere = shape.every((size, axis) => size >= 0 && size === value.shape?.[axis]) || targets.size === 0;
    if (isThere) return { value, labels };
    return { value: context.compute('Expand', [value], { dtype: value.dtype, shape }, undefined, [context.dims(wanted)]), labels };
  };
  return [expanded(left), expanded(right)];
}

function broadcastSize([left = 1, right = 1]: readonly Dim[], context: TranslationContext): Dim {
  if (typeof left === 'number' && typeof right === 'number') return left === 1 ? right : left;
  const [one, other] = [context.dims([left]), context.dims([right])];
  return context.where(context.binary('Equal', one, context.int64s([1]), 'bool'), other, one);
}

/** Two operands by what becomes of their axes. */
interface Groups {
  readonly operands: readonly [Operand, Operand];
  readonly result: readonly Label[];
  /** In both operands and in the result. */
  readonly batch: readonly Label[];
  /** In both operands, and summed over. */
  readonly summed: readonly Label[];
  /** In one operand and in the result. */
  readonly left: readonly Label[];
  readonly right: readonly Label[];
}

function groupLabels(left: Operand, right: Operand, result: readonly Label[]): Groups {
  const shared = left.labels.filter((label) => right.labels.includes(label));
  return {
    operands: [left, right],
    result,
    batch: shared.filter((label) => result.includes(label)),
    summed: shared.filter((label) => !result.includes(label)),
    left: left.labels.filter((label) => !shared.includes(label)),
    right: right.labels.filter((label) => !shared.includes(label)),
  };
}

function productOfGroups(groups: Groups, context: TranslationContext): TypedValue {
  return productWithMatrix(groups, context) ?? productOfBatches(groups, context);
}

/** The product with a right operand that is one matrix after all: the left one keeps its axes, whatever their sizes. */
function productWithMatrix(groups: Groups, context: TranslationContext): TypedValue | null {
  const [left, right] = groups.operands;
  const sizes = (labels: readonly Label[]) => labels.map((label) => right.value.shape?.[right.labels.indexOf(label)] ?? -1);
  const [summed, columns] = [sizes(groups.summed), sizes(groups.right)];
  const isKnown = [...summed, ...columns].every((size) => size > 0);
  if (groups.batch.length > 0 || groups.left.length === 0 || summed.length === 0 || columns.length === 0 || !isKnown) return null;
  const product = (numbers: readonly number[]) => numbers.reduce((total, size) => total * size, 1);
  const turned = arranged(left, [...groups.left, ...groups.summed], context);
  const flat = arranged(right, [...groups.summed, ...groups.right], context);
  const count = groups.left.length;
  const rows = summed.length === 1 ? turned : keepingAxes(turned, count, [product(summed)], context);
  const matrix = summed.length + columns.length === 2 ? flat : context.reshape(flat, [product(summed), product(columns)]);
  const made = matrixProduct(rows, matrix, context);
  const spread = columns.length === 1 ? made : keepingAxes(made, count, columns, context);
  return arranged({ value: spread, labels: [...groups.left, ...groups.right] }, groups.result, context);
}

/** Reshapes what is behind the first axes, which stay as they are. */
function keepingAxes(value: TypedValue, count: number, sizes: readonly number[], context: TranslationContext): TypedValue {
  const kept = Array.from({ length: count }, (_, axis) => value.shape?.[axis] ?? -1);
  // Without `allowzero` 0 stands for the size that is there.
  const target = context.int64s([...kept.map(() => 0), ...sizes]);
  return context.emit('Reshape', [value, target], { dtype: value.dtype, shape: [...kept, ...sizes] });
}

function productOfBatches(groups: Groups, context: TranslationContext): TypedValue {
  const [left, right] = groups.operands;
  const sizes = (labels: readonly Label[], { value, labels: names }: Operand) =>
    labels.map((label) => context.dimOf(value, names.indexOf(label)));
  const matrix = (operand: Operand, rows: readonly Label[], columns: readonly Label[]) => {
    const turned = arranged(operand, [...groups.batch, ...rows, ...columns], context);
    if (rows.length === 1 && columns.length === 1) return turned;
    const flat = [rows, columns].map((labels) => productOf(sizes(labels, operand), context));
    return context.reshape(turned, [...sizes(groups.batch, operand), ...flat]);
  };
  const product = matrixProduct(matrix(left, groups.left, groups.summed), matrix(right, groups.summed, groups.right), context);
  const isFlat = groups.left.length !== 1 || groups.right.length !== 1;
  const spread = isFlat
    ? context.reshape(product, [...sizes(groups.batch, left), ...sizes(groups.left, left), ...sizes(groups.right, right)])
    : product;
  return arranged({ value: spread, labels: [...groups.batch, ...groups.left, ...groups.right] }, groups.result, context);
}

function productOf(sizes: readonly Dim[], context: TranslationContext): Dim {
  return sizes.reduce((product: Dim, size) => {
    if (typeof product === 'number' && typeof size === 'number') return product * size;
    if (product === 1) return size;
    return context.binary('Mul', context.dims([product]), context.dims([size]));
  }, 1);
}
