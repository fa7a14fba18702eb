/** Builders of stored graphs for tests: short where a test says what matters, complete where the contract needs it. */
import { packStrings, type Tensor } from '#mesh/tensor.ts';
import type { ArgDef, AttrValue, MetaGraph, StoredFunction, StoredNode } from '../../../savedmodel/graph.ts';

const INT32 = 3;

/** Attributes by name, from plain values: numbers are ints, texts are strings, objects are attributes as they are. */
type Plain = AttrValue | number | string | boolean;

export function attrs(values: Readonly<Record<string, Plain>>): ReadonlyMap<string, AttrValue> {
  return new Map(Object.entries(values).map(([name, value]) => [name, attr(value)]));
}

function attr(value: Plain): AttrValue {
  if (typeof value === 'number') return { type: 'int', value };
  if (typeof value === 'string') return { type: 'string', value: new TextEncoder().encode(value) };
  return typeof value === 'boolean' ? { type: 'bool', value } : value;
}

export function dtype(value: number): AttrValue {
  return { type: 'dtype', value };
}

export function fn(name: string, own: Readonly<Record<string, Plain>> = {}): AttrValue {
  return { type: 'function', name, attrs: attrs(own) };
}

export function node(name: string, op: string, inputs: readonly string[] = [], own: Readonly<Record<string, Plain>> = {}): StoredNode {
  return { name, op, inputs, attrs: attrs(own) };
}

export function int32(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
  return { dtype: 'int32', shape, bytes: new Uint8Array(Int32Array.from(values).buffer) };
}

export function bool(value: boolean): Tensor {
  return { dtype: 'bool', shape: [], bytes: Uint8Array.of(value ? 1 : 0) };
}

export function texts(values: readonly string[], shape: readonly number[] = [values.length]): Tensor {
  return { dtype: 'string', shape, bytes: packStrings(values.map((text) => new TextEncoder().encode(text))) };
}

export function constant(name: string, value: Tensor, controls: readonly string[] = []): StoredNode {
  const number = value.dtype === 'string' ? 7 : value.dtype === 'bool' ? 10 : value.dtype === 'float' ? 1 : INT32;
  return node(name, 'Const', controls, { dtype: dtype(number), value: { type: 'tensor', value } });
}

export interface FunctionParts {
  readonly inputs?: readonly string[];
  readonly nodes: readonly StoredNode[];
  readonly returns: Readonly<Record<string, string>>;
  readonly controlReturns?: readonly string[];
}

export function fun(name: string, parts: FunctionParts): StoredFunction {
  const arg = (one: string): ArgDef => ({ name: one, dtype: INT32 });
  return {
    name,
    inputs: (parts.inputs ?? []).map(arg),
    outputs: Object.keys(parts.returns).map(arg),
    nodes: parts.nodes,
    returns: new Map(Object.entries(parts.returns)),
    controlReturns: parts.controlReturns ?? [],
    attrs: new Map(),
  };
}

export function metaGraph(
  nodes: readonly StoredNode[],
  functions: readonly StoredFunction[] = [],
  more: Partial<MetaGraph> = {},
): MetaGraph {
  return {
    tags: ['serve'],
    tensorflowVersion: '2.18.0',
    nodes,
    functions: new Map(functions.map((one) => [one.name, one])),
    signatures: new Map(),
    assets: [],
    initOp: null,
    saver: null,
    strippedOps: new Map(),
    ...more,
  };
}
