/** Short ways to make, structure and run small graphs. */
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import { flatten, foldConstants } from '../../../savedmodel/flatten/index.ts';
import type { MetaGraph, StoredFunction, StoredNode } from '../../../savedmodel/graph.ts';
import type { HostTensor } from '../../../savedmodel/host-value.ts';
import { type StructuredGraph, type StructureOptions, structureGraph } from '../../../savedmodel/structure/index.ts';
import { dtype, type FunctionParts, fun, metaGraph, node } from '../flatten/graphs.ts';
import { runGraph, type Variables } from './interpreter.ts';

export const INT = { T: dtype(3) };
export const BOOL = { T: dtype(10) };

/** An int32 placeholder. */
export function input(name: string): StoredNode {
  return node(name, 'Placeholder', [], { dtype: dtype(3) });
}

/** A function that returns one bool: a loop's condition. */
export function predicate(name: string, parts: FunctionParts): StoredFunction {
  const made = fun(name, parts);
  return { ...made, outputs: made.outputs.map((one) => ({ ...one, dtype: 10 })) };
}

/** Flattens, folds and structures; the fetches are what is kept. */
export function structure(
  nodes: readonly StoredNode[],
  functions: readonly StoredFunction[],
  fetches: readonly string[],
  options: StructureOptions = {},
): StructuredGraph {
  const graph: MetaGraph = metaGraph(nodes, functions);
  return structureGraph(graph, foldConstants(flatten(graph)), { fetches, ...options });
}

export function scalar(value: number): HostTensor {
  return { dtype: 'int32', shape: [], data: Int32Array.of(value) };
}

export function truth(value: boolean): HostTensor {
  return { dtype: 'bool', shape: [], data: Uint8Array.of(value ? 1 : 0) };
}

/** What a graph answers, as plain numbers. Fed numbers are int32 scalars, booleans bools. */
export function answers(
  graph: StructuredGraph,
  feeds: Readonly<Record<string, number | boolean | HostTensor>>,
  fetches: readonly string[],
  variables?: Variables,
): number[] {
  const given = Object.entries(feeds).map(([name, value]): [string, HostTensor] => {
    if (typeof value === 'number') return [`${name}:0`, scalar(value)];
    return [`${name}:0`, typeof value === 'boolean' ? truth(value) : value];
  });
  return runGraph(graph, new Map(given), fetches, variables).flatMap(({ data }) => Array.from(data as ArrayLike<number>, Number));
}

/** The node of an op anywhere in the graph; the only one. */
export function only(graph: StructuredGraph, op: string): FlatNode {
  const found = everywhere(graph.nodes).filter((one) => one.op === op);
  const [first] = found;
  if (first === undefined || found.length > 1) throw new RangeError(`${found.length} nodes are ${op}`);
  return first;
}

/** All nodes, those of bodies included. */
export function everywhere(nodes: readonly FlatNode[]): FlatNode[] {
  return nodes.flatMap((one) => [one, ...(one.bodies ?? []).flatMap((body) => everywhere(body.nodes))]);
}

export function opsOf(nodes: readonly FlatNode[]): string[] {
  return nodes.map((one) => one.op).sort();
}
