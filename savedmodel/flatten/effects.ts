import type { AttrValue, MetaGraph, StoredNode } from '../graph.ts';

const WRITES = new RegExp(
  [
    '^(Assign.*',
    'Assert',
    'Print(V2)?',
    'Resource(Sparse)?Apply.*',
    'ResourceScatter.*',
    'ResourceStridedSliceAssign',
    'ResourceCountUpTo',
    'Apply[A-Z].*',
    'SparseApply.*',
    'Scatter(Nd)?(Add|Sub|Mul|Div|Min|Max|Update)',
    'StridedSliceAssign',
    'CountUpTo',
    'InitializeTable.*',
    'LookupTable(Insert|Import|Remove)(V2)?',
    'Save(V2|Slices)?',
    'MergeV2Checkpoints',
    'WriteFile',
    'Write.*Summary',
    'Queue(Enqueue|Close).*',
    'Stack(Push|Close)(V2)?',
    'DestroyTemporaryVariable',
    'DestroyResourceOp',
    'PyFunc',
    'EagerPyFunc)$',
  ].join('|'),
);

/** Whether an op is run for what it does to a variable, a table or a file, or to fail, and not for its outputs alone. */
export function hasEffect(op: string): boolean {
  return WRITES.test(op);
}

/** The functions of the library that hold a node with an effect, directly or in a function they name. */
export function functionsWithEffects(metaGraph: MetaGraph): ReadonlySet<string> {
  const users = new Map<string, Set<string>>();
  const found = new Set<string>();
  for (const [name, { nodes }] of metaGraph.functions) {
    for (const node of nodes) {
      if (hasEffect(node.op)) found.add(name);
      for (const used of functionsNamedBy(node, metaGraph)) users.set(used, (users.get(used) ?? new Set()).add(name));
    }
  }
  const pending = [...found];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    for (const user of users.get(name) ?? []) {
      if (found.has(user)) continue;
      found.add(user);
      pending.push(user);
    }
  }
  return found;
}

/** The functions that a node calls or names in its attributes. */
export function functionsNamedBy(node: StoredNode, metaGraph: MetaGraph): readonly string[] {
  const names = metaGraph.functions.has(node.op) ? [node.op] : [];
  for (const attr of node.attrs.values()) {
    for (const one of attr.type === 'list' ? attr.values : [attr]) if (isFunction(one)) names.push(one.name);
  }
  return names;
}

function isFunction(attr: AttrValue): attr is AttrValue & { readonly type: 'function' } {
  return attr.type === 'function';
}
