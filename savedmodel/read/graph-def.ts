/** `tensorflow.GraphDef`: the nodes of the main graph and the functions of the library. */
import type { WireReader } from '#proto/wire.ts';
import type { AttrValue, StoredFunction, StoredNode } from '../graph.ts';
import { readAttrEntry } from './attr-value.ts';
import { readTextEntry } from './map-entry.ts';
import { type OpDefinition, readOpDef } from './op-def.ts';

const GRAPH = { node: 10, library: 18 } as const;
const LIBRARY_FUNCTION = 10;
const NODE = { name: 10, op: 18, input: 26, attr: 42 } as const;
const FUNCTION = { signature: 10, node: 26, returns: 34, attr: 42, controlReturns: 50 } as const;

/** A graph as stored. */
export interface StoredGraph {
  readonly nodes: readonly StoredNode[];
  readonly functions: ReadonlyMap<string, StoredFunction>;
}

/** Reads a GraphDef; tensors in it are views of its bytes. Throws INVALID_ARGUMENT. */
export function readGraphDef(reader: WireReader): StoredGraph {
  const nodes: StoredNode[] = [];
  const functions = new Map<string, StoredFunction>();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === GRAPH.node) nodes.push(readNode(reader.message()));
    else if (tag === GRAPH.library) readLibrary(reader.message(), functions);
    else reader.skip(tag);
  }
  return { nodes, functions };
}

function readLibrary(reader: WireReader, functions: Map<string, StoredFunction>): void {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== LIBRARY_FUNCTION) {
      reader.skip(tag);
      continue;
    }
    const one = readFunction(reader.message());
    functions.set(one.name, one);
  }
}

function readNode(reader: WireReader): StoredNode {
  let name = '';
  let op = '';
  const inputs: string[] = [];
  const attrs = new Map<string, AttrValue>();
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case NODE.name:
        name = reader.text();
        break;
      case NODE.op:
        op = reader.text();
        break;
      case NODE.input:
        inputs.push(reader.text());
        break;
      case NODE.attr:
        readAttrEntry(reader.message(), attrs, `node ${name} (${op})`);
        break;
      default:
        reader.skip(tag);
    }
  }
  return { name, op, inputs, attrs };
}

function readFunction(reader: WireReader): StoredFunction {
  let signature: (OpDefinition & { readonly name: string }) | undefined;
  const nodes: StoredNode[] = [];
  const returns = new Map<string, string>();
  const controlReturns: string[] = [];
  const attrs = new Map<string, AttrValue>();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === FUNCTION.signature) signature = readOpDef(reader.message());
    else if (tag === FUNCTION.node) nodes.push(readNode(reader.message()));
    else if (tag === FUNCTION.returns) returns.set(...readTextEntry(reader.message()));
    else if (tag === FUNCTION.controlReturns) controlReturns.push(readTextEntry(reader.message())[1]);
    else if (tag === FUNCTION.attr) readAttrEntry(reader.message(), attrs, `function ${signature?.name ?? ''}`);
    else reader.skip(tag);
  }
  const { name = '', inputs = [], outputs = [] } = signature ?? {};
  return { name, inputs, outputs, nodes, returns, controlReturns, attrs };
}
