/** Comparisons, logic and selection. */
import { broadcastShapes } from './static-shapes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

const compare =
  (op: string): Translator =>
  (_node, _inputs, context) => [context.binary(op, context.input(0), context.input(1), 'bool')];

const not = (value: TypedValue, context: TranslationContext) => context.emit('Not', [value], { dtype: 'bool', shape: value.shape });

const test =
  (op: string): Translator =>
  (_node, _inputs, context) => [context.compute(op, [context.input(0)], { dtype: 'bool', shape: context.input(0).shape })];

const isFiniteNumber: Translator = (_node, _inputs, context) => {
  const value = context.input(0);
  const is = (op: string) => context.compute(op, [value], { dtype: 'bool', shape: value.shape });
  return [not(context.binary('Or', is('IsNaN'), is('IsInf')), context)];
};

/** Select of TensorFlow 1: a condition vector picks whole rows, so it lines up with the first axis, not with the last. */
const select: Translator = (_node, _inputs, context) => {
  const [condition, left, right] = [context.input(0), context.input(1), context.input(2)];
  const rank = (value: TypedValue) => value.shape?.length;
  const aligned = rank(condition) === 0 || (rank(condition) !== undefined && rank(condition) === rank(left));
  const picked = context.where(aligned ? condition : alignFirstAxis(condition, left, context), left, right);
  return [context.refine({ ...picked, shape: left.shape }, { shape: right.shape })];
};

function alignFirstAxis(condition: TypedValue, value: TypedValue, context: TranslationContext): TypedValue {
  const known = condition.shape?.length === 1 ? value.shape?.length : undefined;
  if (known !== undefined) return context.reshape(condition, [-1, ...Array.from({ length: known - 1 }, () => 1)]);
  const rankOf = (one: TypedValue) => context.emit('Shape', [context.shapeOf(one)], { dtype: 'int64', shape: [1] });
  const missing = context.binary('Sub', rankOf(value), rankOf(condition));
  const ones = context.emit('Expand', [context.int64s([1]), missing], { dtype: 'int64', shape: [-1] });
  const target = context.emit('Concat', [context.shapeOf(condition), ones], { dtype: 'int64', shape: [-1] }, { axis: 0 });
  return context.emit('Reshape', [condition, target], { dtype: 'bool', shape: null }, { allowzero: 1 });
}

const notEqual: Translator = (_node, _inputs, context) => {
  const [left, right] = [context.input(0), context.input(1)];
  const equal = context.binary('Equal', left, right, 'bool');
  return [not({ ...equal, shape: broadcastShapes(left.shape, right.shape) }, context)];
};

/** Translators of this family by op. */
export const COMPARISON: Readonly<Record<string, Translator>> = {
  Equal: compare('Equal'),
  NotEqual: notEqual,
  Less: compare('Less'),
  LessEqual: compare('LessOrEqual'),
  Greater: compare('Greater'),
  GreaterEqual: compare('GreaterOrEqual'),
  LogicalAnd: compare('And'),
  LogicalOr: compare('Or'),
  LogicalNot: (_node, _inputs, context) => [not(context.input(0), context)],
  IsNan: test('IsNaN'),
  IsInf: test('IsInf'),
  IsFinite: isFiniteNumber,
  Select: select,
  SelectV2: (_node, _inputs, context) => [context.where(context.input(0), context.input(1), context.input(2))],
};
