import type { FlatGraph } from '../flat-graph.ts';
import type { MetaGraph } from '../graph.ts';
import { bindVariables, type UnboundVariable, type VariableBindings } from './bind-variables.ts';
import { flatten, servingFetches } from './flatten.ts';
import { type FoldedGraph, foldConstants } from './fold.ts';
import { initTables, type TableInit } from './init-tables.ts';
import { resourceIdentity } from './resources.ts';
import { parseTensorName } from './tensor-name.ts';

/** All that is known of a model before it is translated. */
export interface ServingGraph {
  /** Signatures, restore op and init op, folded. Predicates that only training sets (a PlaceholderWithDefault) count as their default. */
  readonly graph: FoldedGraph;
  readonly variables: VariableBindings;
  readonly tables: readonly TableInit[];
}

/**
 * Flattens and folds what serving needs, binds variables, and finds what fills tables. A PlaceholderWithDefault that no signature feeds
 * counts as its default. Errors are those of `flatten`.
 */
export function prepareServing(metaGraph: MetaGraph, checkpointKeys: ReadonlySet<string>): ServingGraph {
  const graph = foldForServing(metaGraph, flatten(metaGraph, { fetches: servingFetches(metaGraph) }));
  const variables = withInitialisers(metaGraph, bindVariables(graph, checkpointKeys, metaGraph.assets));
  return { graph, variables, tables: initTables(graph, variables, metaGraph.assets) };
}

function foldForServing(metaGraph: MetaGraph, flat: FlatGraph): FoldedGraph {
  const fed = new Set(
    [...metaGraph.signatures.values()].flatMap(({ inputs }) => [...inputs.values()].map((info) => nodeOf(info.tensorName))),
  );
  return foldConstants(flat, { usePlaceholderDefaults: (node) => !fed.has(node.name) });
}

function nodeOf(tensorName: string): string {
  return parseTensorName(tensorName).node;
}

/** Looks for initialisers of unbound variables in the parts of the main graph that serving does not reach. */
function withInitialisers(metaGraph: MetaGraph, found: VariableBindings): VariableBindings {
  const unbound = new Map(found.unbound.map((one) => [one.node.name, one.node]));
  const assigns = metaGraph.nodes.filter(({ op, inputs }) => {
    const [target] = inputs;
    return /^Assign(VariableOp)?$/.test(op) && target !== undefined && unbound.has(nodeOf(target));
  });
  if (assigns.length === 0) return found;
  const flat = flatten(metaGraph, { fetches: assigns.map((node) => node.name) });
  const more = bindVariables(foldConstants(flat), new Set(), metaGraph.assets);
  return merged(found, more);
}

function merged(found: VariableBindings, more: VariableBindings): VariableBindings {
  const byIdentity = new Map([...more.byIdentity, ...found.byIdentity]);
  const reasons = new Map(more.unbound.map((one) => [resourceIdentity(one.node), one.reason]));
  const bound = new Map(found.bound);
  const unbound: UnboundVariable[] = [];
  for (const { node, reason, isRestored } of found.unbound) {
    const identity = resourceIdentity(node);
    const source = byIdentity.get(identity);
    if (source !== undefined) bound.set(node, source);
    else unbound.push({ node, reason: reasons.get(identity) ?? reason, isRestored });
  }
  return { bound, unbound, byIdentity, sourceOf: (ref) => found.sourceOf(ref) ?? more.sourceOf(ref) };
}
