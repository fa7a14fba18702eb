import { fromUtf8 } from '#mesh/bytes.ts';
import type { Tensor } from '#mesh/tensor.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { AttrValue, DataTypeNumber, MetaGraph } from '../graph.ts';
import { assetNames } from './assets.ts';
import { restoredKey, type VariableBindings } from './bind-variables.ts';
import type { FoldedGraph } from './fold.ts';
import { isTable, originOf, resourceIdentity } from './resources.ts';

/** Values of a table's keys or values. */
export type TableColumn =
  | { readonly type: 'constant'; readonly value: Tensor }
  /** A tensor of the checkpoint. */
  | { readonly type: 'checkpoint'; readonly key: string; readonly slice: string };

/** What fills a table. */
export type TableSource =
  | { readonly type: 'tensors'; readonly keys: TableColumn; readonly values: TableColumn }
  /** Lines of a text file. A column index of -2 means the whole line, -1 the line's number, else the field between delimiters. */
  | {
      readonly type: 'text-file';
      /** Below `assets/`. */
      readonly fileName: string;
      readonly keyIndex: number;
      readonly valueIndex: number;
      /** Lines that are read; -1 for all. */
      readonly vocabSize: number;
      /** One byte as text. */
      readonly delimiter: string;
      /** Added to line numbers. */
      readonly offset: number;
    };

/** One table of the graph and what fills it. */
export interface TableInit {
  /** The first node of the table in the graph; others of the same identity are the same table. */
  readonly table: FlatNode;
  readonly identity: string;
  readonly keyDtype: DataTypeNumber;
  readonly valueDtype: DataTypeNumber;
  /** In the order in which they run; empty for a table that starts empty. */
  readonly sources: readonly TableSource[];
  /** Why a table is filled by something that is not known before it runs; null when all is known. */
  readonly problem: string | null;
}

const FILLS = /^(InitializeTable(FromTextFile)?|LookupTable(Import|Insert))(V2)?$/;

/**
 * Which tables a graph has and what fills them, as data. `graph` must hold the init op (and the restore op, for tables that are in the
 * checkpoint). Nodes that fill a table from what a request brings (LookupTableInsert in a signature) are listed as a problem.
 */
export function initTables(graph: FoldedGraph, variables: VariableBindings, assets: MetaGraph['assets']): TableInit[] {
  const tables = new Map<string, TableInit & { readonly sources: TableSource[]; problem: string | null }>();
  const files = assetNames(graph, assets);
  for (const node of graph.nodes) {
    const identity = resourceIdentity(node);
    if (!isTable(node) || tables.has(identity)) continue;
    const dtypes = { keyDtype: dtypeAttr(node, 'key_dtype'), valueDtype: dtypeAttr(node, 'value_dtype') };
    tables.set(identity, { table: node, identity, ...dtypes, sources: [], problem: null });
  }
  for (const node of graph.nodes) {
    const [handle] = node.inputs;
    if (!FILLS.test(node.op) || handle === undefined) continue;
    const table = tables.get(resourceIdentity(originOf(handle).node));
    if (table === undefined) continue;
    const source = node.op.includes('TextFile') ? textFile(node, graph, variables, files) : tensors(node, graph, variables);
    if (typeof source === 'string') table.problem = source;
    else table.sources.push(source);
  }
  return [...tables.values()];
}

function textFile(
  node: FlatNode,
  graph: FoldedGraph,
  variables: VariableBindings,
  files: (ref: ValueRef) => string | undefined,
): TableSource | string {
  const [, given] = node.inputs;
  if (given === undefined) return `${node.name} (${node.op}) has no file name`;
  const fileName = files(originOf(given)) ?? pathOf(variables, given) ?? constantPath(graph, given);
  if (fileName === undefined) return `${node.name} (${node.op}) reads a file whose name is neither an asset nor constant`;
  return {
    type: 'text-file',
    fileName,
    keyIndex: intAttr(node, 'key_index', -2),
    valueIndex: intAttr(node, 'value_index', -1),
    vocabSize: intAttr(node, 'vocab_size', -1),
    delimiter: textAttr(node, 'delimiter', '\t'),
    offset: intAttr(node, 'offset', 0),
  };
}

/** A variable that holds an asset's path. */
function pathOf(variables: VariableBindings, ref: ValueRef): string | undefined {
  const source = variables.sourceOf(ref);
  return source?.type === 'asset' ? source.fileName : undefined;
}

/** The last part of a path that the exporter wrote into the graph: the loader finds it below `assets/`, or nowhere. */
function constantPath(graph: FoldedGraph, ref: ValueRef): string | undefined {
  const value = graph.constant(originOf(ref))?.data[0];
  const path = value instanceof Uint8Array ? fromUtf8(value) : '';
  return path === '' ? undefined : path.split('/').at(-1);
}

function tensors(node: FlatNode, graph: FoldedGraph, variables: VariableBindings): TableSource | string {
  const [, keys, values] = node.inputs.map((ref) => column(ref, graph, variables));
  if (keys === undefined || values === undefined) return `${node.name} (${node.op}) fills the table with what is not constant`;
  return { type: 'tensors', keys, values };
}

function column(ref: ValueRef, graph: FoldedGraph, variables: VariableBindings): TableColumn | undefined {
  const origin = originOf(ref);
  const restored = restoredKey(graph, origin);
  if (restored !== undefined) return { type: 'checkpoint', ...restored };
  const constant = origin.node.op === 'Const' ? origin.node.attrs.get('value') : undefined;
  if (constant?.type === 'tensor') return { type: 'constant', value: constant.value };
  const source = variables.sourceOf(ref);
  return source === undefined || source.type === 'asset' ? undefined : source;
}

function attrOf<K extends AttrValue['type']>(node: FlatNode, name: string, type: K): Extract<AttrValue, { readonly type: K }> | undefined {
  const value = node.attrs.get(name);
  return value?.type === type ? (value as Extract<AttrValue, { readonly type: K }>) : undefined;
}

function dtypeAttr(node: FlatNode, name: string): DataTypeNumber {
  return attrOf(node, name, 'dtype')?.value ?? 0;
}

function intAttr(node: FlatNode, name: string, otherwise: number): number {
  return attrOf(node, name, 'int')?.value ?? otherwise;
}

function textAttr(node: FlatNode, name: string, otherwise: string): string {
  const value = attrOf(node, name, 'string');
  return value === undefined ? otherwise : fromUtf8(value.value);
}
