/**
 * Our .proto files as FileDescriptorProtos, for server reflection: one per file, under its own path and with its imports, every type by its
 * full name. (`@grpc/proto-loader` carries descriptors too, but one per package, and without imports.)
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { PROTO_FILES, PROTO_ROOT } from './load.ts';
import { encodeMessage } from './message.ts';
import { field, type MessageInit, message, optional, repeated, repeatedMessage, SCALAR, submessage } from './schema.ts';

const FIELD = message('google.protobuf.FieldDescriptorProto', {
  name: field(1, SCALAR.string),
  number: field(3, SCALAR.int32),
  label: field(4, SCALAR.int32),
  type: field(5, SCALAR.int32),
  type_name: field(6, SCALAR.string),
  oneof_index: optional(9, SCALAR.int32),
  json_name: field(10, SCALAR.string),
  proto3_optional: field(17, SCALAR.bool),
});
const ENUM = message('google.protobuf.EnumDescriptorProto', {
  name: field(1, SCALAR.string),
  value: repeatedMessage(
    2,
    message('google.protobuf.EnumValueDescriptorProto', { name: field(1, SCALAR.string), number: optional(2, SCALAR.int32) }),
  ),
});
const DESCRIPTOR = message('google.protobuf.DescriptorProto', {
  name: field(1, SCALAR.string),
  field: repeatedMessage(2, FIELD),
  /** Messages within this one, each encoded. */
  nested_type: repeated(3, SCALAR.bytes),
  enum_type: repeatedMessage(4, ENUM),
  options: submessage(7, message('google.protobuf.MessageOptions', { map_entry: field(7, SCALAR.bool) })),
  oneof_decl: repeatedMessage(8, message('google.protobuf.OneofDescriptorProto', { name: field(1, SCALAR.string) })),
});
const METHOD = message('google.protobuf.MethodDescriptorProto', {
  name: field(1, SCALAR.string),
  input_type: field(2, SCALAR.string),
  output_type: field(3, SCALAR.string),
  client_streaming: field(5, SCALAR.bool),
  server_streaming: field(6, SCALAR.bool),
});
const SERVICE = message('google.protobuf.ServiceDescriptorProto', { name: field(1, SCALAR.string), method: repeatedMessage(2, METHOD) });
const FILE = message('google.protobuf.FileDescriptorProto', {
  name: field(1, SCALAR.string),
  package: field(2, SCALAR.string),
  dependency: repeated(3, SCALAR.string),
  message_type: repeatedMessage(4, DESCRIPTOR),
  enum_type: repeatedMessage(5, ENUM),
  service: repeatedMessage(6, SERVICE),
  syntax: field(12, SCALAR.string),
});

const TYPE: Readonly<Record<string, number>> = {
  double: 1,
  float: 2,
  int64: 3,
  uint64: 4,
  int32: 5,
  fixed64: 6,
  fixed32: 7,
  bool: 8,
  string: 9,
  message: 11,
  bytes: 12,
  uint32: 13,
  enum: 14,
  sfixed32: 15,
  sfixed64: 16,
  sint32: 17,
  sint64: 18,
};
const OPTIONAL = 1;
const REPEATED = 3;
/** The files of protobuf itself that ours import, with the messages protobufjs has of them. */
const BUILT_IN: Readonly<Record<string, (name: string) => boolean>> = {
  'google/protobuf/any.proto': (name) => name === 'Any',
  'google/protobuf/wrappers.proto': (name) => name.endsWith('Value') && !['Value', 'NullValue', 'ListValue'].includes(name),
};

/** Serialized descriptors of all files, each after those that it imports. */
export function loadFileDescriptors(): readonly Uint8Array[] {
  const root = new protobuf.Root();
  root.resolvePath = (_, target) => (target in BUILT_IN ? target : join(PROTO_ROOT, target.replace(PROTO_ROOT, '')));
  root.loadSync([...PROTO_FILES], { keepCase: true }).resolveAll();
  const imports = new Map<string, readonly string[]>();
  for (const file of PROTO_FILES) collectImports(file, imports);
  return [...imports].map(([file, dependency]) => describeFile(root, file, dependency));
}

/** Collects what a file imports, and they import, in the order that puts imports first. */
function collectImports(file: string, into: Map<string, readonly string[]>): void {
  if (into.has(file)) return;
  const found =
    file in BUILT_IN
      ? []
      : [...readFileSync(join(PROTO_ROOT, file), 'utf8').matchAll(/^import "([^"]+)";$/gm)].map(([, path = '']) => path);
  for (const path of found) collectImports(path, into);
  into.set(file, found);
}

function describeFile(root: protobuf.Root, file: string, dependency: readonly string[]): Uint8Array {
  const own = objectsOf(root, file);
  const scope = own[0]?.parent?.fullName.slice(1) ?? '';
  return encodeMessage(FILE, {
    name: file,
    package: scope,
    dependency,
    message_type: own.filter((one) => one instanceof protobuf.Type).map(describeMessage),
    enum_type: own.filter((one) => one instanceof protobuf.Enum).map(describeEnum),
    service: own.filter((one) => one instanceof protobuf.Service).map(describeService),
    syntax: 'proto3',
  });
}

/** What a file declares at its top level. */
function objectsOf(root: protobuf.Root, file: string): readonly protobuf.ReflectionObject[] {
  const isBuiltIn = BUILT_IN[file];
  const inNamespace = (space: protobuf.NamespaceBase): readonly protobuf.ReflectionObject[] =>
    space.nestedArray.flatMap((one) => (one.constructor === protobuf.Namespace ? inNamespace(one as protobuf.Namespace) : [one]));
  if (isBuiltIn === undefined) return inNamespace(root).filter((one) => one.filename === join(PROTO_ROOT, file));
  return (root.lookup('google.protobuf') as protobuf.Namespace).nestedArray.filter((one) => isBuiltIn(one.name));
}

function describeMessage(type: protobuf.Type): MessageInit<typeof DESCRIPTOR> {
  const own = type.fieldsArray.map((one) => one.resolve());
  // The oneofs that stand for `optional` come after the real ones, as protobuf wants it.
  const oneofs = [...type.oneofsArray].sort((one, other) => Number(one.isProto3Optional) - Number(other.isProto3Optional));
  const nested = type.nestedArray.filter((one) => one instanceof protobuf.Type).map(describeMessage);
  const entries = own.filter(isMap).map(describeEntry);
  return {
    name: type.name,
    field: own.map((one) => ({
      ...describeField(one),
      ...(one.partOf === null || one.partOf === undefined
        ? {}
        : { oneof_index: oneofs.indexOf(one.partOf), proto3_optional: one.partOf.isProto3Optional }),
    })),
    nested_type: [...nested, ...entries].map((one) => encodeMessage(DESCRIPTOR, one)),
    enum_type: type.nestedArray.filter((one) => one instanceof protobuf.Enum).map(describeEnum),
    oneof_decl: oneofs.map(({ name }) => ({ name })),
  };
}

function describeField(one: protobuf.Field): MessageInit<typeof FIELD> {
  const label = one.repeated || one.map ? REPEATED : OPTIONAL;
  const named = { name: one.name, number: one.id, label, json_name: jsonName(one) };
  if (one.map) return { ...named, type: TYPE.message, type_name: `${one.parent?.fullName}.${entryName(one)}` };
  return { ...named, ...typeOf(one) };
}

function typeOf(one: protobuf.Field): MessageInit<typeof FIELD> {
  const { resolvedType } = one;
  if (resolvedType === null) return { type: TYPE[one.type] };
  return { type: resolvedType instanceof protobuf.Enum ? TYPE.enum : TYPE.message, type_name: resolvedType.fullName };
}

function isMap(one: protobuf.Field): one is protobuf.Field & { readonly keyType: string } {
  return one.map;
}

/** The message that a map is a list of. */
function describeEntry(one: protobuf.Field & { readonly keyType: string }): MessageInit<typeof DESCRIPTOR> {
  return {
    name: entryName(one),
    field: [
      { name: 'key', number: 1, label: OPTIONAL, type: TYPE[one.keyType], json_name: 'key' },
      { name: 'value', number: 2, label: OPTIONAL, json_name: 'value', ...typeOf(one) },
    ],
    options: { map_entry: true },
  };
}

function entryName({ name }: protobuf.Field): string {
  return `${name.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())}Entry`;
}

function jsonName(one: protobuf.Field): string {
  const declared: unknown = one.options?.json_name;
  return typeof declared === 'string' ? declared : one.name.replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function describeEnum(type: protobuf.Enum): MessageInit<typeof ENUM> {
  return { name: type.name, value: Object.entries(type.values).map(([name, number]) => ({ name, number })) };
}

function describeService(service: protobuf.Service): MessageInit<typeof SERVICE> {
  return {
    name: service.name,
    method: service.methodsArray.map((method) => {
      method.resolve();
      return {
        name: method.name,
        input_type: method.resolvedRequestType?.fullName,
        output_type: method.resolvedResponseType?.fullName,
        client_streaming: method.requestStream ?? false,
        server_streaming: method.responseStream ?? false,
      };
    }),
  };
}
