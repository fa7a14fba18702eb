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
}

/** A flat graph with a way from tensor names (`node:index`) to values. */
export interface FlatGraph {
  readonly nodes: readonly FlatNode[];
  /** Resolves a name of the main graph as signatures and assets use it. Throws ServeError INVALID_ARGUMENT for one that is not there. */
  value(tensorName: string): ValueRef;
}
