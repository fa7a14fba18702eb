/**
 * Protobuf messages described as values. A description gives a message its TypeScript type, its binary codec (`message.ts`) and its text
 * form (`text-format.ts`). For messages that are not on the hot path.
 */
import { WIRE, type WireReader, type WireWriter } from './wire.ts';

/** A scalar: how one value is read and written without its key. */
export interface ScalarType<T> {
  readonly kind: 'scalar';
  readonly name: 'string' | 'bytes' | 'bool' | 'int32' | 'int64' | 'uint32' | 'uint64' | 'float' | 'double';
  readonly wire: number;
  readonly zero: T;
  read(reader: WireReader): T;
  write(writer: WireWriter, value: T): void;
}

/** An enum: its values are their names here. A number that it does not define reads as its first name. */
export interface EnumType<Name extends string = string> {
  readonly kind: 'enum';
  readonly fullName: string;
  readonly numbers: Readonly<Record<Name, number>>;
}

/** A message by its full name, with its fields by the names they have in text form. */
export interface MessageType<F extends Fields = Fields> {
  readonly kind: 'message';
  readonly fullName: string;
  readonly fields: F;
}

/** The fields of a message by name. */
export type Fields = Readonly<Record<string, Field>>;

/** How often a field may occur: `implicit` reads as its zero when absent, `optional` as undefined. */
export type Cardinality = 'implicit' | 'optional' | 'repeated' | 'map';

/** One field. `T` is what decoding gives, `I` what encoding takes. */
export interface Field<T = unknown, I = unknown> {
  readonly number: number;
  readonly cardinality: Cardinality;
  /** A message's description is looked up when needed, so that messages may contain themselves. */
  readonly type: () => ScalarType<unknown> | EnumType | MessageType;
  /** The type of a map's keys. */
  readonly key?: ScalarType<unknown>;
  /** Of the fields that name the same group at most one is set. */
  readonly oneof?: string;
  /** Never present: carries the types. */
  readonly phantom?: readonly [T, I];
}

/** What decoding a message gives. */
export type MessageOf<M> =
  M extends MessageType<infer F> ? { readonly [K in keyof F]: F[K] extends Field<infer T, infer _> ? T : never } : never;
/** What encoding a message takes: fields may be left out. */
export type MessageInit<M> =
  M extends MessageType<infer F> ? { readonly [K in keyof F]?: (F[K] extends Field<infer _, infer I> ? I : never) | undefined } : never;

const STRING: ScalarType<string> = {
  kind: 'scalar',
  name: 'string',
  wire: WIRE.bytes,
  zero: '',
  read: (reader) => reader.text(),
  write: (writer, value) => void writer.text(value),
};
const BYTES: ScalarType<Uint8Array> = {
  kind: 'scalar',
  name: 'bytes',
  wire: WIRE.bytes,
  zero: new Uint8Array(0),
  read: (reader) => reader.view(),
  write: (writer, value) => void writer.varint(value.byteLength).raw(value),
};
const BOOL: ScalarType<boolean> = {
  kind: 'scalar',
  name: 'bool',
  wire: WIRE.varint,
  zero: false,
  read: (reader) => reader.bool(),
  write: (writer, value) => void writer.varint(value ? 1 : 0),
};

/** The largest double that an int64 holds: what is nearest to 2^63 - 1 would wrap around. */
const LARGEST_INT64 = 2 ** 63 - 1024;

function number(name: ScalarType<number>['name'], wire: number, read: (reader: WireReader) => number): ScalarType<number> {
  const write = (writer: WireWriter, value: number) => {
    if (name === 'float') writer.float(value);
    else if (name === 'double') writer.double(value);
    else writer.varint(name === 'int64' ? Math.min(value, LARGEST_INT64) : value);
  };
  return { kind: 'scalar', name, wire, zero: 0, read, write };
}

/** The scalar types. Integers of 64 bits are numbers: exact to 2^53, beyond it the nearest double. */
export const SCALAR = {
  string: STRING,
  bytes: BYTES,
  bool: BOOL,
  int32: number('int32', WIRE.varint, (reader) => reader.int32()),
  int64: number('int64', WIRE.varint, (reader) => reader.int64()),
  uint32: number('uint32', WIRE.varint, (reader) => reader.uint32()),
  uint64: number('uint64', WIRE.varint, (reader) => reader.uint64()),
  float: number('float', WIRE.fixed32, (reader) => reader.float()),
  double: number('double', WIRE.fixed64, (reader) => reader.double()),
} as const;

/** Describes a message. */
export function message<F extends Fields>(fullName: string, fields: F): MessageType<F> {
  return { kind: 'message', fullName, fields };
}

/** Describes an enum by its names and numbers; the first is its default. */
export function enumeration<Name extends string>(fullName: string, numbers: Readonly<Record<Name, number>>): EnumType<Name> {
  return { kind: 'enum', fullName, numbers };
}

/** A scalar field that reads as its zero when absent. */
export function field<T>(fieldNumber: number, type: ScalarType<T>): Field<T, T>;
/** An enum field that reads as its first name when absent. */
export function field<Name extends string>(fieldNumber: number, type: EnumType<Name>): Field<Name, Name>;
/** Both of these. */
export function field(fieldNumber: number, type: ScalarType<unknown> | EnumType): Field {
  return { number: fieldNumber, cardinality: 'implicit', type: () => type };
}

/** A scalar field that reads as undefined when absent; of those with the same `oneof` at most one is set. */
export function optional<T>(fieldNumber: number, type: ScalarType<T>, oneof?: string): Field<T | undefined, T | undefined> {
  return { number: fieldNumber, cardinality: 'optional', type: () => type, ...(oneof === undefined ? {} : { oneof }) };
}

/** A message field, undefined when absent. */
export function submessage<M extends MessageType>(
  fieldNumber: number,
  type: M,
  oneof?: string,
): Field<MessageOf<M> | undefined, MessageInit<M> | undefined> {
  return { number: fieldNumber, cardinality: 'optional', type: () => type, ...(oneof === undefined ? {} : { oneof }) };
}

/** A list of scalars. Numbers are written packed and read in both forms. */
export function repeated<T>(fieldNumber: number, type: ScalarType<T>): Field<readonly T[], readonly T[]> {
  return { number: fieldNumber, cardinality: 'repeated', type: () => type };
}

/** A list of messages. */
export function repeatedMessage<M extends MessageType>(
  fieldNumber: number,
  type: M,
): Field<readonly MessageOf<M>[], readonly MessageInit<M>[]> {
  return { number: fieldNumber, cardinality: 'repeated', type: () => type };
}

/** A map to scalars. */
export function map<K, V>(fieldNumber: number, key: ScalarType<K>, value: ScalarType<V>): Field<ReadonlyMap<K, V>, ReadonlyMap<K, V>> {
  return { number: fieldNumber, cardinality: 'map', key, type: () => value };
}

/** A map from strings to messages. */
export function messageMap<M extends MessageType>(
  fieldNumber: number,
  value: M,
): Field<ReadonlyMap<string, MessageOf<M>>, ReadonlyMap<string, MessageInit<M>>> {
  return { number: fieldNumber, cardinality: 'map', key: SCALAR.string, type: () => value };
}

/** `google.protobuf.Int64Value` and its like: a message around one value, so that absent differs from zero. */
export const INT64_VALUE = message('google.protobuf.Int64Value', { value: field(1, SCALAR.int64) });
/** `google.protobuf.StringValue`. */
export const STRING_VALUE = message('google.protobuf.StringValue', { value: field(1, SCALAR.string) });
/** `google.protobuf.BoolValue`. */
export const BOOL_VALUE = message('google.protobuf.BoolValue', { value: field(1, SCALAR.bool) });
/** `google.protobuf.Any`: an encoded message and the name of its type after the last slash of `type_url`. */
export const ANY = message('google.protobuf.Any', { type_url: field(1, SCALAR.string), value: field(2, SCALAR.bytes) });
