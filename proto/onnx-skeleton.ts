/** A model without its weights: small enough to look at whole, whatever the size of the file. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { createFileBytes, ScanCursor } from './onnx-scan.ts';
import { ONNX } from './onnx-types.ts';
import { WIRE, WireWriter } from './wire.ts';

/** Constants up to this size are kept with their values. */
const KEPT_BYTES = 4096;
/** A node with constants inside may be large; one above this is not what it seems. */
const MAX_FIELD_BYTES = 2 ** 31 - 1;

/**
 * Reads a model file as a ModelProto whose larger initializers have lost their values: names, element types and dimensions are there. Throws
 * INVALID_ARGUMENT or DATA_LOSS for what is no protobuf.
 */
export function readOnnxSkeletonFile(path: string): Uint8Array {
  const file = openSync(path, 'r');
  try {
    const read = (into: Uint8Array, position: number) => readSync(file, into, 0, into.byteLength, position);
    const cursor = new ScanCursor(createFileBytes(fstatSync(file).size, read));
    const model = new WireWriter(64 * 1024);
    while (cursor.more()) {
      const tag = cursor.tag();
      if (tag !== ONNX.model.graph * 8 + WIRE.bytes) copyField(cursor, tag, model);
      else model.delimited(ONNX.model.graph, () => cursor.within(() => copyGraph(cursor, model)));
    }
    return model.finish();
  } finally {
    closeSync(file);
  }
}

function copyGraph(cursor: ScanCursor, graph: WireWriter): void {
  while (cursor.more()) {
    const tag = cursor.tag();
    if (tag !== ONNX.graph.initializer * 8 + WIRE.bytes) copyField(cursor, tag, graph);
    else graph.delimited(ONNX.graph.initializer, () => cursor.within(() => copyTensor(cursor, graph)));
  }
}

/** The tensor's fields, but not those that are long: its values. */
function copyTensor(cursor: ScanCursor, tensor: WireWriter): void {
  while (cursor.more()) {
    const tag = cursor.tag();
    if ((tag & 7) !== WIRE.bytes) {
      copyField(cursor, tag, tensor);
      continue;
    }
    const length = cursor.skipBytes();
    if (length <= KEPT_BYTES) tensor.bytesField(tag >>> 3, cursor.bytesAt(cursor.offset - length, length));
  }
}

function copyField(cursor: ScanCursor, tag: number, into: WireWriter): void {
  const wire = tag & 7;
  if (wire === WIRE.bytes) {
    const field = cursor.message(MAX_FIELD_BYTES);
    into.bytesField(tag >>> 3, field.bytes.subarray(field.offset, field.end));
    return;
  }
  const start = cursor.offset;
  cursor.skip(tag);
  into.varint(tag).raw(cursor.bytesAt(start, cursor.offset - start));
}
