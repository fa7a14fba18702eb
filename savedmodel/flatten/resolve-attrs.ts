import { ServeError } from '#mesh/errors.ts';
import type { AttrValue } from '../graph.ts';

type Attrs = ReadonlyMap<string, AttrValue>;

/**
 * A node's attributes with placeholders replaced by what the calling node says, and the op's defaults filled in. Returns `stored` itself
 * when nothing changes. Throws ServeError INVALID_ARGUMENT for a placeholder that the call does not fill; `where` names the node.
 */
export function resolveAttrs(stored: Attrs, caller: Attrs, defaults: Attrs, where: string): Attrs {
  let changed: Map<string, AttrValue> | undefined;
  for (const [name, value] of stored) {
    const resolved = substitute(value, caller, where);
    if (resolved === value) continue;
    changed ??= new Map(stored);
    changed.set(name, resolved);
  }
  for (const [name, value] of defaults) {
    if (stored.has(name)) continue;
    changed ??= new Map(stored);
    changed.set(name, value);
  }
  return changed ?? stored;
}

/** Attributes nest only as deep as a NameAttrList does, which the format's reader bounds. */
function substitute(value: AttrValue, caller: Attrs, where: string): AttrValue {
  if (value.type === 'placeholder') {
    const filled = caller.get(value.name);
    if (filled === undefined)
      throw new ServeError('INVALID_ARGUMENT', `${where} needs attribute ${value.name} of its call, which has none`);
    return filled;
  }
  if (value.type === 'list') {
    const values = value.values.map((one) => substitute(one, caller, where));
    return values.every((one, index) => one === value.values[index]) ? value : { type: 'list', values };
  }
  if (value.type === 'function' && value.attrs.size > 0) {
    return { ...value, attrs: resolveAttrs(value.attrs, caller, new Map(), where) };
  }
  return value;
}
