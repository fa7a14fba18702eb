/** Crosses of feature columns: every combination of a row's values, as joined text or as one hash. */
import { utf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { fingerprint64, sipHash } from './fingerprint.ts';
import {
  bigints,
  dim,
  type HostKernels,
  input,
  int64s,
  invalid,
  MAX_ELEMENTS,
  numbers,
  scalar,
  strings,
  stringTensor,
} from './host-tensor.ts';
import { joinBytes } from './string-ops.ts';

/** SparseCross, SparseCrossV2 and SparseCrossHashed: indices [crosses, 2], values, dense shape [rows, most crosses of a row]. */
export const CROSS_OPS: HostKernels = {
  SparseCross: (inputs, attrs) => {
    const { columns, rows } = readColumns(inputs, attrs, 0);
    if (!attrs.bool('hashed_output')) return cross(columns, rows, joinedText(utf8('_X_')));
    return cross(columns, rows, hashed([BigInt(attrs.int('hash_key'))], attrs.int('num_buckets'), plainHash));
  },
  SparseCrossV2: (inputs, attrs) => {
    const { columns, rows } = readColumns(inputs, attrs, 1);
    return cross(columns, rows, joinedText(strings(input(inputs, inputs.length - 1))[0] ?? utf8('')));
  },
  SparseCrossHashed: (inputs, attrs) => {
    const { columns, rows } = readColumns(inputs, attrs, 3);
    const [buckets, strong, salt] = inputs.slice(-3);
    if (buckets === undefined || strong === undefined || salt === undefined) throw invalid('num_buckets, strong_hash and salt are missing');
    const isStrong = strong.data[0] !== 0;
    const [first = 0n, second = 0n] = Array.from(bigints(salt));
    const hash = (column: Column, at: number) => {
      const value = column.values.data[at];
      const text = value instanceof Uint8Array;
      if (!isStrong && !text && column.dense) return BigInt.asUintN(64, BigInt(value ?? 0));
      // TensorFlow hashes four bytes of an integer only.
      const bytes = text ? value : new Uint8Array(Int32Array.of(Number(BigInt.asIntN(32, BigInt(value ?? 0)))).buffer);
      return isStrong ? sipHash(bytes, [first, second]) : fingerprint64(bytes);
    };
    return cross(columns, rows, hashed([], scalar(buckets, 'num_buckets'), hash));
  },
};

/** A column: which of its values each row has. */
interface Column {
  readonly values: HostTensor;
  readonly dense: boolean;
  readonly starts: ArrayLike<number>;
  readonly counts: ArrayLike<number>;
}

type Combine = (picks: readonly { readonly column: Column; readonly at: number }[]) => Uint8Array | bigint;

function readColumns(
  inputs: readonly HostTensor[],
  attrs: HostAttrs,
  after: number,
): { readonly columns: readonly Column[]; readonly rows: number } {
  const sparse = attrs.has('N') ? attrs.int('N') : attrs.dtypes('sparse_types').length;
  const dense = inputs.slice(3 * sparse, inputs.length - after);
  const rows = sparse > 0 ? (numbers(input(inputs, 2 * sparse))[0] ?? 0) : dim(input(dense, 0).shape, 0);
  if (!(rows >= 0 && rows <= MAX_ELEMENTS)) throw new ServeError('RESOURCE_EXHAUSTED', `a cross of ${rows} rows is too large`);
  const columns = Array.from({ length: sparse }, (_, index): Column => {
    const indices = input(inputs, index);
    if (indices.shape.length !== 2 || dim(indices.shape, 1) !== 2)
      throw invalid(`Expected D2 of index to be 2 got ${indices.shape[1]} at position ${index}`);
    const places = numbers(indices);
    const counts = new Int32Array(rows);
    const starts = new Int32Array(rows);
    for (let at = 0; at < places.length; at += 2) {
      const row = places[at] ?? -1;
      if (!(row >= 0 && row < rows)) throw invalid(`Row ${row} of input ${index} is not in [0, ${rows})`);
      if (counts[row] === 0) starts[row] = at / 2;
      counts[row] = (counts[row] ?? 0) + 1;
    }
    const values = input(inputs, sparse + index);
    if (values.data.length < places.length / 2)
      throw invalid(`Expected size of values to be ${places.length / 2} got ${values.data.length} at position ${index}`);
    return { values, dense: false, starts, counts };
  });
  for (const tensor of dense) {
    if (tensor.shape.length !== 2) throw invalid('Dense inputs should be a matrix');
    const width = dim(tensor.shape, 1);
    if (dim(tensor.shape, 0) !== rows) throw invalid(`Expected batch size ${rows} got ${tensor.shape[0]} at dense tensor`);
    columns.push({
      values: tensor,
      dense: true,
      starts: Int32Array.from({ length: rows }, (_, row) => row * width),
      counts: new Int32Array(rows).fill(width),
    });
  }
  return { columns, rows };
}

function cross(columns: readonly Column[], rows: number, combine: Combine): HostTensor[] {
  const counts = Array.from({ length: rows }, (_, row) => columns.reduce((product, column) => product * (column.counts[row] ?? 0), 1));
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total > MAX_ELEMENTS / 16) throw new ServeError('RESOURCE_EXHAUSTED', `a cross of ${total} values is too large`);
  const indices: number[] = [];
  const values: (Uint8Array | bigint)[] = [];
  counts.forEach((count, row) => {
    for (let index = 0; index < count; index++) {
      let rest = index;
      const picks = new Array<{ column: Column; at: number }>(columns.length);
      for (let place = columns.length - 1; place >= 0; place--) {
        const column = columns[place] as Column;
        const size = column.counts[row] ?? 1;
        picks[place] = { column, at: (column.starts[row] ?? 0) + (rest % size) };
        rest = Math.floor(rest / size);
      }
      indices.push(row, index);
      values.push(combine(picks));
    }
  });
  const most = counts.reduce((max, count) => Math.max(max, count), 0);
  const texts = values.filter((value) => value instanceof Uint8Array);
  const hashes = values.filter((value) => typeof value === 'bigint');
  const found: HostTensor =
    combine([]) instanceof Uint8Array ? stringTensor([total], texts) : { dtype: 'int64', shape: [total], data: BigInt64Array.from(hashes) };
  return [int64s([total, 2], indices), found, int64s([2], [rows, most])];
}

function joinedText(separator: Uint8Array): Combine {
  return (picks) =>
    joinBytes(
      picks.map(({ column, at }) => {
        const value = column.values.data[at];
        return value instanceof Uint8Array ? value : utf8(String(value));
      }),
      separator,
    );
}

/** One hash of all, beginning with `start` or with the first column's own hash. */
function hashed(start: readonly bigint[], buckets: number, hash: (column: Column, at: number) => bigint): Combine {
  const most = buckets > 0 ? BigInt(buckets) : (1n << 63n) - 1n;
  return (picks) => {
    const [first = 0n, ...more] = [...start, ...picks.map(({ column, at }) => hash(column, at))];
    return more.reduce(joinHashes, first) % most;
  };
}

function plainHash(column: Column, at: number): bigint {
  const value = column.values.data[at];
  return value instanceof Uint8Array ? fingerprint64(value) : BigInt.asUintN(64, BigInt(value ?? 0));
}

/** Two fingerprints as one. */
function joinHashes(left: bigint, right: bigint): bigint {
  const factor = 0xc6a4a7935bd1e995n;
  const times = (value: bigint) => BigInt.asUintN(64, value * factor);
  const mix = (value: bigint) => value ^ (value >> 47n);
  return mix(times(mix(times(left ^ factor ^ times(mix(times(right)))))));
}
