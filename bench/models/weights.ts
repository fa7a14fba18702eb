/** The variables of a SavedModel, as weights of its ONNX counterpart. */
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import type { Tensor } from '#mesh/tensor.ts';
import { openTensorBundle } from '../../savedmodel/read/tensor-bundle.ts';

/** The variables of a SavedModel, by their paths in the object that was saved. */
export type Weights = ReadonlyMap<string, Tensor>;

/** Reads all variables of a SavedModel. */
export async function readWeights(folder: string): Promise<Weights> {
  const bundle = await openTensorBundle(join(folder, 'variables', 'variables'));
  const weights = new Map<string, Tensor>();
  for (const key of bundle.keys()) {
    const name = key.replace(/\/\.ATTRIBUTES\/VARIABLE_VALUE$/, '');
    if (name !== key) weights.set(name, await bundle.read(key));
  }
  return weights;
}

/** Hands out the variables of `make-savedmodels.py` in the order of their layers. */
export function inOrder(weights: Weights): () => Tensor {
  let next = 0;
  return () => weightNamed(weights, `variables_of_net/${next++}`);
}

/** One variable. Throws NOT_FOUND when the SavedModel has none of that name. */
export function weightNamed(weights: Weights, name: string): Tensor {
  const found = weights.get(name);
  if (found === undefined) throw new ServeError('NOT_FOUND', `the SavedModel has no variable ${name}, only ${[...weights.keys()]}`);
  return found;
}
