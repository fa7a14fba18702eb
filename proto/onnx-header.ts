/** Reads what an ONNX model says of itself (inputs, outputs, operator sets, size of weights) without reading the weights. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { DType } from '#mesh/tensor.ts';
import { type InitializerFacts, readInitializer } from './onnx-initializer.ts';
import { createFileBytes, type RandomBytes, ScanCursor } from './onnx-scan.ts';
import { dtypeFromOnnx, ONNX } from './onnx-types.ts';
import { malformed, WIRE, type WireReader } from './wire.ts';

/** An input or output of the graph. */
export interface OnnxPort {
  readonly name: string;
  /** Null for what is not a tensor (a sequence, a map), or of a type that clients cannot send (float8, int4). */
  readonly dtype: DType | null;
  /** ONNX's number of the element type; 0 for what is not a tensor. */
  readonly elementType: number;
  /** -1: any size. Null: the model does not even say how many dimensions. */
  readonly shape: readonly number[] | null;
  /** The names of dimensions, '' for those without; same length as `shape`. */
  readonly dimNames: readonly string[];
}

/** What a model says of itself. */
export interface OnnxHeader {
  readonly irVersion: number;
  readonly graphName: string;
  /** Versions of operator sets by domain; '' is ONNX's own. */
  readonly opsets: ReadonlyMap<string, number>;
  /** What a caller gives: initializers that are listed as inputs (default values) are left out. */
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
  /** Bytes of all initializers, those in other files included. */
  readonly initializerBytes: number;
  readonly initializerCount: number;
  /** Other files that hold weights, relative to the model's folder, as the model names them: check before opening. */
  readonly externalFiles: readonly string[];
}

/** A description of an input or output, or an operator set, is small; one above this is not what it seems. */
const MAX_DESCRIPTION_BYTES = 16 * 1024 * 1024;

/** Reads a model's header from its bytes. Throws DATA_LOSS naming the offset and what is wrong there. */
export function readOnnxHeader(model: Uint8Array): OnnxHeader {
  return readHeader({ byteLength: model.byteLength, read: (start, end) => model.subarray(start, end) }, 'ONNX model');
}

/**
 * Reads a model's header from a file, in windows of 64 KiB: a model of gigabytes takes milliseconds. Throws NOT_FOUND when the file cannot
 * be opened, DATA_LOSS naming the offset and what is wrong there.
 */
export function readOnnxHeaderFile(path: string): OnnxHeader {
  const file = openModel(path);
  try {
    const read = (into: Uint8Array, position: number) => readSync(file, into, 0, into.byteLength, position);
    return readHeader(createFileBytes(fstatSync(file).size, read), path);
  } finally {
    closeSync(file);
  }
}

function openModel(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (caught) {
    throw new ServeError('NOT_FOUND', `${path} cannot be opened: ${toServeError(caught).message}`, { cause: caught });
  }
}

function readHeader(bytes: RandomBytes, what: string): OnnxHeader {
  const cursor = new ScanCursor(bytes);
  try {
    return readModel(cursor);
  } catch (caught) {
    const cause = toServeError(caught);
    throw new ServeError(
      'DATA_LOSS',
      `${what}: not a readable ONNX model near byte ${cursor.offset} of ${bytes.byteLength}: ${cause.message}`,
      {
        cause,
      },
    );
  }
}

/** The graph's parts while they are collected. */
interface GraphParts {
  name: string;
  readonly inputs: OnnxPort[];
  readonly outputs: OnnxPort[];
  readonly initializers: InitializerFacts[];
}

function readModel(cursor: ScanCursor): OnnxHeader {
  const opsets = new Map<string, number>();
  const graph: GraphParts = { name: '', inputs: [], outputs: [], initializers: [] };
  let irVersion = 0;
  let hasGraph = false;
  while (cursor.more()) {
    const tag = cursor.tag();
    if (tag === ONNX.model.irVersion * 8 + WIRE.varint) irVersion = cursor.varint();
    else if (tag === ONNX.model.opsetImport * 8 + WIRE.bytes) readOpset(cursor.message(MAX_DESCRIPTION_BYTES), opsets);
    else if (tag === ONNX.model.graph * 8 + WIRE.bytes) {
      hasGraph = true;
      cursor.within(() => readGraph(cursor, graph));
    } else cursor.skip(tag);
  }
  if (!hasGraph) throw malformed('it has no graph');
  const initialized = new Set(graph.initializers.map(({ name }) => name));
  return {
    irVersion,
    graphName: graph.name,
    opsets,
    inputs: graph.inputs.filter(({ name }) => !initialized.has(name)),
    outputs: graph.outputs,
    initializerBytes: graph.initializers.reduce((sum, { byteLength }) => sum + byteLength, 0),
    initializerCount: graph.initializers.length,
    externalFiles: [...new Set(graph.initializers.flatMap(({ externalFile }) => (externalFile === null ? [] : [externalFile])))],
  };
}

function readGraph(cursor: ScanCursor, graph: GraphParts): void {
  while (cursor.more()) {
    const tag = cursor.tag();
    if (tag === ONNX.graph.name * 8 + WIRE.bytes) graph.name = cursor.text(MAX_DESCRIPTION_BYTES);
    else if (tag === ONNX.graph.input * 8 + WIRE.bytes) graph.inputs.push(readPort(cursor.message(MAX_DESCRIPTION_BYTES)));
    else if (tag === ONNX.graph.output * 8 + WIRE.bytes) graph.outputs.push(readPort(cursor.message(MAX_DESCRIPTION_BYTES)));
    else if (tag === ONNX.graph.initializer * 8 + WIRE.bytes) cursor.within(() => graph.initializers.push(readInitializer(cursor)));
    else if (tag === ONNX.graph.sparseInitializer * 8 + WIRE.bytes) cursor.within(() => readSparse(cursor, graph));
    else cursor.skip(tag);
  }
}

/** A sparse initializer is its values, whose name is its own, and their indices. */
function readSparse(cursor: ScanCursor, graph: GraphParts): void {
  while (cursor.more()) {
    const tag = cursor.tag();
    const isTensor = tag === 1 * 8 + WIRE.bytes || tag === 2 * 8 + WIRE.bytes;
    if (isTensor) cursor.within(() => graph.initializers.push(readInitializer(cursor)));
    else cursor.skip(tag);
  }
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

function readPort(reader: WireReader): OnnxPort {
  let name = '';
  let port: Omit<OnnxPort, 'name'> = { dtype: null, elementType: 0, shape: null, dimNames: [] };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.valueInfo.name * 8 + WIRE.bytes) name = reader.text();
    else if (tag === ONNX.valueInfo.type * 8 + WIRE.bytes) {
      const type = reader.message();
      while (type.more()) {
        const inner = type.tag();
        if (inner === ONNX.type.tensor * 8 + WIRE.bytes) port = readTensorType(type.message());
        else type.skip(inner);
      }
    } else reader.skip(tag);
  }
  return { name, ...port };
}

function readTensorType(reader: WireReader): Omit<OnnxPort, 'name'> {
  let elementType = 0;
  let dims: { readonly size: number; readonly name: string }[] | null = null;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.tensorType.elementType * 8 + WIRE.varint) elementType = reader.int32();
    else if (tag === ONNX.tensorType.shape * 8 + WIRE.bytes) {
      const shape = reader.message();
      dims ??= [];
      while (shape.more()) {
        const inner = shape.tag();
        if (inner === ONNX.shape.dim * 8 + WIRE.bytes) dims.push(readDim(shape.message()));
        else shape.skip(inner);
      }
    } else reader.skip(tag);
  }
  return {
    dtype: dtypeFromOnnx(elementType) ?? null,
    elementType,
    shape: dims === null ? null : dims.map(({ size }) => size),
    dimNames: dims === null ? [] : dims.map(({ name }) => name),
  };
}

function readDim(reader: WireReader): { readonly size: number; readonly name: string } {
  let size = -1;
  let name = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.dimension.value * 8 + WIRE.varint) size = reader.int64();
    else if (tag === ONNX.dimension.param * 8 + WIRE.bytes) name = reader.text();
    else reader.skip(tag);
  }
  return { size: size < 0 ? -1 : size, name };
}
