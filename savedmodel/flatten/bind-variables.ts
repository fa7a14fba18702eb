import { fromUtf8 } from '#mesh/bytes.ts';
import type { Tensor } from '#mesh/tensor.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { MetaGraph } from '../graph.ts';
import { assetNames } from './assets.ts';
import type { FoldedGraph } from './fold.ts';
import { isVariable, originOf, resourceIdentity } from './resources.ts';

/** Where a variable's first value comes from. */
export type VariableSource =
  /** A tensor of the checkpoint; `slice` is RestoreV2's `shape_and_slice`, empty for the whole tensor. */
  | { readonly type: 'checkpoint'; readonly key: string; readonly slice: string }
  /** A constant that the graph assigns to it: the Const node's own tensor, not a copy. */
  | { readonly type: 'constant'; readonly value: Tensor }
  /** The path of a file below `assets/`. */
  | { readonly type: 'asset'; readonly fileName: string };

/** A variable that has no first value, and why. */
export interface UnboundVariable {
  readonly node: FlatNode;
  readonly reason: string;
  /** The graph would restore it, but the checkpoint does not have it. */
  readonly isRestored: boolean;
}

/** The variables of a graph with their sources. */
export interface VariableBindings {
  /** Every variable node that has a source; nodes that share a variable share the source. */
  readonly bound: ReadonlyMap<FlatNode, VariableSource>;
  readonly unbound: readonly UnboundVariable[];
  /** By {@link resourceIdentity}. */
  readonly byIdentity: ReadonlyMap<string, VariableSource>;
  /** The source of what a resource handle, a reference, or a read of either stands for; undefined for other values. */
  sourceOf(ref: ValueRef): VariableSource | undefined;
}

/** What a graph says of one variable. */
interface Assignment {
  readonly source?: VariableSource;
  /** From a checkpoint, which need not have it. */
  readonly isRestored?: boolean;
  readonly why: string;
}

const ASSIGNS = new Set(['Assign', 'AssignVariableOp', 'AssignVariableXlaConcatND']);
const READS = new Set(['ReadVariableOp']);

/**
 * Binds variables by what the graph assigns to them: the output of a restore op to its checkpoint key, else a constant or an asset's path.
 * `graph` must hold the restore op, and the init op where there is one; `checkpointKeys` are the keys of the bundle. Order: a restored key
 * that the checkpoint has, then what an initialiser assigns.
 */
export function bindVariables(graph: FoldedGraph, checkpointKeys: ReadonlySet<string>, assets: MetaGraph['assets'] = []): VariableBindings {
  const restored = new Map<string, Assignment>();
  const initialised = new Map<string, Assignment>();
  const files = assetNames(graph, assets);
  for (const node of graph.nodes) {
    const [target, value] = node.inputs;
    if (!ASSIGNS.has(node.op) || target === undefined || value === undefined) continue;
    const variable = originOf(target).node;
    if (!isVariable(variable)) continue;
    const identity = resourceIdentity(variable);
    const assignment = readAssignment(graph, value, checkpointKeys, files);
    const into = assignment.source?.type === 'checkpoint' ? restored : initialised;
    if (into.get(identity)?.source === undefined) into.set(identity, assignment);
  }
  const byIdentity = new Map<string, VariableSource>();
  for (const [identity, { source }] of [...initialised, ...restored]) if (source !== undefined) byIdentity.set(identity, source);
  const bound = new Map<FlatNode, VariableSource>();
  const unbound: UnboundVariable[] = [];
  for (const node of graph.nodes) {
    if (!isVariable(node)) continue;
    const identity = resourceIdentity(node);
    const source = byIdentity.get(identity);
    if (source !== undefined) bound.set(node, source);
    else {
      const known = initialised.get(identity);
      unbound.push({ node, reason: known?.why ?? 'nothing restores or initialises it', isRestored: known?.isRestored === true });
    }
  }
  const sourceOf = (ref: ValueRef) => {
    const origin = originOf(ref).node;
    const [handle] = origin.inputs;
    const variable = READS.has(origin.op) && handle !== undefined ? originOf(handle).node : origin;
    return isVariable(variable) ? byIdentity.get(resourceIdentity(variable)) : undefined;
  };
  return { bound, unbound, byIdentity, sourceOf };
}

function readAssignment(graph: FoldedGraph, value: ValueRef, keys: ReadonlySet<string>, files: AssetLookup): Assignment {
  const origin = originOf(value);
  const key = restoredKey(graph, origin);
  if (key !== undefined) {
    if (keys.has(key.key)) return { source: { type: 'checkpoint', ...key }, why: '' };
    return { isRestored: true, why: `the checkpoint has no key ${key.key}` };
  }
  if (origin.node.op.startsWith('Restore'))
    return { why: `the names that ${origin.node.name} (${origin.node.op}) restores are not constant` };
  const fileName = files(origin);
  if (fileName !== undefined) return { source: { type: 'asset', fileName }, why: '' };
  const constant = origin.node.op === 'Const' ? origin.node.attrs.get('value') : undefined;
  if (constant?.type === 'tensor') return { source: { type: 'constant', value: constant.value }, why: '' };
  return { why: `it is initialised by ${origin.node.name} (${origin.node.op}), which is not constant` };
}

type AssetLookup = (ref: ValueRef) => string | undefined;

/** The checkpoint key and slice that an output of a restore op stands for; undefined for other values and names that are not constant. */
export function restoredKey(graph: FoldedGraph, { node, output }: ValueRef): { readonly key: string; readonly slice: string } | undefined {
  if (node.op !== 'RestoreV2' && node.op !== 'Restore' && node.op !== 'RestoreSlice') return undefined;
  const text = (input: number): string | undefined => {
    const ref = node.inputs[input];
    const value = ref === undefined ? undefined : graph.constant(ref)?.data[node.op === 'RestoreV2' ? output : 0];
    return value instanceof Uint8Array ? fromUtf8(value) : undefined;
  };
  const key = text(1);
  return key === undefined ? undefined : { key, slice: (node.op === 'Restore' ? '' : text(2)) ?? '' };
}
