/** Slices of tensors: which part of a shape they are, and copying them in and out. */
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import type { Extent } from './slice-key.ts';

/** Parses RestoreV2's `shape_and_slice`: `3 10 0,2:-` is rows 0 and 1 of a [3, 10]. Null for an empty text: the whole tensor. Throws INVALID_ARGUMENT. */
export function parseShapeAndSlice(text: string): { readonly shape: readonly number[]; readonly extents: readonly Extent[] } | null {
  if (text === '') return null;
  const words = text.split(' ');
  const parts = (words.pop() ?? '').split(':');
  const refused = () =>
    new ServeError(
      'INVALID_ARGUMENT',
      `Expected sizes and then slices, "start,length" or "-" for each, found "${text}" as a shape and slice`,
    );
  if (parts.length !== words.length || !words.every((word) => /^\d{1,15}$/.test(word))) throw refused();
  const extents = parts.map((part) => {
    if (part === '-') return { start: 0, length: -1 };
    const numbers = /^(\d{1,15}),(\d{1,15})$/.exec(part);
    if (numbers === null) throw refused();
    return { start: Number(numbers[1]), length: Number(numbers[2]) };
  });
  return { shape: words.map(Number), extents };
}

/** The start and size of a slice in each dimension; null when it does not fit the shape. */
export function resolveExtents(
  shape: readonly number[],
  extents: readonly Extent[],
): { readonly starts: readonly number[]; readonly sizes: readonly number[] } | null {
  if (shape.length !== extents.length) return null;
  const fits = extents.every(
    ({ start, length }, axis) => length === -1 || (start >= 0 && length >= 0 && start + length <= (shape[axis] ?? 0)),
  );
  if (!fits) return null;
  return {
    starts: extents.map(({ start, length }) => (length === -1 ? 0 : start)),
    sizes: extents.map(({ length }, axis) => (length === -1 ? (shape[axis] ?? 0) : length)),
  };
}

/** A part of a tensor and where it belongs in the whole. */
export interface PlacedPart {
  readonly tensor: Tensor;
  readonly starts: readonly number[];
}

/** Puts a tensor together from parts that cover it. */
export function assembleParts(dtype: Tensor['dtype'], shape: readonly number[], parts: readonly PlacedPart[]): Tensor {
  if (dtype === 'string') {
    const elements: Uint8Array[] = new Array(elementCount(shape)).fill(new Uint8Array(0));
    for (const { tensor, starts } of parts) {
      const own = unpackStrings(tensor.bytes, elementCount(tensor.shape));
      forEachRun(shape, starts, tensor.shape, (at, ownAt, count) => {
        for (let index = 0; index < count; index++) elements[at + index] = own[ownAt + index] ?? new Uint8Array(0);
      });
    }
    return { dtype, shape, bytes: packStrings(elements) };
  }
  const { byteSize } = DTYPES[dtype];
  const bytes = new Uint8Array(elementCount(shape) * byteSize);
  for (const { tensor, starts } of parts) {
    forEachRun(shape, starts, tensor.shape, (at, ownAt, count) => {
      bytes.set(tensor.bytes.subarray(ownAt * byteSize, (ownAt + count) * byteSize), at * byteSize);
    });
  }
  return { dtype, shape, bytes };
}

/** Cuts a part out of a tensor. The part must lie in it. */
export function cutPart(tensor: Tensor, starts: readonly number[], sizes: readonly number[]): Tensor {
  const { dtype, shape } = tensor;
  if (dtype === 'string') {
    const elements = unpackStrings(tensor.bytes, elementCount(shape));
    const cut: Uint8Array[] = [];
    forEachRun(shape, starts, sizes, (at, _, count) => {
      for (const element of elements.slice(at, at + count)) cut.push(element);
    });
    return { dtype, shape: sizes, bytes: packStrings(cut) };
  }
  const { byteSize } = DTYPES[dtype];
  const bytes = new Uint8Array(elementCount(sizes) * byteSize);
  forEachRun(shape, starts, sizes, (at, ownAt, count) => {
    bytes.set(tensor.bytes.subarray(at * byteSize, (at + count) * byteSize), ownAt * byteSize);
  });
  return { dtype, shape: sizes, bytes };
}

/** Visits a part run by run: each run of elements that lie together in the whole and in the part, by their first index in both. */
function forEachRun(
  whole: readonly number[],
  starts: readonly number[],
  sizes: readonly number[],
  visit: (wholeIndex: number, partIndex: number, count: number) => void,
): void {
  const total = elementCount(sizes);
  if (total === 0) return;
  let run = 1;
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    run *= sizes[axis] ?? 1;
    if (sizes[axis] !== whole[axis]) break;
  }
  for (let partIndex = 0; partIndex < total; partIndex += run) {
    let rest = partIndex;
    let wholeIndex = 0;
    let stride = 1;
    for (let axis = whole.length - 1; axis >= 0; axis--) {
      const size = sizes[axis] ?? 1;
      wholeIndex += ((starts[axis] ?? 0) + (rest % size)) * stride;
      rest = Math.floor(rest / size);
      stride *= whole[axis] ?? 1;
    }
    visit(wholeIndex, partIndex, run);
  }
}
