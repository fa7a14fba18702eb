/** Finds descriptors by file name and by symbol: what server reflection answers from. */
import { WIRE, WireReader } from '#proto/wire.ts';

/** Answers from all descriptors that the server has; names are full and without a leading dot. */
export interface DescriptorIndex {
  /** A file and, after it, all it imports, serialized: clients take the first for the answer. Undefined for a file that is not here. */
  fileByName(name: string): readonly Uint8Array[] | undefined;
  /** The same for the file that declares a message, enum, enum value, field, oneof, service or method by its full name. */
  fileBySymbol(symbol: string): readonly Uint8Array[] | undefined;
  /** The file that declares extension `number` of a message. */
  fileByExtension(type: string, number: number): readonly Uint8Array[] | undefined;
  /** Numbers of all extensions of a message; undefined when there is no such message. */
  extensionNumbers(type: string): readonly number[] | undefined;
}

interface File {
  readonly bytes: Uint8Array;
  /** Names of the files that it imports itself. */
  readonly imports: readonly string[];
}

/** Field numbers of `google.protobuf.FileDescriptorProto` and what is in it. */
const FILE = { name: 1, package: 2, dependency: 3, message: 4, enum: 5, service: 6, extension: 7 } as const;
const MESSAGE = { name: 1, field: 2, nested: 3, enum: 4, extension: 6, oneof: 8 } as const;
const NAME = 1;
/** `EnumDescriptorProto.value` and `ServiceDescriptorProto.method`. */
const MEMBER = 2;
const EXTENSION = { extendee: 2, number: 3 } as const;

/** Indexes serialized FileDescriptorProtos, as `loadFileDescriptors` gives them: each once, with every file that one of them imports. */
export function createDescriptorIndex(fileDescriptors: Iterable<Uint8Array>): DescriptorIndex {
  const files = new Map<string, File>();
  const symbols = new Map<string, string>();
  const extensions = new Map<string, Map<number, string>>();
  const messages = new Set<string>();
  for (const bytes of fileDescriptors) indexFile(bytes);

  function indexFile(bytes: Uint8Array): void {
    const fields = fieldsOf(bytes);
    const name = textOf(fields, FILE.name);
    files.set(name, { bytes, imports: viewsOf(fields, FILE.dependency).map(decodeText) });
    const scope = textOf(fields, FILE.package);
    for (const message of viewsOf(fields, FILE.message)) indexMessage(message, scope, name);
    for (const type of viewsOf(fields, FILE.enum)) indexEnum(type, scope, name);
    for (const extension of viewsOf(fields, FILE.extension)) indexExtension(extension, scope, name);
    for (const service of viewsOf(fields, FILE.service)) {
      const full = declare(service, scope, name);
      for (const method of viewsOf(fieldsOf(service), MEMBER)) declare(method, full, name);
    }
  }

  function indexMessage(message: Uint8Array, scope: string, file: string): void {
    const full = declare(message, scope, file);
    messages.add(full);
    const fields = fieldsOf(message);
    for (const part of [...viewsOf(fields, MESSAGE.field), ...viewsOf(fields, MESSAGE.oneof)]) declare(part, full, file);
    for (const nested of viewsOf(fields, MESSAGE.nested)) indexMessage(nested, full, file);
    for (const type of viewsOf(fields, MESSAGE.enum)) indexEnum(type, full, file);
    for (const extension of viewsOf(fields, MESSAGE.extension)) indexExtension(extension, full, file);
  }

  /** Values of an enum live beside it, not in it. */
  function indexEnum(type: Uint8Array, scope: string, file: string): void {
    declare(type, scope, file);
    for (const value of viewsOf(fieldsOf(type), MEMBER)) declare(value, scope, file);
  }

  function indexExtension(extension: Uint8Array, scope: string, file: string): void {
    declare(extension, scope, file);
    const fields = fieldsOf(extension);
    const extendee = textOf(fields, EXTENSION.extendee).replace(/^\./, '');
    const [number] = fields.filter(({ tag }) => tag === EXTENSION.number * 8 + WIRE.varint);
    const numbers = extensions.get(extendee) ?? new Map<number, string>();
    extensions.set(extendee, numbers.set(number?.value ?? 0, file));
  }

  function declare(descriptor: Uint8Array, scope: string, file: string): string {
    const name = textOf(fieldsOf(descriptor), NAME);
    const full = scope === '' ? name : `${scope}.${name}`;
    symbols.set(full, file);
    return full;
  }

  function withImports(name: string | undefined): readonly Uint8Array[] | undefined {
    if (name === undefined || !files.has(name)) return undefined;
    const wanted = new Set([name]);
    const found: Uint8Array[] = [];
    // A set that grows while it is walked gives what was added as well.
    for (const one of wanted) {
      const file = files.get(one);
      if (file === undefined) continue;
      found.push(file.bytes);
      for (const imported of file.imports) wanted.add(imported);
    }
    return found;
  }

  return {
    fileByName: withImports,
    fileBySymbol: (symbol) => withImports(symbols.get(symbol)),
    fileByExtension: (type, number) => withImports(extensions.get(type)?.get(number)),
    extensionNumbers: (type) => (messages.has(type) ? [...(extensions.get(type)?.keys() ?? [])].sort((a, b) => a - b) : undefined),
  };
}

interface RawField {
  readonly tag: number;
  /** Of a length-delimited field. */
  readonly view: Uint8Array | undefined;
  /** Of a varint field. */
  readonly value: number | undefined;
}

function fieldsOf(bytes: Uint8Array): readonly RawField[] {
  const reader = new WireReader(bytes);
  const fields: RawField[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag % 8 === WIRE.bytes) fields.push({ tag, view: reader.view(), value: undefined });
    else if (tag % 8 === WIRE.varint) fields.push({ tag, view: undefined, value: reader.int32() });
    else reader.skip(tag);
  }
  return fields;
}

function viewsOf(fields: readonly RawField[], number: number): readonly Uint8Array[] {
  return fields.flatMap(({ tag, view }) => (tag === number * 8 + WIRE.bytes && view !== undefined ? [view] : []));
}

function textOf(fields: readonly RawField[], number: number): string {
  const view = viewsOf(fields, number).at(-1);
  return view === undefined ? '' : decodeText(view);
}

function decodeText(view: Uint8Array): string {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('utf8');
}
