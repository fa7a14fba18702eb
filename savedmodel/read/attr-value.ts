/** `tensorflow.AttrValue`, the attributes of nodes, functions and ops. Tensors are views of the bytes they are read from. */
import { ServeError } from '#mesh/errors.ts';
import { dtypeFromNumber, type Tensor } from '#mesh/tensor.ts';
import { decodeTensorProto } from '#proto/tensor-proto.ts';
import { checkDepth, malformed, WIRE, WireReader } from '#proto/wire.ts';
import type { AttrValue } from '../graph.ts';
import { dataTypeName } from './data-types.ts';
import { readMapEntry } from './map-entry.ts';
import { readPartialShape } from './partial-shape.ts';

const LIST = 10;
const PLACEHOLDER = 74;
/** AttrValue and its ListValue number these fields alike. */
const FIELD = { s: 2, i: 3, f: 4, b: 5, type: 6, shape: 7, tensor: 8, func: 10 } as const;
/** But a function in a list has the number of the placeholder outside of it. */
const LISTED_FUNCTION = 9;
const FUNCTION = { name: 10, attr: 18 } as const;
const TENSOR_DTYPE = 8;

/** Reads an attribute; undefined when it has no value at all. Errors name `owner`. Throws INVALID_ARGUMENT. */
export function readAttrValue(reader: WireReader, owner: string, depth = 0): AttrValue | undefined {
  checkDepth(depth, reader.offset);
  let value: AttrValue | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === LIST) value = { type: 'list', values: readList(reader.message(), owner, depth + 1) };
    else if (tag === PLACEHOLDER) value = { type: 'placeholder', name: reader.text() };
    else value = readSingle(reader, tag >>> 3, tag & 7, owner, depth) ?? skipped(reader, tag, value);
  }
  return value;
}

/** Reads an entry of a map of attributes into `attrs`. */
export function readAttrEntry(entry: WireReader, attrs: Map<string, AttrValue>, owner: string, depth = 0): void {
  const { key, value } = readMapEntry(entry);
  const attr = readAttrValue(value, owner, depth);
  if (attr !== undefined) attrs.set(key, attr);
}

/** Reads the TensorProto that comes next, a length before it. Throws INVALID_ARGUMENT. */
export function readTensor(reader: WireReader, owner: string): Tensor {
  const bytes = reader.view();
  return decodeOwned(bytes, reader.offset - bytes.byteLength, owner);
}

/** The value of one field, or undefined when the field is not of an attribute. */
function readSingle(reader: WireReader, field: number, wire: number, owner: string, depth: number): AttrValue | undefined {
  if (wire === WIRE.varint) {
    if (field === FIELD.i) return { type: 'int', value: reader.int64() };
    if (field === FIELD.b) return { type: 'bool', value: reader.bool() };
    if (field === FIELD.type) return { type: 'dtype', value: reader.int32() };
    return undefined;
  }
  if (wire === WIRE.fixed32) return field === FIELD.f ? { type: 'float', value: reader.float() } : undefined;
  if (wire !== WIRE.bytes) return undefined;
  if (field === FIELD.s) return { type: 'string', value: reader.view() };
  if (field === FIELD.shape) return { type: 'shape', value: readPartialShape(reader.message()).shape };
  if (field === FIELD.tensor) return tensorAttr(reader, owner);
  if (field === FIELD.func) return readFunction(reader.message(), owner, depth + 1);
  return undefined;
}

function skipped(reader: WireReader, tag: number, value: AttrValue | undefined): AttrValue | undefined {
  reader.skip(tag);
  return value;
}

function readList(reader: WireReader, owner: string, depth: number): readonly AttrValue[] {
  const values: AttrValue[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    const field = tag >>> 3 === LISTED_FUNCTION ? FIELD.func : tag >>> 3;
    const scalarWire = scalarWireOf(field);
    if (scalarWire !== undefined && (tag & 7) === WIRE.bytes) {
      for (const packed = reader.message(); packed.more(); ) values.push(...present(readSingle(packed, field, scalarWire, owner, depth)));
      continue;
    }
    const value = readSingle(reader, field, tag & 7, owner, depth);
    if (value === undefined) reader.skip(tag);
    else values.push(value);
  }
  return values;
}

/** The wire type of the fields that a list may have packed. */
function scalarWireOf(field: number): number | undefined {
  if (field === FIELD.f) return WIRE.fixed32;
  return field === FIELD.i || field === FIELD.b || field === FIELD.type ? WIRE.varint : undefined;
}

function present(value: AttrValue | undefined): readonly AttrValue[] {
  return value === undefined ? [] : [value];
}

function readFunction(reader: WireReader, owner: string, depth: number): AttrValue {
  checkDepth(depth, reader.offset);
  let name = '';
  const attrs = new Map<string, AttrValue>();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === FUNCTION.name) name = reader.text();
    else if (tag === FUNCTION.attr) readAttrEntry(reader.message(), attrs, owner, depth + 1);
    else reader.skip(tag);
  }
  return { type: 'function', name, attrs };
}

/**
 * A tensor of a dtype that ours cannot have (variant, quantised) is refused when its value is asked for: it may belong to a node that no
 * signature needs.
 */
function tensorAttr(reader: WireReader, owner: string): AttrValue {
  const bytes = reader.view();
  const offset = reader.offset - bytes.byteLength;
  const dtypeNumber = dtypeOf(bytes);
  if (dtypeFromNumber(dtypeNumber) !== undefined) return { type: 'tensor', value: decodeOwned(bytes, offset, owner) };
  return {
    type: 'tensor',
    get value(): Tensor {
      throw new ServeError('UNIMPLEMENTED', `${owner} has a constant of dtype ${dataTypeName(dtypeNumber)}, which is not supported`);
    },
  };
}

function dtypeOf(tensor: Uint8Array): number {
  const reader = new WireReader(tensor);
  // Written first by every encoder of protobuf; the loop is for those that do not.
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === TENSOR_DTYPE) return reader.int32();
    reader.skip(tag);
  }
  return 0;
}

function decodeOwned(bytes: Uint8Array, offset: number, owner: string): Tensor {
  try {
    return decodeTensorProto(bytes);
  } catch (caught) {
    if (!(caught instanceof ServeError)) throw caught;
    throw malformed(`tensor of ${owner} at byte ${offset}: ${caught.message}`, caught);
  }
}
