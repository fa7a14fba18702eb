/** Gathering by index, and finding indices. */
import { dtypeAttr, intAttr } from './attributes.ts';
import { fromStart, type StaticShape, unknownSizes } from './static-shapes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

const gather: Translator = (_node, _inputs, context) => [gatherAlong(context.input(0), context.input(1), 0, context)];

const gatherV2: Translator = (node, _inputs, context) => {
  const [values, indices] = [context.input(0), context.input(1)];
  const [axis = 0] = context.requireInts(context.input(2), 'the axis');
  return [gatherBatched(values, indices, axis, intAttr(node, 'batch_dims', 0), context)];
};

const resourceGather: Translator = (node, _inputs, context) => {
  const [values, indices] = [context.input(0), context.input(1)];
  const batchDims = intAttr(node, 'batch_dims', 0);
  return [gatherBatched(values, indices, batchDims, batchDims, context)];
};

function gatherBatched(values: TypedValue, indices: TypedValue, axis: number, batchDims: number, context: TranslationContext): TypedValue {
  const batches = batchDims < 0 ? fromStart(batchDims, context.requireRank(indices)) : batchDims;
  if (batches === 0) return gatherAlong(values, indices, axis, context);
  const rank = context.requireRank(values);
  const place = fromStart(axis, rank);
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);
  // The gathered axis goes right behind the batch axes; what lies between returns to its place afterwards.
  const moved = context.transpose(values, [...range(0, batches), place, ...range(batches, place), ...range(place + 1, rank)]);
  const at = context.unsqueeze(context.castTo(indices, 'int64'), [-1]);
  const indexRank = context.requireRank(indices);
  const shape = indices.shape === null || moved.shape === null ? null : [...indices.shape, ...moved.shape.slice(batches + 1)];
  const result = context.compute('GatherND', [moved], { dtype: values.dtype, shape }, { batch_dims: batches }, [at]);
  const total = indexRank + rank - batches - 1;
  const between = place - batches;
  const back = [
    ...range(0, batches),
    ...range(indexRank, indexRank + between),
    ...range(batches, indexRank),
    ...range(indexRank + between, total),
  ];
  return context.transpose(result, back);
}

function gatherAlong(values: TypedValue, indices: TypedValue, axis: number, context: TranslationContext): TypedValue {
  const place = values.shape === null ? axis : fromStart(axis, values.shape.length);
  const shape =
    values.shape === null || indices.shape === null
      ? null
      : [...values.shape.slice(0, place), ...indices.shape, ...values.shape.slice(place + 1)];
  const at = indices.dtype === 'int32' || indices.dtype === 'int64' ? indices : context.castTo(indices, 'int64');
  const result = context.compute('Gather', [values], { dtype: values.dtype, shape }, { axis }, [at]);
  const known = values.partial === undefined ? null : context.staticInts(indices);
  if (known === null) return result;
  return context.refine(result, { partial: known.map((index) => values.partial?.at(index) ?? null) });
}

const gatherNd: Translator = (_node, _inputs, context) => {
  const [values, indices] = [context.input(0), context.input(1)];
  const depth = indices.shape?.at(-1) ?? -1;
  const shape: StaticShape =
    values.shape === null || indices.shape === null || depth < 0 ? null : [...indices.shape.slice(0, -1), ...values.shape.slice(depth)];
  if (depth === 0) throw context.unsupported('indices of depth 0 have no ONNX operator');
  return [context.compute('GatherND', [values], { dtype: values.dtype, shape }, undefined, [context.castTo(indices, 'int64')])];
};

/** Where: the coordinates of what is not zero, one row each. */
const where: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  const hits = value.dtype === 'bool' ? value : context.castTo(value, 'bool');
  const rank = value.shape?.length ?? -1;
  const found = context.emit('NonZero', [hits], { dtype: 'int64', shape: [rank, -1] });
  return [context.transpose(found, [1, 0])];
};

const unique: Translator = (node, _inputs, context) => {
  const value = context.input(0);
  const out = dtypeAttr(node, 'out_idx', 'int32');
  const wider = ['float', 'double', 'int64', 'int8'].includes(value.dtype) ? value.dtype : value.dtype === 'half' ? 'float' : 'int64';
  const vector = { dtype: 'int64' as const, shape: [-1] };
  const results = [{ dtype: wider, shape: [-1] }, vector, { ...vector, shape: value.shape }, vector] as const;
  const [values, , places, counts] = context.emitMany('Unique', [context.castTo(value, wider)], results, { sorted: 0 });
  if (values === undefined || places === undefined || counts === undefined)
    throw new TypeError('Unique gives four outputs (this is a bug)');
  return [context.castTo(values, value.dtype), context.castTo(places, out), context.castTo(counts, out)].slice(0, node.outputCount);
};

const uniqueV2: Translator = (node, inputs, context) => {
  const axes = context.requireInts(context.input(1), 'the axis');
  if (axes.length > 0 && context.requireRank(context.input(0)) !== 1) throw context.unsupported('unique rows have another order in ONNX');
  return unique(node, inputs, context);
};

function topK(value: TypedValue, count: TypedValue, context: TranslationContext): readonly TypedValue[] {
  const [known = -1] = context.staticInts(count) ?? [];
  const shape = value.shape?.map((size, axis) => (axis === (value.shape?.length ?? 0) - 1 ? known : size)) ?? null;
  const wider = { uint16: 'int32', uint32: 'int64', uint64: 'int64', bfloat16: 'float' } as const;
  const dtype = wider[value.dtype as keyof typeof wider] ?? value.dtype;
  const results = [
    { dtype, shape },
    { dtype: 'int64' as const, shape },
  ];
  const attributes = { axis: -1, largest: 1, sorted: 1 };
  const axes = (value.shape ?? []).slice(0, -1).flatMap((size, axis) => (size > 0 ? [] : [axis]));
  const longer = lengthened(context.castTo(value, dtype), axes, context);
  const padded = results.map((result) => ({
    ...result,
    shape: result.shape?.map((size, axis) => (axes.includes(axis) ? -1 : size)) ?? null,
  }));
  const found = context.emitMany('TopK', [longer, context.toInt64Vector(count)], padded, attributes);
  const [values, places] = found.map((one, index) => {
    const bounds = [axes.map(() => 0), axes.map(() => -1), axes].map((numbers) => context.int64s(numbers));
    return axes.length === 0 ? one : context.emit('Slice', [one, ...bounds], results[index] ?? one);
  });
  if (values === undefined || places === undefined) throw new TypeError('TopK gives two outputs (this is a bug)');
  return [context.castTo(values, value.dtype), context.castTo(places, dtypeAttr(context.node, 'index_type', 'int32'))];
}

/** One more along each of these axes, zeros there: the runtime's TopK ends the process (SIGFPE) when there are no rows. */
function lengthened(value: TypedValue, axes: readonly number[], context: TranslationContext): TypedValue {
  return axes.reduce((longer, axis) => {
    const sizes = (longer.shape ?? []).map((_, at) => (at === axis ? 1 : context.dimOf(longer, at)));
    const row = { dtype: value.dtype, shape: longer.shape?.map((size, at) => (at === axis ? 1 : size)) ?? null };
    const zeros = context.emit('Expand', [context.scalar(0, value.dtype), context.dims(sizes)], row);
    const shape = longer.shape?.map((size, at) => (at !== axis ? size : size < 0 ? -1 : size + 1)) ?? null;
    return context.emit('Concat', [longer, zeros], { dtype: value.dtype, shape }, { axis });
  }, value);
}

/** A row with a number that is not finite, or a target that is not a class, is never in. */
const inTopK: Translator = (_node, _inputs, context) => {
  const [predictions, targets] = [context.input(0), context.castTo(context.input(1), 'int64')];
  const bound = (number: number) => context.scalar(number, 'int64');
  const classes = context.squeeze(context.dims([context.dimOf(predictions, 1)]), [0]);
  const inside = context.binary(
    'And',
    context.binary('GreaterOrEqual', targets, bound(0), 'bool'),
    context.binary('Less', targets, classes, 'bool'),
  );
  const at = context.unsqueeze(context.where(inside, targets, bound(0)), [1]);
  const score = context.emit('GatherElements', [predictions, at], { dtype: 'float', shape: unknownSizes(2) }, { axis: 1 });
  const perRow = (hits: TypedValue) => {
    const result = { dtype: 'int32' as const, shape: targets.shape };
    return context.emit('ReduceSum', [context.castTo(hits, 'int32'), context.int64s([1])], result, { keepdims: 0 });
  };
  const better = perRow(context.binary('Greater', predictions, score, 'bool'));
  const size = context.emit('Abs', [predictions], predictions);
  const isFiniteNumber = context.binary('Less', size, context.scalar(Number.POSITIVE_INFINITY, 'float'), 'bool');
  const odd = perRow(context.emit('Not', [isFiniteNumber], isFiniteNumber));
  const isFiniteRow = context.binary('Equal', odd, context.scalar(0, 'int32'), 'bool');
  const isAmong = context.binary('Less', context.castTo(better, 'int64'), context.castTo(kOf(context), 'int64'), 'bool');
  return [context.binary('And', context.binary('And', inside, isFiniteRow), isAmong)];
};

function kOf(context: TranslationContext): TypedValue {
  return context.node.inputs.length > 2 ? context.input(2) : context.scalar(intAttr(context.node, 'k'), 'int64');
}

/** Translators of this family by op. */
export const GATHERING: Readonly<Record<string, Translator>> = {
  Gather: gather,
  GatherV2: gatherV2,
  GatherNd: gatherNd,
  ResourceGather: resourceGather,
  ResourceGatherNd: gatherNd,
  Where: where,
  Unique: unique,
  UniqueV2: uniqueV2,
  UniqueWithCounts: unique,
  UniqueWithCountsV2: uniqueV2,
  TopK: (node, _inputs, context) => topK(context.input(0), context.scalar(intAttr(node, 'k'), 'int64'), context),
  TopKV2: (_node, _inputs, context) => topK(context.input(0), context.input(1), context),
  InTopK: inTopK,
  InTopKV2: inTopK,
};
