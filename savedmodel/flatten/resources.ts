import { fromUtf8 } from '#mesh/bytes.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';

const VARIABLES = new Set(['VarHandleOp', 'VariableV2', 'Variable', 'AutoReloadVariable']);
const TABLES = /^(Anonymous)?(Mutable)?(Dense)?HashTable(OfTensors)?(V2)?$/;
const PASSES = new Set(['Identity', 'Enter', 'RefEnter', 'Exit', 'RefExit', 'RefIdentity', 'StopGradient', 'PreventGradient', 'Snapshot']);

/** Whether a node is a variable: a resource (VarHandleOp) or a reference (VariableV2, Variable). */
export function isVariable(node: FlatNode): boolean {
  return VARIABLES.has(node.op);
}

/** Whether a node is a lookup table. */
export function isTable(node: FlatNode): boolean {
  return TABLES.test(node.op);
}

/**
 * What makes two nodes the same variable or table: container and shared name, or the node's own name where it shares none. Equal texts mean
 * equal state, also across graphs flattened from one MetaGraph.
 */
export function resourceIdentity(node: FlatNode): string {
  const text = (name: string) => {
    const value = node.attrs.get(name);
    return value?.type === 'string' ? fromUtf8(value.value) : '';
  };
  const shared = text('shared_name') || node.name;
  return `${isTable(node) ? 'table' : 'variable'} ${text('container')} ${shared}`;
}

/** Follows a value through nodes that pass it on unchanged, Switch and Merge of a reference included, to the node that makes it. */
export function originOf(ref: ValueRef): ValueRef {
  let at = ref;
  const seen = new Set<FlatNode>();
  while (!seen.has(at.node)) {
    seen.add(at.node);
    const { op } = at.node;
    const passes = PASSES.has(op) || /^(Ref)?Switch$/.test(op) || (/^(Ref)?Merge$/.test(op) && at.output === 0);
    const [input] = at.node.inputs;
    if (!passes || input === undefined) return at;
    at = input;
  }
  return at;
}
