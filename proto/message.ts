/** The binary codec of messages described by `schema.ts`. */
import type { EnumType, Field, MessageInit, MessageOf, MessageType, ScalarType } from './schema.ts';
import { checkDepth, WIRE, WireReader, WireWriter } from './wire.ts';

/** A message while it is built or walked: values by field name. */
export type Values = Record<string, unknown>;

/** Decodes a message; what it does not set has its default. Throws ServeError INVALID_ARGUMENT on bytes that are not protobuf. */
export function decodeMessage<M extends MessageType>(type: M, bytes: Uint8Array | WireReader): MessageOf<M> {
  return readMessage(type, bytes instanceof WireReader ? bytes : new WireReader(bytes), 0) as MessageOf<M>;
}

/** Encodes a message. Defaults of proto3 are left out. */
export function encodeMessage<M extends MessageType>(type: M, value: MessageInit<M>): Uint8Array<ArrayBuffer> {
  const writer = new WireWriter();
  writeMessage(writer, type, value as Values);
  return writer.finish();
}

/** Writes a message as a field of another. */
export function writeMessageField<M extends MessageType>(writer: WireWriter, number: number, type: M, value: MessageInit<M>): void {
  writer.delimited(number, () => writeMessage(writer, type, value as Values));
}

/** A message with nothing set. */
export function emptyMessage(type: MessageType): Values {
  const values: Values = {};
  for (const [name, field] of Object.entries(type.fields)) values[name] = defaultOf(field);
  return values;
}

/** The value of a scalar or enum that is absent. */
export function zeroOf(type: ScalarType<unknown> | EnumType): unknown {
  return type.kind === 'scalar' ? type.zero : Object.keys(type.numbers)[0];
}

/** Sets a field of a oneof or not: whatever else of its group was set is unset. */
export function setField(type: MessageType, values: Values, name: string, field: Field, value: unknown): void {
  if (field.oneof !== undefined) {
    for (const [other, { oneof }] of Object.entries(type.fields)) if (oneof === field.oneof && other !== name) values[other] = undefined;
  }
  values[name] = value;
}

function defaultOf(field: Field): unknown {
  if (field.cardinality === 'optional') return undefined;
  if (field.cardinality === 'repeated') return [];
  if (field.cardinality === 'map') return new Map();
  const type = field.type();
  return type.kind === 'message' ? undefined : zeroOf(type);
}

function readMessage(type: MessageType, reader: WireReader, depth: number, values: Values = emptyMessage(type)): Values {
  checkDepth(depth, reader.offset);
  const byNumber = new Map(Object.entries(type.fields).map(([name, field]) => [field.number, { name, field }]));
  while (reader.more()) {
    const tag = reader.tag();
    const known = byNumber.get(tag >>> 3);
    if (known === undefined || !readField(type, reader, tag & 7, known, values, depth)) reader.skip(tag);
  }
  return values;
}

/** Reads one field; false when the wire type is not the field's, which makes it an unknown field. */
function readField(
  message: MessageType,
  reader: WireReader,
  wire: number,
  { name, field }: { readonly name: string; readonly field: Field },
  values: Values,
  depth: number,
): boolean {
  const type = field.type();
  if (field.cardinality === 'map') {
    if (wire !== WIRE.bytes) return false;
    readEntry(reader.message(), field, values[name] as Map<unknown, unknown>, depth);
    return true;
  }
  if (field.cardinality === 'repeated') {
    const list = values[name] as unknown[];
    if (wire === wireOf(type)) list.push(readValue(type, reader, depth));
    else if (wire === WIRE.bytes) for (const packed = reader.message(); packed.more(); ) list.push(readValue(type, packed, depth));
    else return false;
    return true;
  }
  if (wire !== wireOf(type)) return false;
  const previous = values[name];
  const value =
    type.kind === 'message' && previous !== undefined
      ? readMessage(type, reader.message(), depth + 1, previous as Values)
      : readValue(type, reader, depth);
  setField(message, values, name, field, value);
  return true;
}

function readEntry(reader: WireReader, field: Field, into: Map<unknown, unknown>, depth: number): void {
  const type = field.type();
  const keyType = field.key;
  let key: unknown = keyType?.zero;
  let value: unknown = type.kind === 'message' ? emptyMessage(type) : zeroOf(type);
  while (reader.more()) {
    const tag = reader.tag();
    if (keyType !== undefined && tag === 8 + keyType.wire) key = keyType.read(reader);
    else if (tag === 2 * 8 + wireOf(type)) value = readValue(type, reader, depth + 1);
    else reader.skip(tag);
  }
  into.set(key, value);
}

function readValue(type: ScalarType<unknown> | EnumType | MessageType, reader: WireReader, depth: number): unknown {
  if (type.kind === 'scalar') return type.read(reader);
  if (type.kind === 'message') return readMessage(type, reader.message(), depth + 1);
  const number = reader.int32();
  return Object.keys(type.numbers).find((name) => type.numbers[name] === number) ?? zeroOf(type);
}

function wireOf(type: ScalarType<unknown> | EnumType | MessageType): number {
  if (type.kind === 'scalar') return type.wire;
  return type.kind === 'enum' ? WIRE.varint : WIRE.bytes;
}

function writeMessage(writer: WireWriter, type: MessageType, values: Values): void {
  const byNumber = Object.entries(type.fields).sort(([, one], [, other]) => one.number - other.number);
  for (const [name, field] of byNumber) {
    const value = values[name];
    if (value !== undefined) writeField(writer, field, value);
  }
}

function writeField(writer: WireWriter, field: Field, value: unknown): void {
  const type = field.type();
  if (field.cardinality === 'map') {
    for (const [key, entry] of value as ReadonlyMap<unknown, unknown>) {
      writer.delimited(field.number, () => {
        if (field.key !== undefined) writeValue(writer, 1, field.key, key);
        writeValue(writer, 2, type, entry);
      });
    }
    return;
  }
  if (field.cardinality === 'repeated') {
    const list = value as readonly unknown[];
    const isPacked = type.kind !== 'message' && wireOf(type) !== WIRE.bytes;
    if (!isPacked) for (const one of list) writeValue(writer, field.number, type, one);
    else if (list.length > 0) writer.delimited(field.number, () => list.forEach((one) => void writeBare(writer, type, one)));
    return;
  }
  if (field.cardinality === 'implicit' && type.kind !== 'message' && isZero(type, value)) return;
  writeValue(writer, field.number, type, value);
}

function isZero(type: ScalarType<unknown> | EnumType, value: unknown): boolean {
  if (value instanceof Uint8Array) return value.byteLength === 0;
  return Object.is(value, zeroOf(type));
}

function writeValue(writer: WireWriter, number: number, type: ScalarType<unknown> | EnumType | MessageType, value: unknown): void {
  if (type.kind === 'message') writer.delimited(number, () => writeMessage(writer, type, value as Values));
  else writeBare(writer.tag(number, wireOf(type)), type, value);
}

function writeBare(writer: WireWriter, type: ScalarType<unknown> | EnumType, value: unknown): void {
  if (type.kind === 'scalar') type.write(writer, value);
  else writer.varint(type.numbers[value as string] ?? 0);
}
