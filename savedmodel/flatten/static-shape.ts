import type { FlatNode, ValueRef } from '../flat-graph.ts';

const PASSES = new Set(['Identity', 'ReadVariableOp', 'StopGradient', 'PreventGradient', 'Snapshot']);
const DECLARES = new Set(['VarHandleOp', 'VariableV2', 'Variable']);

/**
 * The shape of a value that cannot differ from one run to the next: of a constant, or of a variable whose shape is declared in full.
 * Placeholders have none, because clients may disregard the shape of a signature.
 */
export function staticShape(ref: ValueRef): readonly number[] | undefined {
  const { node } = passThrough(ref);
  if (node.op === 'Const') return constShape(node);
  if (!DECLARES.has(node.op)) return undefined;
  const declared = node.attrs.get('shape');
  if (declared?.type !== 'shape' || declared.value === null || declared.value.some((size) => size < 0)) return undefined;
  // A TF1 graph from before unknown ranks writes an unknown shape as [].
  return node.op !== 'VarHandleOp' && declared.value.length === 0 ? undefined : declared.value;
}

function passThrough(ref: ValueRef): ValueRef {
  let at = ref;
  while (PASSES.has(at.node.op)) {
    const [input] = at.node.inputs;
    if (input === undefined) break;
    at = input;
  }
  return at;
}

function constShape(node: FlatNode): readonly number[] | undefined {
  const value = node.attrs.get('value');
  return value?.type === 'tensor' ? value.value.shape : undefined;
}
