/** Leaves out what a graph does not need: translators make some values, such as sizes and states, that nobody takes in the end. */
import type { OnnxAttribute, OnnxGraph, OnnxNode } from '#proto/onnx-writer.ts';

/** The nodes that the outputs need, in order; the graphs inside are pruned too. */
export function prunedNodes(nodes: readonly OnnxNode[], outputs: readonly string[]): OnnxNode[] {
  const needed = new Set(outputs);
  const kept: OnnxNode[] = [];
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    const graphs = Object.entries(node.attributes ?? {}).map(([name, value]) => [name, prunedAttribute(value, needed)] as const);
    for (const input of node.inputs) needed.add(input);
    kept.push(graphs.length === 0 ? node : { ...node, attributes: Object.fromEntries(graphs) });
  }
  return kept.reverse();
}

function prunedAttribute(value: OnnxAttribute, needed: Set<string>): OnnxAttribute {
  return typeof value === 'object' && 'graph' in value ? { graph: prunedGraph(value.graph, needed) } : value;
}

/** The graph inside; the names that it uses, its own and those around it, are needed now. */
function prunedGraph(graph: OnnxGraph, needed: Set<string>): OnnxGraph {
  const outputs = graph.outputs.map((output) => output.name);
  const nodes = prunedNodes(graph.nodes, outputs);
  for (const name of [...outputs, ...namesUsedBy(nodes)]) needed.add(name);
  return { ...graph, nodes };
}

function namesUsedBy(nodes: readonly OnnxNode[]): readonly string[] {
  return nodes.flatMap((node) => [
    ...node.inputs,
    ...Object.values(node.attributes ?? {}).flatMap((value) =>
      typeof value === 'object' && 'graph' in value
        ? [...namesUsedBy(value.graph.nodes), ...value.graph.outputs.map((output) => output.name)]
        : [],
    ),
  ]);
}
