/** Operations on the bits of integers. */
import { DTYPES, type DType } from '#mesh/tensor.ts';
import { computeDtype } from './dtype-support.ts';
import { broadcastShapes } from './static-shapes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

const bitwise =
  (op: string): Translator =>
  (_node, _inputs, context) => [context.binary(op, context.input(0), context.input(1))];

const not = (value: TypedValue, context: TranslationContext) => context.compute('BitwiseNot', [value], value);

/** ONNX shifts unsigned integers only. TensorFlow clamps the distance to the width less one. */
function shift(direction: 'LEFT' | 'RIGHT', value: TypedValue, distance: TypedValue, context: TranslationContext): TypedValue {
  const bits = 8 * DTYPES[value.dtype].byteSize;
  const clampedHigh = context.binary('Min', distance, context.scalar(bits - 1, distance.dtype));
  const clamped = distance.dtype.startsWith('u') ? clampedHigh : context.binary('Max', clampedHigh, context.scalar(0, distance.dtype));
  const wide: DType = value.dtype === 'int64' ? 'uint64' : (computeDtype('BitShift', value.dtype) ?? 'uint32');
  const result = { dtype: wide, shape: broadcastShapes(value.shape, distance.shape) };
  return context.castTo(
    context.emit('BitShift', [context.castTo(value, wide), context.castTo(clamped, wide)], result, { direction }),
    value.dtype,
  );
}

/** Negative integers shift in ones: the complement is shifted instead. */
const rightShift: Translator = (_node, _inputs, context) => {
  const [value, distance] = [context.input(0), context.input(1)];
  if (value.dtype.startsWith('u')) return [shift('RIGHT', value, distance, context)];
  const isNegative = context.binary('Less', value, context.scalar(0, value.dtype), 'bool');
  const shifted = shift('RIGHT', context.where(isNegative, not(value, context), value), distance, context);
  return [context.where(isNegative, not(shifted, context), shifted)];
};

/** Translators of this family by op. */
export const BITS: Readonly<Record<string, Translator>> = {
  BitwiseAnd: bitwise('BitwiseAnd'),
  BitwiseOr: bitwise('BitwiseOr'),
  BitwiseXor: bitwise('BitwiseXor'),
  Invert: (_node, _inputs, context) => [not(context.input(0), context)],
  LeftShift: (_node, _inputs, context) => [shift('LEFT', context.input(0), context.input(1), context)],
  RightShift: rightShift,
};
