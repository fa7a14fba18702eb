/** Element-wise arithmetic of two or more tensors. */
import { floatAttr } from './attributes.ts';
import { pairwise } from './channel-order.ts';
import { divideInts, floorDivideInts, floorModInts, truncateModInts } from './integer-division.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

const isFloat = (value: TypedValue) => ['float', 'double', 'half', 'bfloat16'].includes(value.dtype);

/** A translator for an ONNX op of two inputs that means the same. Sizes known beside unknown ones stay known. */
function binary(op: string, fold?: (left: number, right: number) => number): Translator {
  return (_node, _inputs, context) => {
    const [left, right] = [context.input(0), context.input(1)];
    const result = pairwise(left, right, (one, other) => context.binary(op, one, other), context);
    const partial = fold === undefined ? null : foldPartial(left, right, context, fold);
    return [partial === null ? result : context.refine(result, { partial })];
  };
}

function foldPartial(
  left: TypedValue,
  right: TypedValue,
  context: TranslationContext,
  fold: (left: number, right: number) => number,
): (number | null)[] | null {
  const [a, b] = [left, right].map((value) => value.partial ?? context.staticInts(value));
  if (!a || !b || (left.partial === undefined && right.partial === undefined)) return null;
  const at = (list: readonly (number | null)[], index: number) => (list.length === 1 ? list[0] : list[index]) ?? null;
  return Array.from({ length: Math.max(a.length, b.length) }, (_, index) => {
    const [x, y] = [at(a, index), at(b, index)];
    return x === null || y === null ? null : fold(x, y);
  });
}

/** `number` as a constant of the value's dtype. */
const like = (context: TranslationContext, value: TypedValue, number: number) => context.scalar(number, value.dtype);

/** A binary op that is 0 wherever one input (`zeroOf`) is 0, whatever the other is. */
function zeroWhereZero(
  zeroOf: 0 | 1,
  combine: (left: TypedValue, right: TypedValue, context: TranslationContext) => TypedValue,
): Translator {
  return (_node, _inputs, context) => {
    const [left, right] = [context.input(0), context.input(1)];
    const tested = zeroOf === 0 ? left : right;
    const zero = like(context, tested, 0);
    return [context.where(context.binary('Equal', tested, zero, 'bool'), zero, combine(left, right, context))];
  };
}

const divide: Translator = (_node, _inputs, context) => {
  const [left, right] = [context.input(0), context.input(1)];
  return [pairwise(left, right, (a, b) => (isFloat(a) ? context.binary('Div', a, b) : divideInts(a, b, context)), context)];
};

const floorDiv: Translator = (_node, _inputs, context) => {
  const [left, right] = [context.input(0), context.input(1)];
  if (!isFloat(left)) {
    const partial = foldPartial(left, right, context, (a, b) => (b === 0 ? -1 : Math.floor(a / b)));
    const result = floorDivideInts(left, right, context);
    return [partial === null ? result : context.refine(result, { partial })];
  }
  const quotient = context.binary('Div', left, right);
  return [context.compute('Floor', [quotient], quotient)];
};

const truncateMod: Translator = (_node, _inputs, context) => {
  const [left, right] = [context.input(0), context.input(1)];
  return [isFloat(left) ? floatRemainder(left, right, context) : truncateModInts(left, right, context)];
};

function floatRemainder(left: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  const wide = (value: TypedValue) => (value.dtype === 'double' ? value : context.castTo(value, 'float'));
  const [a, b] = [wide(left), wide(right)];
  const shape = context.binary('Add', a, b).shape;
  return context.castTo(context.emit('Mod', [a, b], { dtype: a.dtype, shape }, { fmod: 1 }), left.dtype);
}

const floorMod: Translator = (_node, _inputs, context) => {
  const [left, right] = [context.input(0), context.input(1)];
  if (!isFloat(left)) return [floorModInts(left, right, context)];
  const remainder = floatRemainder(left, right, context);
  const zero = like(context, left, 0);
  const negative = (value: TypedValue) => context.binary('Less', value, zero, 'bool');
  const signsDiffer = context.binary('Xor', negative(remainder), negative(right));
  const isZero = context.binary('Equal', remainder, zero, 'bool');
  const adjust = context.binary('And', signsDiffer, context.emit('Not', [isZero], isZero));
  return [context.where(adjust, context.binary('Add', remainder, right), remainder)];
};

const addN: Translator = (_node, inputs, context) => {
  const [first, ...rest] = inputs;
  if (first === undefined) throw context.unsupported('there is nothing to add');
  return [rest.reduce((sum, one) => pairwise(sum, one, (a, b) => context.binary('Add', a, b), context), first)];
};

const squaredDifference: Translator = (_node, _inputs, context) => {
  const square = (left: TypedValue, right: TypedValue) => {
    const difference = context.binary('Sub', left, right);
    return context.binary('Mul', difference, difference);
  };
  return [pairwise(context.input(0), context.input(1), square, context)];
};

/** Zeros keep their sign: that is read off the reciprocal. */
const atan2: Translator = (_node, _inputs, context) => {
  const [y, x] = withoutTwoInfinities(context.input(0), context.input(1), context);
  const zero = like(context, x, 0);
  const isZero = (value: TypedValue) => context.binary('Equal', value, zero, 'bool');
  const isNegative = (value: TypedValue) => {
    const signed = context.where(isZero(value), context.binary('Div', like(context, value, 1), value), value);
    return context.binary('Less', signed, zero, 'bool');
  };
  const quotient = context.binary('Div', y, x);
  const angle = context.where(context.binary('And', isZero(x), isZero(y)), y, context.compute('Atan', [quotient], quotient));
  const turn = context.where(isNegative(y), like(context, x, -Math.PI), like(context, x, Math.PI));
  return [context.where(isNegative(x), context.binary('Add', angle, turn), angle)];
};

/** Two infinities have the angle of their signs; their quotient has none. */
function withoutTwoInfinities(y: TypedValue, x: TypedValue, context: TranslationContext): readonly [TypedValue, TypedValue] {
  const isInfinite = (value: TypedValue) => context.compute('IsInf', [value], { dtype: 'bool', shape: value.shape });
  const both = context.binary('And', isInfinite(y), isInfinite(x));
  const bounded = (value: TypedValue) => context.where(both, context.compute('Sign', [value], value), value);
  return [bounded(y), bounded(x)];
}

const pow: Translator = (_node, _inputs, context) => {
  const [base, exponent] = [context.input(0), context.input(1)];
  return [context.binary('Pow', base, exponent)];
};

const clipByValue: Translator = (_node, _inputs, context) => {
  const lifted = context.binary('Max', context.input(0), context.input(1));
  return [context.binary('Min', lifted, context.input(2))];
};

const approximateEqual: Translator = (node, _inputs, context) => {
  const difference = context.binary('Sub', context.input(0), context.input(1));
  const distance = context.compute('Abs', [difference], difference);
  return [context.binary('Less', distance, like(context, distance, floatAttr(node, 'tolerance', 1e-5)), 'bool')];
};

const logOf = (value: TypedValue, context: TranslationContext) => context.compute('Log', [value], value);

/** Translators of this family by op. */
export const ARITHMETIC: Readonly<Record<string, Translator>> = {
  Add: binary('Add', (a, b) => a + b),
  AddV2: binary('Add', (a, b) => a + b),
  Sub: binary('Sub', (a, b) => a - b),
  Mul: binary('Mul', (a, b) => a * b),
  Maximum: binary('Max', Math.max),
  Minimum: binary('Min', Math.min),
  RealDiv: divide,
  Div: divide,
  TruncateDiv: divide,
  FloorDiv: floorDiv,
  FloorMod: floorMod,
  Mod: truncateMod,
  TruncateMod: truncateMod,
  DivNoNan: zeroWhereZero(1, (x, y, context) => context.binary('Div', x, y)),
  MulNoNan: zeroWhereZero(1, (x, y, context) => context.binary('Mul', x, y)),
  Xdivy: zeroWhereZero(0, (x, y, context) => context.binary('Div', x, y)),
  Xlogy: zeroWhereZero(0, (x, y, context) => context.binary('Mul', x, logOf(y, context))),
  Xlog1py: zeroWhereZero(0, (x, y, context) => context.binary('Mul', x, logOf(context.binary('Add', y, like(context, y, 1)), context))),
  AddN: addN,
  AccumulateNV2: addN,
  SquaredDifference: squaredDifference,
  Atan2: atan2,
  Pow: pow,
  ClipByValue: clipByValue,
  ApproximateEqual: approximateEqual,
};
