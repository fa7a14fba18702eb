/** Sparse tensors made dense. */
import { expand } from './shape-ops.ts';
import type { TranslationContext, Translator, TypedValue } from './translator.ts';

/** Indices as rows of coordinates [count, rank], whatever shorthand they came in: a scalar is one index of a vector, a vector several. */
function rows(indices: TypedValue, context: TranslationContext): TypedValue {
  const wide = context.castTo(indices, 'int64');
  const rank = context.requireRank(indices);
  if (rank === 2) return wide;
  return context.reshape(wide, [-1, 1]);
}

/** SparseToDense writes values (or one value everywhere) over a default. */
const sparseToDense: Translator = (_node, _inputs, context) => {
  const [indices, shape, values, fallback] = [context.input(0), context.input(1), context.input(2), context.input(3)];
  if (values.dtype === 'string') throw context.unsupported('string data is not supported');
  const dense = expand(fallback, shape, context);
  const places = rows(indices, context);
  const count = context.dims([context.dimOf(places, 0)]);
  const updates = context.compute('Expand', [values], { dtype: values.dtype, shape: [-1] }, undefined, [count]);
  return [context.compute('ScatterND', [dense], dense, undefined, [places, updates])];
};

/** Translators of this family by op. */
export const SPARSE: Readonly<Record<string, Translator>> = { SparseToDense: sparseToDense };
