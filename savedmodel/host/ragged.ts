/** Ragged tensors in parts: values, and row splits from the outermost inwards. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { allocate, dim, fromNumbers, type HostKernels, input, int64s, invalid, joinData, numbers, shapeText, take } from './host-tensor.ts';

/** RaggedRange, RaggedGather, RaggedTensorToSparse, RaggedTensorToTensor. */
export const RAGGED_OPS: HostKernels = {
  RaggedRange: raggedRange,
  RaggedGather: raggedGather,
  RaggedTensorToSparse: raggedToSparse,
  RaggedTensorToTensor: raggedToTensor,
};

function raggedRange(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const [starts, limits, deltas] = [0, 1, 2].map((index) => input(inputs, index)) as [HostTensor, HostTensor, HostTensor];
  const rows = [starts, limits, deltas].filter((tensor) => tensor.shape.length === 1).map((tensor) => dim(tensor.shape, 0));
  if (new Set(rows).size > 1) throw invalid('starts, limits, and deltas must have the same shape');
  const count = rows[0] ?? 1;
  const columns = new Map([starts, limits, deltas].map((tensor) => [tensor, numbers(tensor)]));
  const at = (tensor: HostTensor, row: number) => columns.get(tensor)?.[tensor.shape.length === 0 ? 0 : row] ?? 0;
  const values: number[] = [];
  const splits = [0];
  for (let row = 0; row < count; row++) {
    const start = at(starts, row);
    const delta = at(deltas, row);
    if (delta === 0) throw invalid('Requires delta != 0');
    const size = Math.max(0, Math.ceil((at(limits, row) - start) / delta));
    allocate(starts.dtype, values.length + size);
    for (let index = 0; index < size; index++) values.push(start + index * delta);
    splits.push(values.length);
  }
  const splitType = attrs.has('Tsplits') ? attrs.dtype('Tsplits') : 'int64';
  return [fromNumbers(splitType, [splits.length], splits), fromNumbers(starts.dtype, [values.length], values)];
}

function raggedGather(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const depth = attrs.int('PARAMS_RAGGED_RANK');
  const splits = inputs.slice(0, depth).map((tensor) => Array.from(numbers(tensor)));
  const values = input(inputs, depth);
  const indices = input(inputs, depth + 1);
  const splitType = input(inputs, 0).dtype;
  const rows = (splits[0]?.length ?? 1) - 1;
  let ranges: [number, number][] = Array.from(numbers(indices), (row, at) => {
    if (row < 0 || row >= rows) throw invalid(`indices[${indices.shape.length === 0 ? '' : at}] = ${row} is not in [0, ${rows})`);
    return [row, row + 1];
  });
  const out: HostTensor[] = [];
  // Splits of the axes of `indices` beyond its first are regular.
  for (let axis = 0; axis + 1 < indices.shape.length; axis++) {
    const outer = elementCount(indices.shape.slice(0, axis + 1));
    const size = dim(indices.shape, axis + 1);
    out.push(
      fromNumbers(
        splitType,
        [outer + 1],
        Array.from({ length: outer + 1 }, (_, at) => at * size),
      ),
    );
  }
  for (const level of splits) {
    const made = [0];
    const next: [number, number][] = [];
    for (const [from, to] of ranges) {
      for (let row = from; row < to; row++) made.push((made.at(-1) ?? 0) + (level[row + 1] ?? 0) - (level[row] ?? 0));
      next.push([level[from] ?? 0, level[to] ?? 0]);
    }
    out.push(fromNumbers(splitType, [made.length], made));
    ranges = next;
  }
  const inner = elementCount(values.shape.slice(1));
  const chosen: number[] = [];
  for (const [from, to] of ranges) for (let at = from * inner; at < to * inner; at++) chosen.push(at);
  out.push(take(values, [chosen.length / Math.max(1, inner), ...values.shape.slice(1)], chosen));
  return out;
}

function raggedToSparse(inputs: readonly HostTensor[]): HostTensor[] {
  const splits = inputs.slice(0, -1).map((tensor) => Array.from(numbers(tensor)));
  const values = input(inputs, inputs.length - 1);
  for (const [level, split] of splits.entries()) {
    if (split.length === 0) throw invalid(`ragged splits may not be empty.`);
    if (split[0] !== 0) throw invalid(`First value of ragged splits must be 0.`);
    const size = level + 1 < splits.length ? (splits[level + 1]?.length ?? 1) - 1 : dim(values.shape, 0);
    if (split.at(-1) !== size) {
      throw invalid(
        level + 1 < splits.length
          ? 'Final value of ragged splits must match the length the corresponding ragged values.'
          : 'Final value of ragged splits must match the length the corresponding ragged values.',
      );
    }
  }
  const widths = splits.map((split) => split.reduce((most, end, at) => Math.max(most, at === 0 ? 0 : end - (split[at - 1] ?? 0)), 0));
  const innerShape = values.shape.slice(1);
  const shape = [(splits[0]?.length ?? 1) - 1, ...widths, ...innerShape];
  const indices: number[] = [];
  const innerCount = elementCount(innerShape);
  const visit = (level: number, row: number, prefix: readonly number[]): void => {
    if (level < splits.length) {
      const split = splits[level] ?? [];
      const from = split[row] ?? 0;
      const to = split[row + 1] ?? 0;
      for (let at = from; at < to; at++) visit(level + 1, at, [...prefix, at - from]);
      return;
    }
    for (let at = 0; at < innerCount; at++) {
      indices.push(...prefix);
      let rest = at;
      const place: number[] = [];
      for (let axis = innerShape.length - 1; axis >= 0; axis--) {
        place.unshift(rest % dim(innerShape, axis));
        rest = Math.floor(rest / dim(innerShape, axis));
      }
      indices.push(...place);
    }
  };
  for (let row = 0; row < dim(shape, 0); row++) visit(0, row, [row]);
  const count = elementCount(values.shape);
  return [int64s([count, shape.length], indices), { ...values, shape: [count] }, int64s([shape.length], shape)];
}

type Partition = { readonly kind: string; readonly data: readonly number[] };

function raggedToTensor(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const wantedTensor = input(inputs, 0);
  const values = input(inputs, 1);
  const fallback = input(inputs, 2);
  const kinds = attrs.texts('row_partition_types');
  let rest = inputs.slice(3);
  let rows: number | undefined;
  let types: readonly string[] = kinds;
  if (kinds[0] === 'FIRST_DIM_SIZE') {
    rows = numbers(input(rest, 0))[0];
    rest = rest.slice(1);
    types = kinds.slice(1);
  }
  const partitions: Partition[] = types.map((kind, index) => ({ kind, data: Array.from(numbers(input(rest, index))) }));
  const firstPartition = partitions[0];
  if (rows === undefined) rows = firstPartition?.kind === 'ROW_SPLITS' ? firstPartition.data.length - 1 : 0;
  // For each level: the row and column of every item of the level below.
  let parents: number[][] = Array.from({ length: rows }, (_, row) => [row]);
  const widths: number[] = [];
  for (const partition of partitions) {
    const next: number[][] = [];
    let widest = 0;
    if (partition.kind === 'ROW_SPLITS') {
      parents.forEach((place, row) => {
        const size = (partition.data[row + 1] ?? 0) - (partition.data[row] ?? 0);
        widest = Math.max(widest, size);
        for (let column = 0; column < size; column++) next.push([...place, column]);
      });
    } else if (partition.kind === 'VALUE_ROWIDS') {
      const counts = new Map<number, number>();
      for (const row of partition.data) {
        const column = counts.get(row) ?? 0;
        counts.set(row, column + 1);
        widest = Math.max(widest, column + 1);
        next.push([...(parents[row] ?? [-1]), column]);
      }
    } else throw invalid(`Unsupported row partition type ${partition.kind}`);
    widths.push(widest);
    parents = next;
  }
  const inner = values.shape.slice(1);
  const natural = [rows, ...widths, ...inner];
  const wanted = wantedTensor.shape.length === 0 ? natural.map(() => -1) : Array.from(numbers(wantedTensor));
  if (wanted.length !== natural.length)
    throw invalid(`shape ${shapeText(wanted)} and ragged tensor of rank ${natural.length} are incompatible`);
  const shape = natural.map((size, axis) => ((wanted[axis] ?? -1) < 0 ? size : (wanted[axis] ?? 0)));
  const innerCount = elementCount(inner);
  const total = elementCount(values.shape);
  const indices = allocate('int32', elementCount(shape)) as Int32Array;
  const standIn = elementCount(fallback.shape);
  for (let index = 0; index < indices.length; index++) indices[index] = total + (standIn === 1 ? 0 : index % standIn);
  const outer = shape.slice(0, shape.length - inner.length);
  parents.forEach((place, row) => {
    if (place.some((at, axis) => at < 0 || at >= dim(outer, axis))) return;
    const base = place.reduce((sum, at, axis) => sum * dim(outer, axis) + at, 0) * innerCount;
    for (let k = 0; k < innerCount; k++) indices[base + k] = row * innerCount + k;
  });
  return [take(joinData(values.dtype, [values, fallback], [total + standIn]), shape, indices)];
}
