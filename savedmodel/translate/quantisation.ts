/** Fake quantisation: rounding floats to a grid, as models trained for integers carry it. */
import { boolAttr, floatAttr, intAttr } from './attributes.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

/** Rounds to the grid between `low` and `high` (scalars or one per channel), moved so that zero lies on it. */
function fakeQuantise(value: TypedValue, low: TypedValue, high: TypedValue, context: TranslationContext): TypedValue {
  const { node } = context;
  const constant = (number: number) => context.scalar(number, 'float');
  const least = boolAttr(node, 'narrow_range', false) ? 1 : 0;
  const most = 2 ** intAttr(node, 'num_bits', 8) - 1;
  const scale = context.binary('Div', context.binary('Sub', high, low), constant(most - least));
  const zero = context.binary('Sub', constant(least), context.binary('Div', low, scale));
  // Half away from zero, which for this not negative number is floor(x + 0.5).
  const lifted = context.binary('Add', zero, constant(0.5));
  const rounded = context.compute('Floor', [lifted], lifted);
  const nudged = context.binary('Min', context.binary('Max', rounded, constant(least)), constant(most));
  const bound = (edge: number) => context.binary('Mul', context.binary('Sub', constant(edge), nudged), scale);
  const clamped = context.binary('Min', context.binary('Max', value, bound(least)), bound(most));
  const shifted = context.binary('Div', context.binary('Sub', clamped, bound(least)), scale);
  const halved = context.binary('Add', shifted, constant(0.5));
  const steps = context.compute('Floor', [halved], halved);
  const result = context.binary('Add', context.binary('Mul', steps, scale), bound(least));
  const isEmpty = context.binary('Equal', low, high, 'bool');
  return context.refine(context.where(isEmpty, constant(0), result), { shape: value.shape });
}

const fromInputs: Translator = (_node, _inputs, context) => [fakeQuantise(context.input(0), context.input(1), context.input(2), context)];

const fromAttributes: Translator = (node, _inputs, context) => {
  const edge = (name: string, fallback: number) => context.scalar(floatAttr(node, name, fallback), 'float');
  return [fakeQuantise(context.input(0), edge('min', -6), edge('max', 6), context)];
};

/** Translators of this family by op. */
export const QUANTISATION: Readonly<Record<string, Translator>> = {
  FakeQuantWithMinMaxVars: fromInputs,
  FakeQuantWithMinMaxVarsPerChannel: fromInputs,
  FakeQuantWithMinMaxArgs: fromAttributes,
};
