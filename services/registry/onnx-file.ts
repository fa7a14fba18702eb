import { type FileHandle, open } from 'node:fs/promises';
import { ServeError } from '#mesh/errors.ts';

/** What the outermost fields of an ONNX file say. */
export interface OnnxOutline {
  readonly irVersion: number;
  readonly graphBytes: number;
}

/** Fields of `ModelProto`. */
const IR_VERSION_FIELD = 1;
const GRAPH_FIELD = 7;
/** Fields at the outermost level; a real model has some dozens (metadata, functions). */
const MAX_FIELDS = 100_000;
/** The longest varint. */
const VARINT_BYTES = 10;
const WINDOW_BYTES = 4096;

/**
 * Walks the outermost fields of an ONNX file without reading what is inside them, so that a file of many gigabytes takes milliseconds. Rejects
 * with INVALID_ARGUMENT for a file that ends in the middle of a field, has no graph, or is not a protobuf message.
 */
export async function outlineOnnxFile(path: string): Promise<OnnxOutline> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  if (size === 0) throw broken(path, 'it is empty');
  const read = windowOf(file);
  let irVersion = 0;
  let graphBytes = -1;
  let offset = 0;
  for (let fields = 0; offset < size; fields++) {
    if (fields > MAX_FIELDS) throw broken(path, `it has more than ${MAX_FIELDS} outermost fields`);
    const tag = await readVarint(read, offset, size, path);
    const field = Math.floor(tag.value / 8);
    offset = tag.end;
    if (field === 0) throw broken(path, `it is not a protobuf message at byte ${offset}`);
    const wireType = tag.value % 8;
    if (wireType === 0) {
      const scalar = await readVarint(read, offset, size, path);
      if (field === IR_VERSION_FIELD) irVersion = scalar.value;
      offset = scalar.end;
    } else if (wireType === 1) offset += 8;
    else if (wireType === 5) offset += 4;
    else if (wireType === 2) {
      const length = await readVarint(read, offset, size, path);
      if (field === GRAPH_FIELD) graphBytes = length.value;
      offset = length.end + length.value;
    } else throw broken(path, `it is not a protobuf message at byte ${offset}`);
    if (offset > size) throw broken(path, `it is cut off: a field needs ${offset} bytes of file, there are ${size}`);
  }
  if (graphBytes < 0) throw broken(path, 'it holds no graph');
  return { irVersion, graphBytes };
}

/** Gives up to ten bytes of the file from an offset on. Fields that lie close together share one read. */
type ReadBytes = (offset: number) => Promise<Uint8Array>;

function windowOf(file: FileHandle): ReadBytes {
  const buffer = new Uint8Array(WINDOW_BYTES);
  let start = 0;
  let end = 0;
  return async (offset) => {
    if (offset < start || offset + VARINT_BYTES > end) {
      const { bytesRead } = await file.read(buffer, 0, WINDOW_BYTES, offset);
      start = offset;
      end = offset + bytesRead;
    }
    return buffer.subarray(offset - start, Math.min(offset - start + VARINT_BYTES, end - start));
  };
}

async function readVarint(read: ReadBytes, offset: number, size: number, path: string): Promise<{ value: number; end: number }> {
  const bytes = await read(offset);
  let value = 0;
  for (const [index, byte] of bytes.entries()) {
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { value, end: offset + index + 1 };
  }
  if (bytes.byteLength < VARINT_BYTES) throw broken(path, `it is cut off at byte ${size}`);
  throw broken(path, `it is not a protobuf message at byte ${offset}`);
}

function broken(path: string, why: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', `${path} is not a usable ONNX file: ${why}`);
}
