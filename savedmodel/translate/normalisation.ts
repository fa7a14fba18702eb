/** Biases and normalisation. */
import { elementCount } from '#mesh/tensor.ts';
import { boolAttr, floatAttr, intAttr, textAttr } from './attributes.ts';
import { elementwise, isChannelsLast, toChannelsFirst, toChannelsLast } from './channel-order.ts';
import { unknownSizes } from './static-shapes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

const biasAdd: Translator = (node, _inputs, context) => {
  const [value, bias] = [context.input(0), context.input(1)];
  const format = textAttr(node, 'data_format', 'NHWC');
  const isLast = format === 'NHWC' || value.shape?.length === 2;
  if (isLast && !value.channelsFirst?.shape) return [context.binary('Add', value, bias)];
  const rank = context.requireRank(value);
  const spread = [bias.shape?.[0] ?? -1, ...Array.from({ length: rank - 2 }, () => 1)];
  const lined = bias.constant === undefined ? context.reshape(bias, spread) : context.constant({ ...bias.constant, shape: spread });
  const add = (data: TypedValue) => context.refine(context.binary('Add', data, lined), { shape: data.shape });
  return [isLast ? elementwise(value, add, context) : add(value)];
};

interface BatchNorm {
  /** Channels first, float or double. */
  readonly data: TypedValue;
  readonly rank: number;
  readonly channelsLast: boolean;
  readonly scale: TypedValue;
  readonly offset: TypedValue;
  readonly epsilon: number;
}

const fusedBatchNorm: Translator = (node, _inputs, context) => {
  const [value, scale, offset, mean, variance] = [0, 1, 2, 3, 4].map((index) => context.input(index));
  if (!value || !scale || !offset || !mean || !variance) throw new TypeError('five inputs were read (this is a bug)');
  const channelsLast = isChannelsLast(context);
  const rank = value.shape?.length ?? (textAttr(node, 'data_format', 'NHWC').length === 5 ? 5 : 4);
  const wide = value.dtype === 'double' ? 'double' : 'float';
  const data = context.castTo(channelsLast ? toChannelsFirst(value, rank, context) : value, wide);
  const batchNorm = { data, rank, channelsLast, scale, offset, epsilon: floatAttr(node, 'epsilon', 1e-4) };
  const isTraining = boolAttr(node, 'is_training', true);
  const moments = isTraining ? batchMoments(data, rank, context) : { mean, variance };
  const normalised = normalise(batchNorm, moments.mean, moments.variance, context);
  const back = context.castTo(channelsLast ? toChannelsLast(normalised, rank, context) : normalised, value.dtype);
  const running = isTraining ? runningMoments(moments, { mean, variance }, batchNorm, context) : { mean, variance };
  const outputs = [back, running.mean, running.variance, moments.mean, moments.variance, context.scalar(0, wide)];
  return outputs.slice(0, node.outputCount);
};

interface Moments {
  readonly mean: TypedValue;
  /** Over the count of elements, without Bessel's correction. */
  readonly variance: TypedValue;
}

function normalise(
  { data, scale, offset, epsilon }: BatchNorm,
  mean: TypedValue,
  variance: TypedValue,
  context: TranslationContext,
): TypedValue {
  const per = [scale, offset, mean, variance].map((one) => context.castTo(one, data.dtype));
  return context.emit('BatchNormalization', [data, ...per], { dtype: data.dtype, shape: data.shape }, { epsilon: { float: epsilon } });
}

function batchMoments(data: TypedValue, rank: number, context: TranslationContext): Moments {
  const axes = context.int64s([0, ...unknownSizes(rank - 2).map((_, axis) => axis + 2)]);
  const channels = data.shape?.[1] ?? -1;
  const kept = { dtype: data.dtype, shape: unknownSizes(rank).map((_, axis) => (axis === 1 ? channels : 1)) };
  const centre = context.emit('ReduceMean', [data, axes], kept, { keepdims: 1 });
  const distance = context.binary('Sub', data, centre);
  const per = { dtype: data.dtype, shape: [channels] };
  const variance = context.emit('ReduceMean', [context.binary('Mul', distance, distance), axes], per, { keepdims: 0 });
  const vector = context.emit('Reshape', [centre, context.int64s([-1])], per);
  return { mean: vector, variance };
}

/** What training would store: the new moments (the variance corrected for its sample), blended with the old by the averaging factor. */
function runningMoments(fresh: Moments, old: Moments, { data }: BatchNorm, context: TranslationContext): Moments {
  const factor = floatAttr(context.node, 'exponential_avg_factor', 1);
  const size = { dtype: 'int64' as const, shape: [] };
  const total = data.shape?.every((one) => one >= 0)
    ? context.scalar(elementCount(data.shape), 'int64')
    : context.emit('Size', [data], size);
  const channels = context.dims([context.dimOf(data, 1)]);
  const count = context.castTo(context.binary('Div', total, channels), data.dtype);
  const one = context.scalar(1, data.dtype);
  const fewer = context.binary('Max', context.binary('Sub', count, one), one);
  const corrected = context.binary('Mul', fresh.variance, context.binary('Div', count, fewer));
  if (factor === 1) return { mean: fresh.mean, variance: corrected };
  const weigh = (value: TypedValue, weight: number) =>
    context.binary('Mul', context.castTo(value, data.dtype), context.scalar(weight, data.dtype));
  const blend = (now: TypedValue, before: TypedValue) => context.binary('Add', weigh(before, 1 - factor), weigh(now, factor));
  return { mean: blend(fresh.mean, old.mean), variance: blend(corrected, old.variance) };
}

const batchNormGlobal: Translator = (node, _inputs, context) => {
  const [value, mean, variance, beta, gamma] = [0, 1, 2, 3, 4].map((index) => context.input(index));
  if (!value || !mean || !variance || !beta || !gamma) throw new TypeError('five inputs were read (this is a bug)');
  const spread = context.binary('Add', variance, context.scalar(floatAttr(node, 'variance_epsilon'), value.dtype));
  const root = context.compute('Sqrt', [spread], spread);
  const inverse = context.compute('Reciprocal', [root], root);
  const factor = boolAttr(node, 'scale_after_normalization') ? context.binary('Mul', inverse, gamma) : inverse;
  const centred = context.binary('Mul', context.binary('Sub', value, mean), factor);
  return [context.binary('Add', centred, beta)];
};

const localResponse: Translator = (node, _inputs, context) => {
  const value = context.input(0);
  const size = 2 * intAttr(node, 'depth_radius', 5) + 1;
  const attributes = {
    size,
    alpha: { float: floatAttr(node, 'alpha', 1) * size },
    beta: { float: floatAttr(node, 'beta', 0.5) },
    bias: { float: floatAttr(node, 'bias', 1) },
  };
  const data = toChannelsFirst(value, 4, context);
  return [toChannelsLast(context.compute('LRN', [data], data, attributes), 4, context)];
};

const adjustContrast: Translator = (_node, _inputs, context) => {
  const [images, factor] = [context.input(0), context.input(1)];
  const wide = images.dtype === 'half' ? 'float' : images.dtype;
  const value = context.castTo(images, wide);
  const mean = context.emit('ReduceMean', [value, context.int64s([-3, -2])], { dtype: wide, shape: null }, { keepdims: 1 });
  const scaled = context.binary('Mul', context.binary('Sub', value, mean), context.castTo(factor, wide));
  return [context.refine(context.castTo(context.binary('Add', scaled, mean), images.dtype), { shape: images.shape })];
};

/** Translators of this family by op. */
export const NORMALISATION: Readonly<Record<string, Translator>> = {
  BiasAdd: biasAdd,
  BiasAddV1: (_node, _inputs, context) => [context.binary('Add', context.input(0), context.input(1))],
  FusedBatchNorm: fusedBatchNorm,
  FusedBatchNormV2: fusedBatchNorm,
  FusedBatchNormV3: fusedBatchNorm,
  BatchNormWithGlobalNormalization: batchNormGlobal,
  LRN: localResponse,
  AdjustContrastv2: adjustContrast,
};
