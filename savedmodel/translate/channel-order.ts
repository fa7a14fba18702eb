/** Between TensorFlow's channels-last layout and ONNX's channels-first. The runtime's optimizer cancels neighbouring transposes. */
import { textAttr } from './attributes.ts';
import type { TranslationContext, TypedValue } from './translator.ts';

/** Whether the node's data has its channels in the last axis. Throws UNIMPLEMENTED for the packed layouts of some CPUs and GPUs. */
export function isChannelsLast(context: TranslationContext, fallback = 'NHWC'): boolean {
  const format = textAttr(context.node, 'data_format', fallback);
  if (['NHWC', 'NDHWC', 'NWC'].includes(format)) return true;
  if (['NCHW', 'NCDHW', 'NCW'].includes(format)) return false;
  throw context.unsupported(`the data format ${format} is not supported`);
}

/** [N, …, C] to [N, C, …], for data of `rank` axes. */
export function toChannelsFirst(value: TypedValue, rank: number, context: TranslationContext): TypedValue {
  if (value.channelsFirst !== undefined) return value.channelsFirst;
  return context.transpose(value, [0, rank - 1, ...spatialAxes(rank)]);
}

/** [N, C, …] to [N, …, C], for data of `rank` axes. */
export function toChannelsLast(value: TypedValue, rank: number, context: TranslationContext): TypedValue {
  const { name, dtype, shape } = value;
  return { ...context.transpose(value, [0, ...spatialAxes(rank).map((axis) => axis + 1), 1]), channelsFirst: { name, dtype, shape } };
}

/** Does something element by element, on the side of the transpose where the runtime can fuse it with a convolution before. */
export function elementwise(value: TypedValue, apply: (data: TypedValue) => TypedValue, context: TranslationContext): TypedValue {
  const { channelsFirst } = value;
  if (!channelsFirst?.shape) return apply(value);
  return toChannelsLast(apply(channelsFirst), channelsFirst.shape.length, context);
}

/**
 * Does something to two values with broadcasting, on the side of the transposes where that can be: both have their channels first inside, or
 * the other is a scalar or one number per channel.
 */
export function pairwise(
  left: TypedValue,
  right: TypedValue,
  apply: (left: TypedValue, right: TypedValue) => TypedValue,
  context: TranslationContext,
): TypedValue {
  const rank = Math.max(left.channelsFirst?.shape?.length ?? 0, right.channelsFirst?.shape?.length ?? 0);
  const [one, other] = rank === 0 ? [null, null] : [left, right].map((value) => insideOf(value, rank, context));
  return one && other ? toChannelsLast(apply(one, other), rank, context) : apply(left, right);
}

/** What takes a value's place when the axes are [N, C, …]; null when that would take a transpose. */
function insideOf(value: TypedValue, rank: number, context: TranslationContext): TypedValue | null {
  const { channelsFirst, shape, constant } = value;
  if (channelsFirst !== undefined) return channelsFirst.shape?.length === rank ? channelsFirst : null;
  if (shape === null || shape.length > rank || shape.slice(0, -1).some((size) => size !== 1)) return null;
  const channels = shape.at(-1) ?? 1;
  if (shape.length === 0 || (channels === 1 && shape.length === 1)) return value;
  const spread = [channels, ...Array.from({ length: rank - 2 }, () => 1)];
  if (constant !== undefined) return context.constant({ ...constant, shape: spread });
  return channels < 0 ? null : context.reshape(value, spread);
}

/** Axes 1 … rank - 2: those of space in channels-last data. */
function spatialAxes(rank: number): number[] {
  return Array.from({ length: rank - 2 }, (_, axis) => axis + 1);
}

/** The entries of a per-axis attribute (strides, dilations, window) that belong to space. */
export function spatial(perAxis: readonly number[], channelsLast: boolean): readonly number[] {
  return channelsLast ? perAxis.slice(1, -1) : perAxis.slice(2);
}
