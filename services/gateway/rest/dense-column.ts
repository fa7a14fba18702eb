/** One input while its elements are scanned out of a body: a growing typed array and the shape found so far. */
import { type DType, packStrings, type Tensor } from '#mesh/tensor.ts';

/** How the elements of a column are scanned. */
export type ColumnMode = 'float' | 'double' | 'integer' | 'bool' | 'string';

const MODES: Readonly<Partial<Record<DType, ColumnMode>>> = {
  float: 'float',
  double: 'double',
  int8: 'integer',
  int16: 'integer',
  int32: 'integer',
  int64: 'integer',
  uint8: 'integer',
  uint32: 'integer',
  uint64: 'integer',
  bool: 'bool',
  string: 'string',
};

/** The scan mode of a dtype; undefined for dtypes that JSON cannot carry. */
export function columnMode(dtype: DType): ColumnMode | undefined {
  return MODES[dtype];
}

/** Nesting beyond this is left to the slow path. */
export const MAX_SCAN_RANK = 16;

/** Elements of one input, found in document order. Numbers stand in `numbers`, strings in `strings`. */
export class DenseColumn {
  readonly name: string;
  readonly dtype: DType;
  readonly mode: ColumnMode;
  /** -1 until the first value has been scanned. */
  rank = -1;
  /** Sizes by level; -1 where not known yet. Here and below `MAX_SCAN_RANK` places, as an array: it is made for every request. */
  readonly dims: number[] = [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1];
  /** Elements of the lists that are open, by level. */
  readonly open: number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  /** `float` keeps single precision; every other numeric mode keeps doubles until it is finished. */
  numbers: Float32Array | Float64Array;
  readonly strings: Uint8Array[] = [];
  count = 0;
  #view: DataView | undefined;
  /** Where the innermost list that is open began, in elements, and how many of its siblings the last run of numbers passed before it. */
  listStart = 0;
  listsPassed = 0;
  /** The number that `scanLongNumber` found last. */
  scanned = 0.5;
  /** Instances that gave this column a value. */
  instances = 0;

  /** `expectedCount` is a guess: the column grows. */
  constructor(name: string, dtype: DType, mode: ColumnMode, expectedCount: number) {
    this.name = name;
    this.dtype = dtype;
    this.mode = mode;
    this.numbers = allocate(mode, mode === 'string' ? 0 : Math.max(8, expectedCount));
  }

  /** A view of the body that is scanned, made once. */
  viewOf(buf: Buffer): DataView {
    this.#view ??= new DataView(buf.buffer, buf.byteOffset, buf.byteLength);
    return this.#view;
  }

  /** Doubles the capacity and returns the new array. */
  grow(): Float32Array | Float64Array {
    const capacity = this.numbers.length * 2 + 8;
    const grown = allocate(this.mode, capacity);
    grown.set(this.numbers);
    this.numbers = grown;
    return grown;
  }

  /** The finished tensor with `leading` before the shape of one value, or undefined when an integer is out of the dtype's range. */
  finish(leading: readonly number[]): Tensor | undefined {
    const shape = leading.slice();
    for (let level = 0; level < this.rank; level++) shape.push(this.dims[level] ?? 0);
    const bytes = this.#bytes();
    return bytes && { dtype: this.dtype, shape, bytes };
  }

  #bytes(): Uint8Array | undefined {
    const { count, numbers } = this;
    switch (this.dtype) {
      case 'string':
        return packStrings(this.strings);
      case 'float':
      case 'double':
        return new Uint8Array(numbers.buffer, numbers.byteOffset, count * numbers.BYTES_PER_ELEMENT);
      case 'bool':
        return narrowed(numbers, new Uint8Array(count), 0, 1);
      case 'uint32':
        return narrowed(numbers, new Uint32Array(count), 0, 2 ** 32 - 1);
      case 'int64':
        return wide(numbers, count, -(2 ** 53));
      case 'uint64':
        return wide(numbers, count, 0);
      case 'int8':
        return narrowed(numbers, new Int8Array(count), -(2 ** 31), 2 ** 31 - 1);
      case 'uint8':
        return narrowed(numbers, new Uint8Array(count), -(2 ** 31), 2 ** 31 - 1);
      case 'int16':
        return narrowed(numbers, new Int16Array(count), -(2 ** 31), 2 ** 31 - 1);
      default:
        return narrowed(numbers, new Int32Array(count), -(2 ** 31), 2 ** 31 - 1);
    }
  }
}

/** Not zeroed; from Node's pool when small, because a fresh ArrayBuffer for each request costs more than filling it. */
function allocate(mode: ColumnMode, capacity: number): Float32Array | Float64Array {
  const { buffer, byteOffset } = Buffer.allocUnsafe(capacity * (mode === 'float' ? 4 : 8));
  return mode === 'float' ? new Float32Array(buffer, byteOffset, capacity) : new Float64Array(buffer, byteOffset, capacity);
}

/** Checks against TensorFlow Serving's range, which for small integers is int32's: a number beyond the dtype's own range then wraps. */
function narrowed(
  numbers: Float32Array | Float64Array,
  into: Int8Array | Uint8Array | Int16Array | Int32Array | Uint32Array,
  least: number,
  most: number,
): Uint8Array | undefined {
  for (let index = 0; index < into.length; index++) {
    const value = numbers[index] ?? 0;
    if (value < least || value > most) return undefined;
    into[index] = value;
  }
  return new Uint8Array(into.buffer);
}

/** Whole numbers below 2^53 in magnitude as 64-bit integers, without BigInt. */
function wide(numbers: Float32Array | Float64Array, count: number, least: number): Uint8Array | undefined {
  const halves = new Int32Array(count * 2);
  for (let index = 0; index < count; index++) {
    const value = numbers[index] ?? 0;
    if (value < least) return undefined;
    halves[2 * index] = value;
    halves[2 * index + 1] = Math.floor(value / 4294967296);
  }
  return new Uint8Array(halves.buffer);
}
