/** Element-wise functions of one tensor: mathematics, rounding, casts. */
import { dtypeAttr } from './attributes.ts';
import { elementwise } from './channel-order.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

const isFloat = (value: TypedValue) => ['float', 'double', 'half', 'bfloat16'].includes(value.dtype);
const like = (context: TranslationContext, value: TypedValue, number: number) => context.scalar(number, value.dtype);
const apply = (op: string, value: TypedValue, context: TranslationContext) => context.compute(op, [value], value);

/** A value without what was known of its elements. */
const plain = (value: TypedValue): TypedValue => ({ name: value.name, dtype: value.dtype, shape: value.shape });

const unary =
  (op: string): Translator =>
  (_node, _inputs, context) => [elementwise(context.input(0), (data) => apply(op, plain(data), context), context)];

/** Rounding leaves integers alone. */
const rounding =
  (op: string): Translator =>
  (_node, _inputs, context) => [isFloat(context.input(0)) ? apply(op, plain(context.input(0)), context) : context.input(0)];

const square: Translator = (_node, _inputs, context) => [
  elementwise(context.input(0), (data) => context.binary('Mul', data, data), context),
];

const rsqrt: Translator = (_node, _inputs, context) => {
  const root = apply('Sqrt', plain(context.input(0)), context);
  return [apply('Reciprocal', root, context)];
};

/** log(1 + x) without losing the digits of a small x: log(u) * x / (u - 1) for u = 1 + x rounded. */
const log1p: Translator = (_node, _inputs, context) => {
  const x = plain(context.input(0));
  const one = like(context, x, 1);
  const sum = context.binary('Add', x, one);
  const log = apply('Log', sum, context);
  const isSmall = context.binary('Less', apply('Abs', x, context), like(context, x, 0.5), 'bool');
  const unchanged = context.binary('Equal', sum, one, 'bool');
  const excess = context.where(unchanged, one, context.binary('Sub', sum, one));
  const corrected = context.where(unchanged, x, context.binary('Div', context.binary('Mul', log, x), excess));
  return [context.where(isSmall, corrected, log)];
};

/** exp(x) - 1 = tanh(x / 2) * (exp(x) + 1), which keeps the digits of a small x. */
const expm1: Translator = (_node, _inputs, context) => {
  const x = plain(context.input(0));
  const half = apply('Tanh', context.binary('Mul', x, like(context, x, 0.5)), context);
  return [context.binary('Mul', half, context.binary('Add', apply('Exp', x, context), like(context, x, 1)))];
};

const erfc: Translator = (_node, _inputs, context) => {
  const x = plain(context.input(0));
  return [context.binary('Sub', like(context, x, 1), apply('Erf', x, context))];
};

/** Unlike ONNX's, TensorFlow's sign of NaN is NaN. */
const sign: Translator = (_node, _inputs, context) => {
  const x = plain(context.input(0));
  if (!isFloat(x)) return [apply('Sign', x, context)];
  const isNan = context.compute('IsNaN', [x], { dtype: 'bool', shape: x.shape });
  return [context.where(isNan, x, apply('Sign', x, context))];
};

const negate: Translator = (_node, _inputs, context) => {
  const x = plain(context.input(0));
  if (x.dtype.startsWith('u')) return [context.binary('Sub', like(context, x, 0), x)];
  return [apply('Neg', x, context)];
};

const cast: Translator = (node, _inputs, context) => [context.castTo(context.input(0), dtypeAttr(node, 'DstT'))];

/** Translators of this family by op. */
export const ELEMENTWISE: Readonly<Record<string, Translator>> = {
  Abs: unary('Abs'),
  Neg: negate,
  Sign: sign,
  Square: square,
  Sqrt: unary('Sqrt'),
  Rsqrt: rsqrt,
  Reciprocal: unary('Reciprocal'),
  Inv: unary('Reciprocal'),
  Exp: unary('Exp'),
  Expm1: expm1,
  Log: unary('Log'),
  Log1p: log1p,
  Floor: rounding('Floor'),
  Ceil: rounding('Ceil'),
  Round: rounding('Round'),
  Rint: rounding('Round'),
  Sin: unary('Sin'),
  Cos: unary('Cos'),
  Tan: unary('Tan'),
  Asin: unary('Asin'),
  Acos: unary('Acos'),
  Atan: unary('Atan'),
  Sinh: unary('Sinh'),
  Cosh: unary('Cosh'),
  Tanh: unary('Tanh'),
  Asinh: unary('Asinh'),
  Acosh: unary('Acosh'),
  Atanh: unary('Atanh'),
  Erf: unary('Erf'),
  Erfc: erfc,
  Sigmoid: unary('Sigmoid'),
  Cast: cast,
  Bitcast: (node, _inputs, context) => {
    if (dtypeAttr(node, 'type') !== context.input(0).dtype)
      throw context.unsupported('reinterpreting bits as another dtype has no ONNX operator');
    return [context.input(0)];
  },
};
