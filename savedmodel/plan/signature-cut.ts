import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { NodeFacts } from './node-facts.ts';
import { ValueMap, ValueSet } from './value-map.ts';

/**
 * Cuts out of `nodes`, in their order, what some values and effects need. `given` are values that come from outside, and `facts` says what nodes
 * read.
 */
export function cutOut(
  nodes: readonly FlatNode[],
  wanted: { readonly values: readonly ValueRef[]; readonly effects: readonly FlatNode[] },
  given: ValueSet,
  facts: NodeFacts,
): readonly FlatNode[] {
  const inside = new Set(nodes);
  const notGiven = (refs: readonly ValueRef[]) => refs.flatMap((ref) => (given.has(ref) || !inside.has(ref.node) ? [] : [ref.node]));
  const needed = closure([...notGiven(wanted.values), ...wanted.effects], (node) => notGiven(facts.usedBy(node)));
  return nodes.filter((node) => needed.has(node));
}

/**
 * What TensorFlow would run to compute some values, in no order: all that data and control edges lead to, bodies of loops and branches
 * included. Found before aliases are resolved, because it is mostly an Identity that waits for a write.
 */
export function reachedFrom(values: readonly ValueRef[], isGiven: (ref: ValueRef) => boolean): ReadonlySet<FlatNode> {
  const notGiven = (refs: readonly ValueRef[]) => refs.flatMap((ref) => (isGiven(ref) ? [] : [ref.node]));
  return closure(notGiven(values), (node) => [
    ...notGiven(node.inputs),
    ...node.controls,
    ...(node.bodies?.flatMap((body) => [...body.nodes, ...body.results.map((ref) => ref.node)]) ?? []),
  ]);
}

function closure(roots: Iterable<FlatNode>, next: (node: FlatNode) => Iterable<FlatNode>): ReadonlySet<FlatNode> {
  const found = new Set<FlatNode>();
  const pending = [...roots];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (found.has(node)) continue;
    found.add(node);
    pending.push(...next(node));
  }
  return found;
}

/** The users of each value among some nodes. */
export function usersIn(nodes: readonly FlatNode[], facts: NodeFacts): ValueMap<FlatNode[]> {
  const users = new ValueMap<FlatNode[]>();
  for (const node of nodes) {
    for (const ref of new ValueSet(facts.usedBy(node)).values) {
      const known = users.get(ref);
      if (known === undefined) users.set(ref, [node]);
      else known.push(node);
    }
  }
  return users;
}
