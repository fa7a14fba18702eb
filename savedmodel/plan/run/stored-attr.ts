/** Attributes between a flat graph and a plan's JSON. */
import { ServeError } from '#mesh/errors.ts';
import type { FlatNode } from '../../flat-graph.ts';
import { hostAttrsOf } from '../../flatten/host-attrs.ts';
import type { AttrValue } from '../../graph.ts';
import type { HostAttrs } from '../../host-value.ts';
import type { StoredAttr } from '../plan.ts';

/** A node's attributes by name. */
export type Attrs = ReadonlyMap<string, AttrValue>;

/** Attributes of TensorFlow's own that a step reads although their names begin with an underscore. */
const KEPT = new Set(['_grows']);

/**
 * A node's attributes as a step of a plan stores them. Left out are those that begin with `_` (notes for TensorFlow's runtime, some as long
 * as the graph) but `_grows`, and names of functions. Throws ServeError INVALID_ARGUMENT for a list that holds functions.
 */
export function storeAttrs(attrs: Attrs): Record<string, StoredAttr> {
  const stored: Record<string, StoredAttr> = {};
  for (const [name, value] of attrs) {
    if (value.type === 'function' || value.type === 'placeholder' || (name.startsWith('_') && !KEPT.has(name))) continue;
    stored[name] = encodeAttr(value);
  }
  return stored;
}

/** One attribute for JSON. Throws ServeError INVALID_ARGUMENT for a function or a placeholder: a step has no use of either. */
export function encodeAttr(attr: AttrValue): StoredAttr {
  switch (attr.type) {
    case 'string':
      return { type: 'string', base64: Buffer.from(attr.value).toString('base64') };
    case 'int':
      if (!Number.isSafeInteger(attr.value)) return { type: 'bigint', value: BigInt(attr.value).toString() };
      return { type: 'int', value: attr.value };
    case 'float':
      // JSON has neither these nor a negative zero.
      if (!Number.isFinite(attr.value) || Object.is(attr.value, -0))
        return { type: 'float', value: Object.is(attr.value, -0) ? '-0' : `${attr.value}` };
      return { type: 'float', value: attr.value };
    case 'bool':
    case 'dtype':
    case 'shape':
      return attr;
    case 'tensor': {
      const { dtype, shape, bytes } = attr.value;
      return { type: 'tensor', dtype, shape, base64: Buffer.from(bytes).toString('base64') };
    }
    case 'list':
      return { type: 'list', values: attr.values.map(encodeAttr) };
    case 'function':
    case 'placeholder':
      throw new ServeError('INVALID_ARGUMENT', `a ${attr.type} is no attribute of a plan's step`);
  }
}

/** The attribute that `encodeAttr` stored. An int beyond 2^53 comes back as the nearest double, which is what `AttrValue` holds. */
export function decodeAttr(stored: StoredAttr): AttrValue {
  switch (stored.type) {
    case 'string':
      return { type: 'string', value: bytesOf(stored.base64) };
    case 'int':
    case 'dtype':
      return { type: stored.type, value: stored.value };
    case 'bigint':
      return { type: 'int', value: Number(stored.value) };
    case 'float':
      return { type: 'float', value: Number(stored.value) };
    case 'bool':
    case 'shape':
      return stored;
    case 'tensor':
      return { type: 'tensor', value: { dtype: stored.dtype, shape: stored.shape, bytes: bytesOf(stored.base64) } };
    case 'list':
      return { type: 'list', values: stored.values.map(decodeAttr) };
  }
}

/** The attributes of a step, decoded once. */
export function decodeAttrs(stored: Readonly<Record<string, StoredAttr>>): Attrs {
  return new Map(Object.entries(stored).map(([name, value]) => [name, decodeAttr(value)]));
}

/** Decoded attributes as kernels read them; errors name the step's node and op. */
export function hostAttrs(step: { readonly node: string; readonly op: string }, attrs: Attrs): HostAttrs {
  const node: FlatNode = { name: step.node, op: step.op, inputs: [], controls: [], attrs, outputCount: 0 };
  return hostAttrsOf(node);
}

/** Memory of its own, so that typed arrays over it are aligned. */
function bytesOf(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}
