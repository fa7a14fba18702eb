/**
 * TensorLists and TensorArrays during translation. In ONNX they are tensors, all elements stacked along a new first axis; which value stands
 * for which list is known while translating only.
 */
import type { DType } from '#mesh/tensor.ts';
import { isFullyKnown, mergeShapes, type StaticShape } from './static-shapes.ts';
import type { TranslationContext, TypedValue } from './translator.ts';

/** A list of elements of one dtype and shape. */
export type ListValue =
  /** `count` elements (an int64 scalar), none written yet: each is zeros of a shape known in part. */
  | { readonly list: 'unwritten'; readonly dtype: DType; readonly element: StaticShape; readonly count: TypedValue }
  /** `open`: when it runs nothing may have been written yet; then sizes of the elements that nobody could know are 0. */
  | { readonly list: 'stacked'; readonly dtype: DType; readonly elements: TypedValue; readonly open: boolean }
  /** Made by the loop around it out of one item per round: all that is done with it is adding to `items`. */
  | { readonly list: 'collected'; readonly dtype: DType; readonly items: TypedValue[] };

/** What a value of the graph is during translation. */
export type Value = TypedValue | ListValue;

/** Whether a value is a list. */
export function isList(value: Value): value is ListValue {
  return 'list' in value;
}

/** A list of the elements of a tensor along its first axis. */
export function stackedList({ name, dtype, shape }: TypedValue, open = false): ListValue {
  return { list: 'stacked', dtype, elements: { name, dtype, shape }, open };
}

/** What is known of the shape of an element. */
export function elementShapeOf(list: ListValue): StaticShape {
  if (list.list === 'unwritten') return list.element;
  return list.list === 'stacked' ? (list.elements.shape?.slice(1) ?? null) : null;
}

/** The number of elements, an int64 scalar. */
export function countOf(list: ListValue, context: TranslationContext): TypedValue {
  if (list.list === 'unwritten') return list.count;
  if (list.list === 'collected') throw isCollected(context);
  const known = list.elements.shape?.[0] ?? -1;
  return known >= 0 ? context.scalar(known, 'int64') : context.squeeze(firstSize(list.elements, context), [0]);
}

function isCollected(context: TranslationContext) {
  return context.unsupported('a list is read in the round that writes it');
}

/** The first size of a value of any rank, int64 [1]. */
export function firstSize(value: TypedValue, context: TranslationContext): TypedValue {
  return context.emit('Shape', [value], { dtype: 'int64', shape: [1] }, { start: 0, end: 1 });
}

/** The sizes after the first of a value of any rank, an int64 vector. */
export function innerSizes(value: TypedValue, context: TranslationContext): TypedValue {
  const rank = value.shape === null ? -1 : value.shape.length - 1;
  return context.emit('Shape', [value], { dtype: 'int64', shape: [rank] }, { start: 1 });
}

/** Zeros [count, ...element], with `count` an int64 [1] and `element` an int64 vector that is `shape` as far as known. */
export function zeroRows(
  dtype: DType,
  count: TypedValue,
  element: TypedValue,
  shape: StaticShape,
  context: TranslationContext,
): TypedValue {
  const sizes = context.emit('Concat', [count, element], { dtype: 'int64', shape: [shape === null ? -1 : shape.length + 1] }, { axis: 0 });
  const rows = context.staticInts(count)?.[0] ?? -1;
  const result = { dtype, shape: shape === null ? null : [rows, ...shape] };
  return context.compute('Expand', [context.scalar(0, dtype)], result, undefined, [sizes]);
}

/** The elements as a tensor [count, ...element], where `known` is what the reader says of the element's shape. */
export function stackOf(list: ListValue, known: StaticShape, context: TranslationContext): TypedValue {
  if (list.list === 'collected') throw isCollected(context);
  if (list.list === 'stacked') {
    return known === null ? list.elements : context.refine(list.elements, { shape: [list.elements.shape?.[0] ?? -1, ...known] });
  }
  const shape = mergeShapes(list.element, known);
  if (shape === null || !isFullyKnown(shape)) throw context.unsupported("the shape of the list's elements must be known");
  return zeroRows(list.dtype, context.toInt64Vector(list.count), context.int64s(shape), shape, context);
}

/** The elements as a tensor, with zeros of the item's shape where nothing is written: ready to take the item. */
export function stackFor(list: ListValue, item: TypedValue, context: TranslationContext): TypedValue {
  if (list.list === 'collected') throw isCollected(context);
  if (list.list === 'unwritten') {
    return zeroRows(list.dtype, context.toInt64Vector(list.count), context.shapeOf(item), item.shape, context);
  }
  return list.open ? widened(list.elements, item, context) : list.elements;
}

/** Elements that may have sizes of 0 for want of an item, padded to the item's sizes. */
function widened(elements: TypedValue, item: TypedValue, context: TranslationContext): TypedValue {
  const rank = context.requireRank(elements);
  const vector = { dtype: 'int64' as const, shape: [rank - 1] };
  const missing = context.emit('Sub', [context.shapeOf(item), innerSizes(elements, context)], vector);
  const before = context.int64s(Array.from({ length: rank + 1 }, () => 0));
  const pads = context.emit('Concat', [before, missing], { dtype: 'int64', shape: [2 * rank] }, { axis: 0 });
  const shape = item.shape === null ? elements.shape : [elements.shape?.[0] ?? -1, ...item.shape];
  return context.compute('Pad', [elements], { dtype: elements.dtype, shape }, { mode: 'constant' }, [pads]);
}
