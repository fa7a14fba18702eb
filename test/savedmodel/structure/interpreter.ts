/** Runs a structured graph node by node, in the plainest way: to compare what it computes with TensorFlow's answers. */

import type { Body, FlatNode, ValueRef } from '../../../savedmodel/flat-graph.ts';
import { hostAttrsOf, hostTensorOf, isTable, isVariable, originOf, resourceIdentity } from '../../../savedmodel/flatten/index.ts';
import { HOST_OPS } from '../../../savedmodel/host/index.ts';
import type { HostData, HostTensor } from '../../../savedmodel/host-value.ts';
import { capturesOf, type StructuredGraph } from '../../../savedmodel/structure/index.ts';
import { FLOAT_OPS } from './float-ops.ts';
import { isList, LIST_OPS, type TensorList } from './list-ops.ts';

/** A value while it is computed; a handle is the node of its variable. */
export type Value = HostTensor | TensorList | FlatNode;

/** By {@link resourceIdentity}. Changes as the graph writes. */
export type Variables = Map<string, HostTensor>;

/** Computes values of a graph from what is fed in their place. Throws RangeError for an op that it does not know. */
export function runGraph(
  graph: StructuredGraph,
  feeds: ReadonlyMap<string, HostTensor>,
  fetches: readonly string[],
  variables: Variables = new Map(),
): HostTensor[] {
  const run = new Run(variables);
  for (const [name, value] of feeds) run.feed(graph.value(name), value);
  const wanted = fetches.map((name) => graph.value(name));
  const needed = run.neededBy(wanted);
  for (const node of graph.nodes) if (needed.has(node)) run.execute(node);
  return wanted.map((ref) => run.tensor(ref));
}

class Run {
  private readonly values = new Map<FlatNode, (Value | undefined)[]>();
  private readonly variables: Variables;

  constructor(variables: Variables) {
    this.variables = variables;
  }

  feed({ node, output }: ValueRef, value: HostTensor): void {
    const known = this.values.get(node) ?? [];
    known[output] = value;
    this.values.set(node, known);
  }

  neededBy(refs: readonly ValueRef[]): ReadonlySet<FlatNode> {
    const found = new Set<FlatNode>();
    const pending = refs.filter((ref) => !this.isKnown(ref)).map((ref) => ref.node);
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (found.has(node)) continue;
      found.add(node);
      const used = [...node.inputs, ...capturesOf(node)].filter((ref) => !this.isKnown(ref));
      pending.push(...used.map((ref) => ref.node), ...node.controls);
    }
    return found;
  }

  execute(node: FlatNode): void {
    const before = this.values.get(node);
    const outputs = this.compute(node);
    this.values.set(
      node,
      outputs.map((value, output) => before?.[output] ?? value),
    );
  }

  tensor(ref: ValueRef): HostTensor {
    const value = this.value(ref);
    if (isList(value) || 'op' in value) throw new RangeError(`${ref.node.name} (${ref.node.op}) gives no tensor`);
    return value;
  }

  private isKnown({ node, output }: ValueRef): boolean {
    return this.values.get(node)?.[output] !== undefined;
  }

  private value({ node, output }: ValueRef): Value {
    const value = this.values.get(node)?.[output];
    if (value === undefined) throw new RangeError(`${node.name}:${output} (${node.op}) is used before it is computed`);
    return value;
  }

  private compute(node: FlatNode): readonly Value[] {
    if (node.bodies !== undefined) return node.op === 'While' ? this.loop(node, node.bodies) : this.branch(node, node.bodies);
    if (isVariable(node) || isTable(node)) return [node];
    if (/Assign|ReadVariableOp/.test(node.op) || (node.op === 'Identity' && isVariable(originOf(this.only(node)).node)))
      return this.state(node);
    const value = node.attrs.get('value');
    if (node.op === 'Const' && value?.type === 'tensor') return [hostTensorOf(value.value)];
    if (node.op === 'NoOp') return [];
    const attrs = hostAttrsOf(node);
    const list = LIST_OPS[node.op];
    if (list !== undefined) {
      return list(node.inputs.map((ref) => this.value(ref)) as (HostTensor | TensorList)[], attrs);
    }
    if (node.op === 'Identity') return [this.value(this.only(node))];
    const inputs = node.inputs.map((ref) => this.tensor(ref));
    if (node.op === 'Assert') {
      if (inputs[0]?.data[0] === 0) throw new RangeError(`assertion ${node.name} failed`);
      return [];
    }
    const kernel = FLOAT_OPS[node.op] ?? HOST_OPS.get(node.op);
    if (kernel === undefined) throw new RangeError(`${node.name} (${node.op}) has no kernel here`);
    return kernel(inputs, attrs);
  }

  private only(node: FlatNode): ValueRef {
    const [input] = node.inputs;
    if (input === undefined) throw new RangeError(`${node.name} (${node.op}) has no input`);
    return input;
  }

  private state(node: FlatNode): readonly Value[] {
    const handle = originOf(this.only(node)).node;
    if (!isVariable(handle)) throw new RangeError(`${node.name} (${node.op}) leads to ${handle.op}, not to a variable`);
    const key = resourceIdentity(handle);
    if (node.op.startsWith('Assign')) {
      const [, operand] = node.inputs;
      const given = operand === undefined ? undefined : this.tensor(operand);
      if (given === undefined) throw new RangeError(`${node.name} assigns nothing`);
      const old = this.variables.get(key);
      const sum = /Add/.test(node.op) && old !== undefined ? HOST_OPS.get('AddV2')?.([old, given], hostAttrsOf(node))[0] : given;
      if (sum !== undefined) this.variables.set(key, sum);
      return [handle];
    }
    const held = this.variables.get(key);
    if (held === undefined) throw new RangeError(`${node.name} reads ${key}, which has no value`);
    return [held];
  }

  private loop(node: FlatNode, bodies: readonly Body[]): readonly Value[] {
    const [condition, body] = bodies;
    if (condition === undefined || body === undefined) throw new RangeError(`${node.name} lacks a body`);
    let carried = node.inputs.map((ref) => this.value(ref));
    for (let round = 0; this.holds(this.runBody(condition, carried)[0]); round++) {
      if (round > 10_000) throw new RangeError(`${node.name} does not end`);
      carried = this.runBody(body, carried);
    }
    return carried;
  }

  private branch(node: FlatNode, bodies: readonly Body[]): readonly Value[] {
    const selector = Number(this.tensor(this.only(node)).data[0]);
    const body = node.op === 'If' ? bodies[selector === 0 ? 1 : 0] : (bodies[selector] ?? bodies.at(-1));
    if (body === undefined) throw new RangeError(`${node.name} lacks a branch`);
    return this.runBody(body, []);
  }

  private runBody(body: Body, given: readonly Value[]): Value[] {
    body.parameters.forEach((parameter, index) => {
      this.values.set(parameter, [given[index]]);
    });
    // What the last round left must not be taken for this round's.
    for (const one of body.nodes) this.values.delete(one);
    for (const one of body.nodes) this.execute(one);
    return body.results.map((ref) => this.value(ref));
  }

  private holds(value: Value | undefined): boolean {
    return value !== undefined && 'data' in value && Number((value.data as HostData)[0]) !== 0;
  }
}
