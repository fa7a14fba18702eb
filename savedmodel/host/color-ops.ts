/** Colors of float images whose last axis is red, green, blue. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostTensor } from '../host-value.ts';
import { dim, fromNumbers, type HostKernels, input, invalid, numbers, scalar, shapeText } from './host-tensor.ts';

/** RGBToHSV, HSVToRGB, AdjustHue, AdjustSaturation, AdjustContrastv2. */
export const COLOR_OPS: HostKernels = {
  RGBToHSV: (inputs) => [eachColor(input(inputs, 0), toHsv)],
  HSVToRGB: (inputs) => [eachColor(input(inputs, 0), toRgb)],
  AdjustHue: (inputs) => {
    const delta = scalar(input(inputs, 1), 'delta');
    return [
      adjusted(input(inputs, 0), (color) => {
        const [hue, saturation, value] = toHsv(color);
        const turned = hue + delta;
        return toRgb([turned - Math.floor(turned), saturation, value]);
      }),
    ];
  },
  AdjustSaturation: (inputs) => {
    const scale = scalar(input(inputs, 1), 'scale');
    return [
      adjusted(input(inputs, 0), (color) => {
        const [hue, saturation, value] = toHsv(color);
        return toRgb([hue, clamp(saturation * scale), value]);
      }),
    ];
  },
  AdjustContrastv2: (inputs) => [contrast(input(inputs, 0), scalar(input(inputs, 1), 'contrast_factor'))],
};

type Color = readonly [number, number, number];

function eachColor(image: HostTensor, change: (color: Color) => Color): HostTensor {
  if (image.shape.length < 1) throw invalid('input must be at least 1D');
  if (dim(image.shape, image.shape.length - 1) !== 3)
    throw invalid(`input must have 3 channels but input only has ${image.shape.at(-1)} channels.`);
  const values = numbers(image);
  const out = new Float64Array(values.length);
  for (let at = 0; at < values.length; at += 3) out.set(change([values[at] ?? 0, values[at + 1] ?? 0, values[at + 2] ?? 0]), at);
  return fromNumbers(image.dtype, image.shape, out);
}

function adjusted(image: HostTensor, change: (color: Color) => Color): HostTensor {
  if (image.shape.length < 3) throw invalid(`input must be at least 3-D, got shape${shapeText(image.shape)}`);
  if (image.shape.at(-1) !== 3) throw invalid(`input must have 3 channels but instead has ${image.shape.at(-1)} channels.`);
  return eachColor(image, change);
}

function toHsv([red, green, blue]: Color): Color {
  const value = Math.max(red, green, blue);
  const range = value - Math.min(red, green, blue);
  const saturation = value > 0 ? range / value : 0;
  if (range <= 0) return [0, saturation, value];
  const sixth = 1 / (6 * range);
  const hue = red === value ? sixth * (green - blue) : green === value ? sixth * (blue - red) + 2 / 6 : sixth * (red - green) + 4 / 6;
  return [hue < 0 ? hue + 1 : hue, saturation, value];
}

function toRgb([hue, saturation, value]: Color): Color {
  const sixths = hue * 6;
  const part = (amount: number) => (1 - saturation + saturation * clamp(amount)) * value;
  return [part(Math.abs(sixths - 3) - 1), part(2 - Math.abs(sixths - 2)), part(2 - Math.abs(sixths - 4))];
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}

/** Away from the mean of each channel of each image. */
function contrast(image: HostTensor, factor: number): HostTensor {
  const rank = image.shape.length;
  if (rank < 3) throw invalid(`input must be at least 3-D, got shape${shapeText(image.shape)}`);
  const channels = dim(image.shape, rank - 1);
  const pixels = dim(image.shape, rank - 2) * dim(image.shape, rank - 3);
  const images = elementCount(image.shape.slice(0, -3));
  const values = numbers(image);
  const out = new Float64Array(values.length);
  for (let one = 0; one < images; one++) {
    for (let channel = 0; channel < channels; channel++) {
      const at = (pixel: number) => (one * pixels + pixel) * channels + channel;
      let sum = 0;
      for (let pixel = 0; pixel < pixels; pixel++) sum += values[at(pixel)] ?? 0;
      const mean = sum / pixels;
      for (let pixel = 0; pixel < pixels; pixel++) out[at(pixel)] = ((values[at(pixel)] ?? 0) - mean) * factor + mean;
    }
  }
  return fromNumbers(image.dtype, image.shape, out);
}
