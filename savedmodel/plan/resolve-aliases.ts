import { ServeError } from '#mesh/errors.ts';
import type { Body, FlatGraph, FlatNode, ValueRef } from '../flat-graph.ts';
import { isTable, isVariable, resourceIdentity } from '../flatten/index.ts';
import { ValueMap } from './value-map.ts';

/** A graph without nodes that only pass values on; each variable and table is one node. */
export interface ResolvedGraph extends FlatGraph {
  /** Where a value of the graph before is now. */
  moved(ref: ValueRef): ValueRef;
  /** What a node is now; undefined for one that only passed values on. */
  movedNode(node: FlatNode): FlatNode | undefined;
  /** The values that condition and body of a loop start with, by their parameters. */
  readonly initialValues: ReadonlyMap<FlatNode, ValueRef>;
}

/** What is passed on, and what is not. */
export interface ResolveOptions {
  /** Values that some signature is fed: those stay, as nodes of their own. */
  readonly fed: ReadonlySet<string>;
  /** Whether a variable never changes: reading it is then the variable itself. */
  readonly isFrozen: (variable: FlatNode) => boolean;
}

const PASSES = new Set([
  'Identity',
  'StopGradient',
  'PreventGradient',
  'Snapshot',
  'DeepCopy',
  'OptimizationBarrier',
  'PlaceholderWithDefault',
]);

/**
 * Rewires every user of an Identity (or the like) to what it passes on, and every read of a variable that never changes to the variable. The
 * graph must be structured: no frames, no functions.
 */
export function resolveAliases(graph: FlatGraph, options: ResolveOptions): ResolvedGraph {
  const values = new ValueMap<ValueRef>();
  const nodes = new Map<FlatNode, FlatNode>();
  const resources = new Map<string, FlatNode>();
  const initialValues = new Map<FlatNode, ValueRef>();
  const kept: FlatNode[] = [];

  function moved(ref: ValueRef): ValueRef {
    const found = values.get(ref);
    if (found !== undefined) return found;
    throw new ServeError('INTERNAL', `${ref.node.op} node ${ref.node.name} is used before it is there (this is a bug)`);
  }

  function passedOn(node: FlatNode, output: number): ValueRef | undefined {
    const input = node.inputs[node.op === 'IdentityN' ? output : 0];
    if (input === undefined || options.fed.has(`${node.name}:${output}`)) return undefined;
    const source = moved(input);
    if (node.op === 'ReadVariableOp') return isFrozenVariable(source.node) ? source : undefined;
    // What an Identity makes of a reference shares its memory: whoever reads it later sees what was written in between.
    return PASSES.has(node.op) || node.op === 'IdentityN' ? source : undefined;
  }

  function isFrozenVariable(node: FlatNode): boolean {
    return isVariable(node) && options.isFrozen(node);
  }

  function visit(node: FlatNode, into: FlatNode[]): void {
    const aliases = Array.from({ length: node.outputCount }, (_, output) => passedOn(node, output));
    if (node.outputCount > 0 && aliases.every((one) => one !== undefined)) {
      aliases.forEach((ref, output) => {
        values.set({ node, output }, ref);
      });
      return;
    }
    const made = isVariable(node) || isTable(node) ? resource(node) : rebuilt(node);
    nodes.set(node, made);
    for (let output = 0; output < Math.max(1, node.outputCount); output++) {
      values.set({ node, output }, aliases[output] ?? { node: made, output });
    }
    into.push(made);
  }

  function resource(node: FlatNode): FlatNode {
    const identity = resourceIdentity(node);
    const first = resources.get(identity) ?? { ...node, controls: [] };
    resources.set(identity, first);
    return first;
  }

  function rebuilt(node: FlatNode): FlatNode {
    const inputs = node.inputs.map(moved);
    const bodies = node.bodies?.map((body) => rebuiltBody(body, node.op === 'While' ? inputs : []));
    return { ...node, inputs, controls: movedControls(node), ...(bodies !== undefined && { bodies }) };
  }

  function rebuiltBody(body: Body, initial: readonly ValueRef[]): Body {
    const inner: FlatNode[] = [];
    body.parameters.forEach((parameter, index) => {
      values.set({ node: parameter, output: 0 }, { node: parameter, output: 0 });
      nodes.set(parameter, parameter);
      const value = initial[index];
      if (value !== undefined) initialValues.set(parameter, value);
    });
    for (const node of body.nodes) visit(node, inner);
    return { parameters: body.parameters, nodes: inner, results: body.results.map(moved) };
  }

  /** What stands for a node that was passed through: nothing runs there, so what it waited for does. */
  function movedControls(node: FlatNode): readonly FlatNode[] {
    const found = new Set<FlatNode>();
    const pending = [...node.controls];
    const seen = new Set<FlatNode>();
    for (let before = pending.pop(); before !== undefined; before = pending.pop()) {
      if (seen.has(before)) continue;
      seen.add(before);
      const now = nodes.get(before);
      if (now !== undefined) found.add(now);
      else pending.push(...before.controls, ...before.inputs.map((ref) => ref.node));
    }
    return [...found];
  }

  for (const node of graph.nodes) visit(node, kept);
  return {
    nodes: [...new Set(kept)],
    initialValues,
    moved,
    movedNode: (node) => nodes.get(node),
    value: (name) => moved(graph.value(name)),
  };
}
