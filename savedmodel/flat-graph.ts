/** The graph after inlining: no calls, no function bodies but those of loops and branches, every attribute resolved. */
import type { AttrValue } from './graph.ts';

/** One output of a node. */
export interface ValueRef {
  readonly node: FlatNode;
  readonly output: number;
}

/** A node of a flat graph. Nodes are objects, so that passes can point at them; the graph is acyclic but for TF1 loops (NextIteration). */
export interface FlatNode {
  /** Unique; calls put their own name and `/` before the names of the body. For error texts together with `op`. */
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly ValueRef[];
  /** Nodes that must run before; kept for conditionals, state writes and asserts. */
  readonly controls: readonly FlatNode[];
  /** With OpDef defaults filled in. Function attributes (`then_branch`, `body`, …) name functions of the library. */
  readonly attrs: ReadonlyMap<string, AttrValue>;
  /** How many outputs it has. */
  readonly outputCount: number;
  /** The function of the library whose body it was written in; absent in the main graph. For error texts. */
  readonly function?: string;
  /**
   * After `structure/`: what a While (condition, body), If (then, else) or Case (its branches) runs. Absent for other nodes.
   *
   * - While: inputs and outputs are the carried values, one parameter and one result of the body each; the condition has the same parameters
   *   and one result, a scalar. Values that stay the same in all rounds are no parameters: the bodies use them where they are.
   * - If: the input is the predicate; neither branch has parameters; outputs are the results of the branch taken.
   * - Case: the input is the branch's index; one out of range means the last branch.
   */
  readonly bodies?: readonly Body[];
}

/** Nodes that run as a whole, none or many times. They may use values of the graphs around them directly. */
export interface Body {
  /** `_Arg` nodes of one output. */
  readonly parameters: readonly FlatNode[];
  /** In an order in which every node comes after its inputs and controls; without the parameters, and without what lies outside. */
  readonly nodes: readonly FlatNode[];
  readonly results: readonly ValueRef[];
}

/** A flat graph with a way from tensor names (`node:index`) to values. */
export interface FlatGraph {
  readonly nodes: readonly FlatNode[];
  /** Resolves a name of the main graph as signatures and assets use it. Throws ServeError INVALID_ARGUMENT for one that is not there. */
  value(tensorName: string): ValueRef;
}
