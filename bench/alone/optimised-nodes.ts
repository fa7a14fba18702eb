import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { readOnnxSkeletonFile } from '#proto/onnx-skeleton.ts';
import { ONNX } from '#proto/onnx-types.ts';
import { WIRE, WireReader } from '#proto/wire.ts';

/** Nodes of a model after onnxruntime's optimiser, those of graphs inside it included. */
export interface NodeCount {
  readonly nodes: number;
  /** Transposes, and the reorderings between channel layouts that onnxruntime puts in for convolutions on CPUs. */
  readonly transposes: number;
  readonly reorders: number;
  /** How many there are of each op. */
  readonly byOp: Readonly<Record<string, number>>;
}

/** Optimises a model file as a worker does, and counts. */
export async function countOptimisedNodes(model: string): Promise<NodeCount> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
  try {
    const optimizedModelFilePath = join(folder, 'optimised.onnx');
    const options = { optimizedModelFilePath, graphOptimizationLevel: 'all', intraOpNumThreads: 1, logSeverityLevel: 4 } as const;
    await (await InferenceSession.create(model, options)).release();
    const byOp: Record<string, number> = {};
    countModel(readOnnxSkeletonFile(optimizedModelFilePath), byOp);
    const nodes = Object.values(byOp).reduce((sum, count) => sum + count, 0);
    const reorders = (byOp.ReorderInput ?? 0) + (byOp.ReorderOutput ?? 0);
    return { nodes, transposes: byOp.Transpose ?? 0, reorders, byOp };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function countModel(bytes: Uint8Array, byOp: Record<string, number>): void {
  each(new WireReader(bytes), ONNX.model.graph, (graph) => countGraph(graph, byOp));
}

function countGraph(graph: WireReader, byOp: Record<string, number>): void {
  each(graph, ONNX.graph.node, (node) => {
    while (node.more()) {
      const tag = node.tag();
      if (tag === ONNX.node.opType * 8 + WIRE.bytes) {
        const op = node.text();
        byOp[op] = (byOp[op] ?? 0) + 1;
      } else if (tag === ONNX.node.attribute * 8 + WIRE.bytes) {
        each(node.message(), ONNX.attribute.graph, (inner) => countGraph(inner, byOp));
      } else {
        node.skip(tag);
      }
    }
  });
}

/** Calls back with each message of one field. */
function each(reader: WireReader, field: number, found: (message: WireReader) => void): void {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === field * 8 + WIRE.bytes) found(reader.message());
    else reader.skip(tag);
  }
}
