import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';

/** What a node's outputs and its having run become. */
export interface Replacement {
  readonly outputs: readonly (ValueRef | undefined)[];
  /** Left out: nothing stands for it, and who waits for it waits no longer. */
  readonly ran?: FlatNode;
}

/**
 * Walks a graph with bodies in order and makes a new one. Nodes of which nothing changes stay the same objects. What was never visited, such
 * as a node of a graph around, stands for itself.
 */
export class Rewriter {
  private readonly outputs = new Map<FlatNode, readonly (ValueRef | undefined)[]>();
  private readonly runs = new Map<FlatNode, FlatNode | undefined>();
  private region: FlatNode[] = [];

  /** What a value of the old graph is now; undefined for one that is gone. */
  moved(ref: ValueRef): ValueRef | undefined {
    const known = this.outputs.get(ref.node);
    return known === undefined ? ref : known[ref.output];
  }

  /** What stands for having run a node of the old graph. */
  ran(node: FlatNode): FlatNode | undefined {
    const known = this.runs.get(node);
    return known === undefined && !this.runs.has(node) ? node : known;
  }

  /** Rewrites nodes into a region of their own, and gives it. */
  within(fill: () => void): FlatNode[] {
    const outer = this.region;
    const made: FlatNode[] = [];
    this.region = made;
    fill();
    this.region = outer;
    return made;
  }

  /** Rewrites one node by the rule of the subclass. */
  protected rewrite(node: FlatNode): Replacement {
    return this.copy(node);
  }

  /** Rewrites nodes in their order. */
  visitAll(nodes: readonly FlatNode[]): void {
    for (const node of nodes) this.replace(node, this.rewrite(node));
  }

  protected replace(node: FlatNode, { outputs, ran }: Replacement): void {
    this.outputs.set(node, outputs);
    this.runs.set(node, ran);
  }

  protected emit(node: FlatNode): FlatNode {
    this.region.push(node);
    return node;
  }

  protected inputsOf(node: FlatNode): readonly ValueRef[] {
    const isKept = node.inputs.every((ref) => {
      const now = this.moved(ref);
      return now === undefined || now === ref || isSame(now, ref);
    });
    return isKept ? node.inputs : node.inputs.map((ref) => this.moved(ref) ?? ref);
  }

  protected controlsOf(node: FlatNode): readonly FlatNode[] {
    if (node.controls.every((before) => this.ran(before) === before)) return node.controls;
    return [...new Set(node.controls.flatMap((before) => this.ran(before) ?? []))];
  }

  /** The node with moved inputs, controls and bodies. */
  protected copy(node: FlatNode, changes: Partial<FlatNode> = {}): Replacement {
    const [inputs, controls] = [this.inputsOf(node), this.controlsOf(node)];
    const bodies = changes.bodies ?? node.bodies?.map((body) => this.copyBody(body));
    const isKept = inputs === node.inputs && controls === node.controls && bodies === undefined && Object.keys(changes).length === 0;
    const made = isKept ? node : { ...node, inputs, controls, ...(bodies === undefined ? {} : { bodies }), ...changes };
    return this.asItself(this.emit(made));
  }

  protected copyBody(body: Body): Body {
    const nodes = this.within(() => this.visitAll(body.nodes));
    return { parameters: body.parameters, nodes, results: body.results.map((ref) => this.moved(ref) ?? ref) };
  }

  protected asItself(made: FlatNode): Replacement {
    return { outputs: Array.from({ length: made.outputCount }, (_, output) => ({ node: made, output })), ran: made };
  }
}

function isSame(one: ValueRef, other: ValueRef | undefined): boolean {
  return one.node === other?.node && one.output === other.output;
}
