import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { MetaGraph } from '../graph.ts';
import type { FoldedGraph } from './fold.ts';
import { parseTensorName } from './tensor-name.ts';

/** Finds the file name that a value of the graph stands for, as the MetaGraph's asset list says; undefined for other values. */
export function assetNames(graph: FoldedGraph, assets: MetaGraph['assets']): (ref: ValueRef) => string | undefined {
  const wanted = new Map(assets.map(({ tensorName, fileName }) => [parseTensorName(tensorName).node, fileName]));
  const found = new Map<FlatNode, string>();
  if (wanted.size > 0) {
    for (const node of graph.nodes) {
      const fileName = wanted.get(node.name);
      if (fileName !== undefined) found.set(node, fileName);
    }
  }
  return ({ node }) => found.get(node);
}
