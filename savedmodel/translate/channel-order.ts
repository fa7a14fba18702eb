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

/** Axes 1 … rank - 2: those of space in channels-last data. */
function spatialAxes(rank: number): number[] {
  return Array.from({ length: rank - 2 }, (_, axis) => axis + 1);
}

/** The entries of a per-axis attribute (strides, dilations, window) that belong to space. */
export function spatial(perAxis: readonly number[], channelsLast: boolean): readonly number[] {
  return channelsLast ? perAxis.slice(1, -1) : perAxis.slice(2);
}
