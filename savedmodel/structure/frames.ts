/** From TF1's control flow (Switch, Merge, Enter, Exit, NextIteration, LoopCond) to While and If nodes with bodies. */
import { ServeError } from '#mesh/errors.ts';
import type { Body, FlatGraph, FlatNode, ValueRef } from '../flat-graph.ts';
import { hasEffect } from '../flatten/effects.ts';
import {
  analyzeConditionals,
  analyzeLoops,
  type Conditional,
  type ConditionalAnalysis,
  type Loop,
  type LoopAnalysis,
  tensorOfHost,
} from '../flatten/index.ts';
import type { AttrValue } from '../graph.ts';
import { inRegionOrder, Needs } from './regions.ts';
import type { UniqueNames } from './unique-names.ts';

/** A graph without frames, and ways from the nodes of the old one to it. */
export interface FramelessGraph {
  readonly nodes: readonly FlatNode[];
  /** Undefined for what runs in a loop or in one branch only. */
  moved(ref: ValueRef): ValueRef | undefined;
  /** The node that stands for having run one; undefined as for `moved`. */
  ran(node: FlatNode): FlatNode | undefined;
  /** Why there is no such value. */
  refusal(ref: ValueRef): ServeError;
}

/** Ops that only TF1's control flow is made of. */
export const FRAME_OPS = /^((Ref)?(Switch|Merge|Enter|Exit|NextIteration)|LoopCond|_SwitchN)$/;

/** A node whose inputs and bodies are filled in later. */
interface BuildNode extends FlatNode {
  readonly inputs: ValueRef[];
  readonly controls: FlatNode[];
  bodies?: readonly Body[];
}

/** What the names of old nodes mean inside one body. */
interface Scope {
  readonly parent: Scope | null;
  readonly outputs: Map<FlatNode, readonly (ValueRef | undefined)[]>;
  readonly ran: Map<FlatNode, FlatNode>;
  /** Predicates of the branches around. */
  readonly predicates: ReadonlySet<string>;
}

/**
 * Makes While and If nodes of TF1's loops and conditionals. What they do not explain stays as it is, without inputs, and so do its users.
 * Throws ServeError INVALID_ARGUMENT for loops that are not built as `while_loop` builds them.
 */
export function removeFrames(graph: FlatGraph, names: UniqueNames): FramelessGraph {
  const remover = new FrameRemover(graph, names, analyzeConditionals(graph));
  if (!graph.nodes.some((node) => FRAME_OPS.test(node.op))) {
    return { nodes: graph.nodes, moved: (ref) => ref, ran: (node) => node, refusal: (ref) => remover.refusal(ref) };
  }
  try {
    return remover.run();
  } catch (caught) {
    if (!(caught instanceof ServeError && caught.code === 'INVALID_ARGUMENT')) throw caught;
    // Conditionals of two predicates may each need a result of the other: taken apart, they do not.
    return new FrameRemover(graph, names, analyzeConditionals(graph, { byDepth: true })).run();
  }
}

class FrameRemover {
  private readonly graph: FlatGraph;
  private readonly names: UniqueNames;
  private readonly loops: LoopAnalysis;
  private readonly conditionals: ConditionalAnalysis;
  private readonly needs = new Needs();
  private readonly taken = new Set<FlatNode>();

  constructor(graph: FlatGraph, names: UniqueNames, conditionals: ConditionalAnalysis) {
    this.graph = graph;
    this.names = names;
    this.loops = analyzeLoops(graph);
    this.conditionals = conditionals;
  }

  run(): FramelessGraph {
    const scope = newScope(null);
    const nodes = this.build(this.graph.nodes, null, null, scope);
    return {
      nodes,
      moved: (ref) => this.find(ref, scope),
      ran: (node) => this.findRun(node, scope),
      refusal: (ref) => this.refusal(ref),
    };
  }

  /** Names the Merge before a value that belongs to no conditional, else the value itself. */
  refusal({ node }: ValueRef): ServeError {
    const seen = new Set<FlatNode>([node]);
    for (const one of seen) {
      if (isMerge(one) && this.isUnexplained(one)) {
        const where = `node ${one.name} (${one.op}) of the main graph`;
        return new ServeError('UNIMPLEMENTED', `${where} merges values that belong to no conditional or loop`);
      }
      for (const ref of one.inputs) seen.add(ref.node);
    }
    const where = `node ${node.name} (${node.op}) of the main graph`;
    return new ServeError(
      'UNIMPLEMENTED',
      `${where} runs in a loop or in one branch of a conditional only, so its value cannot be asked for`,
    );
  }

  /** Builds one region: the nodes of `nodes` that run in it itself, and a node for each loop and conditional directly in it. */
  private build(nodes: readonly FlatNode[], loop: Loop | null, owner: Conditional | null, scope: Scope): FlatNode[] {
    const { conditionals, hidden } = this.conditionalsIn(nodes, loop, owner);
    const fills: (() => void)[] = [];
    const members: FlatNode[] = [];
    for (const node of nodes) {
      if (hidden.has(node) || this.loops.loopOf(node) !== loop || !this.isOwn(node, scope)) continue;
      const isWhole = node.inputs.length === 0 && node.controls.length === 0 && !this.taken.has(node);
      if (isWhole) {
        // The same object: others know variables and parameters by it.
        this.taken.add(node);
        members.push(node);
        define(scope, node, node);
        continue;
      }
      const made = this.shell(node);
      members.push(made);
      define(scope, node, made);
      fills.push(() => this.fill(node, made, members, scope));
    }
    for (const inner of this.loopsIn(nodes, loop, hidden)) {
      const made = this.composite(this.names.take(inner.frame), 'While', inner.carried.length, [
        ['T', typesOf(inner.carried.map((one) => one.enter))],
      ]);
      members.push(made);
      inner.carried.forEach(({ exits }, output) => {
        for (const exit of exits) scope.outputs.set(exit, [{ node: made, output }]);
        for (const exit of exits) scope.ran.set(exit, made);
      });
      fills.push(() => this.fillLoop(inner, made, members, scope));
    }
    for (const inner of conditionals) {
      const merges = inner.values.map((one) => one.merge);
      const indices = merges.map((): AttrValue => ({ type: 'dtype', value: 3 }));
      const types: AttrValue = { type: 'list', values: [...typesOf(merges).values, ...indices] };
      const made = this.composite(this.nameFor(merges[0]), 'If', 2 * merges.length, [['Tout', types]]);
      members.push(made);
      merges.forEach((merge, output) => {
        scope.outputs.set(merge, [
          { node: made, output },
          { node: made, output: merges.length + output },
        ]);
        scope.ran.set(merge, made);
      });
      fills.push(() => this.fillConditional(inner, made, loop, members, scope));
    }
    for (const fill of fills) fill();
    return inRegionOrder(members, this.needs);
  }

  /** Conditionals directly in a region, and the nodes of their branches. */
  private conditionalsIn(nodes: readonly FlatNode[], loop: Loop | null, owner: Conditional | null) {
    const found = new Set<Conditional>();
    for (const node of nodes) {
      const one = this.conditionals.ofMerge(node);
      if (one !== null && one !== owner && this.loops.loopOf(node) === loop) found.add(one);
    }
    const hidden = new Set<FlatNode>();
    for (const { trueNodes, falseNodes } of found) for (const node of [...trueNodes, ...falseNodes]) hidden.add(node);
    return { hidden, conditionals: [...found].filter(({ values }) => !values.every(({ merge }) => hidden.has(merge))) };
  }

  /** Loops directly in a region. */
  private loopsIn(nodes: readonly FlatNode[], loop: Loop | null, hidden: ReadonlySet<FlatNode>): Set<Loop> {
    const found = new Set<Loop>();
    for (const node of nodes) {
      if (hidden.has(node)) continue;
      let inner = this.loops.loopOf(node);
      while (inner !== null && inner !== loop && inner.parent !== loop) inner = inner.parent;
      if (inner !== null && inner !== loop) found.add(inner);
    }
    return found;
  }

  /** Whether a node is computed in a region whose branches are those of `scope`: no plumbing, and not in a branch that leads nowhere. */
  private isOwn(node: FlatNode, scope: Scope): boolean {
    if (isMerge(node)) return this.isUnexplained(node);
    if (FRAME_OPS.test(node.op)) return false;
    return this.conditionals.branchesOf(node).every(({ predicate }) => scope.predicates.has(keyOf(predicate)));
  }

  private isUnexplained(merge: FlatNode): boolean {
    return this.conditionals.ofMerge(merge) === null && !merge.inputs.some((ref) => ref.node.op.endsWith('NextIteration'));
  }

  private shell(node: FlatNode): BuildNode {
    return { ...node, name: this.nameFor(node), inputs: [], controls: [] };
  }

  /** The name of what takes a node's place. A node that two bodies need is there twice: the second needs a name of its own. */
  private nameFor(node: FlatNode | undefined): string {
    if (node === undefined) return this.names.take('If');
    if (this.taken.has(node)) return this.names.take(node.name);
    this.taken.add(node);
    return node.name;
  }

  private composite(name: string, op: string, outputCount: number, attrs: readonly [string, AttrValue][]): BuildNode {
    return { name, op, inputs: [], controls: [], attrs: new Map(attrs), outputCount };
  }

  private fill(node: FlatNode, made: BuildNode, members: FlatNode[], scope: Scope): void {
    if (isMerge(node)) return;
    for (const ref of node.inputs) made.inputs.push(this.require(ref, members, scope));
    this.fillControls(node.controls, made, scope);
  }

  private fillControls(controls: readonly FlatNode[], made: BuildNode, scope: Scope): void {
    for (const before of controls) {
      const now = this.findRun(before, scope);
      if (now !== undefined && now !== made && !made.controls.includes(now)) made.controls.push(now);
    }
  }

  private fillLoop(loop: Loop, made: BuildNode, members: FlatNode[], scope: Scope): void {
    for (const { initial, enter } of loop.carried) {
      made.inputs.push(this.require(initial, members, scope));
      this.fillControls(enter.controls, made, scope);
    }
    const inBody = new Set(loop.body);
    const isOnlyCondition = new Set(loop.conditionNodes.filter((node) => hasEffect(node.op) && !inBody.has(node)));
    const all = this.graph.nodes.filter((node) => this.isWithin(node, loop) && !isOnlyCondition.has(node));
    const condition = this.loopBody(loop, made.name, scope, loop.conditionNodes, [loop.condition]);
    const next = loop.carried.map((one) => one.next);
    made.bodies = [condition, this.loopBody(loop, made.name, scope, all, next)];
  }

  private isWithin(node: FlatNode, loop: Loop): boolean {
    let at = this.loops.loopOf(node);
    while (at !== null && at !== loop) at = at.parent;
    return at === loop;
  }

  private loopBody(loop: Loop, name: string, scope: Scope, nodes: readonly FlatNode[], results: readonly ValueRef[]): Body {
    const inner = newScope(scope);
    const parameters = loop.carried.map((one, index): FlatNode => {
      const attrs = new Map<string, AttrValue>([['index', { type: 'int', value: index }]]);
      const type = one.enter.attrs.get('T');
      if (type !== undefined) attrs.set('T', type);
      const parameter = { name: this.names.take(`${name}/${index}`), op: '_Arg', inputs: [], controls: [], attrs, outputCount: 1 };
      const value = { node: parameter, output: 0 };
      inner.outputs.set(one.merge, [value]);
      if (one.switch !== null) inner.outputs.set(one.switch, [undefined, value]);
      return parameter;
    });
    const members = this.build(nodes, loop, null, inner);
    return this.bodyOf(parameters, members, results, inner);
  }

  private fillConditional(one: Conditional, made: BuildNode, loop: Loop | null, members: FlatNode[], scope: Scope): void {
    made.inputs.push(this.require(one.predicate, members, scope));
    for (const { merge } of one.values) this.fillControls(merge.controls, made, scope);
    const branch = (side: boolean): Body => {
      const inner = newScope(scope, keyOf(one.predicate));
      const inside = this.build(side ? one.trueNodes : one.falseNodes, loop, one, inner);
      const results = one.values.map((value) => (side ? value.whenTrue : value.whenFalse));
      const indices = one.values.map(({ merge }, index) => {
        const place = merge.inputs.findIndex((ref) => isSame(ref, results[index]));
        return this.indexConst(`${merge.name}/index`, place);
      });
      const body = this.bodyOf([], inside, results, inner);
      return { ...body, nodes: [...body.nodes, ...indices], results: [...body.results, ...indices.map((node) => ({ node, output: 0 }))] };
    };
    made.bodies = [branch(true), branch(false)];
  }

  private bodyOf(parameters: readonly FlatNode[], members: readonly FlatNode[], results: readonly ValueRef[], scope: Scope): Body {
    const extra: FlatNode[] = [];
    const found = results.map((ref) => this.require(ref, extra, scope));
    return { parameters, nodes: [...members, ...extra], results: found };
  }

  private indexConst(name: string, value: number): FlatNode {
    const attrs = new Map<string, AttrValue>([
      ['dtype', { type: 'dtype', value: 3 }],
      ['value', { type: 'tensor', value: tensorOfHost({ dtype: 'int32', shape: [], data: Int32Array.of(value) }) }],
    ]);
    return { name: this.names.take(name), op: 'Const', inputs: [], controls: [], attrs, outputCount: 1 };
  }

  /** What a value is here. What cannot be computed here becomes a node that is refused when something served needs it. */
  private require(ref: ValueRef, members: FlatNode[], scope: Scope): ValueRef {
    const found = this.find(ref, scope);
    if (found !== undefined) return found;
    const op = isMerge(ref.node) ? ref.node.op : 'Switch';
    const made = { ...ref.node, name: this.names.take(ref.node.name), op, inputs: [], controls: [] };
    members.push(made);
    return { node: made, output: ref.output };
  }

  private find(ref: ValueRef, scope: Scope): ValueRef | undefined {
    let at: ValueRef | undefined = ref;
    const seen = new Set<FlatNode>();
    while (at !== undefined && !seen.has(at.node)) {
      const known = lookUp(at, scope);
      if (known !== undefined) return known;
      seen.add(at.node);
      const { op, inputs }: FlatNode = at.node;
      at = isPassing(op) && inputs[1]?.node.op !== 'LoopCond' ? inputs[0] : undefined;
    }
    return undefined;
  }

  private findRun(node: FlatNode, scope: Scope): FlatNode | undefined {
    for (let at: Scope | null = scope; at !== null; at = at.parent) {
      const known = at.ran.get(node);
      if (known !== undefined) return known;
    }
    if (!isPassing(node.op)) return undefined;
    return this.find({ node, output: 0 }, scope)?.node;
  }
}

function newScope(parent: Scope | null, predicate?: string): Scope {
  const predicates = new Set(parent?.predicates ?? []);
  if (predicate !== undefined) predicates.add(predicate);
  return { parent, outputs: new Map(), ran: new Map(), predicates };
}

function define(scope: Scope, node: FlatNode, made: FlatNode): void {
  scope.outputs.set(
    node,
    Array.from({ length: made.outputCount }, (_, output) => ({ node: made, output })),
  );
  scope.ran.set(node, made);
}

function lookUp({ node, output }: ValueRef, scope: Scope): ValueRef | undefined {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    const known = at.outputs.get(node);
    if (known !== undefined) return known[output];
  }
  return undefined;
}

/** A conditional's Switch and a loop's Enter: inside, their value is what it is outside. */
function isPassing(op: string): boolean {
  return /^(Ref)?(Switch|Enter)$/.test(op);
}

function isMerge(node: FlatNode): boolean {
  return node.op === 'Merge' || node.op === 'RefMerge';
}

function keyOf({ node, output }: ValueRef): string {
  return `${node.name}:${output}`;
}

function typesOf(nodes: readonly FlatNode[]): Extract<AttrValue, { readonly type: 'list' }> {
  return { type: 'list', values: nodes.map((node) => node.attrs.get('T') ?? { type: 'dtype', value: 0 }) };
}

function isSame(one: ValueRef, other: ValueRef | undefined): boolean {
  return one.node === other?.node && one.output === other.output;
}
