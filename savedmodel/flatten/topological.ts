import { ServeError } from '#mesh/errors.ts';
import type { FlatNode } from '../flat-graph.ts';

/**
 * Orders nodes so that each comes after what it needs, data and control alike; the edges out of NextIteration, which close TF1's loops, do
 * not count. Holds everything that `roots` reach. Stable: the same roots give the same order. Throws ServeError INVALID_ARGUMENT for a
 * cycle, naming some of its nodes. Uses no recursion.
 */
export function topologicalOrder(roots: Iterable<FlatNode>): FlatNode[] {
  const order: FlatNode[] = [];
  const state = new Map<FlatNode, 'open' | 'done'>();
  const path: { readonly node: FlatNode; next: number }[] = [];
  const later: FlatNode[] = [];
  const visit = (root: FlatNode) => {
    if (state.has(root)) return;
    state.set(root, 'open');
    path.push({ node: root, next: 0 });
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const { node } = top;
      const at = top.next++;
      const needed = at < node.inputs.length ? node.inputs[at]?.node : node.controls[at - node.inputs.length];
      if (needed === undefined) {
        state.set(node, 'done');
        order.push(node);
        path.pop();
      } else if (isBackEdge(needed)) {
        later.push(needed);
      } else if (!state.has(needed)) {
        state.set(needed, 'open');
        path.push({ node: needed, next: 0 });
      } else if (state.get(needed) === 'open') {
        throw cycle(
          path.map((one) => one.node),
          needed,
        );
      }
    }
  };
  for (const root of roots) visit(root);
  for (let node = later.pop(); node !== undefined; node = later.pop()) visit(node);
  return order;
}

function isBackEdge(node: FlatNode): boolean {
  return node.op === 'NextIteration' || node.op === 'RefNextIteration';
}

function cycle(path: readonly FlatNode[], start: FlatNode): ServeError {
  const members = path.slice(path.indexOf(start)).map((node) => node.name);
  const shown = members.length > 6 ? [...members.slice(0, 3), '…', ...members.slice(-2)] : members;
  return new ServeError('INVALID_ARGUMENT', `the graph has a cycle that is no loop: ${[...shown, start.name].join(' ← ')}`);
}
