import type { FlatNode, ValueRef } from '../flat-graph.ts';
import { hasEffect } from '../flatten/effects.ts';

/** What of a graph with bodies is needed. */
export interface Liveness {
  has(node: FlatNode): boolean;
  /** Of a node with bodies, the outputs that something needs, in order; a loop's are the values that it must carry. */
  outputsOf(node: FlatNode): readonly number[];
}

/** Finds what values and nodes need: a value that a loop carries only for its own next round counts as needed by nothing. */
export function findLiveness(nodes: readonly FlatNode[], values: readonly ValueRef[], operations: readonly FlatNode[]): Liveness {
  const marker = new Marker();
  marker.findParameters(nodes);
  marker.mark(values, operations);
  return { has: (node) => marker.live.has(node), outputsOf: (node) => [...(marker.outputs.get(node) ?? [])].sort((a, b) => a - b) };
}

/** Whether a node is run for what it does, itself or in its bodies. */
export function isEffectful(node: FlatNode): boolean {
  return hasEffect(node.op) || (node.bodies ?? []).some((body) => body.nodes.some(isEffectful));
}

class Marker {
  readonly live = new Set<FlatNode>();
  readonly outputs = new Map<FlatNode, Set<number>>();
  private readonly carriedBy = new Map<FlatNode, ValueRef>();
  private readonly values: ValueRef[] = [];
  private readonly nodes: FlatNode[] = [];

  findParameters(nodes: readonly FlatNode[]): void {
    for (const node of nodes) {
      for (const body of node.bodies ?? []) {
        body.parameters.forEach((parameter, output) => {
          this.carriedBy.set(parameter, { node, output });
        });
        this.findParameters(body.nodes);
      }
    }
  }

  mark(values: readonly ValueRef[], operations: readonly FlatNode[]): void {
    this.values.push(...values);
    this.nodes.push(...operations);
    for (;;) {
      const value = this.values.pop();
      if (value !== undefined) {
        this.markValue(value);
        continue;
      }
      const node = this.nodes.pop();
      if (node === undefined) return;
      this.markNode(node);
    }
  }

  private markValue({ node, output }: ValueRef): void {
    this.markNode(node);
    const carried = this.carriedBy.get(node);
    if (carried !== undefined) this.values.push(carried);
    if (node.bodies === undefined) return;
    const outputs = this.outputs.get(node) ?? new Set();
    this.outputs.set(node, outputs);
    if (outputs.has(output)) return;
    outputs.add(output);
    const isLoop = node.op === 'While';
    const [initial] = isLoop ? node.inputs.slice(output, output + 1) : [];
    if (initial !== undefined) this.values.push(initial);
    for (const body of isLoop ? node.bodies.slice(1) : node.bodies) this.values.push(...body.results.slice(output, output + 1));
  }

  private markNode(node: FlatNode): void {
    if (this.live.has(node)) return;
    this.live.add(node);
    this.nodes.push(...node.controls);
    if (node.bodies === undefined) {
      this.values.push(...node.inputs);
      return;
    }
    const [condition] = node.bodies;
    this.values.push(...(node.op === 'While' ? (condition?.results ?? []) : node.inputs));
    for (const body of node.bodies) this.nodes.push(...body.nodes.filter(isEffectful));
  }
}
