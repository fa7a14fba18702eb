import { ServeError } from '#mesh/errors.ts';
import type { FlatGraph, FlatNode, ValueRef } from '../flat-graph.ts';
import type { AttrValue, MetaGraph } from '../graph.ts';
import { Inliner, type Scope } from './inliner.ts';
import { topologicalOrder } from './topological.ts';

const DEFAULT_MAX_NODES = 10_000_000;

/** What to keep, and bounds. */
export interface FlattenOptions {
  /** `node:index` for a value, `node` for an operation. Only what these need is kept, so name inputs too; left out: all of the main graph. */
  readonly fetches?: readonly string[];
  /** The most nodes that inlining may make, for graphs whose functions call each other many times over; default 10 million. */
  readonly maxNodes?: number;
}

/** A function's body by itself: for loops and branches. */
export interface FunctionGraph extends FlatGraph {
  readonly name: string;
  /** `_Arg` nodes, one for each value that the function is called with. */
  readonly parameters: readonly FlatNode[];
  readonly results: readonly ValueRef[];
  /** Nodes that must run for their effect, needed by no result. */
  readonly effects: readonly FlatNode[];
}

/**
 * Inlines all calls of the main graph; bodies of If, Case and While stay functions. Nodes come in an order in which each follows what it
 * needs. A call with effects (writes, asserts) returns through Identity nodes that wait for them; a call that others wait for gets a NoOp
 * `call/^done`. Throws ServeError INVALID_ARGUMENT for references to nothing, unfilled placeholders, recursion (naming the cycle) and
 * cycles; UNIMPLEMENTED for an output of an op that nobody defines; RESOURCE_EXHAUSTED beyond `maxNodes`.
 */
export function flatten(metaGraph: MetaGraph, options: FlattenOptions = {}): FlatGraph {
  const inliner = new Inliner(metaGraph, options.maxNodes ?? DEFAULT_MAX_NODES);
  const { main } = inliner;
  const roots: FlatNode[] = [];
  for (const fetch of options.fetches ?? everything(inliner, metaGraph)) {
    const text = fetch.startsWith('^') ? fetch.slice(1) : fetch;
    roots.push(text.includes(':') ? inliner.value(main, text).node : inliner.control(main, text));
    inliner.finish();
  }
  return sealedGraph(inliner, main, roots);
}

/** Flattens a function of the library by itself; `attrs` are those of the attribute that names it. Errors are those of {@link flatten}. */
export function flattenFunction(metaGraph: MetaGraph, name: string, attrs: ReadonlyMap<string, AttrValue> = new Map()): FunctionGraph {
  const inliner = new Inliner(metaGraph, DEFAULT_MAX_NODES);
  const scope = inliner.functionScope(name, attrs);
  const results = inliner.returned(scope);
  const effects = inliner.effectsOf(scope);
  inliner.finish();
  const roots = [...scope.parameters, ...results.map((ref) => ref.node), ...effects];
  return { name, parameters: scope.parameters, results, effects, ...sealedGraph(inliner, scope, roots) };
}

/** The fetches that keep all of a MetaGraph that serving may ask for: all signatures' tensors, the assets, the restore op and the init op. */
export function servingFetches(metaGraph: MetaGraph): string[] {
  const names = new Set<string>();
  for (const { inputs, outputs } of metaGraph.signatures.values()) {
    for (const info of [...inputs.values(), ...outputs.values()]) {
      const all = info.sparse === undefined ? [info.tensorName] : [info.sparse.values, info.sparse.indices, info.sparse.denseShape];
      for (const name of all) if (name !== '') names.add(name.includes(':') ? name : `${name}:0`);
    }
  }
  for (const asset of metaGraph.assets) names.add(asset.tensorName);
  if (metaGraph.initOp !== null) names.add(operationOf(metaGraph.initOp));
  if (metaGraph.saver !== null) names.add(operationOf(metaGraph.saver.restoreOpName));
  return [...names];
}

/** `call:0` names an output that a restore or init function returns only so that it can be fetched. */
function operationOf(name: string): string {
  return name.replace(/^\^/, '').replace(/:\d+$/, '');
}

function everything(inliner: Inliner, metaGraph: MetaGraph): string[] {
  return metaGraph.nodes.flatMap(({ name }) => {
    if (!inliner.isCall(inliner.main, name)) return [name];
    const count = inliner.callOutputs(inliner.main, name);
    // A call's results wait for what it writes; one without results is kept for that alone.
    return count === 0 ? [name] : Array.from({ length: count }, (_, index) => `${name}:${index}`);
  });
}

function sealedGraph(inliner: Inliner, scope: Scope, roots: readonly FlatNode[]): FlatGraph {
  const nodes = topologicalOrder(roots);
  const kept = new Set(nodes);
  inliner.seal();
  return {
    nodes,
    value(tensorName) {
      const found = inliner.value(scope, tensorName);
      if (kept.has(found.node)) return found;
      throw new ServeError('INVALID_ARGUMENT', `tensor ${tensorName} is not among what was kept of the graph`);
    },
  };
}
