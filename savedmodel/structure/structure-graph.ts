import { ServeError } from '#mesh/errors.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import { type FoldedGraph, servingFetches } from '../flatten/index.ts';
import type { MetaGraph } from '../graph.ts';
import { FRAME_OPS, removeFrames } from './frames.ts';
import { FunctionExpander } from './functions.ts';
import { findLiveness } from './liveness.ts';
import { Pruner } from './prune.ts';
import { Simplifier } from './simplify.ts';
import { TENSOR_ARRAY_OPS, TensorArrayRewriter } from './tensor-arrays.ts';
import { UniqueNames } from './unique-names.ts';

const DEFAULT_MAX_NODES = 1_000_000;
/** Folding shows what stays the same, and that lets more be folded: in practice the third round changes nothing. */
const MAX_ROUNDS = 4;

/** What to keep, and bounds. */
export interface StructureOptions {
  /** `node:index` for a value, `node` for an operation: only what these need is kept. Left out: all signatures' tensors and the assets'. */
  readonly fetches?: readonly string[];
  /** The most nodes that bodies may have in all, for functions that are used many times over; default 1 million. */
  readonly maxNodes?: number;
}

/** A graph whose control flow is While, If and Case nodes with bodies: no functions, frames, Switch, Merge or TensorArrays. */
export interface StructuredGraph {
  /** In an order in which each node comes after its inputs, its controls, and what its bodies use. */
  readonly nodes: readonly FlatNode[];
  /**
   * Resolves a name of the main graph among what was kept; one without an index may be an operation. Throws ServeError INVALID_ARGUMENT for
   * a name that is not there, UNIMPLEMENTED, naming node and op, for a value that needs what cannot be structured.
   */
  value(tensorName: string): ValueRef;
  /** Where a value of the graph before is now; undefined for one that is in a body now, or not kept. */
  moved(ref: ValueRef): ValueRef | undefined;
}

/** One pass: from the values of the graph before it to those after. */
interface Step {
  moved(ref: ValueRef): ValueRef | undefined;
  ran(node: FlatNode): FlatNode | undefined;
}

/**
 * Gives a folded graph structured control flow: TF1's frames and conditionals, then functions, become bodies; constants are folded and
 * invariants taken out; TensorArrays become TensorLists; what `fetches` do not need is dropped. Nodes that do not change stay the same
 * objects, variables and tables among them. Throws ServeError INVALID_ARGUMENT for malformed loops and functions, RESOURCE_EXHAUSTED beyond
 * `maxNodes`; a part that is not supported makes only those values fail that need it.
 */
export function structureGraph(metaGraph: MetaGraph, graph: FoldedGraph, options: StructureOptions = {}): StructuredGraph {
  const mainNames = new Set(graph.nodes.map((node) => node.name));
  const names = new UniqueNames(mainNames);
  const steps: Step[] = [];
  const frameless = removeFrames(graph, names);
  steps.push(frameless);
  const expander = new FunctionExpander(metaGraph, names, options.maxNodes ?? DEFAULT_MAX_NODES);
  let nodes: readonly FlatNode[] = expander.within(() => expander.visitAll(frameless.nodes));
  steps.push(expander);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    // What only a body has, no signature can feed.
    const simplifier = new Simplifier({ usePlaceholderDefaults: (node) => !mainNames.has(node.name) });
    nodes = simplifier.run(nodes);
    steps.push({ moved: (ref) => simplifier.moved(ref) ?? undefined, ran: (node) => simplifier.movedNode(node) });
    if (!simplifier.hasMoved) break;
  }
  const arrays = new TensorArrayRewriter(names);
  const before = nodes;
  nodes = arrays.within(() => arrays.visitAll(before));
  steps.push(arrays);
  const fetches = options.fetches ?? servingFetches(metaGraph).filter(isValue);
  // The second time drops what only control edges held that the first took away.
  for (let round = 0; round < 2; round++) {
    const all = nodes;
    const fetched = fetches.map((name) => rootOf(graph, name, steps));
    const values = fetched.flatMap((root) => root.value ?? []);
    const operations = fetched.flatMap((root) => root.operation ?? []);
    const pruner = new Pruner(all, findLiveness(all, values, operations));
    nodes = pruner.within(() => pruner.visitAll(all));
    steps.push(pruner);
  }
  const structured = nodes;
  const problems = findProblems(structured);
  const moved = (ref: ValueRef) => through(ref, steps);
  return {
    nodes: structured,
    moved,
    value(tensorName) {
      const stored = graph.value(tensorName);
      if (stored.node.outputCount > 0 && frameless.moved(stored) === undefined) throw frameless.refusal(stored);
      const operation = stored.node.outputCount === 0 ? ranThrough(stored.node, steps) : undefined;
      const found = operation === undefined ? moved(stored) : { node: operation, output: 0 };
      if (found === undefined) {
        throw new ServeError('INVALID_ARGUMENT', `tensor ${tensorName} is not among what was kept of the graph`);
      }
      const problem = problems.get(found.node);
      if (problem !== undefined) {
        throw new ServeError('UNIMPLEMENTED', `tensor ${tensorName} needs node ${problem.name} (${problem.op}), which is not supported`);
      }
      return found;
    },
  };
}

/** The init and the restore op have served their purpose: tables and variables are known before. */
function isValue(fetch: string): boolean {
  return fetch.includes(':');
}

/** What a fetch names, after some steps; nothing for one that no run computes, which asking for it reports. */
function rootOf(graph: FoldedGraph, name: string, steps: readonly Step[]): { readonly value?: ValueRef; readonly operation?: FlatNode } {
  let stored: ValueRef;
  try {
    stored = graph.value(name);
  } catch (caught) {
    if (caught instanceof ServeError && caught.code === 'INVALID_ARGUMENT') return {};
    throw caught;
  }
  if (stored.node.outputCount === 0) {
    const operation = ranThrough(stored.node, steps);
    return operation === undefined ? {} : { operation };
  }
  const value = through(stored, steps);
  return value === undefined ? {} : { value };
}

function through(ref: ValueRef, steps: readonly Step[]): ValueRef | undefined {
  let at: ValueRef | undefined = ref;
  for (const step of steps) at = at === undefined ? undefined : step.moved(at);
  return at;
}

function ranThrough(node: FlatNode, steps: readonly Step[]): FlatNode | undefined {
  let at: FlatNode | undefined = node;
  for (const step of steps) at = at === undefined ? undefined : step.ran(at);
  return at;
}

/** By node, the node that cannot be structured among what it needs, its bodies included. */
function findProblems(nodes: readonly FlatNode[], found = new Map<FlatNode, FlatNode>()): ReadonlyMap<FlatNode, FlatNode> {
  for (const node of nodes) {
    const own = FRAME_OPS.test(node.op) || TENSOR_ARRAY_OPS.test(node.op) ? node : undefined;
    let problem = own ?? firstOf([...node.inputs.map((ref) => ref.node), ...node.controls], found);
    for (const body of node.bodies ?? []) {
      findProblems(body.nodes, found);
      problem ??= firstOf([...body.results.map((ref) => ref.node), ...body.nodes], found);
    }
    if (problem !== undefined) found.set(node, problem);
  }
  return found;
}

function firstOf(nodes: readonly FlatNode[], found: ReadonlyMap<FlatNode, FlatNode>): FlatNode | undefined {
  for (const node of nodes) {
    const problem = found.get(node);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
