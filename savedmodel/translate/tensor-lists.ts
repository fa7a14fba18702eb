/** TensorLists: the arrays of TensorFlow 2's loops. */
import type { ValueRef } from '../flat-graph.ts';
import { boolAttr, dtypeAttr, intAttr } from './attributes.ts';
import { countingLimit, originOf } from './body-patterns.ts';
import {
  countOf,
  elementShapeOf,
  firstSize,
  innerSizes,
  isList,
  type ListValue,
  stackedList,
  stackFor,
  stackOf,
  type Value,
  zeroRows,
} from './list-value.ts';
import { scatter } from './scattering.ts';
import { scalarCount } from './sequences.ts';
import { mergeShapes, type StaticShape } from './static-shapes.ts';
import type { TranslationContext, TypedValue } from './translator.ts';

/** Translates a node that takes or gives lists. */
export type ListTranslator = (inputs: readonly Value[], context: TranslationContext) => readonly Value[];

/** An input that must be a tensor. */
export function tensorAt(inputs: readonly Value[], index: number, context: TranslationContext): TypedValue {
  const value = inputs[index];
  if (value === undefined || isList(value)) throw context.unsupported(`its input ${index} is no tensor`);
  return value;
}

/** An input that must be a list made in this region. */
export function listAt(inputs: readonly Value[], index: number, context: TranslationContext): ListValue {
  const value = inputs[index];
  if (value === undefined || !isList(value)) throw context.unsupported('its list is not made by what is translated with it');
  return value;
}

/** A shape given as a value: a scalar is -1, an unknown rank. */
function shapeAt(inputs: readonly Value[], index: number, context: TranslationContext): StaticShape {
  const value = tensorAt(inputs, index, context);
  if (value.shape?.length !== 1) return null;
  const sizes = context.staticInts(value) ?? value.partial;
  return sizes?.map((size) => size ?? -1) ?? null;
}

/** Writes an item in its place; where the list `grows`, a place behind its end is put there first, with zeros before it. */
export function writeItem(list: ListValue, index: TypedValue, item: TypedValue, context: TranslationContext, grows = false): ListValue {
  if (list.list === 'collected') {
    list.items.push(item);
    return list;
  }
  const isOnly = list.list === 'unwritten' && context.staticInts(list.count)?.[0] === 1 && context.staticInts(index)?.[0] === 0;
  if (isOnly) return stackedList(context.unsqueeze(item, [0]));
  const wide = context.castTo(index, 'int64');
  const elements = stackFor(list, item, context);
  const target = grows ? grownTo(elements, context.reshape(wide, [1]), context) : elements;
  const written = scatter(target, context.reshape(wide, [1, 1]), context.unsqueeze(item, [0]), 'none', context);
  return stackedList(written);
}

/** Elements with zeros behind them up to an index, int64 [1]. */
function grownTo(elements: TypedValue, index: TypedValue, context: TranslationContext): TypedValue {
  const beyond = context.binary('Sub', context.binary('Add', index, context.int64s([1])), firstSize(elements, context));
  const missing = context.binary('Max', beyond, context.int64s([0]));
  const inner = elements.shape?.slice(1) ?? null;
  const zeros = zeroRows(elements.dtype, missing, innerSizes(elements, context), inner, context);
  const shape = inner === null ? null : [-1, ...inner];
  return context.compute('Concat', [elements, zeros], { dtype: elements.dtype, shape }, { axis: 0 });
}

/** Reads the item of an index. `known` is what the reader says of its shape. */
export function readItem(list: ListValue, index: TypedValue, known: StaticShape, context: TranslationContext): TypedValue {
  return gatherItems(list, scalarCount(index, context), known, context);
}

/** The items of a tensor of indices, [...indices, ...element]. */
export function gatherItems(list: ListValue, indices: TypedValue, known: StaticShape, context: TranslationContext): TypedValue {
  const elements = stackOf(list, known, context);
  const shape = elements.shape === null || indices.shape === null ? null : [...indices.shape, ...elements.shape.slice(1)];
  return context.compute('Gather', [elements], { dtype: list.dtype, shape }, { axis: 0 }, [indices]);
}

/** All items of a list in one axis, and the length of each, when all lengths are the same. */
export function concatItems(list: ListValue, known: StaticShape, context: TranslationContext): readonly [TypedValue, TypedValue] {
  const elements = stackOf(list, null, context);
  const [count = -1, length = -1, ...rest] = context.refine(elements, { shape: known === null ? null : [-1, ...known] }).shape ?? [];
  if (elements.shape === null || length < 0) throw context.unsupported("the lengths of the list's elements must be known");
  const tail = context.emit('Shape', [elements], { dtype: 'int64', shape: [rest.length] }, { start: 2 });
  const sizes = context.emit('Concat', [context.int64s([-1]), tail], { dtype: 'int64', shape: [rest.length + 1] }, { axis: 0 });
  const shape = [count < 0 ? -1 : count * length, ...rest];
  const joined = context.emit('Reshape', [elements, sizes], { dtype: list.dtype, shape });
  const counts = context.toInt64Vector(countOf(list, context));
  const lengths = context.emit('Expand', [context.scalar(length, 'int64'), counts], { dtype: 'int64', shape: [count] });
  return [joined, lengths];
}

const fromTensor: ListTranslator = (inputs, context) => {
  const tensor = tensorAt(inputs, 0, context);
  const element = shapeAt(inputs, 1, context);
  return [stackedList(element === null ? tensor : context.refine(tensor, { shape: [-1, ...element] }))];
};

const reserve: ListTranslator = (inputs, context) => {
  const dtype = dtypeAttr(context.node, 'element_dtype');
  const count = scalarCount(tensorAt(inputs, 1, context), context);
  return [{ list: 'unwritten', dtype, element: shapeAt(inputs, 0, context), count }];
};

const empty: ListTranslator = (inputs, context) => {
  const dtype = dtypeAttr(context.node, 'element_dtype');
  return [{ list: 'unwritten', dtype, element: shapeAt(inputs, 0, context), count: context.scalar(0, 'int64') }];
};

const setItem: ListTranslator = (inputs, context) => {
  const grows = boolAttr(context.node, 'resize_if_index_out_of_bounds', false);
  return [writeItem(listAt(inputs, 0, context), tensorAt(inputs, 1, context), tensorAt(inputs, 2, context), context, grows)];
};

const getItem: ListTranslator = (inputs, context) => {
  const list = listAt(inputs, 0, context);
  return [readItem(list, tensorAt(inputs, 1, context), shapeAt(inputs, 2, context), context)];
};

const pushBack: ListTranslator = (inputs, context) => {
  const [list, item] = [listAt(inputs, 0, context), tensorAt(inputs, 1, context)];
  if (list.list === 'collected') {
    list.items.push(item);
    return [list];
  }
  const row = context.unsqueeze(item, [0]);
  if (list.list === 'unwritten' && context.staticInts(list.count)?.[0] === 0) return [stackedList(row)];
  const elements = stackFor(list, item, context);
  const count = elements.shape?.[0] ?? -1;
  const inner = mergeShapes(elements.shape?.slice(1) ?? null, item.shape);
  const shape = inner === null ? null : [count < 0 ? -1 : count + 1, ...inner];
  return [stackedList(context.compute('Concat', [elements, row], { dtype: list.dtype, shape }, { axis: 0 }))];
};

const popBack: ListTranslator = (inputs, context) => {
  const list = listAt(inputs, 0, context);
  const known = shapeAt(inputs, 1, context);
  const elements = stackOf(list, known, context);
  const shape = elements.shape?.map((size, axis) => (axis === 0 ? Math.max(-1, size - 1) : size)) ?? null;
  const bounds = [context.int64s([0]), context.int64s([-1]), context.int64s([0])];
  const rest = context.compute('Slice', [elements], { dtype: list.dtype, shape }, undefined, bounds);
  return [stackedList(rest), readItem(list, context.scalar(-1, 'int64'), known, context)];
};

const stack: ListTranslator = (inputs, context) => {
  const elements = stackOf(listAt(inputs, 0, context), shapeAt(inputs, 1, context), context);
  const count = intAttr(context.node, 'num_elements', -1);
  const shape = elements.shape?.map((size, axis) => (axis === 0 && size < 0 ? count : size)) ?? null;
  return [context.refine(elements, { shape })];
};

const gather: ListTranslator = (inputs, context) => {
  const [list, indices, known] = [listAt(inputs, 0, context), tensorAt(inputs, 1, context), shapeAt(inputs, 2, context)];
  const limit = countingLimit(context.node.inputs[1]);
  const counted = limit === undefined || limit === 'constant' ? undefined : originOf(limit).node;
  const isWhole = counted?.op === 'TensorListLength' && isSame(counted.inputs[0], context.node.inputs[0]);
  return [isWhole ? stackOf(list, known, context) : gatherItems(list, indices, known, context)];
};

function isSame(one: ValueRef | undefined, other: ValueRef | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  const [left, right] = [originOf(one), originOf(other)];
  return left.node === right.node && left.output === right.output;
}

/** Rows of a tensor written to places of a list. */
export function scatterItems(list: ListValue, indices: TypedValue, rows: TypedValue, context: TranslationContext): ListValue {
  const first = context.compute('Gather', [rows], { dtype: rows.dtype, shape: rows.shape?.slice(1) ?? null }, { axis: 0 }, [
    context.scalar(0, 'int64'),
  ]);
  const places = context.unsqueeze(context.castTo(indices, 'int64'), [1]);
  return stackedList(scatter(stackFor(list, first, context), places, rows, 'none', context));
}

const scatterNew: ListTranslator = (inputs, context) => {
  const [rows, indices] = [tensorAt(inputs, 0, context), tensorAt(inputs, 1, context)];
  const given = inputs.length > 3 ? context.staticInts(tensorAt(inputs, 3, context))?.[0] : -1;
  const element = mergeShapes(shapeAt(inputs, 2, context), rows.shape?.slice(1) ?? null);
  const wide = context.castTo(indices, 'int64');
  const last = context.emit('ReduceMax', [wide], { dtype: 'int64', shape: [] }, { keepdims: 0 });
  const count =
    given === undefined || given >= 0
      ? scalarCount(tensorAt(inputs, 3, context), context)
      : context.binary('Add', last, context.scalar(1, 'int64'));
  return [scatterItems({ list: 'unwritten', dtype: rows.dtype, element, count }, indices, rows, context)];
};

/** Rows written to 0, 1, 2 … of a fresh list are the list: what lies behind them cannot be read. */
const scatterInto: ListTranslator = (inputs, context) => {
  const [list, rows, indices] = [listAt(inputs, 0, context), tensorAt(inputs, 1, context), tensorAt(inputs, 2, context)];
  if (list.list === 'unwritten' && countingLimit(context.node.inputs[2]) !== undefined) return [stackedList(rows)];
  if (boolAttr(context.node, '_grows', false)) throw context.unsupported('a list that grows where it is scattered to has no ONNX operator');
  return [scatterItems(list, indices, rows, context)];
};

const resize: ListTranslator = (inputs, context) => {
  const list = listAt(inputs, 0, context);
  const size = scalarCount(tensorAt(inputs, 1, context), context);
  if (list.list === 'unwritten') return [{ ...list, count: size }];
  const elements = stackOf(list, null, context);
  const inner = elements.shape?.slice(1) ?? null;
  const shape = inner === null ? null : [-1, ...inner];
  const wanted = context.toInt64Vector(size);
  const kept = context.compute('Slice', [elements], { dtype: list.dtype, shape }, undefined, [
    context.int64s([0]),
    wanted,
    context.int64s([0]),
  ]);
  const missing = context.binary('Sub', wanted, firstSize(kept, context));
  const zeros = zeroRows(list.dtype, missing, innerSizes(elements, context), inner, context);
  const all = context.compute('Concat', [kept, zeros], { dtype: list.dtype, shape }, { axis: 0 });
  return [stackedList(all, list.list === 'stacked' && list.open)];
};

const concat: ListTranslator = (inputs, context) => {
  const attr = context.node.attrs.get('element_shape');
  const given = inputs.length > 1 ? shapeAt(inputs, 1, context) : attr?.type === 'shape' ? attr.value : null;
  return concatItems(listAt(inputs, 0, context), given, context);
};

const elementShape: ListTranslator = (inputs, context) => {
  const list = listAt(inputs, 0, context);
  const dtype = dtypeAttr(context.node, 'shape_type', 'int32');
  if (list.list === 'stacked') return [context.castTo(innerSizes(list.elements, context), dtype)];
  const known = elementShapeOf(list);
  if (known === null) throw context.unsupported("the rank of the list's elements must be known");
  return [context.castTo(context.int64s(known), dtype)];
};

/** Translators of lists by op. */
export const TENSOR_LISTS: Readonly<Record<string, ListTranslator>> = {
  TensorListFromTensor: fromTensor,
  TensorListReserve: reserve,
  EmptyTensorList: empty,
  TensorListSetItem: setItem,
  TensorListGetItem: getItem,
  TensorListPushBack: pushBack,
  TensorListPopBack: popBack,
  TensorListStack: stack,
  TensorListGather: gather,
  TensorListScatter: scatterNew,
  TensorListScatterV2: scatterNew,
  TensorListScatterIntoExistingList: scatterInto,
  TensorListResize: resize,
  TensorListConcat: concat,
  TensorListConcatV2: concat,
  TensorListElementShape: elementShape,
  TensorListLength: (inputs, context) => [context.castTo(countOf(listAt(inputs, 0, context), context), 'int32')],
};
