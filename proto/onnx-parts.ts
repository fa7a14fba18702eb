/** An ONNX model taken apart: nodes, constants and values by name, each with its bytes, so that other models can be put together from them. */
import { ServeError } from '#mesh/errors.ts';
import { ONNX } from './onnx-types.ts';
import { malformed, WIRE, WireReader } from './wire.ts';

/** A whole model. Views share the memory of the bytes it was read from. */
export interface OnnxParts {
  readonly irVersion: number;
  /** The version of ONNX's own operators. */
  readonly opset: number;
  /** Versions of all operator sets that it imports, by domain; '' is ONNX's own. */
  readonly opsets: ReadonlyMap<string, number>;
  /** Fields of the ModelProto, keys included, but for its graph and version: operator sets, functions, notes. */
  readonly otherFields: readonly Uint8Array[];
  readonly functions: readonly FunctionParts[];
  readonly graph: GraphParts;
}

/** A function that the model brings along. */
export interface FunctionParts {
  readonly domain: string;
  readonly name: string;
  readonly nodes: readonly NodeParts[];
}

/** A graph. */
export interface GraphParts {
  readonly name: string;
  readonly nodes: readonly NodeParts[];
  /** Constants by name: the field of the GraphProto, key included. */
  readonly initializers: ReadonlyMap<string, InitializerParts>;
  /** What must be fed: without those that are initializers too. */
  readonly inputs: readonly ValueParts[];
  readonly outputs: readonly ValueParts[];
  /** What the model says of other values. */
  readonly values: ReadonlyMap<string, ValueParts>;
}

/** A constant of a graph. */
export interface InitializerParts {
  /** The field of the GraphProto, key included. */
  readonly field: Uint8Array;
  /** The TensorProto; null for a sparse one. */
  readonly tensor: Uint8Array | null;
}

/** A node. */
export interface NodeParts {
  /** The NodeProto. */
  readonly bytes: Uint8Array;
  readonly op: string;
  /** '' for ONNX's own. */
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** AttributeProtos. */
  readonly attributes: readonly Uint8Array[];
  /** Values that it needs: its inputs, and those that graphs inside it take from around them. */
  readonly uses: readonly string[];
  /** The nodes of the graphs inside it, and of those inside them. */
  readonly inner: readonly NodeParts[];
}

/** An input, an output, or a value in between. */
export interface ValueParts {
  readonly name: string;
  /** The ValueInfoProto. */
  readonly bytes: Uint8Array;
  /** Of a tensor, by ONNX's numbers; 0 for anything else and for what has no type. */
  readonly elementType: number;
}

/** Takes a ModelProto apart. Throws INVALID_ARGUMENT for bytes that are none. */
export function readOnnxParts(bytes: Uint8Array): OnnxParts {
  const reader = new WireReader(bytes);
  const otherFields: Uint8Array[] = [];
  const functions: FunctionParts[] = [];
  let graph: GraphParts | undefined;
  const opsets = new Map<string, number>();
  let irVersion = 0;
  while (reader.more()) {
    const start = reader.offset;
    const tag = reader.tag();
    if (tag === ONNX.model.irVersion * 8 + WIRE.varint) {
      irVersion = reader.int64();
      continue;
    }
    if (tag === ONNX.model.graph * 8 + WIRE.bytes) {
      if (graph !== undefined) throw malformed(`a second graph at byte ${start}`);
      graph = readGraph(reader.view());
      continue;
    }
    if (tag === ONNX.model.functions * 8 + WIRE.bytes) functions.push(readFunction(reader.view()));
    else if (tag === ONNX.model.opsetImport * 8 + WIRE.bytes) readOpset(reader.message(), opsets);
    else reader.skip(tag);
    otherFields.push(bytes.subarray(start, reader.offset));
  }
  if (graph === undefined) throw malformed('it has no graph');
  return { irVersion, opset: opsets.get('') ?? 0, opsets, otherFields, functions, graph };
}

function readOpset(reader: WireReader, opsets: Map<string, number>): void {
  let domain = '';
  let version = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.opset.domain * 8 + WIRE.bytes) domain = reader.text();
    else if (tag === ONNX.opset.version * 8 + WIRE.varint) version = reader.int64();
    else reader.skip(tag);
  }
  opsets.set(domain === 'ai.onnx' ? '' : domain, version);
}

function readFunction(bytes: Uint8Array): FunctionParts {
  const reader = new WireReader(bytes);
  const nodes: NodeParts[] = [];
  let domain = '';
  let name = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.function.name * 8 + WIRE.bytes) name = reader.text();
    else if (tag === ONNX.function.domain * 8 + WIRE.bytes) domain = reader.text();
    else if (tag === ONNX.function.node * 8 + WIRE.bytes) nodes.push(readNode(reader.view()));
    else reader.skip(tag);
  }
  return { domain, name, nodes };
}

function readGraph(bytes: Uint8Array, depth = 0): GraphParts {
  if (depth > MAX_DEPTH) throw new ServeError('INVALID_ARGUMENT', `graphs are nested deeper than ${MAX_DEPTH}`);
  const reader = new WireReader(bytes);
  const nodes: NodeParts[] = [];
  const initializers = new Map<string, InitializerParts>();
  const inputs: ValueParts[] = [];
  const outputs: ValueParts[] = [];
  const values = new Map<string, ValueParts>();
  let name = '';
  while (reader.more()) {
    const start = reader.offset;
    const tag = reader.tag();
    const isBytes = (tag & 7) === WIRE.bytes;
    const field = isBytes ? tag >>> 3 : 0;
    if (field === ONNX.graph.node) nodes.push(readNode(reader.view(), depth));
    else if (field === ONNX.graph.name) name = reader.text();
    else if (field === ONNX.graph.input) inputs.push(readValue(reader.view()));
    else if (field === ONNX.graph.output) outputs.push(readValue(reader.view()));
    else if (field === ONNX.graph.valueInfo) {
      const value = readValue(reader.view());
      values.set(value.name, value);
    } else if (field === ONNX.graph.initializer) {
      const tensor = reader.view();
      initializers.set(nameOf(tensor, ONNX.tensor.name), { field: bytes.subarray(start, reader.offset), tensor });
    } else if (field === ONNX.graph.sparseInitializer) {
      // Its first field is the tensor of its values, whose name is its own.
      const sparse = new WireReader(reader.view());
      const own = sparse.tag() === 8 + WIRE.bytes ? nameOf(sparse.view(), ONNX.tensor.name) : '';
      initializers.set(own, { field: bytes.subarray(start, reader.offset), tensor: null });
    } else reader.skip(tag);
  }
  return { name, nodes, initializers, inputs: inputs.filter((input) => !initializers.has(input.name)), outputs, values };
}

const MAX_DEPTH = 64;

function readNode(bytes: Uint8Array, depth = 0): NodeParts {
  const reader = new WireReader(bytes);
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes: Uint8Array[] = [];
  let op = '';
  let domain = '';
  let name = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.node.input * 8 + WIRE.bytes) inputs.push(reader.text());
    else if (tag === ONNX.node.output * 8 + WIRE.bytes) outputs.push(reader.text());
    else if (tag === ONNX.node.name * 8 + WIRE.bytes) name = reader.text();
    else if (tag === ONNX.node.opType * 8 + WIRE.bytes) op = reader.text();
    else if (tag === ONNX.node.domain * 8 + WIRE.bytes) domain = reader.text();
    else if (tag === ONNX.node.attribute * 8 + WIRE.bytes) attributes.push(reader.view());
    else reader.skip(tag);
  }
  const graphs = attributes.flatMap((attribute) => graphsOf(attribute, depth));
  const uses = new Set([...inputs.filter((input) => input !== ''), ...graphs.flatMap(freeNames)]);
  const inner = graphs.flatMap((graph) => graph.nodes.flatMap((node) => [node, ...node.inner]));
  return { bytes, op, domain: domain === 'ai.onnx' ? '' : domain, name, inputs, outputs, attributes, uses: [...uses], inner };
}

function graphsOf(attribute: Uint8Array, depth: number): readonly GraphParts[] {
  const reader = new WireReader(attribute);
  const graphs: GraphParts[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    const isGraph = tag === ONNX.attribute.graph * 8 + WIRE.bytes || tag === ONNX.attribute.graphs * 8 + WIRE.bytes;
    if (isGraph) graphs.push(readGraph(reader.view(), depth + 1));
    else reader.skip(tag);
  }
  return graphs;
}

/** Names that a graph takes from those around it. */
function freeNames({ nodes, inputs, outputs, initializers }: GraphParts): readonly string[] {
  const own = new Set([...inputs.map((input) => input.name), ...initializers.keys(), ...nodes.flatMap((node) => node.outputs)]);
  const used = [...nodes.flatMap((node) => node.uses), ...outputs.map((output) => output.name)];
  return used.filter((name) => !own.has(name));
}

function readValue(bytes: Uint8Array): ValueParts {
  const reader = new WireReader(bytes);
  let name = '';
  let elementType = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.valueInfo.name * 8 + WIRE.bytes) name = reader.text();
    else if (tag === ONNX.valueInfo.type * 8 + WIRE.bytes) {
      const type = reader.message();
      while (type.more()) {
        const inner = type.tag();
        if (inner === ONNX.type.tensor * 8 + WIRE.bytes) elementType = elementTypeOf(type.message());
        else type.skip(inner);
      }
    } else reader.skip(tag);
  }
  return { name, bytes, elementType };
}

function elementTypeOf(reader: WireReader): number {
  let elementType = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.tensorType.elementType * 8 + WIRE.varint) elementType = reader.int32();
    else reader.skip(tag);
  }
  return elementType;
}

/** The text of a field of a message; '' when it is not there. */
function nameOf(bytes: Uint8Array, field: number): string {
  const reader = new WireReader(bytes);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === field * 8 + WIRE.bytes) return reader.text();
    reader.skip(tag);
  }
  return '';
}
