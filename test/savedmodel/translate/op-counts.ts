/** Looks into ONNX models: which operators they have, those of graphs inside too. */
import { ONNX } from '#proto/onnx-types.ts';
import { WIRE, WireReader } from '#proto/wire.ts';

const message = (field: number) => field * 8 + WIRE.bytes;

/** How often each operator occurs in an encoded model. */
export function opCounts(model: Uint8Array): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  const reader = new WireReader(model);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === message(ONNX.model.graph)) countGraph(reader.message(), counts);
    else reader.skip(tag);
  }
  return counts;
}

function countGraph(graph: WireReader, counts: Record<string, number>): void {
  while (graph.more()) {
    const tag = graph.tag();
    if (tag === message(ONNX.graph.node)) countNode(graph.message(), counts);
    else graph.skip(tag);
  }
}

function countNode(node: WireReader, counts: Record<string, number>): void {
  while (node.more()) {
    const tag = node.tag();
    if (tag === message(ONNX.node.opType)) {
      const op = node.text();
      counts[op] = (counts[op] ?? 0) + 1;
    } else if (tag === message(ONNX.node.attribute)) countAttribute(node.message(), counts);
    else node.skip(tag);
  }
}

function countAttribute(attribute: WireReader, counts: Record<string, number>): void {
  while (attribute.more()) {
    const tag = attribute.tag();
    if (tag === message(ONNX.attribute.graph)) countGraph(attribute.message(), counts);
    else attribute.skip(tag);
  }
}
