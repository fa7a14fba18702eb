/** Graphs that a node runs, made of what an inner builder collected. */
import type { OnnxGraph } from '#proto/onnx-writer.ts';
import type { FlatNode } from '../flat-graph.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { StaticShape } from './static-shapes.ts';
import type { TypedValue } from './translator.ts';

/** A result of the graph, and the shape to declare for it. */
export interface InnerResult {
  readonly value: TypedValue;
  readonly shape: StaticShape;
}

/**
 * The graph with the builder's nodes. A result that the graph does not compute itself, or that it gives twice, goes through an Identity: ONNX
 * wants outputs that are the graph's own.
 */
export function graphInside(
  builder: GraphBuilder,
  node: FlatNode,
  inputs: readonly TypedValue[],
  results: readonly InnerResult[],
): OnnxGraph {
  const own = new Set(builder.nodes.flatMap((one) => one.outputs));
  const names = results.map(({ value }) => {
    if (own.delete(value.name)) return value.name;
    const name = builder.pool.freshName(`${node.name}/result`);
    builder.nodes.push({ op: 'Identity', inputs: [value.name], outputs: [name] });
    return name;
  });
  return {
    name: node.name,
    inputs: inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    outputs: results.map(({ value, shape }, index) => ({ name: names[index] ?? '', dtype: value.dtype, shape })),
    initializers: [],
    nodes: builder.nodes,
  };
}
