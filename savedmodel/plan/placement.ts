import { ServeError } from '#mesh/errors.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import { unsupportedHint } from '../ops/unsupported-hint.ts';
import type { NodeFacts } from './node-facts.ts';
import { outputsOf } from './node-facts.ts';
import { VARIANT } from './output-dtypes.ts';
import { usersIn } from './signature-cut.ts';
import type { ValueSet } from './value-map.ts';

/** Where a node runs. */
export type Side = 'onnx' | 'host';

/** Ops whose host kernels are for what ONNX cannot take: too much work to be drawn onto the host by their neighbours. */
const HEAVY =
  /^(Einsum|.*MatMul.*|Conv.*|.*Conv2d.*|Resize.*|.*Pool.*|.*NonMaxSuppression.*|TopK.*|CropAndResize|.*FFT.*|Matrix.*|Cholesky.*|Svd|Qr|SelfAdjoint.*)$/;

/**
 * Decides for the nodes of one block (a signature's, or a body's that the host runs) where they run. What only ONNX or only the host can do is
 * clear. Cheap ops that both can do are drawn to the host when everything they need is there and something on the host needs them: small
 * integer arithmetic between string and sparse ops would else cut the graph into many segments. TensorLists never cross the border, so
 * what they connect stays together, on the host when one comes from outside of the block or leaves it. `taken`: the host itself uses the
 * results, as a loop does between rounds.
 *
 * Throws ServeError UNIMPLEMENTED naming op, node and function for a node that can run nowhere.
 */
export function placeNodes(
  nodes: readonly FlatNode[],
  { results, taken }: { readonly results: ValueSet; readonly taken: boolean },
  facts: NodeFacts,
  why: (node: FlatNode) => string | undefined,
): ReadonlyMap<FlatNode, Side> {
  const work = nodes.filter((node) => !facts.isConstant(node) && !facts.isHandle(node));
  const sides = new Map<FlatNode, Side>();
  const alone = new Set<FlatNode>();
  const own = new Set(work);
  const isList = (ref: ValueRef) => facts.dtypes.number(ref) === VARIANT;
  const crosses = (node: FlatNode) =>
    facts.usedBy(node).some((ref) => isList(ref) && !own.has(ref.node)) || outputsOf(node).some((ref) => isList(ref) && results.has(ref));
  for (const group of groupsByLists(work, facts)) {
    const onnx = group.every((node) => facts.canOnnx(node) && !crosses(node));
    if (group.length === 1) alone.add(group[0] as FlatNode);
    for (const node of group) {
      if (!onnx && !facts.canHost(node)) throw refusal(node, group, facts, why);
      sides.set(node, onnx ? 'onnx' : 'host');
    }
  }
  const users = usersIn(work, facts);
  const flexible = (node: FlatNode) =>
    sides.get(node) === 'onnx' && alone.has(node) && node.bodies === undefined && facts.canHost(node) && !HEAVY.test(node.op);
  const reachable = new Set<FlatNode>();
  for (const node of work) {
    const fromHost = (ref: ValueRef) => {
      const side = sides.get(ref.node);
      return side === undefined || side === 'host' || reachable.has(ref.node);
    };
    if (flexible(node) && node.inputs.every(fromHost)) reachable.add(node);
  }
  for (const node of [...work].reverse()) {
    if (!reachable.has(node)) continue;
    // An Identity that is left is where some signature is fed: beyond it, others can share that signature's segment.
    const wanted =
      node.op === 'Identity' ||
      outputsOf(node).some((ref) => (taken && results.has(ref)) || (users.get(ref) ?? []).some((user) => sides.get(user) === 'host'));
    if (wanted) sides.set(node, 'host');
  }
  return sides;
}

/** Nodes that TensorLists connect are one group; others are alone. */
function groupsByLists(nodes: readonly FlatNode[], facts: NodeFacts): readonly (readonly FlatNode[])[] {
  const parents = new Map<FlatNode, FlatNode>(nodes.map((node) => [node, node]));
  const find = (node: FlatNode): FlatNode => {
    let at = node;
    for (let up = parents.get(at); up !== undefined && up !== at; up = parents.get(at)) at = up;
    return at;
  };
  for (const node of nodes) {
    for (const ref of facts.usedBy(node)) {
      if (facts.dtypes.number(ref) === VARIANT && parents.has(ref.node)) parents.set(find(node), find(ref.node));
    }
  }
  const groups = new Map<FlatNode, FlatNode[]>();
  for (const node of nodes) {
    const root = find(node);
    const known = groups.get(root);
    if (known === undefined) groups.set(root, [node]);
    else known.push(node);
  }
  return [...groups.values()];
}

function refusal(node: FlatNode, group: readonly FlatNode[], facts: NodeFacts, why: (node: FlatNode) => string | undefined): ServeError {
  const found = why(node);
  const where = `op ${node.op} of node ${node.name} in ${node.function === undefined ? 'the main graph' : `function ${node.function}`}`;
  if (found !== undefined) return new ServeError('UNIMPLEMENTED', `${where} cannot be served: ${found}`);
  const other = group.find((one) => one !== node && !facts.canOnnx(one));
  const beside =
    other === undefined || facts.canOnnx(node) === false ? '' : `, because it shares a TensorList with ${other.op} ${other.name}`;
  return new ServeError('UNIMPLEMENTED', `${where} is not supported${beside}${unsupportedHint(node.op)}`);
}
