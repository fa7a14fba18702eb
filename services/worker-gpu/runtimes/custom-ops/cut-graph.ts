/** Cuts an ONNX graph at the nodes that the host computes. */
import type { GraphParts, NodeParts } from '#proto/onnx-parts.ts';

/** One step of a graph that was cut. */
export type CutStep =
  | {
      readonly type: 'onnx';
      readonly nodes: readonly NodeParts[];
      /** Values that come from graph inputs or other steps. */
      readonly inputs: readonly string[];
      /** Values that other steps or the graph's outputs take. */
      readonly outputs: readonly string[];
    }
  | { readonly type: 'host'; readonly node: NodeParts };

/**
 * Orders the nodes into steps that alternate between nodes of the host, one by one, and as many of ONNX's as can run together; each node as early as
 * what it needs allows, so that steps are few. Nodes come after what they need, as they do in every valid graph.
 */
export function cutGraph(graph: GraphParts, isHost: (node: NodeParts) => boolean): readonly CutStep[] {
  const levels: NodeParts[][] = [];
  const madeAt = new Map<string, number>();
  for (const node of graph.nodes) {
    const side = isHost(node) ? 0 : 1;
    let level = side;
    for (const name of node.uses) {
      const before = madeAt.get(name);
      if (before === undefined) continue;
      // Levels of the host are even, those of ONNX odd.
      const own = before % 2 === side ? before : before + 1;
      // A host node runs alone, after those of its level that it needs: their order is the graph's.
      if (own > level) level = own;
    }
    while (levels.length <= level) levels.push([]);
    levels[level]?.push(node);
    for (const name of node.outputs) if (name !== '') madeAt.set(name, level);
  }
  const fed = new Set(graph.inputs.map(({ name }) => name));
  const wanted = new Set(graph.outputs.map(({ name }) => name));
  return levels.flatMap((nodes, level): readonly CutStep[] => {
    if (nodes.length === 0) return [];
    if (level % 2 === 0) return nodes.map((node) => ({ type: 'host', node }));
    const own = new Set(nodes.flatMap((node) => node.outputs));
    const inputs = new Set(nodes.flatMap((node) => node.uses).filter((name) => !own.has(name) && (fed.has(name) || madeAt.has(name))));
    const members = new Set(nodes);
    const usedElsewhere = new Set(graph.nodes.filter((node) => !members.has(node)).flatMap((node) => node.uses));
    const outputs = nodes.flatMap((node) => node.outputs).filter((name) => name !== '' && (usedElsewhere.has(name) || wanted.has(name)));
    return [{ type: 'onnx', nodes, inputs: [...inputs], outputs }];
  });
}
