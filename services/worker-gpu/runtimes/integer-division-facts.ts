/** What is known of the values of a graph, as far as integer division needs it: element types, constants, and what comes from shapes. */
import { ONNX, ONNX_TYPE } from '#proto/onnx-types.ts';
import { malformed, WireReader } from '#proto/wire.ts';
import { outputTypes, type TypeOf } from './onnx-node-types.ts';
import { fieldsOf, textOf } from './onnx-rewriting.ts';

const { int32, int64 } = ONNX_TYPE;

/** What is known of values by name: of this graph, and of those around it. */
export interface Scope {
  /** ONNX's element types. */
  readonly types: Map<string, number>;
  /** Integers of constants. */
  readonly constants: Map<string, readonly bigint[]>;
  /** Values that come from shapes: never negative. */
  readonly sizes: Set<string>;
}

/** A node as far as it matters. */
export interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly ints: ReadonlyMap<string, number>;
  readonly tensors: ReadonlyMap<string, Constant>;
  /** The GraphProtos inside it by the names of their attributes. */
  readonly graphs: ReadonlyMap<string, Uint8Array>;
}

interface Constant {
  readonly name: string;
  readonly type: number;
  /** Null: not integers, or not here. */
  readonly values: readonly bigint[] | null;
}

/** Nothing is known. */
export function emptyScope(): Scope {
  return { types: new Map(), constants: new Map(), sizes: new Set() };
}

/** Graphs inside each other: onnxruntime itself reads fewer. */
const MOST_NESTED_GRAPHS = 64;

/** Refuses graphs nested deeper than any reader goes, with INVALID_ARGUMENT. */
export function checkNesting(depth: number): void {
  if (depth > MOST_NESTED_GRAPHS) throw malformed(`graphs are nested deeper than ${MOST_NESTED_GRAPHS}`);
}

/** Whether onnxruntime computes a node with the processor's division. */
export function isDivision({ op, domain }: Pick<Node, 'op' | 'domain'>): boolean {
  return (op === 'Div' || op === 'Mod') && (domain === '' || domain === 'ai.onnx');
}

/** What a graph's own messages say of its values, on top of what is known around it. */
export function scopeOf(graph: Uint8Array, outer: Scope): Scope {
  const scope: Scope = { types: new Map(outer.types), constants: new Map(outer.constants), sizes: new Set(outer.sizes) };
  for (const { field, bytes } of fieldsOf(graph)) {
    if (field === ONNX.graph.initializer) learnConstant(scope, readTensor(bytes));
    else if (field === ONNX.graph.input || field === ONNX.graph.output || field === ONNX.graph.valueInfo) learnPort(scope, bytes);
  }
  return scope;
}

/** Operators that pass sizes on, and change neither sign nor type. */
const KEEPS_SIZES: ReadonlySet<string> = new Set(['Gather', 'Slice', 'Squeeze', 'Unsqueeze', 'Identity', 'Reshape', 'Concat']);

/** Learns what a node gives; `called`: the types of its outputs where it calls a function of the model. */
export function learnNode({ types, constants, sizes }: Scope, node: Node, called?: readonly (number | undefined)[]): void {
  const { op, inputs, outputs, tensors } = node;
  const typeOf: TypeOf = (name) => types.get(name);
  const own = called ?? typesOfGraphs(node) ?? outputTypes({ ...node, constantType: tensors.get('value')?.type }, typeOf);
  for (const [index, type] of own.entries()) {
    const name = outputs[index];
    if (name !== undefined && type !== undefined && !types.has(name)) types.set(name, type);
  }
  const [output = ''] = outputs;
  const value = tensors.get('value')?.values;
  const whole = node.ints.get('value_int');
  if (op === 'Constant' && value) constants.set(output, value);
  else if (op === 'Constant' && whole !== undefined) constants.set(output, [BigInt(whole)]);
  const kept = op === 'Concat' ? inputs : inputs.slice(0, 1);
  if (op === 'Shape' || op === 'Size' || (KEEPS_SIZES.has(op) && kept.every((name) => sizes.has(name)))) sizes.add(output);
}

/** What the graphs inside a node say of what they give; undefined for a node without any. */
function typesOfGraphs({ op, graphs }: Node): readonly (number | undefined)[] | undefined {
  const [graph] = graphs.values();
  if (graph === undefined) return undefined;
  const outputs = [...fieldsOf(graph)]
    .filter(({ field }) => field === ONNX.graph.output)
    .map(({ bytes }) => portOf(bytes).type || undefined);
  // A Loop's body says first whether it goes on.
  return op === 'Loop' ? outputs.slice(1) : outputs;
}

function learnConstant({ types, constants }: Scope, { name, type, values }: Constant): void {
  types.set(name, type);
  if (values) constants.set(name, values);
}

function learnPort({ types }: Scope, bytes: Uint8Array): void {
  const { name, type } = portOf(bytes);
  if (type > 0) types.set(name, type);
}

/** Of a ValueInfoProto; type 0 for what is no tensor or says nothing. */
function portOf(bytes: Uint8Array): { readonly name: string; readonly type: number } {
  let name = '';
  let type = 0;
  for (const { field, bytes: value } of fieldsOf(bytes)) {
    if (field === ONNX.valueInfo.name) name = textOf(value);
    if (field !== ONNX.valueInfo.type) continue;
    for (const kind of fieldsOf(value)) {
      if (kind.field !== ONNX.type.tensor) continue;
      for (const fact of fieldsOf(kind.bytes)) if (fact.field === ONNX.tensorType.elementType) type = fact.varint;
    }
  }
  return { name, type };
}

/** `repeated int32 / int64 data` of a tensor. */
const INT32_DATA = 5;
const INT64_DATA = 7;

/** Reads a NodeProto. */
export function readNode(bytes: Uint8Array): Node {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const ints = new Map<string, number>();
  const tensors = new Map<string, Constant>();
  const graphs = new Map<string, Uint8Array>();
  let op = '';
  let domain = '';
  for (const { field, bytes: value } of fieldsOf(bytes)) {
    if (field === ONNX.node.input) inputs.push(textOf(value));
    else if (field === ONNX.node.output) outputs.push(textOf(value));
    else if (field === ONNX.node.opType) op = textOf(value);
    else if (field === ONNX.node.domain) domain = textOf(value);
    else if (field === ONNX.node.attribute) readAttribute(value, ints, tensors, graphs);
  }
  return { op, domain, inputs, outputs, ints, tensors, graphs };
}

function readAttribute(
  bytes: Uint8Array,
  ints: Map<string, number>,
  tensors: Map<string, Constant>,
  graphs: Map<string, Uint8Array>,
): void {
  const fields = [...fieldsOf(bytes)];
  const named = fields.find(({ field }) => field === ONNX.attribute.name);
  const name = named === undefined ? '' : textOf(named.bytes);
  for (const { field, bytes: value, varint } of fields) {
    if (field === ONNX.attribute.int) ints.set(name, varint);
    else if (field === ONNX.attribute.tensor) tensors.set(name, readTensor(value));
    else if (field === ONNX.attribute.graph) graphs.set(name, value);
  }
}

function readTensor(bytes: Uint8Array): Constant {
  let name = '';
  let type = 0;
  let elements = 1;
  const values: bigint[] = [];
  let raw: Uint8Array | undefined;
  for (const { field, bytes: value, varint, isVarint } of fieldsOf(bytes)) {
    if (field === ONNX.tensor.name) name = textOf(value);
    else if (field === ONNX.tensor.dataType) type = varint;
    else if (field === ONNX.tensor.rawData) raw = value;
    else if (field === ONNX.tensor.dims) for (const dim of isVarint ? [BigInt(varint)] : packed(value)) elements *= Number(dim);
    else if (field === INT32_DATA || field === INT64_DATA) values.push(...(isVarint ? [BigInt(varint)] : packed(value)));
  }
  if (type !== int32 && type !== int64) return { name, type, values: null };
  const size = type === int32 ? 4 : 8;
  if (raw !== undefined) {
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    for (let at = 0; at + size <= raw.byteLength; at += size)
      values.push(type === int32 ? BigInt(view.getInt32(at, true)) : view.getBigInt64(at, true));
  }
  return { name, type, values: values.length === elements ? values : null };
}

function packed(bytes: Uint8Array): bigint[] {
  const values: bigint[] = [];
  for (const reader = new WireReader(bytes); reader.more(); ) values.push(reader.int64Exact());
  return values;
}
