/** What bodies use of the graphs around them, and an order that respects it. */
import { ServeError } from '#mesh/errors.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';

/** The values from around a node that its bodies use, those of bodies in bodies included; none for a node without bodies. */
export function capturesOf(node: FlatNode): readonly ValueRef[] {
  const found = new Map<string, ValueRef>();
  collect(node, found);
  return [...found.values()];
}

function collect(node: FlatNode, found: Map<string, ValueRef>): void {
  for (const body of node.bodies ?? []) {
    const inside = new Set([...body.parameters, ...body.nodes]);
    const used: ValueRef[] = [...body.results];
    for (const one of body.nodes) {
      used.push(...one.inputs);
      if (one.bodies !== undefined) used.push(...capturesOf(one));
    }
    for (const ref of used) if (!inside.has(ref.node)) found.set(`${ref.node.name}:${ref.output}`, ref);
  }
}

/** What must have run before a node: its inputs, its controls, and what its bodies use and wait for outside of them. */
export class Needs {
  private readonly known = new Map<FlatNode, readonly FlatNode[]>();

  of(node: FlatNode): readonly FlatNode[] {
    const own = [...node.inputs.map((ref) => ref.node), ...node.controls];
    return node.bodies === undefined ? own : [...own, ...this.around(node)];
  }

  private around(node: FlatNode): readonly FlatNode[] {
    const known = this.known.get(node);
    if (known !== undefined) return known;
    const found = new Set<FlatNode>();
    for (const body of node.bodies ?? []) {
      const inside = new Set([...body.parameters, ...body.nodes]);
      const used = [...body.results.map((ref) => ref.node), ...body.nodes.flatMap((one) => this.of(one))];
      for (const one of used) if (!inside.has(one)) found.add(one);
    }
    const result = [...found];
    this.known.set(node, result);
    return result;
  }
}

/** The members in an order in which each follows what it needs of the others. Throws ServeError INVALID_ARGUMENT for a cycle. */
export function inRegionOrder(members: readonly FlatNode[], needs: Needs): FlatNode[] {
  const state = new Map<FlatNode, 'waiting' | 'open' | 'done'>(members.map((node) => [node, 'waiting']));
  const order: FlatNode[] = [];
  for (const root of members) {
    if (state.get(root) !== 'waiting') continue;
    state.set(root, 'open');
    const path = [{ node: root, needed: needs.of(root), next: 0 }];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const needed = top.needed[top.next++];
      if (needed === undefined) {
        state.set(top.node, 'done');
        order.push(top.node);
        path.pop();
      } else if (state.get(needed) === 'waiting') {
        state.set(needed, 'open');
        path.push({ node: needed, needed: needs.of(needed), next: 0 });
      } else if (state.get(needed) === 'open') {
        const members = path.map((one) => one.node.name);
        throw new ServeError(
          'INVALID_ARGUMENT',
          `loops and conditionals need each other's results: ${[...members, needed.name].join(' ← ')}`,
        );
      }
    }
  }
  return order;
}
