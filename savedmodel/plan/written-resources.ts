import type { FlatNode } from '../flat-graph.ts';
import { hasEffect, isTable, isVariable, originOf, resourceIdentity } from '../flatten/index.ts';

/** The variables and tables that some nodes write when they run, by {@link resourceIdentity}: they are state. */
export function writtenResources(reached: Iterable<FlatNode>): readonly string[] {
  return [...reached].filter((node) => hasEffect(node.op)).flatMap(targetsOf);
}

function targetsOf(node: FlatNode): readonly string[] {
  return node.inputs.flatMap((ref) => {
    // A reference that went through an Identity is a value.
    const target = ref.node.op === 'Identity' && originOf(ref).node.op !== 'VarHandleOp' ? ref.node : originOf(ref).node;
    return isVariable(target) || isTable(target) ? [resourceIdentity(target)] : [];
  });
}
