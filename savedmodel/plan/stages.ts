import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { NodeFacts } from './node-facts.ts';
import type { Side } from './placement.ts';

/** Nodes that run together: on the host one after another, or as one ONNX segment. */
export interface Stage {
  readonly side: Side;
  readonly nodes: readonly FlatNode[];
}

/**
 * Orders a block's nodes into stages that alternate between host and ONNX, each node as early as what it reads allows, so that stages are few.
 * Nodes that touch state keep the order of `nodes` among each other, and the control edges between them count. Constant expressions that only
 * segments read belong to no stage: see `isConstantExpression`.
 */
export function stagesOf(nodes: readonly FlatNode[], sides: ReadonlyMap<FlatNode, Side>, facts: NodeFacts): readonly Stage[] {
  const levels = new Map<FlatNode, number>();
  let lastStateful = -1;
  for (const node of nodes) {
    const side = sides.get(node);
    if (side === undefined) continue;
    let level = side === 'host' ? 0 : 1;
    const after = (before: number) => {
      const wait = (before % 2 === 0) === (side === 'host') ? before : before + 1;
      if (wait > level) level = wait;
    };
    const inputs: readonly ValueRef[] = facts.usedBy(node);
    for (const ref of inputs) after(levels.get(ref.node) ?? -1);
    if (facts.touchesState(node)) {
      after(lastStateful);
      lastStateful = level;
    }
    levels.set(node, level);
  }
  const stages: { readonly side: Side; readonly nodes: FlatNode[] }[] = [];
  for (const node of nodes) {
    const level = levels.get(node);
    if (level === undefined) continue;
    while (stages.length <= level) stages.push({ side: stages.length % 2 === 0 ? 'host' : 'onnx', nodes: [] });
    stages[level]?.nodes.push(node);
  }
  return stages.filter((stage) => stage.nodes.length > 0);
}
