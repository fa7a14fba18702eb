/** Resizing images and picking boxes out of them. */
import { boolAttr, floatAttr } from './attributes.ts';
import { toChannelsFirst, toChannelsLast } from './channel-order.ts';
import type { OnnxAttributes, TranslationContext, Translator, TypedValue } from './translator.ts';

type Coordinates = 'align_corners' | 'half_pixel' | 'asymmetric';

function coordinates(context: TranslationContext): Coordinates {
  if (boolAttr(context.node, 'align_corners', false)) return 'align_corners';
  return boolAttr(context.node, 'half_pixel_centers', false) ? 'half_pixel' : 'asymmetric';
}

function resize(images: TypedValue, attributes: OnnxAttributes, context: TranslationContext): TypedValue {
  const size = context.input(1);
  const data = toChannelsFirst(images, 4, context);
  const [height = -1, width = -1] = context.staticInts(size) ?? [];
  const shape = [data.shape?.[0] ?? -1, data.shape?.[1] ?? -1, height, width];
  const outside = context.emit('Shape', [data], { dtype: 'int64', shape: [2] }, { start: 0, end: 2 });
  const wanted = context.toInt64Vector(size);
  const pair = wanted.shape?.[0] === 2 ? wanted : context.emit('Reshape', [wanted, context.int64s([2])], { dtype: 'int64', shape: [2] });
  const sizes = context.emit('Concat', [outside, pair], { dtype: 'int64', shape: [4] }, { axis: 0 });
  const mode = { ...attributes, coordinate_transformation_mode: coordinates(context) };
  if (attributes.mode !== 'cubic') {
    return toChannelsLast(context.compute('Resize', [data], { dtype: images.dtype, shape }, mode, [null, null, sizes]), 4, context);
  }
  // The runtime's optimizer would move the transposes past a cubic resize, which only knows channels first: the reshapes keep them apart.
  const flat = context.reshape(data, [1, -1, context.dimOf(data, 2), context.dimOf(data, 3)]);
  const count = context.emit('Shape', [flat], { dtype: 'int64', shape: [2] }, { start: 0, end: 2 });
  const flatSizes = context.emit('Concat', [count, pair], { dtype: 'int64', shape: [4] }, { axis: 0 });
  const resized = context.compute('Resize', [flat], { dtype: images.dtype, shape: [1, -1, height, width] }, mode, [null, null, flatSizes]);
  return toChannelsLast(context.emit('Reshape', [resized, sizes], { dtype: images.dtype, shape }, { allowzero: 1 }), 4, context);
}

/** TensorFlow interpolates in float whatever it is given, and gives float. */
const bilinear: Translator = (_node, _inputs, context) => [resize(context.castTo(context.input(0), 'float'), { mode: 'linear' }, context)];

const nearest: Translator = (_node, _inputs, context) => {
  const rounding = coordinates(context) === 'asymmetric' ? 'floor' : 'round_prefer_ceil';
  return [resize(context.input(0), { mode: 'nearest', nearest_mode: rounding }, context)];
};

/** With pixel centres TensorFlow uses Keys' kernel and leaves out what lies outside; without, an older kernel and repeated edges. */
const bicubic: Translator = (_node, _inputs, context) => {
  const keys = coordinates(context) === 'half_pixel';
  const kernel = { cubic_coeff_a: { float: keys ? -0.5 : -0.75 }, exclude_outside: keys ? 1 : 0 };
  return [resize(context.castTo(context.input(0), 'float'), { mode: 'cubic', ...kernel }, context)];
};

interface NonMaxInputs {
  readonly overlap: TypedValue;
  readonly score: TypedValue | null;
}

/** The indices of boxes [count, 4] that survive, int32, best first. */
function nonMax({ overlap, score }: NonMaxInputs, context: TranslationContext): TypedValue {
  const boxes = context.unsqueeze(context.castTo(context.input(0), 'float'), [0]);
  const scores = context.unsqueeze(context.castTo(context.input(1), 'float'), [0, 1]);
  const thresholds = [overlap, score].map((one) => (one === null ? null : context.castTo(one, 'float')));
  const limits = [context.toInt64Vector(context.input(2)), ...thresholds].filter((one, index) => index < 2 || one !== null);
  const chosen = context.emit('NonMaxSuppression', [boxes, scores, ...limits], { dtype: 'int64', shape: [-1, 3] }, { center_point_box: 0 });
  const column = context.emit('Gather', [chosen, context.scalar(2, 'int64')], { dtype: 'int64', shape: [-1] }, { axis: 1 });
  return context.castTo(column, 'int32');
}

const nonMaxV1: Translator = (node, _inputs, context) => [
  nonMax({ overlap: context.scalar(floatAttr(node, 'iou_threshold', 0.5), 'float'), score: null }, context),
];

const nonMaxV2: Translator = (_node, _inputs, context) => [nonMax({ overlap: context.input(3), score: null }, context)];

const nonMaxV3: Translator = (_node, _inputs, context) => [nonMax({ overlap: context.input(3), score: context.input(4) }, context)];

/** The indices, padded with zeros on demand, and how many are valid. */
function padded(indices: TypedValue, context: TranslationContext): readonly [TypedValue, TypedValue] {
  const count = context.emit('Shape', [indices], { dtype: 'int64', shape: [1] });
  const valid = context.castTo(context.squeeze(count, [0]), 'int32');
  if (!boolAttr(context.node, 'pad_to_max_output_size', false)) return [indices, valid];
  const missing = context.binary('Sub', context.toInt64Vector(context.input(2)), count);
  const pads = context.emit('Concat', [context.int64s([0]), missing], { dtype: 'int64', shape: [2] }, { axis: 0 });
  const [known = -1] = context.staticInts(context.input(2)) ?? [];
  return [context.emit('Pad', [indices, pads], { dtype: 'int32', shape: [known] }, { mode: 'constant' }), valid];
}

const nonMaxV4: Translator = (_node, _inputs, context) =>
  padded(nonMax({ overlap: context.input(3), score: context.input(4) }, context), context);

const nonMaxV5: Translator = (_node, _inputs, context) => {
  const sigma = context.input(5);
  if (sigma.constant === undefined || sigma.constant.bytes.some((byte) => byte !== 0)) {
    throw context.unsupported('soft suppression (a sigma other than the constant 0) has no ONNX operator');
  }
  const chosen = nonMax({ overlap: context.input(3), score: context.input(4) }, context);
  const scores = context.input(1);
  const picked = context.compute('Gather', [scores], { dtype: scores.dtype, shape: [-1] }, { axis: 0 }, [chosen]);
  const [indices, valid] = padded(chosen, context);
  if (!boolAttr(context.node, 'pad_to_max_output_size', false)) return [indices, picked, valid];
  const count = context.emit('Shape', [chosen], { dtype: 'int64', shape: [1] });
  const missing = context.binary('Sub', context.toInt64Vector(context.input(2)), count);
  const pads = context.emit('Concat', [context.int64s([0]), missing], { dtype: 'int64', shape: [2] }, { axis: 0 });
  return [indices, context.compute('Pad', [picked], picked, { mode: 'constant' }, [pads]), valid];
};

/** Translators of this family by op. */
export const IMAGES: Readonly<Record<string, Translator>> = {
  ResizeBilinear: bilinear,
  ResizeNearestNeighbor: nearest,
  ResizeBicubic: bicubic,
  NonMaxSuppression: nonMaxV1,
  NonMaxSuppressionV2: nonMaxV2,
  NonMaxSuppressionV3: nonMaxV3,
  NonMaxSuppressionV4: nonMaxV4,
  NonMaxSuppressionV5: nonMaxV5,
};
