/** Folds constants in a graph with bodies, takes what stays the same out of loops, and branches that are always taken out of conditionals. */
import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import { hasEffect } from '../flatten/effects.ts';
import { Fold, type Moved } from '../flatten/fold.ts';
import type { AttrValue } from '../graph.ts';
import type { HostTensor } from '../host-value.ts';
import { valueBehind } from './invariants.ts';

/**
 * Folds node by node, bodies with what they use from around them. A loop no longer carries what its body gives back unchanged: bodies and
 * what comes after the loop use the first value. An If or Case whose selector is constant becomes the branch's nodes; an output that all
 * branches take from the same place is that value.
 */
export class Simplifier extends Fold {
  /** Whether something moved that may let more be simplified. */
  hasMoved = false;
  private region: FlatNode[] = [];
  /** What nodes of a branch that is always taken wait for: what the conditional waited for. */
  private waits: readonly FlatNode[] = [];

  /** Simplifies nodes in their order and gives those of the new graph in order. */
  run(nodes: readonly FlatNode[]): FlatNode[] {
    return this.within(() => {
      for (const node of nodes) this.visit(node);
    });
  }

  override visit(node: FlatNode): FlatNode | null {
    const inputs = node.inputs.map((ref) => this.moved(ref));
    const controls = this.controlsOf(node);
    if (controls === null || !inputs.every((ref) => ref !== null)) return this.alias(node, [], null);
    const all = this.waits.length === 0 || node.op === 'Const' ? controls : [...new Set([...controls, ...this.waits])];
    if (node.bodies === undefined) return this.visitPlain(node, inputs, all);
    return node.op === 'While' ? this.visitLoop(node, node.bodies, inputs, all) : this.visitBranches(node, node.bodies, inputs, all);
  }

  protected override keepAs(node: FlatNode, made: FlatNode): FlatNode | null {
    this.region.push(made);
    return super.keepAs(node, made);
  }

  protected override newConst(node: FlatNode, output: number, value: HostTensor, controls: readonly FlatNode[]): FlatNode {
    const made = super.newConst(node, output, value, controls);
    this.region.push(made);
    return made;
  }

  private within(fill: () => void): FlatNode[] {
    const [outer, waits] = [this.region, this.waits];
    const made: FlatNode[] = [];
    this.region = made;
    this.waits = [];
    fill();
    this.region = outer;
    this.waits = waits;
    return made;
  }

  private visitLoop(node: FlatNode, bodies: readonly Body[], inputs: readonly ValueRef[], controls: readonly FlatNode[]): FlatNode | null {
    const stays = node.inputs.map((_, index) => valueBehind({ node, output: index }).node !== node);
    const kept = stays.flatMap((isSame, index) => (isSame ? [] : [index]));
    if (kept.length < inputs.length) this.hasMoved = true;
    const made = bodies.map((body, role) => {
      body.parameters.forEach((parameter, index) => {
        const initial = inputs[index];
        if (stays[index] && initial !== undefined) this.alias(parameter, [initial], initial.node);
        else this.alias(parameter, [{ node: parameter, output: 0 }], parameter);
      });
      const results = role === 0 ? body.results : kept.flatMap((index) => body.results[index] ?? []);
      return this.body(body, results, pick(body.parameters, kept));
    });
    const condition = made[0]?.results[0];
    const isNeverRun = condition !== undefined && this.decoded(condition)?.data[0] === 0;
    if (isNeverRun) {
      this.hasMoved = true;
      return this.alias(node, inputs, this.done(node, [], controls));
    }
    const attrs = pickLists(node.attrs, ['T', 'output_shapes'], kept);
    const loop = { ...node, inputs: pick(inputs, kept), controls, bodies: made, attrs, outputCount: kept.length };
    this.region.push(loop);
    const outputs = inputs.map((initial, index): Moved => (stays[index] ? initial : { node: loop, output: kept.indexOf(index) }));
    return this.alias(node, outputs, loop);
  }

  private visitBranches(
    node: FlatNode,
    bodies: readonly Body[],
    inputs: readonly ValueRef[],
    controls: readonly FlatNode[],
  ): FlatNode | null {
    const [selector] = inputs;
    const known = selector === undefined ? undefined : this.decoded(selector)?.data[0];
    if (known !== undefined) {
      this.hasMoved = true;
      return this.takeBranch(node, chosen(node.op, Number(known), bodies), controls);
    }
    const made = bodies.map((body) => this.body(body, body.results, []));
    const branch = { ...node, inputs, controls, bodies: made };
    this.region.push(branch);
    const outputs = Array.from({ length: node.outputCount }, (_, output): Moved => {
      const outside = valueBehind({ node: branch, output });
      if (outside.node === branch) return outside;
      this.hasMoved = true;
      return outside;
    });
    return this.alias(node, outputs, branch);
  }

  private takeBranch(node: FlatNode, body: Body | undefined, controls: readonly FlatNode[]): FlatNode | null {
    const outer = this.waits;
    this.waits = controls;
    for (const one of body?.nodes ?? []) this.visit(one);
    this.waits = outer;
    const results = (body?.results ?? []).map((ref) => this.moved(ref));
    const effects = (body?.nodes ?? []).filter((one) => hasEffect(one.op) || one.bodies !== undefined);
    const needed = [...effects.flatMap((one) => this.movedNode(one) ?? []), ...results.flatMap((ref) => ref?.node ?? [])];
    return this.alias(node, results, this.done(node, needed, controls));
  }

  /** What waited for a node that is gone waits for a NoOp instead. */
  private done(node: FlatNode, needed: readonly FlatNode[], controls: readonly FlatNode[]): FlatNode {
    const waits = [...new Set([...controls, ...needed])];
    const made: FlatNode = { name: node.name, op: 'NoOp', inputs: [], controls: waits, attrs: new Map(), outputCount: 0 };
    this.region.push(made);
    return made;
  }

  private body(body: Body, results: readonly ValueRef[], parameters: readonly FlatNode[]): Body {
    const nodes = this.within(() => {
      for (const node of body.nodes) this.visit(node);
    });
    return { parameters, nodes, results: results.map((ref) => this.moved(ref) ?? ref) };
  }
}

/** Out of range, a Case takes its last branch. */
function chosen(op: string, selector: number, bodies: readonly Body[]): Body | undefined {
  if (op === 'If') return bodies[selector === 0 ? 1 : 0];
  return bodies[selector] ?? bodies.at(-1);
}

function pick<T>(values: readonly T[], indices: readonly number[]): T[] {
  return indices.flatMap((index) => values[index] ?? []) as T[];
}

/** Attributes whose lists hold one element per value, with the elements at `indices` only. */
export function pickLists(
  attrs: ReadonlyMap<string, AttrValue>,
  names: readonly string[],
  indices: readonly number[],
): ReadonlyMap<string, AttrValue> {
  const changed = new Map(attrs);
  for (const name of names) {
    const value = attrs.get(name);
    if (value?.type === 'list' && value.values.length > 0) changed.set(name, { type: 'list', values: pick(value.values, indices) });
  }
  return changed;
}
