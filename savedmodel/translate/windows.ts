/** The padding of windows that slide over space: convolutions and pooling. */
import { intsAttr, textAttr } from './attributes.ts';
import { spatial } from './channel-order.ts';
import type { OnnxAttributes, TranslationContext } from './translator.ts';

/** A window over the axes of space. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Sizes of the input along the axes of space, -1 when unknown; null for an unknown rank. */
  readonly sizes: readonly number[] | null;
}

/** ONNX's attributes for a window with the node's padding: SAME, VALID or EXPLICIT. */
export function windowAttributes(window: Window, channelsLast: boolean, context: TranslationContext): OnnxAttributes {
  const { strides, dilations } = window;
  const shared = { strides: [...strides], ...(dilations.some((one) => one !== 1) ? { dilations: [...dilations] } : {}) };
  const padding = textAttr(context.node, 'padding');
  if (padding === 'VALID') return shared;
  if (padding === 'EXPLICIT') return { ...shared, pads: explicitPads(channelsLast, context) };
  if (padding !== 'SAME') throw context.unsupported(`the padding ${padding} is not known`);
  const totals = samePadding(window);
  if (totals !== null)
    return { ...shared, pads: [...totals.map((one) => Math.floor(one / 2)), ...totals.map((one) => Math.ceil(one / 2))] };
  if (dilations.some((one) => one !== 1)) throw context.unsupported('strides and dilations together need sizes that are known');
  return { ...shared, auto_pad: 'SAME_UPPER' };
}

/** How much SAME pads along each axis, both ends together; null when that depends on an unknown size. */
export function samePadding({ kernel, strides, dilations, sizes }: Window): readonly number[] | null {
  const totals = kernel.map((taps, axis) => {
    const reach = (taps - 1) * (dilations[axis] ?? 1) + 1;
    const stride = strides[axis] ?? 1;
    const size = sizes?.[axis] ?? -1;
    if (stride === 1) return reach - 1;
    return size < 0 ? null : Math.max(0, (Math.ceil(size / stride) - 1) * stride + reach - size);
  });
  const known = totals.filter((one) => one !== null);
  return known.length === totals.length ? known : null;
}

/** TensorFlow lists before and after for every axis of the layout; ONNX all befores, then all afters, of space only. */
export function explicitPads(channelsLast: boolean, context: TranslationContext): number[] {
  const pads = intsAttr(context.node, 'explicit_paddings');
  const every = (side: 0 | 1) =>
    spatial(
      pads.filter((_, index) => index % 2 === side),
      channelsLast,
    );
  return [...every(0), ...every(1)];
}

/** The size of the result along each axis of space, -1 when unknown. */
export function windowSizes(window: Window, attributes: OnnxAttributes): readonly number[] {
  const pads = Array.isArray(attributes.pads) ? attributes.pads.map(Number) : [];
  return window.kernel.map((taps, axis) => {
    const size = window.sizes?.[axis] ?? -1;
    const stride = window.strides[axis] ?? 1;
    if (size < 0) return -1;
    if (attributes.auto_pad !== undefined) return Math.ceil(size / stride);
    const padded = size + (pads[axis] ?? 0) + (pads[axis + window.kernel.length] ?? 0);
    return Math.max(0, Math.floor((padded - (taps - 1) * (window.dilations[axis] ?? 1) - 1) / stride) + 1);
  });
}
