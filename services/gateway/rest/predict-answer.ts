/** The answer to a Predict call over REST, in TensorFlow Serving's layout to the byte. */
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, elementCount, type NamedTensors, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { JsonWriter } from './json-writer.ts';

/**
 * Encodes `predictions` (row: one element for each index of dimension 0, lists on one line) or `outputs` (columnar: one scalar a line); several
 * outputs become objects by name. Strings of outputs whose name ends in `_bytes` become `{"b64": …}`. Throws INVALID_ARGUMENT when there is no
 * output, a dtype has no JSON form, or, in row format, outputs have no common dimension 0.
 */
export function encodePredict(outputs: NamedTensors, format: 'row' | 'columnar'): Buffer {
  if (outputs.size === 0) throw invalid('Cannot convert empty tensor map to JSON');
  const rows = format === 'row' ? commonRows(outputs) : 0;
  const cells: Cells[] = [];
  let expectedBytes = 64;
  for (const [name, tensor] of outputs) {
    cells.push(createCells(name, tensor));
    expectedBytes += tensor.bytes.byteLength * 4;
  }
  const writer = new JsonWriter(Math.min(expectedBytes, 1 << 24));
  if (format === 'row') writeRows(writer, cells, rows);
  else writeColumns(writer, cells);
  return writer.finish();
}

function invalid(message: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', message);
}

/** The size of dimension 0 of all outputs. */
function commonRows(outputs: NamedTensors): number {
  let rows: number | undefined;
  for (const [name, { shape }] of outputs) {
    const [own] = shape;
    if (own === undefined) throw invalid(`Tensor name: ${name} has no shape information `);
    if (rows !== undefined && own !== rows) {
      throw invalid(`Tensor name: ${name} has inconsistent batch size: ${own} expecting: ${rows}`);
    }
    rows = own;
  }
  return rows ?? 0;
}

/** A tensor that can write its elements. */
interface Cells {
  readonly name: string;
  readonly shape: readonly number[];
  /** Writes element `index`; `level` is the depth of the containers around it, for the indent of a b64 object. */
  write(writer: JsonWriter, index: number, level: number): void;
}

function writeRows(writer: JsonWriter, cells: readonly Cells[], rows: number): void {
  writer.ascii('{\n    "predictions": [');
  const [only] = cells;
  for (let row = 0; row < rows; row++) {
    if (cells.length === 1 && only !== undefined) {
      if (row > 0) writer.ascii(',');
      // TensorFlow Serving writes rows of a single output with lists on one line.
      if (row > 0) writer.ascii(' ');
      writeInline(writer, only, 1, row, 2);
      continue;
    }
    writer.ascii(row > 0 ? ',' : '');
    writer.newline(2);
    writer.ascii('{');
    cells.forEach((one, index) => {
      if (index > 0) writer.ascii(',');
      writer.newline(3);
      writer.string(Buffer.from(one.name));
      writer.ascii(': ');
      writeInline(writer, one, 1, row, 3);
    });
    writer.newline(2);
    writer.ascii('}');
  }
  if (rows > 0) writer.newline(1);
  writer.ascii(']\n}');
}

/** Writes sub-tensor `index` of the first `axis` dimensions on one line; `level` containers are open. */
function writeInline(writer: JsonWriter, cells: Cells, axis: number, index: number, level: number): void {
  const size = cells.shape[axis];
  if (size === undefined) {
    cells.write(writer, index, level);
    return;
  }
  writer.ascii('[');
  const isInnermost = axis === cells.shape.length - 1;
  for (let item = 0; item < size; item++) {
    if (item > 0) writer.ascii(', ');
    if (isInnermost) cells.write(writer, index * size + item, level + 1);
    else writeInline(writer, cells, axis + 1, index * size + item, level + 1);
  }
  writer.ascii(']');
}

function writeColumns(writer: JsonWriter, cells: readonly Cells[]): void {
  writer.ascii('{\n    "outputs": ');
  const [only] = cells;
  if (cells.length === 1 && only !== undefined) writeLines(writer, only, 0, 0, 1);
  else {
    writer.ascii('{');
    cells.forEach((one, index) => {
      if (index > 0) writer.ascii(',');
      writer.newline(2);
      writer.string(Buffer.from(one.name));
      writer.ascii(': ');
      writeLines(writer, one, 0, 0, 2);
    });
    writer.newline(1);
    writer.ascii('}');
  }
  writer.ascii('\n}');
}

/** Writes sub-tensor `index` of the first `axis` dimensions, each element on a line of its own; `level` containers are open. */
function writeLines(writer: JsonWriter, cells: Cells, axis: number, index: number, level: number): void {
  const size = cells.shape[axis];
  if (size === undefined) {
    cells.write(writer, index, level);
    return;
  }
  writer.ascii('[');
  for (let item = 0; item < size; item++) {
    if (item > 0) writer.ascii(',');
    writer.newline(level + 1);
    writeLines(writer, cells, axis + 1, index * size + item, level + 1);
  }
  if (size > 0) writer.newline(level);
  writer.ascii(']');
}

function createCells(name: string, tensor: Tensor): Cells {
  const { shape } = tensor;
  const count = elementCount(shape);
  const make = (write: Cells['write']): Cells => ({ name, shape, write });
  const numbers = (values: ArrayLike<number>) => make((writer, index) => writer.integer(values[index] as number));
  if (tensor.dtype === 'string') {
    const elements = unpackStrings(tensor.bytes, count);
    const none = new Uint8Array(0);
    if (!name.endsWith('_bytes')) return make((writer, index) => writer.string(elements[index] ?? none));
    return make((writer, index, level) => {
      writer.ascii('{');
      writer.newline(level + 1);
      writer.ascii('"b64": ');
      writer.base64(elements[index] ?? none);
      writer.newline(level);
      writer.ascii('}');
    });
  }
  const { buffer, byteOffset } = aligned(tensor.bytes, Math.min(8, DTYPES[tensor.dtype].byteSize));
  switch (tensor.dtype) {
    case 'float': {
      const values = new Float32Array(buffer, byteOffset, count);
      return make((writer, index) => writer.decimal(values[index] as number, 9));
    }
    case 'double': {
      const values = new Float64Array(buffer, byteOffset, count);
      return make((writer, index) => writer.decimal(values[index] as number, 17));
    }
    case 'bool': {
      const values = new Uint8Array(buffer, byteOffset, count);
      return make((writer, index) => writer.ascii(values[index] === 0 ? 'false' : 'true'));
    }
    case 'int8':
      return numbers(new Int8Array(buffer, byteOffset, count));
    case 'uint8':
      return numbers(new Uint8Array(buffer, byteOffset, count));
    case 'int16':
      return numbers(new Int16Array(buffer, byteOffset, count));
    case 'int32':
      return numbers(new Int32Array(buffer, byteOffset, count));
    case 'uint32':
      return numbers(new Uint32Array(buffer, byteOffset, count));
    case 'int64':
    case 'uint64': {
      const isSigned = tensor.dtype === 'int64';
      const values = isSigned ? new BigInt64Array(buffer, byteOffset, count) : new BigUint64Array(buffer, byteOffset, count);
      const low = new Uint32Array(buffer, byteOffset, count * 2);
      const high = isSigned ? new Int32Array(buffer, byteOffset, count * 2) : low;
      return make((writer, index) => {
        const value = (high[2 * index + 1] as number) * 4294967296 + (low[2 * index] as number);
        if (Number.isSafeInteger(value)) writer.integer(value);
        else writer.ascii(String(values[index]));
      });
    }
    default:
      // Only complained about when there is an element to write.
      return make(() => {
        throw invalid(`Failed to write JSON value for tensor type: ${tensor.dtype}`);
      });
  }
}

/** The bytes, copied when a typed array of `alignment` bytes could not be laid over them. */
function aligned(bytes: Uint8Array, alignment: number): Uint8Array {
  return bytes.byteOffset % alignment === 0 ? bytes : new Uint8Array(bytes);
}
