/** Sparse tensors in coordinate form: `indices` int64 [entries, rank] in row-major order, `values` [entries], `dense_shape` int64 [rank]. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import {
  allocate,
  bools,
  dim,
  fromNumbers,
  type HostKernels,
  input,
  int64s,
  invalid,
  joinData,
  numbers,
  scalar,
  shapeOf,
  shapeText,
  strides,
  take,
} from './host-tensor.ts';

/** SparseToDense, SparseReshape, SparseFillEmptyRows, SparseConcat, SparseSlice, SparseReorder, SparseTensorDenseMatMul, SparseSegment*. */
export const SPARSE_OPS: HostKernels = {
  SparseToDense: sparseToDense,
  SparseReshape: sparseReshape,
  SparseFillEmptyRows: fillEmptyRows,
  SparseConcat: sparseConcat,
  SparseSlice: sparseSlice,
  SparseReorder: reorder,
  SparseTensorDenseMatMul: sparseMatMul,
  SparseReduceSum: (inputs, attrs) => [reduceSum(inputs, attrs)],
  SparseSegmentSum: (inputs) => [segments(inputs, 'sum', false)],
  SparseSegmentMean: (inputs) => [segments(inputs, 'mean', false)],
  SparseSegmentSqrtN: (inputs) => [segments(inputs, 'sqrtn', false)],
  SparseSegmentSumWithNumSegments: (inputs) => [segments(inputs, 'sum', true)],
  SparseSegmentMeanWithNumSegments: (inputs) => [segments(inputs, 'mean', true)],
  SparseSegmentSqrtNWithNumSegments: (inputs) => [segments(inputs, 'sqrtn', true)],
};

function sparseToDense(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const places = input(inputs, 0);
  const shape = shapeOf(input(inputs, 1));
  const values = input(inputs, 2);
  const fallback = input(inputs, 3);
  const rank = places.shape.length > 1 ? dim(places.shape, 1) : 1;
  const count = places.shape.length > 0 ? dim(places.shape, 0) : 1;
  if (rank !== shape.length) throw invalid(`output_shape has incorrect number of elements: ${shape.length} should be: ${rank}`);
  if (values.shape.length === 1 && values.shape[0] !== count) {
    throw invalid(`sparse_values has incorrect shape ${shapeText(values.shape)}, should be [] or [${count}]`);
  }
  const at = numbers(places);
  const steps = strides(shape);
  const total = elementCount(values.shape);
  const indices = (allocate('int32', elementCount(shape)) as Int32Array).fill(total);
  const check = !attrs.has('validate_indices') || attrs.bool('validate_indices');
  let before = -1;
  for (let row = 0; row < count; row++) {
    let target = 0;
    for (let axis = 0; axis < rank; axis++) {
      const place = at[row * rank + axis] ?? 0;
      if (!(place >= 0 && place < dim(shape, axis))) {
        throw invalid(
          `indices[${row}] = ${rank === 1 && places.shape.length < 2 ? `${place}` : rowText(at, row, rank)} is out of bounds: need 0 <= index < ${shapeText(shape)}`,
        );
      }
      target += place * (steps[axis] ?? 0);
    }
    if (check && target === before) throw invalid(`indices[${row}] = ${rowText(at, row, rank)} is repeated`);
    if (check && target < before)
      throw invalid(
        `indices[${row}] = ${rowText(at, row, rank)} is out of order. Many sparse ops require sorted indices.\n    Use \`tf.sparse.reorder\` to create a correctly ordered copy.\n\n`,
      );
    before = target;
    indices[target] = total === 1 && values.shape.length === 0 ? 0 : row;
  }
  return [take(joinData(values.dtype, [values, fallback], [total + 1]), shape, indices)];
}

function rowText(at: ArrayLike<number>, row: number, rank: number): string {
  return `[${Array.from({ length: rank }, (_, axis) => at[row * rank + axis]).join(',')}]`;
}

function sparseReshape(inputs: readonly HostTensor[]): HostTensor[] {
  const places = input(inputs, 0);
  const shape = shapeOf(input(inputs, 1));
  const wanted = Array.from(numbers(input(inputs, 2)));
  const dense = elementCount(shape);
  const open = wanted.indexOf(-1);
  if (open >= 0 && wanted.indexOf(-1, open + 1) >= 0)
    throw invalid(`only one output dimension may be -1, not both ${open} and ${wanted.indexOf(-1, open + 1)}`);
  if (open >= 0) {
    const others = elementCount(wanted.filter((_, axis) => axis !== open));
    if (others === 0)
      throw invalid('reshape cannot infer the missing input size for an empty tensor unless all specified input sizes are non-zero');
    if (dense % others !== 0) {
      throw invalid(
        `Input to reshape is a SparseTensor with ${dense} dense values, but the requested shape requires a multiple of ${others}. input_shape=${shapeText(shape)} output_shape=${shapeText(wanted.map((size) => (size === -1 ? 1 : size)))}`,
      );
    }
    wanted[open] = dense / others;
  }
  if (elementCount(wanted) !== dense) {
    throw invalid(
      `Input to reshape is a tensor with ${dense} dense values, but the requested shape has ${elementCount(wanted)}. input_shape=${shapeText(shape)} output_shape=${shapeText(wanted)}`,
    );
  }
  const from = strides(shape);
  const to = strides(wanted);
  const at = numbers(places);
  const count = dim(places.shape, 0);
  const out = new Float64Array(count * wanted.length);
  for (let row = 0; row < count; row++) {
    let flat = 0;
    for (let axis = 0; axis < shape.length; axis++) flat += (at[row * shape.length + axis] ?? 0) * (from[axis] ?? 0);
    for (let axis = 0; axis < wanted.length; axis++) {
      const place = Math.floor(flat / (to[axis] ?? 1));
      out[row * wanted.length + axis] = place;
      flat -= place * (to[axis] ?? 1);
    }
  }
  return [int64s([count, wanted.length], out), int64s([wanted.length], wanted)];
}

function fillEmptyRows(inputs: readonly HostTensor[]): HostTensor[] {
  const places = input(inputs, 0);
  const values = input(inputs, 1);
  const shape = shapeOf(input(inputs, 2));
  const fallback = input(inputs, 3);
  const rows = dim(shape, 0);
  const rank = dim(places.shape, 1);
  const count = dim(places.shape, 0);
  const at = numbers(places);
  const byRow = Array.from({ length: rows }, (): number[] => []);
  for (let entry = 0; entry < count; entry++) {
    const row = at[entry * rank] ?? 0;
    if (row < 0 || row >= rows) throw invalid(`indices(${entry}, 0) is invalid: ${row} >= ${rows}`);
    byRow[row]?.push(entry);
  }
  const indices: number[] = [];
  const order: number[] = [];
  const back = new Float64Array(count);
  byRow.forEach((entries, row) => {
    if (entries.length === 0) {
      indices.push(row, ...new Array<number>(rank - 1).fill(0));
      order.push(count);
    }
    for (const entry of entries) {
      back[entry] = order.length;
      order.push(entry);
      for (let axis = 0; axis < rank; axis++) indices.push(at[entry * rank + axis] ?? 0);
    }
  });
  return [
    int64s([order.length, rank], indices),
    take(joinData(values.dtype, [values, fallback], [count + 1]), [order.length], order),
    bools(
      [rows],
      byRow.map((entries) => (entries.length === 0 ? 1 : 0)),
    ),
    int64s([count], back),
  ];
}

function sparseConcat(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const count = inputs.length / 3;
  const shapes = inputs.slice(2 * count).map(shapeOf);
  const first = shapes[0] ?? [];
  const rank = first.length;
  const wanted = attrs.int('concat_dim');
  const axis = wanted < 0 ? wanted + rank : wanted;
  if (axis < 0 || axis >= rank) throw invalid(`Concat dimension must be in range [${-rank}, ${rank}), got ${wanted}`);
  for (const [index, shape] of shapes.entries()) {
    if (shape.length !== rank)
      throw invalid(`Ranks of all input tensors must match: expected ${rank} but got ${shape.length} at position ${index}`);
    shape.forEach((size, at) => {
      if (at !== axis && size !== first[at]) {
        throw invalid(`Input shapes must match: expected ${first[at]} for dimension ${at} but got ${size} at position ${index}`);
      }
    });
  }
  const shape = first.map((size, at) => (at === axis ? shapes.reduce((sum, one) => sum + dim(one, axis), 0) : size));
  const rows: number[][] = [];
  let offset = 0;
  for (let index = 0; index < count; index++) {
    const places = numbers(input(inputs, index));
    for (let row = 0; row * rank < places.length; row++) {
      rows.push(Array.from({ length: rank }, (_, at) => (places[row * rank + at] ?? 0) + (at === axis ? offset : 0)));
    }
    offset += dim(shapes[index] ?? [], axis);
  }
  const values = joinData(input(inputs, count).dtype, inputs.slice(count, 2 * count), [rows.length]);
  const order = sortedRows(rows);
  return [
    int64s(
      [rows.length, rank],
      order.flatMap((row) => rows[row] ?? []),
    ),
    take(values, [rows.length], order),
    int64s([rank], shape),
  ];
}

/** The order of rows of coordinates, row-major and stable. */
function sortedRows(rows: readonly (readonly number[])[]): number[] {
  return rows
    .map((_, row) => row)
    .sort((a, b) => {
      const left = rows[a] ?? [];
      const right = rows[b] ?? [];
      for (let axis = 0; axis < left.length; axis++) {
        const difference = (left[axis] ?? 0) - (right[axis] ?? 0);
        if (difference !== 0) return difference;
      }
      return a - b;
    });
}

function rowsOf(places: HostTensor): number[][] {
  const rank = dim(places.shape, 1);
  const at = numbers(places);
  return Array.from({ length: dim(places.shape, 0) }, (_, row) => Array.from({ length: rank }, (_, axis) => at[row * rank + axis] ?? 0));
}

function sparseSlice(inputs: readonly HostTensor[]): HostTensor[] {
  const rows = rowsOf(input(inputs, 0));
  const values = input(inputs, 1);
  const shape = shapeOf(input(inputs, 2));
  const start = Array.from(numbers(input(inputs, 3)));
  const size = Array.from(numbers(input(inputs, 4)));
  const out = shape.map((whole, axis) => Math.max(0, Math.min(whole - (start[axis] ?? 0), size[axis] ?? 0)));
  const kept = rows
    .map((_, row) => row)
    .filter((row) => rows[row]?.every((at, axis) => at >= (start[axis] ?? 0) && at < (start[axis] ?? 0) + (size[axis] ?? 0)));
  const indices = kept.flatMap((row) => (rows[row] ?? []).map((at, axis) => at - (start[axis] ?? 0)));
  return [int64s([kept.length, shape.length], indices), take(values, [kept.length], kept), int64s([shape.length], out)];
}

function reorder(inputs: readonly HostTensor[]): HostTensor[] {
  const places = input(inputs, 0);
  const rows = rowsOf(places);
  const order = sortedRows(rows);
  return [
    int64s(
      places.shape,
      order.flatMap((row) => rows[row] ?? []),
    ),
    take(input(inputs, 1), [order.length], order),
  ];
}

function sparseMatMul(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const rows = rowsOf(input(inputs, 0));
  const values = numbers(input(inputs, 1));
  const shape = shapeOf(input(inputs, 2));
  const dense = input(inputs, 3);
  const flipA = attrs.has('adjoint_a') && attrs.bool('adjoint_a');
  const flipB = attrs.has('adjoint_b') && attrs.bool('adjoint_b');
  const [height, inner] = flipA ? [dim(shape, 1), dim(shape, 0)] : [dim(shape, 0), dim(shape, 1)];
  const innerB = dim(dense.shape, flipB ? 1 : 0);
  const width = dim(dense.shape, flipB ? 0 : 1);
  if (inner !== innerB) {
    throw invalid(
      `Cannot multiply A and B because inner dimension does not match: ${inner} vs. ${innerB}.  Did you forget a transpose?  Dimensions of A: [${shape.join(', ')}).  Dimensions of B: ${shapeText(dense.shape)}`,
    );
  }
  const right = numbers(dense);
  const out = new Float64Array(height * width);
  rows.forEach((place, entry) => {
    const row = place[flipA ? 1 : 0] ?? 0;
    const k = place[flipA ? 0 : 1] ?? 0;
    if (k < 0 || k >= inner) throw invalid(`k (${k}) from index[${entry},${flipA ? 0 : 1}] out of bounds (>=${inner})`);
    if (row < 0 || row >= height) throw invalid(`m (${row}) from index[${entry},${flipA ? 1 : 0}] out of bounds (>=${height})`);
    for (let column = 0; column < width; column++) {
      const other = right[flipB ? column * innerB + k : k * width + column] ?? 0;
      out[row * width + column] = (out[row * width + column] ?? 0) + (values[entry] ?? 0) * other;
    }
  });
  return [fromNumbers(dense.dtype, [height, width], out)];
}

function reduceSum(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor {
  const rows = rowsOf(input(inputs, 0));
  const values = numbers(input(inputs, 1));
  const shape = shapeOf(input(inputs, 2));
  const axes = new Set(Array.from(numbers(input(inputs, 3)), (axis) => (axis < 0 ? axis + shape.length : axis)));
  const reduced = (axis: number) => axes.has(axis);
  const kept = shape.map((size, axis) => (reduced(axis) ? 1 : size));
  const steps = strides(kept);
  const out = new Float64Array(elementCount(kept));
  rows.forEach((place, entry) => {
    const at = place.reduce((sum, one, axis) => sum + (reduced(axis) ? 0 : one * (steps[axis] ?? 0)), 0);
    out[at] = (out[at] ?? 0) + (values[entry] ?? 0);
  });
  const keep = attrs.has('keep_dims') && attrs.bool('keep_dims');
  return fromNumbers(input(inputs, 1).dtype, keep ? kept : shape.filter((_, axis) => !reduced(axis)), out);
}

type Combiner = 'sum' | 'mean' | 'sqrtn';

function segments(inputs: readonly HostTensor[], combiner: Combiner, counted: boolean): HostTensor {
  const data = input(inputs, 0);
  const indices = numbers(input(inputs, 1));
  const ids = numbers(input(inputs, 2));
  if (indices.length !== ids.length) throw invalid('segment_ids and indices should have same size.');
  const last = ids[ids.length - 1] ?? -1;
  const count = counted ? scalar(input(inputs, 3), 'num_segments') : last + 1;
  if (count < 0 || last < -1) throw invalid('segment ids must be >= 0');
  for (let index = 1; index < ids.length; index++)
    if ((ids[index] ?? 0) < (ids[index - 1] ?? 0)) throw invalid('segment ids are not increasing');
  const limit = dim(data.shape, 0);
  const inner = elementCount(data.shape.slice(1));
  const values = numbers(data);
  allocate(data.dtype, count * inner);
  const out = new Float64Array(count * inner);
  const sizes = new Float64Array(count);
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index] ?? 0;
    if (id >= count || id < 0) throw invalid(counted ? 'segment ids must be < num_segments' : 'segment ids must be >= 0');
    const from = indices[index] ?? 0;
    if (from < 0 || from >= limit) throw invalid(`Bad: indices[${index}] == ${from} out of range [0, ${limit})`);
    sizes[id] = (sizes[id] ?? 0) + 1;
    for (let k = 0; k < inner; k++) out[id * inner + k] = (out[id * inner + k] ?? 0) + (values[from * inner + k] ?? 0);
  }
  if (combiner !== 'sum') {
    for (let id = 0; id < count; id++) {
      const divisor = Math.max(1, combiner === 'mean' ? (sizes[id] ?? 1) : Math.sqrt(sizes[id] ?? 1));
      for (let k = 0; k < inner; k++) out[id * inner + k] = (out[id * inner + k] ?? 0) / divisor;
    }
  }
  return fromNumbers(data.dtype, [count, ...data.shape.slice(1)], out);
}
