/** Tensors as host steps hold them: decoded once, so that kernels index instead of parsing bytes. */
import type { DType } from '#mesh/tensor.ts';

/** Elements in row-major order. Numbers in the typed array of their dtype, bools as 0 and 1, half and bfloat16 as their bits, complex as (re, im) pairs. */
export type HostData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  /** Byte strings. */
  | readonly Uint8Array[];

/** A dense tensor of a host step. `data.length` is the product of `shape` (twice that for complex). */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: HostData;
}

/** What an op refers to by a resource handle: a lookup table, or a variable that a stateful signature writes. */
export interface HostTable {
  readonly keyDtype: DType;
  readonly valueDtype: DType;
  /** Keys by a text that is unique per key: see `host/tables.ts`. */
  readonly entries: ReadonlyMap<string, HostTensor>;
}

/** Attributes as a kernel reads them. Each throws ServeError INVALID_ARGUMENT when the attribute is missing or of another type. */
export interface HostAttrs {
  int(name: string): number;
  float(name: string): number;
  bool(name: string): boolean;
  text(name: string): string;
  dtype(name: string): DType;
  /** The bytes of a string attribute, which need not be text. */
  bytes(name: string): Uint8Array;
  ints(name: string): readonly number[];
  /** Whole numbers as they were stored; beyond 2^53 as near as the graph keeps them. */
  bigints(name: string): readonly bigint[];
  floats(name: string): readonly number[];
  dtypes(name: string): readonly DType[];
  texts(name: string): readonly string[];
  shapes(name: string): readonly (readonly number[] | null)[];
  shape(name: string): readonly number[] | null;
  has(name: string): boolean;
}

/** Computes an op on the host. Throws ServeError with TensorFlow's words where TensorFlow fails. Must not change its inputs. */
export type HostKernel = (inputs: readonly HostTensor[], attrs: HostAttrs) => readonly HostTensor[];
