import { utf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { packStrings, type Tensor, tensorByteLength } from '#mesh/tensor.ts';
import type { FlatNode } from '../flat-graph.ts';
import { isVariable, resourceIdentity, type VariableBindings, type VariableSource } from '../flatten/index.ts';
import type { TensorBundle } from '../read/tensor-bundle.ts';
import { type TensorSource, tensorSource } from './data-file.ts';

/** Values up to this size are read at once: translators may want to look at them, and they become part of the model's own file. */
export const SMALL_BYTES = 64 * 1024;

/** A value that is there before any request: of a constant, or of a variable. */
export interface ResidentValue extends TensorSource {
  /** Equal keys mean equal values. */
  readonly key: unknown;
  /** The value, when it is small or lies in memory anyway. */
  readonly tensor?: Tensor;
}

/** Values of variables by {@link resourceIdentity}, read from the bundle where they are small. Rejects as the bundle's reader does. */
export async function readVariables(
  nodes: readonly FlatNode[],
  bindings: VariableBindings,
  bundle: TensorBundle | null,
): Promise<ReadonlyMap<string, ResidentValue>> {
  const values = new Map<string, ResidentValue>();
  for (const node of nodes) {
    if (!isVariable(node)) continue;
    const identity = resourceIdentity(node);
    const source = bindings.byIdentity.get(identity);
    if (source !== undefined && !values.has(identity)) values.set(identity, await readSource(source, bundle));
  }
  return values;
}

/** The value that a source stands for. Rejects as the bundle's reader does. */
export async function readSource(source: VariableSource, bundle: TensorBundle | null): Promise<ResidentValue> {
  if (source.type === 'constant') return constantValue(source.value);
  if (source.type === 'asset') {
    return constantValue({ dtype: 'string', shape: [], bytes: packStrings([utf8(`assets/${source.fileName}`)]) });
  }
  const { key, slice } = source;
  if (bundle === null) throw new ServeError('NOT_FOUND', `the SavedModel restores ${key} and has no variables folder`);
  const name = `checkpoint ${key} ${slice}`;
  const { dtype, shape } = bundle.entry(key);
  const byteLength = dtype === 'string' ? null : tensorByteLength(dtype, shape);
  if (slice !== '' || byteLength === null || byteLength <= SMALL_BYTES) {
    const tensor = await bundle.read(key, slice === '' ? undefined : slice);
    return { ...tensorSource(tensor), key: name, tensor };
  }
  return { dtype, shape, byteLength, key: name, read: () => bundle.read(key) };
}

/** A constant of the graph. */
export function constantValue(tensor: Tensor): ResidentValue {
  return { ...tensorSource(tensor), key: tensor, tensor };
}
