/** Convolutions of any number of spatial axes, depthwise and transposed ones among them. */
import { intsAttr, textAttr } from './attributes.ts';
import { isChannelsLast, spatial, toChannelsFirst, toChannelsLast } from './channel-order.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';
import { explicitPads, samePadding, type Window, windowAttributes, windowSizes } from './windows.ts';

const ones = (count: number) => Array.from({ length: count }, () => 1);

/** The spatial sizes of data in either layout; null for an unknown rank. */
function spaceOf(value: TypedValue, channelsLast: boolean): readonly number[] | null {
  return value.shape === null ? null : spatial(value.shape, channelsLast);
}

function filterSpace(filter: TypedValue, axes: number, context: TranslationContext): readonly number[] {
  const sizes = filter.shape?.slice(0, axes);
  if (sizes === undefined || sizes.some((size) => size < 0)) throw context.unsupported("the filter's shape must be known");
  return sizes;
}

function windowOf(input: TypedValue, filter: TypedValue, axes: number, channelsLast: boolean, context: TranslationContext): Window {
  const perAxis = (name: string) => (context.node.attrs.has(name) ? spatial(intsAttr(context.node, name), channelsLast) : []);
  const [strides, dilations] = [perAxis('strides'), perAxis('dilations')];
  return {
    kernel: filterSpace(filter, axes, context),
    strides: strides.length === 0 ? ones(axes) : strides,
    dilations: dilations.length === 0 ? ones(axes) : dilations,
    sizes: spaceOf(input, channelsLast),
  };
}

const conv =
  (axes: number): Translator =>
  (_node, _inputs, context) => {
    const channelsLast = isChannelsLast(context, axes === 3 ? 'NDHWC' : 'NHWC');
    const [input, filter] = [context.input(0), context.input(1)];
    const rank = axes + 2;
    const window = windowOf(input, filter, axes, channelsLast, context);
    // [space…, in, out] to [out, in, space…]
    const weights = context.transpose(filter, [axes + 1, axes, ...window.kernel.map((_, axis) => axis)]);
    const data = channelsLast ? toChannelsFirst(input, rank, context) : input;
    const group = groupsOf(data.shape?.[1] ?? -1, filter.shape?.[axes] ?? -1, context);
    return [convolve(data, weights, window, group, channelsLast, context)];
  };

/** Grouped convolutions say so only by having fewer input channels in the filter than in the data. */
function groupsOf(channels: number, filterChannels: number, context: TranslationContext): number {
  if (channels < 0 || filterChannels <= 0) return 1;
  if (channels % filterChannels !== 0) throw context.unsupported(`${channels} channels do not divide into groups of ${filterChannels}`);
  return channels / filterChannels;
}

function convolve(
  data: TypedValue,
  weights: TypedValue,
  window: Window,
  group: number,
  channelsLast: boolean,
  context: TranslationContext,
): TypedValue {
  const attributes = windowAttributes(window, channelsLast, context);
  const shape = [data.shape?.[0] ?? -1, weights.shape?.[0] ?? -1, ...windowSizes(window, attributes)];
  const full = { ...attributes, kernel_shape: [...window.kernel], group };
  const result = context.compute('Conv', [data, weights], { dtype: data.dtype, shape }, full);
  return channelsLast ? toChannelsLast(result, shape.length, context) : result;
}

const depthwise: Translator = (_node, _inputs, context) => {
  const channelsLast = isChannelsLast(context);
  const [input, filter] = [context.input(0), context.input(1)];
  const [, , channels = -1, multiplier = -1] = filter.shape ?? [];
  const window = windowOf(input, filter, 2, channelsLast, context);
  // [height, width, channel, multiplier] to [channel * multiplier, 1, height, width]
  const turned = context.transpose(filter, [2, 3, 0, 1]);
  const weights = flattenFilter(turned, [channels * multiplier, 1, ...window.kernel], context);
  const data = channelsLast ? toChannelsFirst(input, 4, context) : input;
  return [convolve(data, weights, window, channels, channelsLast, context)];
};

function flattenFilter(filter: TypedValue, shape: readonly number[], context: TranslationContext): TypedValue {
  if (shape.some((size) => size < 0)) throw context.unsupported("the filter's shape must be known");
  if (filter.constant !== undefined) return context.constant({ ...filter.constant, shape });
  return context.reshape(filter, shape);
}

/** Conv2DBackpropInput and its 3-D sibling, which is what transposed convolutions are stored as. */
const convTranspose =
  (axes: number): Translator =>
  (_node, _inputs, context) => {
    const channelsLast = isChannelsLast(context, axes === 3 ? 'NDHWC' : 'NHWC');
    const [sizes, filter, input] = [context.input(0), context.input(1), context.input(2)];
    const rank = axes + 2;
    const window = windowOf(input, filter, axes, channelsLast, context);
    // [space…, out, in] to [in, out, space…]
    const weights = context.transpose(filter, [axes + 1, axes, ...window.kernel.map((_, axis) => axis)]);
    const data = channelsLast ? toChannelsFirst(input, rank, context) : input;
    const target = targetSizes(sizes, channelsLast, context);
    const pads = staticTransposePads(target.known, window, channelsLast, context);
    const shape = [data.shape?.[0] ?? -1, weights.shape?.[1] ?? -1, ...(target.known ?? ones(axes).map(() => -1))];
    const shared = { kernel_shape: [...window.kernel], strides: [...window.strides], dilations: [...window.dilations] };
    const make = (extra: Record<string, number[]>, made: readonly number[]) =>
      context.compute('ConvTranspose', [data, weights], { dtype: data.dtype, shape: made }, { ...shared, ...extra });
    const result =
      pads === null
        ? cutToSize(
            make(
              {},
              shape.map((size, axis) => (axis < 2 ? size : -1)),
            ),
            target.runtime,
            window,
            channelsLast,
            context,
          )
        : make(pads, shape);
    return [channelsLast ? toChannelsLast(result, rank, context) : result];
  };

interface TargetSizes {
  readonly known: readonly number[] | null;
  /** The wanted sizes of space, int64. */
  readonly runtime: () => TypedValue;
}

/** The sizes of space that the result must have, out of `input_sizes` (all axes of the layout, or those of space only). */
function targetSizes(sizes: TypedValue, channelsLast: boolean, context: TranslationContext): TargetSizes {
  const parts = context.staticInts(sizes) ?? sizes.partial;
  const axes = intsAttr(context.node, 'strides').length - 2;
  const wanted = parts === undefined || parts.length === axes ? parts : channelsLast ? parts.slice(1, -1) : parts.slice(2);
  const known = wanted?.filter((one) => one !== null);
  const first = sizes.shape?.[0] === axes ? 0 : channelsLast ? 1 : 2;
  return {
    known: known !== undefined && known.length === wanted?.length ? known : null,
    runtime: () => {
      const bounds = [context.int64s([first]), context.int64s([first + axes])];
      return context.emit('Slice', [context.toInt64Vector(sizes), ...bounds], { dtype: 'int64', shape: [axes] });
    },
  };
}

/** Pads and output padding when the sizes on both sides are known: TensorFlow pads as the forward convolution would have. */
function staticTransposePads(
  target: readonly number[] | null,
  window: Window,
  channelsLast: boolean,
  context: TranslationContext,
): Record<string, number[]> | null {
  const padding = textAttr(context.node, 'padding');
  const { kernel, strides, dilations, sizes } = window;
  if (target === null) return null;
  const explicit = padding === 'EXPLICIT' ? explicitPads(channelsLast, context) : null;
  const forward = padding === 'SAME' ? samePadding({ ...window, sizes: target }) : null;
  const axes = kernel.length;
  const befores = kernel.map((_, axis) => explicit?.[axis] ?? Math.floor((forward?.[axis] ?? 0) / 2));
  const ends = kernel.map((taps, axis) => {
    const size = sizes?.[axis] ?? -1;
    if (size < 0) return null;
    const full = (size - 1) * (strides[axis] ?? 1) + (taps - 1) * (dilations[axis] ?? 1) + 1;
    return full - (befores[axis] ?? 0) - (target[axis] ?? 0);
  });
  const known = ends.filter((one) => one !== null);
  if (known.length < axes) return null;
  return { pads: [...befores, ...known.map((one) => Math.max(0, one))], output_padding: known.map((one) => Math.max(0, -one)) };
}

/** Cuts an unpadded transposed convolution [N, C, space…] to the wanted sizes, filling with zeros what it does not reach. */
function cutToSize(
  full: TypedValue,
  target: () => TypedValue,
  window: Window,
  channelsLast: boolean,
  context: TranslationContext,
): TypedValue {
  const axes = window.kernel.length;
  const vector = { dtype: 'int64' as const, shape: [axes] };
  const zeros = context.int64s(ones(axes).map(() => 0));
  const wanted = target();
  const strides = context.int64s(window.strides);
  const reach = context.int64s(window.kernel.map((taps, axis) => (taps - 1) * (window.dilations[axis] ?? 1) + 1));
  const steps = context.emit(
    'Div',
    [context.binary('Sub', context.binary('Add', wanted, strides), context.int64s(ones(axes))), strides],
    vector,
  );
  const covered = context.binary('Add', context.binary('Mul', context.binary('Sub', steps, context.int64s(ones(axes))), strides), reach);
  const total = context.binary('Max', context.binary('Sub', covered, wanted), zeros);
  const cutBefore = (padding: string): TypedValue => {
    if (padding === 'EXPLICIT') return context.int64s(explicitPads(channelsLast, context).slice(0, axes));
    return padding === 'VALID' ? zeros : context.emit('Div', [total, context.int64s(ones(axes).map(() => 2))], vector);
  };
  const before = cutBefore(textAttr(context.node, 'padding'));
  const end = context.binary('Add', before, wanted);
  const size = context.emit('Shape', [full], vector, { start: 2 });
  const missing = context.binary('Max', context.binary('Sub', end, size), zeros);
  const none = context.int64s([0, 0]);
  const pads = context.emit('Concat', [none, zeros, none, missing], { dtype: 'int64', shape: [2 * axes + 4] }, { axis: 0 });
  const padded = context.compute('Pad', [full], full, { mode: 'constant' }, [pads]);
  const places = context.int64s(window.kernel.map((_, axis) => axis + 2));
  return context.compute('Slice', [padded], full, undefined, [before, end, places]);
}

/** Translators of this family by op. */
export const CONVOLUTION: Readonly<Record<string, Translator>> = {
  Conv2D: conv(2),
  Conv3D: conv(3),
  DepthwiseConv2dNative: depthwise,
  Conv2DBackpropInput: convTranspose(2),
  Conv3DBackpropInputV2: convTranspose(3),
};
