/** Which ONNX value stands for which value of the graph, in a graph and in the graphs inside it. */
import { ServeError } from '#mesh/errors.ts';
import type { Tensor } from '#mesh/tensor.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { isList, type Value } from './list-value.ts';
import type { ConstantReference, TypedValue } from './translator.ts';
import { UntranslatableError } from './untranslatable.ts';

/** Values that are bound to constants, by the node whose output 0 they are. */
export type BoundConstants = ReadonlyMap<FlatNode, Tensor | ConstantReference | undefined>;

/** Translates one node in a scope; gives its outputs. */
export type Dispatch = (node: FlatNode, scope: Scope) => readonly Value[];

/** Values by the refs they stand for. What a scope does not have it finds in the scope around it. */
export class Scope {
  readonly builder: GraphBuilder;
  readonly #constants: BoundConstants;
  readonly #dispatch: Dispatch;
  readonly #outer: Scope | null;
  readonly #values = new Map<FlatNode, (Value | undefined)[]>();

  constructor(builder: GraphBuilder, constants: BoundConstants, dispatch: Dispatch, outer: Scope | null = null) {
    this.builder = builder;
    this.#constants = constants;
    this.#dispatch = dispatch;
    this.#outer = outer;
  }

  /** A scope inside this one that adds its nodes to the graph of `builder`. */
  inner(builder: GraphBuilder = this.builder): Scope {
    return new Scope(builder, this.#constants, this.#dispatch, this);
  }

  /** Says what a ref stands for. */
  put(ref: ValueRef, value: Value): void {
    const outputs = this.#values.get(ref.node) ?? [];
    outputs[ref.output] = value;
    this.#values.set(ref.node, outputs);
  }

  /** Translates nodes in order, except for those whose outputs are all given. */
  translate(nodes: readonly FlatNode[]): void {
    for (const node of nodes) {
      const given = this.#values.get(node);
      if (given !== undefined && given.filter((one) => one !== undefined).length >= node.outputCount) continue;
      if (this.#constants.get(node) !== undefined) continue;
      const outputs = this.#dispatch(node, this);
      this.#values.set(
        node,
        outputs.map((output, index) => given?.[index] ?? output),
      );
    }
  }

  /** Whether something computes or feeds a ref. */
  has(ref: ValueRef): boolean {
    return this.#find(ref) !== undefined;
  }

  /** What a ref stands for. Throws INTERNAL when nothing computes it: the region lacks a node or a feed. */
  value(ref: ValueRef, user: FlatNode): Value {
    const value = this.#find(ref);
    if (value !== undefined) return value;
    const wanted = `${ref.node.name}:${ref.output}`;
    throw new ServeError('INTERNAL', `${user.op} node ${user.name} needs ${wanted}, which its region neither computes nor is fed`);
  }

  /** Like value, for a tensor of numbers. Throws UntranslatableError with the user's node for what is none. */
  tensor(ref: ValueRef, user: FlatNode): TypedValue {
    const value = this.value(ref, user);
    if (isList(value)) throw new UntranslatableError(user, `its input ${ref.node.name}:${ref.output} is a list of tensors`);
    if (value.dtype === 'string' || value.dtype.startsWith('complex')) {
      throw new UntranslatableError(user, `${value.dtype} data is not supported`);
    }
    return value;
  }

  #find(ref: ValueRef): Value | undefined {
    for (let scope: Scope | null = this; scope !== null; scope = scope.#outer) {
      const value = scope.#values.get(ref.node)?.[ref.output];
      if (value !== undefined) return value;
    }
    const constant = ref.output === 0 ? this.#constants.get(ref.node) : undefined;
    if (constant === undefined) return undefined;
    return 'bytes' in constant ? this.builder.pool.constant(constant) : this.builder.pool.reference(constant);
  }
}
