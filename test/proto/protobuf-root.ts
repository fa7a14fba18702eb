/** protobufjs over our own .proto files: the second opinion of these tests. */
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { PROTO_FILES, PROTO_ROOT } from '#proto/load.ts';

/** All messages of `proto/`, field names as written. */
export function loadRoot(): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_, target) => (target.startsWith('google/protobuf/') ? target : join(PROTO_ROOT, target.replace(PROTO_ROOT, '')));
  return root.loadSync([...PROTO_FILES], { keepCase: true });
}

/** What protobufjs reads in the bytes of a message, as plain values: 64-bit integers as strings, bytes as base64. */
export function asObject(root: protobuf.Root, type: string, bytes: Uint8Array): unknown {
  const found = root.lookupType(type);
  return found.toObject(found.decode(bytes), { longs: String, bytes: String, enums: String });
}

/** A message's bytes as protobufjs writes them. */
export function encoded(root: protobuf.Root, type: string, value: Record<string, unknown>): Uint8Array {
  const found = root.lookupType(type);
  return found.encode(found.fromObject(value)).finish();
}
