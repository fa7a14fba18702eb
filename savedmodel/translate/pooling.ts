/** Pooling over windows. */
import type { DType } from '#mesh/tensor.ts';
import { boolAttr, dtypeAttr, intsAttr } from './attributes.ts';
import { isChannelsLast, spatial, toChannelsFirst, toChannelsLast } from './channel-order.ts';
import { computeDtype } from './dtype-support.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';
import { type Window, windowAttributes, windowSizes } from './windows.ts';

interface PoolInput {
  /** Channels first. */
  readonly data: TypedValue;
  readonly window: Window;
  readonly channelsLast: boolean;
  readonly rank: number;
}

function poolInput(axes: number, kernel: readonly number[], strides: readonly number[], context: TranslationContext): PoolInput {
  const channelsLast = isChannelsLast(context, axes === 3 ? 'NDHWC' : 'NHWC');
  const input = context.input(0);
  const rank = axes + 2;
  const outside = [...kernel.slice(0, 1), ...(channelsLast ? kernel.slice(-1) : kernel.slice(1, 2))];
  if (outside.some((one) => one !== 1)) throw context.unsupported('pooling over batch or channels has no ONNX operator');
  const window: Window = {
    kernel: spatial(kernel, channelsLast),
    strides: spatial(strides, channelsLast),
    dilations: Array.from({ length: axes }, () => 1),
    sizes: input.shape === null ? null : spatial(input.shape, channelsLast),
  };
  return { data: channelsLast ? toChannelsFirst(input, rank, context) : input, window, channelsLast, rank };
}

function pool(op: 'MaxPool' | 'AveragePool', { data, window, channelsLast, rank }: PoolInput, context: TranslationContext): TypedValue {
  const attributes = windowAttributes(window, channelsLast, context);
  const shape = [data.shape?.[0] ?? -1, data.shape?.[1] ?? -1, ...windowSizes(window, attributes)];
  const full = { ...withoutDilations(op, attributes), kernel_shape: [...window.kernel] };
  const result = context.compute(op, [data], { dtype: data.dtype, shape }, full);
  return channelsLast ? toChannelsLast(result, rank, context) : result;
}

function withoutDilations<T extends object>(op: string, attributes: T): T {
  return op === 'AveragePool' ? { ...attributes, count_include_pad: 0 } : attributes;
}

const fromAttributes =
  (op: 'MaxPool' | 'AveragePool', axes: number): Translator =>
  (node, _inputs, context) => [pool(op, poolInput(axes, intsAttr(node, 'ksize'), intsAttr(node, 'strides'), context), context)];

const maxPoolV2: Translator = (_node, _inputs, context) => {
  const [kernel, strides] = [context.requireInts(context.input(1), 'the window'), context.requireInts(context.input(2), 'the strides')];
  return [pool('MaxPool', poolInput(2, kernel, strides, context), context)];
};

/** ONNX numbers what it picked over [N, C, H, W], TensorFlow over [H, W, C], with N before it on demand. */
const maxPoolWithArgmax: Translator = (node, _inputs, context) => {
  const { data, window, rank } = poolInput(2, intsAttr(node, 'ksize'), intsAttr(node, 'strides'), context);
  const attributes = windowAttributes(window, true, context);
  const shape = [data.shape?.[0] ?? -1, data.shape?.[1] ?? -1, ...windowSizes(window, attributes)];
  const dtype: DType = computeDtype('MaxPool', data.dtype) ?? data.dtype;
  const results = [
    { dtype, shape },
    { dtype: 'int64' as const, shape },
  ];
  const [best, places] = context.emitMany('MaxPool', [context.castTo(data, dtype)], results, {
    ...attributes,
    kernel_shape: [...window.kernel],
  });
  if (best === undefined || places === undefined) throw new TypeError('MaxPool gives two outputs (this is a bug)');
  const sizeOf = (axis: number) => context.dims([context.dimOf(data, axis)]);
  const area = context.binary('Mul', sizeOf(2), sizeOf(3));
  const channels = sizeOf(1);
  const last = toChannelsLast(places, rank, context);
  const plane = context.binary('Div', last, area);
  const within = context.binary('Sub', last, context.binary('Mul', plane, area));
  const image = context.binary('Div', plane, channels);
  const channel = context.binary('Sub', plane, context.binary('Mul', image, channels));
  const inImage = context.binary('Add', context.binary('Mul', within, channels), channel);
  const whole = context.binary('Mul', image, context.binary('Mul', area, channels));
  const index = boolAttr(node, 'include_batch_in_index', false) ? context.binary('Add', inImage, whole) : inImage;
  return [context.castTo(toChannelsLast(best, rank, context), data.dtype), context.castTo(index, dtypeAttr(node, 'Targmax', 'int64'))];
};

/** Translators of this family by op. */
export const POOLING: Readonly<Record<string, Translator>> = {
  MaxPool: fromAttributes('MaxPool', 2),
  MaxPoolV2: maxPoolV2,
  MaxPool3D: fromAttributes('MaxPool', 3),
  AvgPool: fromAttributes('AveragePool', 2),
  AvgPool3D: fromAttributes('AveragePool', 3),
  MaxPoolWithArgmax: maxPoolWithArgmax,
};
