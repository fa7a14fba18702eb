/**
 * `tensorflow.TensorProto`, the tensor of every gRPC message. Numbers that are contiguous on the wire (`tensor_content`, packed floats and
 * doubles) become views of the message, never copies; varints are decoded straight into the array that holds the tensor.
 */
import { DTYPES, type DType, dtypeFromNumber, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { decodePacked32, decodePacked64, encodePacked32, encodePacked64 } from './packed-varints.ts';
import { contentFromStrings, stringsFromContent, stringsFromRun } from './tensor-strings.ts';
import { malformed, WIRE, WireReader, type WireWriter } from './wire.ts';

const FIELD = { dtype: 1, shape: 2, content: 4 } as const;
/** TensorFlow's bound on dimensions. */
const MAX_RANK = 254;
/** A short list of values may be repeated to at most this many bytes: a small message must not claim all memory. */
const MAX_EXPANDED_BYTES = 256 * 1024 * 1024;

/** How the values of a dtype's own field are encoded: as they lie in memory, as varints of 32 or 64 bits, or as byte strings. */
type Encoding = 'fixed' | 'varint32' | 'varint64' | 'bool' | 'string';

/** For each dtype: the field of its values, and their encoding. */
const VALUES: Readonly<Record<DType, { readonly field: number; readonly encoding: Encoding }>> = {
  float: { field: 5, encoding: 'fixed' },
  double: { field: 6, encoding: 'fixed' },
  int32: { field: 7, encoding: 'varint32' },
  uint8: { field: 7, encoding: 'varint32' },
  int16: { field: 7, encoding: 'varint32' },
  int8: { field: 7, encoding: 'varint32' },
  uint16: { field: 7, encoding: 'varint32' },
  string: { field: 8, encoding: 'string' },
  complex64: { field: 9, encoding: 'fixed' },
  int64: { field: 10, encoding: 'varint64' },
  bool: { field: 11, encoding: 'bool' },
  complex128: { field: 12, encoding: 'fixed' },
  half: { field: 13, encoding: 'varint32' },
  bfloat16: { field: 13, encoding: 'varint32' },
  uint32: { field: 16, encoding: 'varint32' },
  uint64: { field: 17, encoding: 'varint64' },
};

/** A stretch of the message with values of one field: one packed list, or unpacked values that follow each other, each with its key. */
interface Run {
  readonly tag: number;
  readonly start: number;
  end: number;
}

/** Bounds of decoding. */
export interface DecodeTensorOptions {
  /** The most bytes that a tensor may take when its values are repeated or left out; default 256 MiB. Values that are all present have no bound. */
  readonly maxExpandedBytes?: number;
}

/**
 * Decodes a TensorProto. The tensor's bytes may be a view of `bytes`. Throws ServeError INVALID_ARGUMENT for broken bytes, a dtype that no
 * client can send, an unknown rank, a negative or overflowing shape, and content of the wrong size; the caller names the input.
 */
export function decodeTensorProto(bytes: Uint8Array, options: DecodeTensorOptions = {}): Tensor {
  const reader = new WireReader(bytes);
  const shape: number[] = [];
  const runs: Run[] = [];
  let dtypeNumber = 0;
  let content: Uint8Array | undefined;
  while (reader.more()) {
    const tagStart = reader.offset;
    const tag = reader.tag();
    if (tag === FIELD.dtype * 8 + WIRE.varint) dtypeNumber = reader.int32();
    else if (tag === FIELD.shape * 8 + WIRE.bytes) readShape(reader.message(), shape);
    else if (tag === FIELD.content * 8 + WIRE.bytes) content = reader.view();
    else readRun(reader, tag, tagStart, runs);
  }
  const dtype = dtypeFromNumber(dtypeNumber);
  if (dtype === undefined) throw malformed(`tensor of dtype ${dtypeNumber}, which cannot be sent`);
  const count = checkedCount(shape);
  if (content !== undefined && content.byteLength > 0) return { dtype, shape, bytes: fromContent(dtype, count, content) };
  const { field } = VALUES[dtype];
  const own = runs.filter((run) => run.tag >>> 3 === field);
  return { dtype, shape, bytes: fromRuns(dtype, count, reader.bytes, own, options.maxExpandedBytes ?? MAX_EXPANDED_BYTES) };
}

/**
 * Writes the fields of a TensorProto (without a key or length of its own): values in their dtype's field, or all of them in
 * `tensor_content`. The tensor's bytes must fit its shape.
 */
export function encodeTensorProto(writer: WireWriter, tensor: Tensor, { tensorContent }: { readonly tensorContent: boolean }): void {
  const { dtype, shape, bytes } = tensor;
  writer.varintField(FIELD.dtype, DTYPES[dtype].number);
  encodeTensorShape(writer, FIELD.shape, shape);
  const { field, encoding } = VALUES[dtype];
  if (encoding === 'string') {
    const count = shape.reduce((product, dim) => product * dim, 1);
    if (count === 0) return;
    if (tensorContent) writer.bytesField(FIELD.content, contentFromStrings(bytes, count));
    else for (const element of unpackStrings(bytes, count)) writer.bytesField(field, element);
    return;
  }
  if (bytes.byteLength === 0) return;
  if (tensorContent) writer.bytesField(FIELD.content, bytes);
  else if (encoding === 'fixed' || encoding === 'bool') writer.bytesField(field, bytes);
  else if (encoding === 'varint64') encodePacked64(writer, field, bytes);
  else encodePacked32(writer, field, integers(dtype, bytes));
}

/** Writes a TensorShapeProto field; dimensions of -1 are unknown. */
export function encodeTensorShape(writer: WireWriter, field: number, shape: readonly number[], names?: readonly string[]): void {
  writer.delimited(field, () => {
    for (const [axis, dim] of shape.entries()) {
      const name = names?.[axis] ?? '';
      writer.delimited(2, () => {
        if (dim !== 0) writer.varintField(1, dim);
        if (name !== '') writer.stringField(2, name);
      });
    }
  });
}

function readShape(reader: WireReader, shape: number[]): void {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 2 * 8 + WIRE.bytes) shape.push(readDim(reader.message()));
    else if (tag === 3 * 8 + WIRE.varint) {
      if (reader.bool()) throw malformed('tensor of unknown rank');
    } else reader.skip(tag);
  }
}

function readDim(reader: WireReader): number {
  let size = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.varint) size = reader.int64();
    else reader.skip(tag);
  }
  return size;
}

function checkedCount(shape: readonly number[]): number {
  if (shape.length > MAX_RANK) throw malformed(`tensor of rank ${shape.length}, at most ${MAX_RANK} is allowed`);
  let count = 1;
  for (const dim of shape) {
    count *= dim;
    if (dim < 0 || dim > Number.MAX_SAFE_INTEGER || count > Number.MAX_SAFE_INTEGER) {
      throw malformed(`tensor of shape [${shape}], whose size is negative or too large`);
    }
  }
  return count;
}

/** Remembers where values lie; unpacked values that follow each other make one run. */
function readRun(reader: WireReader, tag: number, tagStart: number, runs: Run[]): void {
  const isPacked = (tag & 7) === WIRE.bytes && tag >>> 3 !== VALUES.string.field;
  if (isPacked) {
    const length = reader.uint32Length();
    runs.push({ tag, start: reader.offset, end: reader.offset + length });
    reader.offset += length;
    return;
  }
  reader.skip(tag);
  const last = runs.at(-1);
  if (last?.tag === tag && last.end === tagStart) last.end = reader.offset;
  else runs.push({ tag, start: tagStart, end: reader.offset });
}

function fromContent(dtype: DType, count: number, content: Uint8Array): Uint8Array {
  if (dtype === 'string') return stringsFromContent(content, count);
  const expected = count * DTYPES[dtype].byteSize;
  if (content.byteLength !== expected) throw malformed(`tensor_content has ${content.byteLength} bytes, ${expected} were expected`);
  // Whatever is not 0 is true; a runtime would compute with the byte itself.
  return dtype === 'bool' && content.some((byte) => byte > 1) ? content.map((byte) => (byte === 0 ? 0 : 1)) : content;
}

function fromRuns(dtype: DType, count: number, bytes: Uint8Array, runs: readonly Run[], maxBytes: number): Uint8Array {
  const { encoding } = VALUES[dtype];
  const { byteSize } = DTYPES[dtype];
  const tensorBytes = encoding === 'string' ? 4 * (count + 1) : count * byteSize;
  if (tensorBytes > maxBytes && !holdsAll(runs, count, encoding === 'fixed' ? byteSize : 1)) {
    throw malformed(`tensor of ${tensorBytes} bytes whose values are not all there; at most ${maxBytes} bytes are filled in`);
  }
  if (encoding === 'string') {
    const strings = runs.filter((run) => (run.tag & 7) === WIRE.bytes);
    return stringsFromRun(bytes, strings, count, maxBytes);
  }
  const [first] = runs;
  const lying = first !== undefined && runs.length === 1 ? asItLies(dtype, bytes, first, tensorBytes) : undefined;
  if (lying !== undefined) return lying;
  const into = new Uint8Array(tensorBytes);
  let filled = 0;
  for (const run of runs) filled = decodeRun(dtype, bytes, run, into, filled);
  repeatLast(into, Math.min(filled * valueBytes(dtype), tensorBytes), byteSize);
  return into;
}

/** True when the message itself has at least `leastBytes` for each element, so that its size bounds the tensor's. */
function holdsAll(runs: readonly Run[], count: number, leastBytes: number): boolean {
  return runs.reduce((sum, run) => sum + run.end - run.start, 0) >= count * leastBytes;
}

/** Bytes of one value of the dtype's field: an element, or the real or imaginary part of one. */
function valueBytes(dtype: DType): number {
  return dtype === 'complex64' || dtype === 'complex128' ? DTYPES[dtype].byteSize / 2 : DTYPES[dtype].byteSize;
}

/** A view of a packed run that has all of a tensor's bytes as they lie in memory; undefined when it has not. */
function asItLies(dtype: DType, bytes: Uint8Array, run: Run, tensorBytes: number): Uint8Array | undefined {
  if ((run.tag & 7) !== WIRE.bytes) return undefined;
  const { encoding } = VALUES[dtype];
  if (encoding === 'fixed') {
    checkWhole(dtype, run);
    return run.end - run.start >= tensorBytes ? bytes.subarray(run.start, run.start + tensorBytes) : undefined;
  }
  if (encoding !== 'bool' || run.end - run.start !== tensorBytes) return undefined;
  for (let at = run.start; at < run.end; at++) if ((bytes[at] ?? 0) > 1) return undefined;
  return bytes.subarray(run.start, run.end);
}

function checkWhole(dtype: DType, run: Run): void {
  const length = run.end - run.start;
  if (length % valueBytes(dtype) === 0) return;
  throw malformed(`packed field ${run.tag >>> 3} has ${length} bytes, not a multiple of ${valueBytes(dtype)}`);
}

/** Decodes a run behind the `filled` values that are there; returns how many there are then. Values beyond the tensor are checked and dropped. */
function decodeRun(dtype: DType, bytes: Uint8Array, run: Run, into: Uint8Array, filled: number): number {
  const { encoding } = VALUES[dtype];
  if ((run.tag & 7) !== WIRE.bytes) return decodeUnpacked(dtype, bytes, run, into, filled);
  if (encoding === 'varint64') return decodePacked64(bytes, run.start, run.end, into, filled);
  if (encoding === 'varint32') return decodePacked32(bytes, run.start, run.end, integers(dtype, into), filled);
  if (encoding === 'bool') {
    const reader = new WireReader(bytes, run.start, run.end);
    for (; reader.more(); filled++) into[filled] = reader.bool() ? 1 : 0;
    return filled;
  }
  checkWhole(dtype, run);
  const at = Math.min(filled * valueBytes(dtype), into.byteLength);
  into.set(bytes.subarray(run.start, Math.min(run.end, run.start + into.byteLength - at)), at);
  return filled + (run.end - run.start) / valueBytes(dtype);
}

/** Decodes values that each have a key. */
function decodeUnpacked(dtype: DType, bytes: Uint8Array, run: Run, into: Uint8Array, filled: number): number {
  const { encoding } = VALUES[dtype];
  const size = valueBytes(dtype);
  const wire = encoding !== 'fixed' ? WIRE.varint : size === 8 ? WIRE.fixed64 : WIRE.fixed32;
  if ((run.tag & 7) !== wire) return filled; // Another wire type: an unknown field, as protobuf has it.
  const reader = new WireReader(bytes, run.start, run.end);
  const value = new Uint8Array(8);
  const view = new DataView(value.buffer);
  for (; reader.more(); filled++) {
    reader.tag();
    if (encoding === 'bool') value[0] = reader.bool() ? 1 : 0;
    else if (encoding === 'fixed') value.set(reader.fixed(size));
    else reader.varintInto(view, 0);
    const at = filled * size;
    if (at + size <= into.byteLength) into.set(size === 8 ? value : value.subarray(0, size), at);
  }
  return filled;
}

/** Fills the rest of `into` with its last whole element before `filledBytes`; without one, with zeros. Copies double each time. */
function repeatLast(into: Uint8Array, filledBytes: number, byteSize: number): void {
  let end = filledBytes - (filledBytes % byteSize);
  if (end === 0) {
    into.fill(0);
    return;
  }
  const start = end - byteSize;
  while (end < into.byteLength) {
    const chunk = Math.min(end - start, into.byteLength - end);
    into.copyWithin(end, start, start + chunk);
    end += chunk;
  }
}

/** A typed array over `bytes`, copied when they are not aligned. Only for integers of at most 32 bits, and the bits of 16-bit floats. */
function integers(dtype: DType, bytes: Uint8Array): Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array {
  const { byteSize } = DTYPES[dtype];
  const aligned = bytes.byteOffset % byteSize === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset } = aligned;
  const count = Math.floor(bytes.byteLength / byteSize);
  switch (dtype) {
    case 'int8':
      return new Int8Array(buffer, byteOffset, count);
    case 'uint8':
      return new Uint8Array(buffer, byteOffset, count);
    case 'int16':
      return new Int16Array(buffer, byteOffset, count);
    case 'int32':
      return new Int32Array(buffer, byteOffset, count);
    case 'uint32':
      return new Uint32Array(buffer, byteOffset, count);
    default:
      return new Uint16Array(buffer, byteOffset, count);
  }
}
