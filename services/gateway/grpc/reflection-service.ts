/** Server reflection, `grpc.reflection.v1` and `v1alpha` (the same messages): what grpcurl and grpcui ask. */
import { STATUS, type StatusCode } from '#mesh/errors.ts';
import { loadFileDescriptors } from '#proto/file-descriptors.ts';
import { WIRE, WireReader, WireWriter } from '#proto/wire.ts';
import { createDescriptorIndex, type DescriptorIndex } from './descriptor-index.ts';
import type { BidiMethod, GrpcService } from './port.ts';

type Question =
  | { readonly type: 'file'; readonly name: string }
  | { readonly type: 'symbol'; readonly name: string }
  | { readonly type: 'extension'; readonly typeName: string; readonly number: number }
  | { readonly type: 'extension-numbers'; readonly typeName: string }
  | { readonly type: 'services' }
  | { readonly type: 'nothing' };

/** Field numbers of ServerReflectionRequest and ServerReflectionResponse. */
const REQUEST = { host: 1, file: 3, symbol: 4, extension: 5, extensionNumbers: 6, services: 7 } as const;
const RESPONSE = { validHost: 1, originalRequest: 2, files: 4, extensionNumbers: 5, services: 6, error: 7 } as const;
const VERSIONS = ['grpc.reflection.v1', 'grpc.reflection.v1alpha'] as const;

/** Makes the service, once for each version of the protocol. `services` are the names of those the server offers besides. */
export function createReflectionServices(services: readonly string[]): readonly GrpcService[] {
  const listed = [...services, ...VERSIONS.map((version) => `${version}.ServerReflection`)].sort();
  let index: DescriptorIndex | undefined;

  /** Made when the first client asks: most never do. */
  function descriptors(): DescriptorIndex {
    index ??= createDescriptorIndex(loadFileDescriptors());
    return index;
  }

  const info: BidiMethod = {
    streaming: 'both',
    handle: (call) => ({
      message(request) {
        // An answer is much larger than its question: a client that does not read is not listened to.
        if (!call.write(answer(request, listed, descriptors()))) call.pause();
      },
      drained: () => call.resume(),
      end: () => call.end(),
      cancelled: () => {},
    }),
  };
  return VERSIONS.map((version) => ({ name: `${version}.ServerReflection`, methods: { ServerReflectionInfo: info } }));
}

function answer(request: Uint8Array, services: readonly string[], index: DescriptorIndex): Uint8Array {
  const { host, question } = decodeRequest(request);
  const writer = new WireWriter(request.byteLength + 256);
  if (host !== '') writer.stringField(RESPONSE.validHost, host);
  writer.bytesField(RESPONSE.originalRequest, request);
  switch (question.type) {
    case 'services':
      writer.delimited(RESPONSE.services, () => {
        for (const service of services) writer.delimited(1, () => void writer.stringField(1, service));
      });
      break;
    case 'file':
      writeFiles(writer, index.fileByName(question.name), `File not found: ${question.name}`);
      break;
    case 'symbol':
      writeFiles(writer, index.fileBySymbol(question.name), `Symbol not found: ${question.name}`);
      break;
    case 'extension': {
      const { typeName, number } = question;
      writeFiles(writer, index.fileByExtension(typeName, number), `Extension not found: ${number} of ${typeName}`);
      break;
    }
    case 'extension-numbers': {
      const { typeName } = question;
      const numbers = index.extensionNumbers(typeName);
      if (numbers === undefined) writeError(writer, 'NOT_FOUND', `Type not found: ${typeName}`);
      else
        writer.delimited(RESPONSE.extensionNumbers, () => {
          writer.stringField(1, typeName);
          for (const number of numbers) writer.varintField(2, number);
        });
      break;
    }
    case 'nothing':
      writeError(writer, 'INVALID_ARGUMENT', 'the reflection request asks nothing');
      break;
  }
  return writer.finish();
}

function writeFiles(writer: WireWriter, files: readonly Uint8Array[] | undefined, missing: string): void {
  if (files === undefined) {
    writeError(writer, 'NOT_FOUND', missing);
    return;
  }
  writer.delimited(RESPONSE.files, () => {
    for (const file of files) writer.bytesField(1, file);
  });
}

function writeError(writer: WireWriter, code: StatusCode, message: string): void {
  writer.delimited(RESPONSE.error, () => {
    writer.varintField(1, STATUS[code].number);
    writer.stringField(2, message);
  });
}

function decodeRequest(bytes: Uint8Array): { readonly host: string; readonly question: Question } {
  const reader = new WireReader(bytes);
  let host = '';
  let question: Question = { type: 'nothing' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === REQUEST.host * 8 + WIRE.bytes) host = reader.text();
    else if (tag === REQUEST.file * 8 + WIRE.bytes) question = { type: 'file', name: reader.text() };
    else if (tag === REQUEST.symbol * 8 + WIRE.bytes) question = { type: 'symbol', name: reader.text() };
    else if (tag === REQUEST.extension * 8 + WIRE.bytes) question = decodeExtension(reader.message());
    else if (tag === REQUEST.extensionNumbers * 8 + WIRE.bytes) question = { type: 'extension-numbers', typeName: reader.text() };
    else if (tag === REQUEST.services * 8 + WIRE.bytes) {
      reader.text();
      question = { type: 'services' };
    } else reader.skip(tag);
  }
  return { host, question };
}

function decodeExtension(reader: WireReader): Question {
  let typeName = '';
  let number = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) typeName = reader.text();
    else if (tag === 2 * 8 + WIRE.varint) number = reader.int32();
    else reader.skip(tag);
  }
  return { type: 'extension', typeName, number };
}
