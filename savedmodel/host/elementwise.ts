/** Arithmetic, comparison and logic on small tensors: the ops that sit between strings and sparse tensors in a graph. */

import type { DType } from '#mesh/tensor.ts';
import { elementCount } from '#mesh/tensor.ts';
import type { HostTensor } from '../host-value.ts';
import { broadcastIndices, broadcastShape } from './broadcast.ts';
import { allocate, bigints, bools, fromNumbers, type HostKernels, input, invalid, isBig, numbers, strings } from './host-tensor.ts';

/** Binary and unary arithmetic, comparisons (strings too), logic, Cast, AddN. */
export const ELEMENTWISE_OPS: HostKernels = {
  Add: (inputs) => [add(input(inputs, 0), input(inputs, 1))],
  AddV2: (inputs) => [add(input(inputs, 0), input(inputs, 1))],
  Sub: arithmetic(
    (a, b) => a - b,
    (a, b) => a - b,
  ),
  Mul: arithmetic(
    (a, b) => a * b,
    (a, b) => a * b,
    Math.imul,
  ),
  Div: arithmetic(divide, truncateBig, (a, b) => Math.trunc(a / nonZero(b))),
  RealDiv: arithmetic(divide, truncateBig),
  TruncateDiv: arithmetic(
    (a, b) => Math.trunc(a / b),
    truncateBig,
    (a, b) => Math.trunc(a / nonZero(b)),
  ),
  FloorDiv: arithmetic(
    (a, b) => Math.floor(a / b),
    floorBig,
    (a, b) => Math.floor(a / nonZero(b)),
  ),
  FloorMod: arithmetic(
    floorMod,
    (a, b) => floorModBig(a, b),
    (a, b) => floorMod(a, nonZero(b)),
  ),
  Mod: arithmetic(
    (a, b) => a % b,
    (a, b) => a % nonZeroBig(b),
    (a, b) => a % nonZero(b),
  ),
  TruncateMod: arithmetic(
    (a, b) => a % b,
    (a, b) => a % nonZeroBig(b),
    (a, b) => a % nonZero(b),
  ),
  DivNoNan: arithmetic(
    (a, b) => (b === 0 ? 0 : a / b),
    (a, b) => (b === 0n ? 0n : a / b),
  ),
  Pow: arithmetic((a, b) => a ** b, power),
  Maximum: arithmetic((a, b) => (Number.isNaN(a) ? a : Number.isNaN(b) ? b : Math.max(a, b)), larger),
  Minimum: arithmetic((a, b) => (Number.isNaN(a) ? a : Number.isNaN(b) ? b : Math.min(b, a)), smaller),
  SquaredDifference: arithmetic(
    (a, b) => (a - b) * (a - b),
    (a, b) => (a - b) * (a - b),
  ),
  BitwiseAnd: arithmetic(
    (a, b) => a & b,
    (a, b) => a & b,
  ),
  BitwiseOr: arithmetic(
    (a, b) => a | b,
    (a, b) => a | b,
  ),
  BitwiseXor: arithmetic(
    (a, b) => a ^ b,
    (a, b) => a ^ b,
  ),
  Equal: (inputs, attrs) => [equal(inputs, false, attrs.has('incompatible_shape_error') ? attrs.bool('incompatible_shape_error') : true)],
  NotEqual: (inputs, attrs) => [equal(inputs, true, attrs.has('incompatible_shape_error') ? attrs.bool('incompatible_shape_error') : true)],
  Less: comparison((a, b) => a < b),
  LessEqual: comparison((a, b) => a <= b),
  Greater: comparison((a, b) => a > b),
  GreaterEqual: comparison((a, b) => a >= b),
  LogicalAnd: comparison((a, b) => a !== 0 && b !== 0),
  LogicalOr: comparison((a, b) => a !== 0 || b !== 0),
  LogicalNot: (inputs) => [
    bools(
      input(inputs, 0).shape,
      Array.from(numbers(input(inputs, 0)), (value) => (value ? 0 : 1)),
    ),
  ],
  Neg: unary(
    (a) => -a,
    (a) => -a,
  ),
  Abs: unary(Math.abs, (a) => (a < 0n ? -a : a)),
  Sign: unary(Math.sign, (a) => (a > 0n ? 1n : a < 0n ? -1n : 0n)),
  Square: unary(
    (a) => a * a,
    (a) => a * a,
  ),
  Floor: unary(Math.floor, (a) => a),
  Ceil: unary(Math.ceil, (a) => a),
  Round: unary(roundHalfEven, (a) => a),
  Rint: unary(roundHalfEven, (a) => a),
  Sqrt: unary(Math.sqrt, (a) => a),
  Exp: unary(Math.exp, (a) => a),
  Log: unary(Math.log, (a) => a),
  Log1p: unary(Math.log1p, (a) => a),
  IsNan: (inputs) => [
    bools(
      input(inputs, 0).shape,
      Array.from(numbers(input(inputs, 0)), (value) => (Number.isNaN(value) ? 1 : 0)),
    ),
  ],
  IsInf: (inputs) => [
    bools(
      input(inputs, 0).shape,
      Array.from(numbers(input(inputs, 0)), (value) => (Math.abs(value) === Number.POSITIVE_INFINITY ? 1 : 0)),
    ),
  ],
  IsFinite: (inputs) => [
    bools(
      input(inputs, 0).shape,
      Array.from(numbers(input(inputs, 0)), (value) => (Number.isFinite(value) ? 1 : 0)),
    ),
  ],
  AddN: (inputs) => [inputs.slice(1).reduce((sum, tensor) => add(sum, tensor), input(inputs, 0))],
  Cast: (inputs, attrs) => [cast(input(inputs, 0), attrs.dtype('DstT'))],
};

const INTEGER = new Set<DType>(['int8', 'int16', 'int32', 'uint8', 'uint16', 'uint32', 'int64', 'uint64']);

/** Casts as TensorFlow does: to integers by truncation, to bool by comparison with zero. */
export function cast(tensor: HostTensor, dtype: DType): HostTensor {
  if (tensor.dtype === dtype) return tensor;
  if (tensor.dtype === 'string' || dtype === 'string') throw invalid(`Cast ${tensor.dtype} to ${dtype} is not supported`);
  if (isBig(dtype) && isBig(tensor.dtype)) {
    const data = dtype === 'int64' ? BigInt64Array.from(tensor.data as BigUint64Array) : BigUint64Array.from(tensor.data as BigInt64Array);
    return { dtype, shape: tensor.shape, data };
  }
  if (isBig(tensor.dtype) && INTEGER.has(dtype)) {
    const values = Int32Array.from(Array.from(bigints(tensor), (value) => Number(BigInt.asIntN(32, value))));
    return fromNumbers(dtype, tensor.shape, values);
  }
  const values = numbers(tensor);
  if (dtype === 'bool')
    return bools(
      tensor.shape,
      Array.from(values, (value) => (value !== 0 ? 1 : 0)),
    );
  if (!INTEGER.has(dtype)) return fromNumbers(dtype, tensor.shape, values);
  return fromNumbers(
    dtype,
    tensor.shape,
    Float64Array.from(values, (value) => integerOf(value, dtype)),
  );
}

/** What a float becomes as an integer: truncated; for NaN and beyond the range what x86 gives. */
function integerOf(value: number, dtype: DType): number {
  const truncated = Math.trunc(value);
  if (dtype === 'int64') return truncated >= -(2 ** 63) && truncated < 2 ** 63 ? truncated : -(2 ** 63);
  if (dtype === 'int32') return truncated >= -2147483648 && truncated <= 2147483647 ? truncated : -2147483648;
  return Number.isFinite(truncated) ? truncated : 0;
}

function add(left: HostTensor, right: HostTensor): HostTensor {
  if (left.dtype !== 'string')
    return binary(
      left,
      right,
      (a, b) => a + b,
      (a, b) => a + b,
    );
  const shape = broadcastShape(left.shape, right.shape);
  const a = strings(left);
  const b = strings(right);
  const at = broadcastIndices(left.shape, shape);
  const bt = broadcastIndices(right.shape, shape);
  return {
    dtype: 'string',
    shape,
    data: Array.from(at, (index, k) => Buffer.concat([a[index] ?? Buffer.of(), b[bt[k] ?? 0] ?? Buffer.of()])),
  };
}

type Two = (a: number, b: number) => number;
type TwoBig = (a: bigint, b: bigint) => bigint;

/** A kernel of a binary op; `integer` replaces `real` for integers of up to 32 bits. */
function arithmetic(real: Two, big: TwoBig, integer: Two = real) {
  return (inputs: readonly HostTensor[]) => {
    const left = input(inputs, 0);
    return [binary(left, input(inputs, 1), INTEGER.has(left.dtype) ? integer : real, big)];
  };
}

function binary(left: HostTensor, right: HostTensor, real: Two, big: TwoBig): HostTensor {
  if (left.dtype !== right.dtype) throw invalid(`operands have the dtypes ${left.dtype} and ${right.dtype}`);
  const shape = broadcastShape(left.shape, right.shape);
  const at = broadcastIndices(left.shape, shape);
  const bt = broadcastIndices(right.shape, shape);
  if (isBig(left.dtype)) {
    const a = bigints(left);
    const b = bigints(right);
    const data = allocate(left.dtype, elementCount(shape)) as BigInt64Array;
    for (let index = 0; index < data.length; index++) data[index] = big(a[at[index] ?? 0] ?? 0n, b[bt[index] ?? 0] ?? 0n);
    return { dtype: left.dtype, shape, data };
  }
  const a = numbers(left);
  const b = numbers(right);
  return fromNumbers(
    left.dtype,
    shape,
    Float64Array.from(at, (from, index) => real(a[from] ?? 0, b[bt[index] ?? 0] ?? 0)),
  );
}

function unary(real: (a: number) => number, big: (a: bigint) => bigint) {
  return (inputs: readonly HostTensor[]) => {
    const tensor = input(inputs, 0);
    if (!isBig(tensor.dtype)) return [fromNumbers(tensor.dtype, tensor.shape, Float64Array.from(numbers(tensor), real))];
    const data = allocate(tensor.dtype, tensor.data.length) as BigInt64Array;
    const values = bigints(tensor);
    for (let index = 0; index < data.length; index++) data[index] = big(values[index] ?? 0n);
    return [{ dtype: tensor.dtype, shape: tensor.shape, data }];
  };
}

function comparison(holds: (a: number | bigint, b: number | bigint) => boolean) {
  return (inputs: readonly HostTensor[]) => {
    const left = input(inputs, 0);
    const right = input(inputs, 1);
    const shape = broadcastShape(left.shape, right.shape);
    const at = broadcastIndices(left.shape, shape);
    const bt = broadcastIndices(right.shape, shape);
    const a = isBig(left.dtype) ? bigints(left) : numbers(left);
    const b = isBig(right.dtype) ? bigints(right) : numbers(right);
    return [
      bools(
        shape,
        Uint8Array.from(at, (from, index) => (holds(a[from] ?? 0, b[bt[index] ?? 0] ?? 0) ? 1 : 0)),
      ),
    ];
  };
}

function equal(inputs: readonly HostTensor[], negated: boolean, strict: boolean): HostTensor {
  const left = input(inputs, 0);
  const right = input(inputs, 1);
  let shape: readonly number[];
  try {
    shape = broadcastShape(left.shape, right.shape);
  } catch (error) {
    if (strict) throw error;
    return bools([], [negated ? 1 : 0]);
  }
  const at = broadcastIndices(left.shape, shape);
  const bt = broadcastIndices(right.shape, shape);
  const same = equality(left, right);
  return bools(
    shape,
    Uint8Array.from(at, (from, index) => (same(from, bt[index] ?? 0) === negated ? 0 : 1)),
  );
}

function equality(left: HostTensor, right: HostTensor): (a: number, b: number) => boolean {
  if (left.dtype === 'string') {
    const a = strings(left);
    const b = strings(right);
    return (i, j) => Buffer.compare(a[i] ?? Buffer.of(), b[j] ?? Buffer.of()) === 0;
  }
  if (left.dtype === 'complex64' || left.dtype === 'complex128') {
    const a = left.data as Float64Array;
    const b = right.data as Float64Array;
    return (i, j) => a[2 * i] === b[2 * j] && a[2 * i + 1] === b[2 * j + 1];
  }
  const a = isBig(left.dtype) ? bigints(left) : numbers(left);
  const b = isBig(right.dtype) ? bigints(right) : numbers(right);
  return (i, j) => a[i] === b[j];
}

function divide(a: number, b: number): number {
  return a / b;
}

function nonZero(b: number): number {
  if (b === 0) throw invalid('Integer division by zero');
  return b;
}

function nonZeroBig(b: bigint): bigint {
  if (b === 0n) throw invalid('Integer division by zero');
  return b;
}

function truncateBig(a: bigint, b: bigint): bigint {
  return a / nonZeroBig(b);
}

function floorBig(a: bigint, b: bigint): bigint {
  const quotient = a / nonZeroBig(b);
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

function floorMod(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

function floorModBig(a: bigint, b: bigint): bigint {
  const rest = a % nonZeroBig(b);
  return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
}

function power(a: bigint, b: bigint): bigint {
  if (b < 0n) throw invalid('Integers to negative integer powers are not allowed');
  let result = 1n;
  let base = a;
  for (let rest = b; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = BigInt.asIntN(64, result * base);
    base = BigInt.asIntN(64, base * base);
  }
  return result;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0)) return floor + 1;
  return floor;
}

function larger(a: bigint, b: bigint): bigint {
  if (a < b) return b;
  return a;
}

function smaller(a: bigint, b: bigint): bigint {
  if (b < a) return b;
  return a;
}
