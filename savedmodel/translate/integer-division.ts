/**
 * Division of integers that cannot end the process: the smallest integer divided by -1 traps on x86, so that divisor is never handed to the
 * runtime. A zero divisor is left to the runtime's Div, which refuses it with an error; remainders are computed from quotients for that.
 */
import type { TranslationContext, TypedValue } from './translator.ts';

/** The quotient, rounded towards zero. The smallest integer by -1 wraps to itself. */
export function divideInts(left: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  const divisors = context.staticInts(right);
  const safe = right.dtype.startsWith('u') || divisors?.every((one) => one !== -1) === true;
  if (safe) return context.binary('Div', left, right);
  const isMinusOne = context.binary('Equal', right, context.scalar(-1, right.dtype), 'bool');
  const quotient = context.binary('Div', left, context.where(isMinusOne, context.scalar(1, right.dtype), right));
  return context.where(isMinusOne, context.binary('Sub', context.scalar(0, left.dtype), left), quotient);
}

/** What is left after divideInts; it has the sign of `left`. */
export function truncateModInts(left: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  return remainderOf(left, right, divideInts(left, right, context), context);
}

/** The quotient, rounded towards negative infinity. */
export function floorDivideInts(left: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  const quotient = divideInts(left, right, context);
  if (left.dtype.startsWith('u')) return quotient;
  const remainder = remainderOf(left, right, quotient, context);
  const crosses = crossesZero(remainder, right, context);
  return context.binary('Sub', quotient, context.castTo(crosses, quotient.dtype));
}

/** What is left after floorDivideInts; it has the sign of `right`. */
export function floorModInts(left: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  const remainder = truncateModInts(left, right, context);
  if (left.dtype.startsWith('u')) return remainder;
  return context.where(crossesZero(remainder, right, context), context.binary('Add', remainder, right), remainder);
}

function remainderOf(left: TypedValue, right: TypedValue, quotient: TypedValue, context: TranslationContext): TypedValue {
  return context.binary('Sub', left, context.binary('Mul', quotient, right));
}

/** True where the remainder is not zero and its sign is not the divisor's. */
function crossesZero(remainder: TypedValue, right: TypedValue, context: TranslationContext): TypedValue {
  const zero = context.scalar(0, right.dtype);
  const isNegative = (value: TypedValue) => context.binary('Less', value, zero, 'bool');
  const isZero = context.binary('Equal', remainder, zero, 'bool');
  const signsDiffer = context.binary('Xor', isNegative(remainder), isNegative(right));
  return context.binary('And', signsDiffer, context.emit('Not', [isZero], isZero));
}
