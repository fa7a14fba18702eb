/** Builds ONNX models in memory: for examples, benches, tests, and whoever translates another format into ONNX. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, elementCount, tensorByteLength, unpackStrings } from '#mesh/tensor.ts';
import { ONNX, ONNX_TYPE } from './onnx-types.ts';
import { WireWriter } from './wire-writer.ts';

/** A named input or output. A dimension is a size, a name (free, and equal wherever the name recurs), or -1 (free). `null`: no shape at all. */
export interface OnnxValue {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly (number | string)[] | null;
}

/** A constant with its value in the model. `bytes` are row-major and little-endian; strings in the layout of `#mesh/tensor.ts`. */
export interface OnnxConstant {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  readonly external?: undefined;
}

/** Where a constant lies in another file, row-major and little-endian. */
export interface ExternalData {
  /** The file, relative to the folder of the model's file; without `..`. */
  readonly location: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** A constant whose value lies in another file: the model holds the reference only. Not for strings. */
export interface OnnxExternalConstant {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes?: undefined;
  readonly external: ExternalData;
}

/** A constant of a graph. */
export type OnnxInitializer = OnnxConstant | OnnxExternalConstant;

/**
 * The value of a node's attribute: a whole number is INT, `{ float }` FLOAT, a string STRING, an array INTS, `{ strings }` STRINGS, `{ graph }`
 * GRAPH. Inside a function's nodes `{ ref }` takes the value of the function's own attribute of that name.
 */
export type OnnxAttribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly strings: readonly string[] }
  | { readonly tensor: OnnxConstant }
  | { readonly graph: OnnxGraph }
  | { readonly ref: string; readonly type: 'float' | 'int' | 'string' | 'tensor' | 'floats' | 'ints' | 'strings' };

/** One operation. An input of '' is an optional one left out. */
export interface OnnxNode {
  readonly op: string;
  /** '' or absent: ONNX's own operators. Another domain is imported at version 1 unless `domains` says otherwise. */
  readonly domain?: string;
  readonly name?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
}

/** An operator defined by other operators; nodes call it by domain and name. */
export interface OnnxFunction {
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Names of the attributes that a caller gives. */
  readonly attributes?: readonly string[];
  /** Attributes that a caller may give, with what they are otherwise. */
  readonly defaults?: Readonly<Record<string, OnnxAttribute>>;
  readonly nodes: readonly OnnxNode[];
  /** The version of ONNX's own operators that `nodes` use; default: the model's. */
  readonly opset?: number;
}

/** A graph: a model's, or one that a node runs (If, Loop, Scan). The latter may use values of the graphs around it by their names. */
export interface OnnxGraph {
  readonly name: string;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly OnnxInitializer[];
  readonly nodes: readonly OnnxNode[];
}

/** A whole model. */
export interface OnnxModel extends OnnxGraph {
  /** The version of ONNX's own operators. */
  readonly opset: number;
  readonly functions?: readonly OnnxFunction[];
  /** Versions of other operator domains. */
  readonly domains?: Readonly<Record<string, number>>;
  /** Default: the lowest that the opset and functions allow. */
  readonly irVersion?: number;
}

const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7, strings: 8 } as const;

/**
 * Encodes a model as ONNX's ModelProto, into one buffer: constants that are too many for that are to be external. Throws INVALID_ARGUMENT when
 * an initializer's bytes do not fit its shape, an external one is of strings, or an INT is not whole.
 */
export function buildModel(model: OnnxModel): Uint8Array {
  const weightBytes = model.initializers.reduce((sum, initializer) => sum + encodedBytes(initializer), 0);
  const writer = new WireWriter(weightBytes + 4096);
  writer.varintField(ONNX.model.irVersion, model.irVersion ?? irVersionOf(model.opset));
  writer.stringField(ONNX.model.producerName, 'headrace');
  writer.delimited(ONNX.model.graph, () => writeGraph(writer, model), weightBytes + 2048);
  writeOpset(writer, ONNX.model.opsetImport, '', model.opset);
  for (const [domain, version] of domainsOf(model)) writeOpset(writer, ONNX.model.opsetImport, domain, version);
  for (const one of model.functions ?? []) writer.delimited(ONNX.model.functions, () => writeFunction(writer, one, model));
  return writer.finish();
}

/**
 * Functions as fields of a ModelProto, with the operator domains that they need beyond those that the model imports: appended to the bytes of a model they
 * become part of it. `opset`: that of functions that name none.
 */
export function buildFunctions(functions: readonly OnnxFunction[], opset: number, imported: ReadonlySet<string> = new Set()): Uint8Array {
  const writer = new WireWriter(4096);
  const parts = { nodes: [], functions, opset };
  for (const [domain, version] of domainsOf(parts)) {
    if (!imported.has(domain)) writeOpset(writer, ONNX.model.opsetImport, domain, version);
  }
  for (const one of functions) writer.delimited(ONNX.model.functions, () => writeFunction(writer, one, parts));
  return writer.finish();
}

function irVersionOf(opset: number): number {
  if (opset <= 18) return 8;
  return opset <= 20 ? 9 : 10;
}

/** About how many bytes an initializer takes; a model's buffer is as large from the start. */
function encodedBytes(one: OnnxInitializer): number {
  return (one.external === undefined ? one.bytes.byteLength : one.external.location.length + 96) + one.name.length + 64;
}

/** The nodes and those of the graphs that they run. */
function withInner(nodes: readonly OnnxNode[]): readonly OnnxNode[] {
  return nodes.flatMap((node) => {
    const graphs = Object.values(node.attributes ?? {}).flatMap((value) => (isGraph(value) ? [value.graph] : []));
    return [node, ...graphs.flatMap((graph) => withInner(graph.nodes))];
  });
}

function isGraph(value: OnnxAttribute): value is { readonly graph: OnnxGraph } {
  return typeof value === 'object' && 'graph' in value;
}

function domainsOf(model: Pick<OnnxModel, 'nodes' | 'functions' | 'domains'>): ReadonlyMap<string, number> {
  const nodes = withInner([...model.nodes, ...(model.functions ?? []).flatMap((one) => one.nodes)]);
  const used = [...nodes.map((node) => node.domain ?? ''), ...(model.functions ?? []).map((one) => one.domain)];
  const other = used.filter((domain) => domain !== '' && domain !== 'ai.onnx');
  return new Map([...other.map((domain) => [domain, 1] as const), ...Object.entries(model.domains ?? {})]);
}

function writeOpset(writer: WireWriter, field: number, domain: string, version: number): void {
  writer.delimited(field, () => {
    writer.stringField(ONNX.opset.domain, domain);
    writer.varintField(ONNX.opset.version, version);
  });
}

function writeGraph(writer: WireWriter, graph: OnnxGraph): void {
  for (const node of graph.nodes) writer.delimited(ONNX.graph.node, () => writeNode(writer, node));
  writer.stringField(ONNX.graph.name, graph.name);
  for (const one of graph.initializers) writer.delimited(ONNX.graph.initializer, () => writeTensor(writer, one), encodedBytes(one) - 32);
  for (const input of graph.inputs) writer.delimited(ONNX.graph.input, () => writeValue(writer, input));
  for (const output of graph.outputs) writer.delimited(ONNX.graph.output, () => writeValue(writer, output));
}

function writeFunction(writer: WireWriter, one: OnnxFunction, model: Pick<OnnxModel, 'nodes' | 'functions' | 'domains' | 'opset'>): void {
  writer.stringField(ONNX.function.name, one.name);
  for (const input of one.inputs) writer.stringField(ONNX.function.input, input);
  for (const output of one.outputs) writer.stringField(ONNX.function.output, output);
  for (const attribute of one.attributes ?? []) writer.stringField(ONNX.function.attribute, attribute);
  for (const [name, value] of Object.entries(one.defaults ?? {})) {
    writer.delimited(ONNX.function.attributeDefault, () => writeAttribute(writer, name, value));
  }
  for (const node of one.nodes) writer.delimited(ONNX.function.node, () => writeNode(writer, node));
  writeOpset(writer, ONNX.function.opsetImport, '', one.opset ?? model.opset);
  for (const [domain, version] of domainsOf(model)) writeOpset(writer, ONNX.function.opsetImport, domain, version);
  writer.stringField(ONNX.function.domain, one.domain);
}

function writeNode(writer: WireWriter, node: OnnxNode): void {
  for (const input of node.inputs) writer.stringField(ONNX.node.input, input);
  for (const output of node.outputs) writer.stringField(ONNX.node.output, output);
  if (node.name !== undefined) writer.stringField(ONNX.node.name, node.name);
  writer.stringField(ONNX.node.opType, node.op);
  for (const [name, value] of Object.entries(node.attributes ?? {})) {
    writer.delimited(ONNX.node.attribute, () => writeAttribute(writer, name, value));
  }
  if (node.domain !== undefined) writer.stringField(ONNX.node.domain, node.domain);
}

function writeAttribute(writer: WireWriter, name: string, value: OnnxAttribute): void {
  const fields = ONNX.attribute;
  const ofType = (type: keyof typeof ATTRIBUTE_TYPE) => writer.varintField(fields.type, ATTRIBUTE_TYPE[type]);
  writer.stringField(fields.name, name);
  if (typeof value === 'number') {
    ofType('int').varintField(fields.int, whole(name, value));
  } else if (typeof value === 'string') {
    ofType('string').stringField(fields.string, value);
  } else if (isNumbers(value)) {
    ofType('ints');
    for (const one of value) writer.varintField(fields.ints, whole(name, one));
  } else if ('float' in value) {
    ofType('float').floatField(fields.float, value.float);
  } else if ('floats' in value) {
    ofType('floats');
    for (const one of value.floats) writer.floatField(fields.floats, one);
  } else if ('strings' in value) {
    ofType('strings');
    for (const one of value.strings) writer.stringField(fields.strings, one);
  } else if ('tensor' in value) {
    ofType('tensor').delimited(fields.tensor, () => writeTensor(writer, value.tensor), value.tensor.bytes.byteLength + 32);
  } else if ('graph' in value) {
    ofType('graph').delimited(fields.graph, () => writeGraph(writer, value.graph));
  } else {
    ofType(value.type).stringField(fields.refName, value.ref);
  }
}

function isNumbers(value: object): value is readonly number[] {
  return Array.isArray(value);
}

function whole(name: string, value: number): number {
  if (Number.isSafeInteger(value)) return value;
  throw new ServeError('INVALID_ARGUMENT', `attribute ${name} is ${value}; a whole number was expected ({ float } for others)`);
}

function writeTensor(writer: WireWriter, tensor: OnnxInitializer): void {
  for (const dim of tensor.shape) writer.varintField(ONNX.tensor.dims, dim);
  writer.varintField(ONNX.tensor.dataType, ONNX_TYPE[tensor.dtype]);
  writer.stringField(ONNX.tensor.name, tensor.name);
  if (tensor.external !== undefined) {
    writeExternal(writer, tensor);
    return;
  }
  if (tensor.dtype === 'string') {
    for (const element of unpackStrings(tensor.bytes, elementCount(tensor.shape))) writer.bytesField(ONNX.tensor.stringData, element);
    return;
  }
  requireByteLength(tensor, tensor.bytes.byteLength);
  writer.bytesField(ONNX.tensor.rawData, tensor.bytes);
}

/** ONNX's `data_location` of a tensor whose value lies in another file. */
const EXTERNAL = 1;

function writeExternal(writer: WireWriter, tensor: OnnxExternalConstant): void {
  const { location, offset, byteLength } = tensor.external;
  if (tensor.dtype === 'string') throw new ServeError('INVALID_ARGUMENT', `${tensor.name}: strings cannot lie in another file`);
  requireByteLength(tensor, byteLength);
  for (const [key, value] of Object.entries({ location, offset: `${offset}`, length: `${byteLength}` })) {
    writer.delimited(ONNX.tensor.externalData, () => writer.stringField(ONNX.entry.key, key).stringField(ONNX.entry.value, value));
  }
  writer.varintField(ONNX.tensor.dataLocation, EXTERNAL);
}

function requireByteLength(tensor: OnnxInitializer, byteLength: number): void {
  const expected = tensorByteLength(tensor.dtype, tensor.shape);
  if (byteLength === expected) return;
  const found = `${tensor.name}: ${tensor.dtype} of shape [${tensor.shape}] takes ${expected} bytes, ${byteLength} were given`;
  throw new ServeError('INVALID_ARGUMENT', found);
}

function writeValue(writer: WireWriter, value: OnnxValue): void {
  writer.stringField(ONNX.valueInfo.name, value.name);
  const { shape } = value;
  const writeDim = (dim: number | string) => {
    if (typeof dim === 'string') writer.stringField(ONNX.dimension.param, dim);
    else if (dim >= 0) writer.varintField(ONNX.dimension.value, dim);
  };
  const writeShape = () => shape?.forEach((dim) => void writer.delimited(ONNX.shape.dim, () => writeDim(dim)));
  const writeTensorType = () => {
    writer.varintField(ONNX.tensorType.elementType, ONNX_TYPE[value.dtype]);
    if (shape !== null) writer.delimited(ONNX.tensorType.shape, writeShape);
  };
  writer.delimited(ONNX.valueInfo.type, () => writer.delimited(ONNX.type.tensor, writeTensorType));
}
