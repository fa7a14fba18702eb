/** Finds the nodes of an ONNX model that onnxruntime cannot run: those of custom ops. */
import type { NodeParts, OnnxParts } from '#proto/onnx-parts.ts';
import { RUNTIME_DOMAINS } from '../../../../savedmodel/ops/runtime-domains.ts';

/** A node of a custom op. */
export interface CustomNode {
  readonly node: NodeParts;
  /** It stands in the graph itself, not in one that a node runs nor in a function. */
  readonly isTop: boolean;
}

/** The nodes of domains that onnxruntime does not have, but for those that the model's own functions define. */
export function customNodes({ graph, functions }: OnnxParts): readonly CustomNode[] {
  const defined = new Set(functions.map(({ domain, name }) => `${domain}:${name}`));
  const isCustom = ({ domain, op }: NodeParts) => !RUNTIME_DOMAINS.has(domain) && !defined.has(`${domain}:${op}`);
  const tops = graph.nodes.filter(isCustom).map((node) => ({ node, isTop: true }));
  const inner = [...graph.nodes, ...functions.flatMap(({ nodes }) => nodes)].flatMap((node) => node.inner);
  const others = [...inner, ...functions.flatMap(({ nodes }) => nodes)].filter(isCustom).map((node) => ({ node, isTop: false }));
  return [...tops, ...others];
}

/** The node for messages: nodes of ONNX need no name. */
export function nodeName({ name, outputs, op }: NodeParts): string {
  return name || outputs.find((output) => output !== '') || op;
}
