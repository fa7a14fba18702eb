/** Joining tensors and taking them apart: concatenation, stacking, splitting. */
import { intAttr } from './attributes.ts';
import { fromStart, mergeShapes, type StaticShape } from './static-shapes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

function concat(values: readonly TypedValue[], axis: number, context: TranslationContext): TypedValue {
  const [first] = values;
  if (first === undefined) throw context.unsupported('there is nothing to join');
  if (values.length === 1) return first;
  const ranked = values.filter((value) => value.shape !== null);
  const rank = ranked[0]?.shape?.length ?? null;
  const place = rank === null ? axis : fromStart(axis, rank);
  const sizes = values.map((value) => value.shape?.[place] ?? -1);
  const total = sizes.includes(-1) ? -1 : sizes.reduce((sum, size) => sum + size, 0);
  const other = (value: TypedValue): StaticShape => value.shape?.map((size, at) => (at === place ? -1 : size)) ?? null;
  const merged = values.map(other).reduce((left, right) => mergeShapes(left, right));
  const shape = merged?.map((size, at) => (at === place ? total : size)) ?? null;
  const result = context.compute('Concat', values, { dtype: first.dtype, shape }, { axis });
  return rank === 1 ? withJoinedElements(result, values, context) : result;
}

/** Vectors that are partly known, such as shapes, stay partly known when joined. */
function withJoinedElements(result: TypedValue, parts: readonly TypedValue[], context: TranslationContext): TypedValue {
  const elements = parts.map((part) => context.staticInts(part) ?? part.partial ?? unknownElements(part));
  const known = elements.filter((one) => one !== null);
  if (known.length < parts.length || !known.some((one) => one.some((element) => element !== null))) return result;
  return context.refine(result, { partial: known.flat() });
}

function unknownElements(part: TypedValue): readonly null[] | null {
  if (!/^int(32|64)$/.test(part.dtype) || part.shape === null || part.shape.length > 1) return null;
  const count = part.shape[0] ?? 1;
  return count < 0 ? null : Array.from({ length: count }, () => null);
}

const pack: Translator = (node, inputs, context) => {
  const axis = intAttr(node, 'axis', 0);
  const raised = inputs.map((value) => {
    const whole = context.staticInts(value);
    const lifted = context.unsqueeze(value, [axis]);
    return value.shape?.length === 0 ? context.refine(lifted, { partial: whole ?? value.partial ?? [null] }) : lifted;
  });
  const stacked = concat(raised, axis, context);
  const constants = inputs.every((value) => value.shape?.length === 0) ? context.staticInts(stacked) : null;
  return [constants === null ? stacked : context.castTo(context.int64s(constants), stacked.dtype)];
};

function axisOf(value: TypedValue, context: TranslationContext): number {
  const [axis] = context.requireInts(value, 'the axis');
  if (axis === undefined) throw context.unsupported('the axis must be a constant');
  return axis;
}

const concatV2: Translator = (_node, inputs, context) => {
  const axis = axisOf(context.input(inputs.length - 1), context);
  return [concat(inputs.slice(0, -1), axis, context)];
};

const concatV1: Translator = (_node, inputs, context) => [concat(inputs.slice(1), axisOf(context.input(0), context), context)];

function splitEvenly(value: TypedValue, axis: number, count: number, context: TranslationContext): readonly TypedValue[] {
  if (count === 1) return [value];
  const place = value.shape === null ? axis : fromStart(axis, value.shape.length);
  const shape = value.shape?.map((size, at) => (at === place && size >= 0 ? size / count : size)) ?? null;
  const wider = { dtype: value.dtype, shape };
  return context.emitMany(
    'Split',
    [value],
    Array.from({ length: count }, () => wider),
    { axis, num_outputs: count },
  );
}

const split: Translator = (node, _inputs, context) => {
  const axis = axisOf(context.input(0), context);
  return splitEvenly(context.input(1), axis, intAttr(node, 'num_split'), context);
};

const splitV: Translator = (node, _inputs, context) => {
  const [value, sizes] = [context.input(0), context.input(1)];
  const axis = axisOf(context.input(2), context);
  const count = intAttr(node, 'num_split');
  const place = value.shape === null ? axis : fromStart(axis, value.shape.length);
  const known = context.staticInts(sizes);
  if (count === 1) return [value];
  const lengths = known === null ? context.toInt64Vector(sizes) : splitLengths(known, value, place, context);
  const outputs = Array.from({ length: count }, (_, index) => {
    const length = known?.[index] ?? -1;
    return { dtype: value.dtype, shape: value.shape?.map((size, at) => (at === place ? length : size)) ?? null };
  });
  return context.emitMany('Split', [value, lengths], outputs, { axis });
};

/** The lengths with a -1 among them replaced by what the others leave. */
function splitLengths(known: readonly number[], value: TypedValue, place: number, context: TranslationContext): TypedValue {
  if (!known.includes(-1)) return context.int64s(known);
  const others = known.reduce((sum, length) => (length === -1 ? sum : sum + length), 0);
  const whole = place < 0 ? wholeFromEnd(value, place, context) : context.dimOf(value, place);
  const rest = typeof whole === 'number' ? whole - others : context.binary('Sub', whole, context.int64s([others]));
  return context.dims(known.map((length) => (length === -1 ? rest : length)));
}

function wholeFromEnd(value: TypedValue, place: number, context: TranslationContext): TypedValue {
  const end = place === -1 ? {} : { end: place + 1 };
  return context.emit('Shape', [value], { dtype: 'int64', shape: [1] }, { start: place, ...end });
}

const unpack: Translator = (node, _inputs, context) => {
  const axis = intAttr(node, 'axis', 0);
  const value = context.input(0);
  const parts = splitEvenly(value, axis, intAttr(node, 'num'), context);
  const elements = value.shape?.length === 1 ? (context.staticInts(value) ?? value.partial) : undefined;
  return parts.map((part, index) => {
    const element = elements?.[index];
    const squeezed = context.squeeze({ name: part.name, dtype: part.dtype, shape: part.shape }, [axis]);
    return element === undefined ? squeezed : context.refine(squeezed, { partial: [element] });
  });
};

/** Translators of this family by op. */
export const JOINING: Readonly<Record<string, Translator>> = {
  Pack: pack,
  ParallelConcat: (_node, inputs, context) => [concat(inputs, 0, context)],
  ConcatV2: concatV2,
  Concat: concatV1,
  Split: split,
  SplitV: splitV,
  Unpack: unpack,
};
