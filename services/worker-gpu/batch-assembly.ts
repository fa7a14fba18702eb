/** From the parts of a batch to the inputs of one run, and from the outputs of the run back to parts. Pure: nothing here waits or keeps state. */
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, type DType, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import type { RunInput } from './run-tensors.ts';

/** An input of one request, its bytes at hand. */
export interface PartTensor extends Tensor {
  readonly name: string;
  /** The buffer that `bytes` starts at the beginning of, when that is shared with executors: it need not be copied. */
  readonly shared?: SharedArrayBuffer;
}

/** The rows of one request that are in the batch; `rowCount` 0: the request cannot share a batch, all of its tensors go in as they are. */
export interface PartRows {
  readonly tensors: readonly PartTensor[];
  readonly rowStart: number;
  readonly rowCount: number;
}

/** How the batch is to be put together. */
export interface AssemblyPlan {
  /** Rows to execute: at least the parts' sum; what is more repeats the batch's first row. */
  readonly executeRows: number;
  /** Pad inner dimensions with zeros (empty strings) to the largest in the batch. */
  readonly padRagged: boolean;
}

/**
 * The inputs of one run, in the order of the first part's tensors. Throws INVALID_ARGUMENT when the parts do not fit together. Nothing is copied
 * before the executor asks for it.
 */
export function assembleInputs(parts: readonly PartRows[], plan: AssemblyPlan): RunInput[] {
  const [first] = parts;
  if (first === undefined) return [];
  if (first.rowCount === 0) return first.tensors.map(wholeInput);
  return first.tensors.map(({ name }, position) => {
    const pieces = parts.map(({ tensors, rowStart, rowCount }): Piece => {
      const tensor = tensors[position]?.name === name ? tensors[position] : tensors.find((one) => one.name === name);
      if (tensor === undefined) throw new ServeError('INVALID_ARGUMENT', `a request of the batch lacks the input ${name}`);
      const rows = tensor.shape[0] ?? 0;
      if (rowStart + rowCount > rows) {
        throw new ServeError('INVALID_ARGUMENT', `input ${name} has ${rows} rows, the batch takes [${rowStart}, ${rowStart + rowCount})`);
      }
      checkBytes(tensor);
      return { tensor, inner: tensor.shape.slice(1), rowStart, rowCount };
    });
    return joinPieces(name, pieces, plan);
  });
}

interface Piece {
  readonly tensor: PartTensor;
  readonly inner: readonly number[];
  readonly rowStart: number;
  readonly rowCount: number;
}

function wholeInput(tensor: PartTensor): RunInput {
  checkBytes(tensor);
  const { name, dtype, shape, bytes, shared } = tensor;
  const source: RunInput['source'] = shared ? { type: 'shared', buffer: shared } : { type: 'write', into: (place) => place.set(bytes) };
  return { name, dtype, shape, byteLength: bytes.byteLength, source };
}

function checkBytes({ name, dtype, shape, bytes }: PartTensor): void {
  const { byteSize } = DTYPES[dtype];
  const needed = elementCount(shape) * byteSize;
  if (byteSize > 0 && bytes.byteLength !== needed) {
    throw new ServeError('INVALID_ARGUMENT', `input ${name}: ${dtype} of shape [${shape}] needs ${needed} bytes, ${bytes.byteLength} came`);
  }
}

function joinPieces(name: string, pieces: readonly Piece[], plan: AssemblyPlan): RunInput {
  const [first] = pieces;
  if (first === undefined) throw new ServeError('INTERNAL', 'a batch without parts was assembled (this is a bug)');
  const { dtype } = first.tensor;
  if (pieces.some((piece) => piece.tensor.dtype !== dtype))
    throw new ServeError('INVALID_ARGUMENT', `input ${name} has several dtypes in one batch`);
  const inner = commonInner(name, pieces, plan.padRagged);
  const shape = [plan.executeRows, ...inner];
  if (dtype === 'string') {
    const bytes = joinStrings(pieces, inner, plan.executeRows);
    return { name, dtype, shape, byteLength: bytes.byteLength, source: { type: 'write', into: (place) => place.set(bytes) } };
  }
  const byteLength = elementCount(shape) * DTYPES[dtype].byteSize;
  const alone =
    pieces.length === 1 && first.rowStart === 0 && first.rowCount === first.tensor.shape[0] && plan.executeRows === first.rowCount;
  if (alone && first.tensor.shared) return { name, dtype, shape, byteLength, source: { type: 'shared', buffer: first.tensor.shared } };
  return { name, dtype, shape, byteLength, source: { type: 'write', into: (place) => joinNumbers(pieces, { dtype, inner }, place) } };
}

/** The inner shape of the batch: the one that all pieces have, or the largest of each dimension when padding. */
function commonInner(name: string, pieces: readonly Piece[], padRagged: boolean): readonly number[] {
  const inner = [...(pieces[0]?.inner ?? [])];
  for (const piece of pieces) {
    if (piece.inner.length !== inner.length) {
      throw new ServeError('INVALID_ARGUMENT', `Tensors with name '${name}' from different tasks have different ranks: batching needs one`);
    }
    for (const [axis, dim] of piece.inner.entries()) {
      if (dim === inner[axis]) continue;
      if (!padRagged) {
        throw new ServeError(
          'INVALID_ARGUMENT',
          `Tensors with name '${name}' from different tasks have different shapes and padding is turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions starting with the first dim.`,
        );
      }
      inner[axis] = Math.max(dim, inner[axis] ?? 0);
    }
  }
  return inner;
}

function joinNumbers(
  pieces: readonly Piece[],
  common: { readonly dtype: DType; readonly inner: readonly number[] },
  place: Uint8Array,
): void {
  const size = DTYPES[common.dtype].byteSize;
  const rowBytes = elementCount(common.inner) * size;
  let at = 0;
  for (const { tensor, inner, rowStart, rowCount } of pieces) {
    const from = elementCount(inner) * size;
    const rows = tensor.bytes.subarray(rowStart * from, (rowStart + rowCount) * from);
    const target = place.subarray(at, at + rowCount * rowBytes);
    if (from === rowBytes && inner.every((dim, axis) => dim === common.inner[axis])) target.set(rows);
    else {
      target.fill(0);
      copyBlock(rows, [rowCount, ...inner], target, [rowCount, ...common.inner], size);
    }
    at += rowCount * rowBytes;
  }
  for (; at < place.byteLength; at += rowBytes) place.copyWithin(at, 0, rowBytes);
}

/** Copies a block into the corner of a larger one of the same rank. */
function copyBlock(from: Uint8Array, fromShape: readonly number[], into: Uint8Array, intoShape: readonly number[], size: number): void {
  const [rows = 0, ...fromInner] = fromShape;
  const intoInner = intoShape.slice(1);
  if (fromInner.length === 0) {
    into.set(from);
    return;
  }
  const fromBytes = elementCount(fromInner) * size;
  const intoBytes = elementCount(intoInner) * size;
  for (let row = 0; row < rows; row++) {
    copyBlock(
      from.subarray(row * fromBytes, (row + 1) * fromBytes),
      fromInner,
      into.subarray(row * intoBytes, (row + 1) * intoBytes),
      intoInner,
      size,
    );
  }
}

function joinStrings(pieces: readonly Piece[], inner: readonly number[], executeRows: number): Uint8Array {
  const empty = new Uint8Array(0);
  const perRow = elementCount(inner);
  const elements: Uint8Array[] = [];
  for (const piece of pieces) {
    const each = elementCount(piece.inner);
    const all = unpackElements(piece.tensor);
    for (let row = piece.rowStart; row < piece.rowStart + piece.rowCount; row++) {
      const padded: Uint8Array[] = new Array(perRow).fill(empty);
      placeElements(all.slice(row * each, (row + 1) * each), piece.inner, padded, inner);
      elements.push(...padded);
    }
  }
  const firstRow = elements.slice(0, perRow);
  while (elements.length < executeRows * perRow) elements.push(...firstRow);
  return packStrings(elements);
}

function unpackElements({ name, bytes, shape }: PartTensor): Uint8Array[] {
  try {
    return unpackStrings(bytes, elementCount(shape));
  } catch (cause) {
    throw new ServeError('INVALID_ARGUMENT', `input ${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

function placeElements(from: readonly Uint8Array[], fromShape: readonly number[], into: Uint8Array[], intoShape: readonly number[]): void {
  const offsets = cornerOffsets(fromShape, intoShape);
  for (const [index, element] of from.entries()) into[offsets[index] ?? 0] = element;
}

/** Where each element of a block lies in the larger block whose corner it fills. */
function cornerOffsets(shape: readonly number[], larger: readonly number[]): number[] {
  let offsets = [0];
  for (const [axis, dim] of shape.entries()) {
    const width = larger[axis] ?? dim;
    offsets = offsets.flatMap((offset) => Array.from({ length: dim }, (_, index) => offset * width + index));
  }
  return offsets;
}

/** Checks that every output of a batched run has one row for each row executed. Throws FAILED_PRECONDITION as TensorFlow Serving does. */
export function checkBatchedOutputs(outputs: readonly (Tensor & { readonly name: string })[], executeRows: number): void {
  for (const { name, shape } of outputs) {
    if (shape.length === 0) throw new ServeError('FAILED_PRECONDITION', `Batched output tensor has 0 dimensions: ${name}`);
    if (shape[0] !== executeRows) {
      throw new ServeError(
        'FAILED_PRECONDITION',
        `Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors: ${name} has shape [${shape}], ${executeRows} rows were executed`,
      );
    }
  }
}

/** Rows `[start, start + count)` of an output: a view for numbers, a packed copy for strings (without decoding them). */
export function cutRows(output: Tensor, start: number, count: number): Tensor {
  const [rows = 0, ...inner] = output.shape;
  const shape = [count, ...inner];
  if (start === 0 && count === rows) return output;
  const perRow = elementCount(inner);
  if (output.dtype !== 'string') {
    const rowBytes = perRow * DTYPES[output.dtype].byteSize;
    return { dtype: output.dtype, shape, bytes: output.bytes.subarray(start * rowBytes, (start + count) * rowBytes) };
  }
  const { bytes } = output;
  const offsets = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data = 4 * (rows * perRow + 1);
  const firstByte = offsets.getUint32(4 * start * perRow, true);
  const lastByte = offsets.getUint32(4 * (start + count) * perRow, true);
  const header = 4 * (count * perRow + 1);
  const cut = new Uint8Array(header + lastByte - firstByte);
  const cutOffsets = new DataView(cut.buffer);
  for (let index = 0; index <= count * perRow; index++) {
    cutOffsets.setUint32(4 * index, offsets.getUint32(4 * (start * perRow + index), true) - firstByte, true);
  }
  cut.set(bytes.subarray(data + firstByte, data + lastByte), header);
  return { dtype: 'string', shape, bytes: cut };
}
