/** Leaves what is needed, and of the control edges those that say something. */
import type { Body, FlatNode } from '../flat-graph.ts';
import { hasEffect } from '../flatten/effects.ts';
import { isTable, isVariable, originOf, resourceIdentity } from '../flatten/index.ts';
import { isEffectful, type Liveness } from './liveness.ts';
import { type Replacement, Rewriter } from './rewriter.ts';
import { pickLists } from './simplify.ts';

/**
 * Drops nodes, outputs and carried values that nothing needs. A control edge stays when its origin writes state, reads what some node writes,
 * or may fail an Assert, itself or in what it needs: others said only which branch or loop a node is in. Inside a body edges come from the same body; an
 * edge from outside becomes one of the node that holds the body.
 */
export class Pruner extends Rewriter {
  private readonly live: Liveness;
  private readonly written: ReadonlySet<string>;
  /** The nodes of the region that is written. */
  private members = new Set<FlatNode>();
  /** Nodes around the region that something in it waits for. */
  private awaited = new Set<FlatNode>();
  /** Nodes of the new graph that touch state, or need one that does. */
  private readonly touching = new Set<FlatNode>();

  constructor(nodes: readonly FlatNode[], live: Liveness) {
    super();
    this.live = live;
    this.written = new Set(writtenBy(nodes, live));
  }

  protected override rewrite(node: FlatNode): Replacement {
    if (!this.live.has(node)) return { outputs: [] };
    return node.bodies === undefined ? this.copy(node) : this.rewriteHolder(node, node.bodies);
  }

  protected override emit(node: FlatNode): FlatNode {
    this.members.add(node);
    if (this.touches(node)) this.touching.add(node);
    return super.emit(node);
  }

  protected override controlsOf(node: FlatNode): readonly FlatNode[] {
    const all = super.controlsOf(node);
    const own = all.filter((before) => this.touching.has(before) && this.isHere(before));
    return own.length === all.length ? all : own;
  }

  private isHere(before: FlatNode): boolean {
    if (this.members.has(before)) return true;
    this.awaited.add(before);
    return false;
  }

  private rewriteHolder(node: FlatNode, bodies: readonly Body[]): Replacement {
    const kept = this.live.outputsOf(node);
    const isLoop = node.op === 'While';
    const outerAwaited = this.awaited;
    this.awaited = new Set();
    const made = bodies.map((body, role) => this.rewriteBody(body, kept, isLoop && role === 0));
    const awaited = this.awaited;
    this.awaited = outerAwaited;
    const inputs = this.inputsOf(node);
    const holder = this.emit({
      ...node,
      inputs: isLoop ? kept.flatMap((index) => inputs[index] ?? []) : inputs,
      controls: [...new Set([...this.controlsOf(node), ...[...awaited].filter((before) => this.isHere(before))])],
      attrs: pickLists(node.attrs, ['T', 'Tout', 'output_shapes'], kept),
      bodies: made,
      outputCount: kept.length,
    });
    const outputs = Array.from({ length: node.outputCount }, (_, output) => {
      const place = kept.indexOf(output);
      return place < 0 ? undefined : { node: holder, output: place };
    });
    return { outputs, ran: holder };
  }

  private rewriteBody(body: Body, kept: readonly number[], isCondition: boolean): Body {
    const outer = this.members;
    this.members = new Set();
    const nodes = this.within(() => this.visitAll(body.nodes));
    this.members = outer;
    const results = isCondition ? body.results : kept.flatMap((index) => body.results[index] ?? []);
    return {
      parameters: kept.flatMap((index) => body.parameters[index] ?? []),
      nodes,
      results: results.map((ref) => this.moved(ref) ?? ref),
    };
  }

  private touches(node: FlatNode): boolean {
    if (isEffectful(node)) return true;
    if (isVariable(node) || isTable(node)) return this.written.has(resourceIdentity(node));
    if (node.inputs.some((ref) => this.touching.has(ref.node)) || node.controls.some((before) => this.touching.has(before))) return true;
    return (node.bodies ?? []).some(
      ({ nodes, results }) => nodes.some((one) => this.touching.has(one)) || results.some((ref) => this.touching.has(ref.node)),
    );
  }
}

/** The identities of the variables and tables that nodes write, in bodies too. */
function writtenBy(nodes: readonly FlatNode[], live: Liveness): string[] {
  return nodes.flatMap((node) => {
    if (!live.has(node)) return [];
    const inside = (node.bodies ?? []).flatMap((body) => writtenBy(body.nodes, live));
    if (!hasEffect(node.op)) return inside;
    const targets = node.inputs.map((ref) => originOf(ref).node).filter((target) => isVariable(target) || isTable(target));
    return [...inside, ...targets.map(resourceIdentity)];
  });
}
