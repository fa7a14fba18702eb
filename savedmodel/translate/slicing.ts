/** Slice and StridedSlice. */
import { intAttr } from './attributes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

/** Beyond every size: ONNX clamps bounds to the axis. */
const FAR = Number.MAX_SAFE_INTEGER;

const slice: Translator = (_node, _inputs, context) => {
  const [value, begin, size] = [context.input(0), context.input(1), context.input(2)];
  if (value.shape?.length === 0) return [value];
  const starts = context.staticInts(begin);
  const sizes = context.staticInts(size);
  const rank = value.shape?.length ?? starts?.length ?? sizes?.length ?? null;
  const shape = rank === null ? null : Array.from({ length: rank }, (_, axis) => sliceSize(value, starts?.[axis], sizes?.[axis], axis));
  const from = context.toInt64Vector(begin);
  const ends =
    starts !== null && sizes !== null
      ? context.int64s(sizes.map((one, axis) => (one === -1 ? FAR : one + (starts[axis] ?? 0))))
      : sliceEnds(from, context.toInt64Vector(size), context);
  const result = context.compute('Slice', [value], { dtype: value.dtype, shape }, undefined, [from, ends]);
  const [start, count] = [starts?.[0], sizes?.[0]];
  if (value.partial === undefined || start === undefined || count === undefined) return [result];
  return [context.refine(result, { partial: value.partial.slice(start, count === -1 ? undefined : start + count) })];
};

function sliceSize(value: TypedValue, start: number | undefined, size: number | undefined, axis: number): number {
  if (size === undefined || size >= 0) return size ?? -1;
  const whole = value.shape?.[axis] ?? -1;
  return whole < 0 || start === undefined ? -1 : whole - start;
}

function sliceEnds(from: TypedValue, sizes: TypedValue, context: TranslationContext): TypedValue {
  const isRest = context.binary('Equal', sizes, context.int64s([-1]), 'bool');
  return context.where(isRest, context.int64s([FAR]), context.binary('Add', from, sizes));
}

/** What one axis of the input goes through: a range with a step, or one index that removes the axis. */
type AxisCut =
  | { readonly type: 'range'; readonly axis: number; readonly start: Bound; readonly end: Bound; readonly step: Bound }
  | { readonly type: 'index'; readonly axis: number; readonly at: Bound };

/** A bound that is known, or the place in begin or end where it will be found. */
type Bound = number | { readonly from: TypedValue; readonly index: number };

interface StridedPlan {
  readonly cuts: readonly AxisCut[];
  /** Places of new axes in the result. */
  readonly newAxes: readonly number[];
}

const stridedSlice: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  const { cuts, newAxes } = planStridedSlice(context);
  const ranged = cutRanges(
    value,
    cuts.filter((cut) => cut.type === 'range'),
    context,
  );
  const indices = cuts.filter((cut) => cut.type === 'index').toSorted((a, b) => b.axis - a.axis);
  const picked = indices.reduce((from, cut) => {
    const shape = from.shape?.filter((_, axis) => axis !== cut.axis) ?? null;
    const isOnly = (cut.at === 0 || cut.at === -1) && from.shape?.[cut.axis] === 1 && from.partial === undefined;
    if (isOnly) return context.squeeze(from, [cut.axis]);
    const at = typeof cut.at === 'number' ? context.scalar(cut.at, 'int64') : scalarBound(cut.at, context);
    const result = context.compute('Gather', [from], { dtype: from.dtype, shape }, { axis: cut.axis }, [at]);
    const element = typeof cut.at === 'number' && from.partial !== undefined ? from.partial.at(cut.at) : undefined;
    return element === undefined ? result : context.refine(result, { partial: [element] });
  }, ranged);
  const result = context.unsqueeze(picked, newAxes);
  const keeps = newAxes.length === 1 && picked.shape?.length === 0 && picked.partial !== undefined;
  return [keeps ? context.refine(result, { partial: picked.partial ?? [] }) : result];
};

function planStridedSlice(context: TranslationContext): StridedPlan {
  const [value, begin, end, strides] = [context.input(0), context.input(1), context.input(2), context.input(3)];
  const mask = (name: string) => {
    const bits = intAttr(context.node, name, 0);
    return (index: number) => (bits & (1 << index)) !== 0;
  };
  const [beginMask, endMask, ellipsis, newAxis, shrink] = [
    'begin_mask',
    'end_mask',
    'ellipsis_mask',
    'new_axis_mask',
    'shrink_axis_mask',
  ].map(mask);
  if (!beginMask || !endMask || !ellipsis || !newAxis || !shrink) throw new TypeError('five masks were read (this is a bug)');
  const [begins, ends] = [context.staticInts(begin), context.staticInts(end)];
  const count = begins?.length ?? ends?.length ?? context.staticInts(strides)?.length ?? begin.shape?.[0] ?? -1;
  if (count < 0) throw context.unsupported('the number of bounds must be known');
  const steps = context.staticInts(strides);
  const bound = (known: readonly number[] | null, from: TypedValue, index: number): Bound => known?.[index] ?? { from, index };
  const specs = Array.from({ length: count }, (_, index) => index);
  const consumed = specs.filter((index) => !ellipsis(index) && !newAxis(index)).length;
  const cuts: AxisCut[] = [];
  const newAxes: number[] = [];
  let axis = 0;
  let place = 0;
  for (const index of specs) {
    if (ellipsis(index)) {
      const isLast = specs.slice(index + 1).length === 0;
      const skipped = isLast ? 0 : context.requireRank(value) - consumed;
      axis += skipped;
      place += skipped;
    } else if (newAxis(index)) {
      newAxes.push(place++);
    } else if (shrink(index)) {
      cuts.push({ type: 'index', axis: axis++, at: bound(begins, begin, index) });
    } else {
      const step = bound(steps, strides, index);
      const isMasked = beginMask(index) || endMask(index);
      if (isMasked && typeof step !== 'number') throw context.unsupported('strides of masked bounds must be constants');
      const isForward = typeof step !== 'number' || step > 0;
      const start = beginMask(index) ? (isForward ? 0 : FAR) : bound(begins, begin, index);
      const stop = endMask(index) ? (isForward ? FAR : -FAR) : bound(ends, end, index);
      cuts.push({ type: 'range', axis: axis++, start, end: stop, step });
      place++;
    }
  }
  return { cuts, newAxes };
}

function cutRanges(value: TypedValue, all: readonly Extract<AxisCut, { type: 'range' }>[], context: TranslationContext): TypedValue {
  const cuts = all.filter((cut) => !(cut.start === 0 && cut.end === FAR && cut.step === 1));
  if (cuts.length === 0) return value;
  const shape =
    value.shape?.map((size, axis) =>
      rangeSize(
        size,
        cuts.find((cut) => cut.axis === axis),
      ),
    ) ?? null;
  const bounds = (list: readonly Bound[]) => context.dims(list.map((one) => (typeof one === 'number' ? one : vectorBound(one, context))));
  const others = [
    bounds(cuts.map((cut) => cut.start)),
    bounds(cuts.map((cut) => cut.end)),
    context.int64s(cuts.map((cut) => cut.axis)),
    bounds(cuts.map((cut) => cut.step)),
  ];
  const result = context.compute('Slice', [value], { dtype: value.dtype, shape }, undefined, others);
  const [cut] = cuts;
  if (value.partial === undefined || cut === undefined || typeof cut.start !== 'number' || typeof cut.end !== 'number' || cut.step !== 1)
    return result;
  return context.refine(result, { partial: value.partial.slice(cut.start, cut.end) });
}

function rangeSize(size: number, cut: Extract<AxisCut, { type: 'range' }> | undefined): number {
  if (cut === undefined) return size;
  if (size < 0 || typeof cut.start !== 'number' || typeof cut.end !== 'number' || typeof cut.step !== 'number') return -1;
  const clamp = (bound: number, low: number, high: number) => Math.min(Math.max(bound < 0 ? bound + size : bound, low), high);
  const [low, high] = cut.step > 0 ? [0, size] : [-1, size - 1];
  const distance = clamp(cut.end, low, high) - clamp(cut.start, low, high);
  return Math.max(0, Math.ceil(distance / cut.step));
}

function vectorBound(bound: Exclude<Bound, number>, context: TranslationContext): TypedValue {
  const at = [context.int64s([bound.index]), context.int64s([bound.index + 1])];
  return context.emit('Slice', [context.toInt64Vector(bound.from), ...at], { dtype: 'int64', shape: [1] });
}

function scalarBound(bound: Exclude<Bound, number>, context: TranslationContext): TypedValue {
  const at = context.scalar(bound.index, 'int64');
  return context.emit('Gather', [context.toInt64Vector(bound.from), at], { dtype: 'int64', shape: [] }, { axis: 0 });
}

/** Translators of this family by op. */
export const SLICING: Readonly<Record<string, Translator>> = { Slice: slice, StridedSlice: stridedSlice };
