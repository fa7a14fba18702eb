/** Products, inverses, determinants and solutions of real matrices: the last two axes, the others are batches. */
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { broadcastIndices, broadcastShape } from './broadcast.ts';
import { allocate, dim, fromNumbers, type HostKernels, input, invalid, numbers, shapeText } from './host-tensor.ts';

/** MatMul, BatchMatMul, MatrixInverse, MatrixDeterminant, LogMatrixDeterminant, Cholesky, MatrixSolve, MatrixTriangularSolve. */
export const LINEAR_ALGEBRA_OPS: HostKernels = {
  MatMul: (inputs, attrs) => [product(inputs, flag(attrs, 'transpose_a'), flag(attrs, 'transpose_b'))],
  BatchMatMul: (inputs, attrs) => [product(inputs, flag(attrs, 'adj_x'), flag(attrs, 'adj_y'))],
  BatchMatMulV2: (inputs, attrs) => [product(inputs, flag(attrs, 'adj_x'), flag(attrs, 'adj_y'))],
  MatrixInverse: (inputs, attrs) => {
    const tensor = square(input(inputs, 0));
    const adjoint = flag(attrs, 'adjoint');
    return [
      each(tensor, tensor.shape, (matrix, n) =>
        eliminate(adjoint ? flip(matrix, n) : matrix, identity(n), n, n, 'Input is not invertible.'),
      ),
    ];
  },
  MatrixDeterminant: (inputs) => {
    const tensor = square(input(inputs, 0));
    return [each(tensor, tensor.shape.slice(0, -2), (matrix, n) => Float64Array.of(determinant(matrix, n)))];
  },
  LogMatrixDeterminant: (inputs) => {
    const tensor = square(input(inputs, 0));
    const shape = tensor.shape.slice(0, -2);
    return [
      each(tensor, shape, (matrix, n) => Float64Array.of(logDeterminant(matrix, n).sign)),
      each(tensor, shape, (matrix, n) => Float64Array.of(logDeterminant(matrix, n).log)),
    ];
  },
  Cholesky: (inputs) => {
    const tensor = square(input(inputs, 0));
    return [each(tensor, tensor.shape, cholesky)];
  },
  MatrixSolve: (inputs, attrs) => {
    const adjoint = flag(attrs, 'adjoint');
    return [
      solveEach(inputs, (matrix, right, n, columns) =>
        eliminate(adjoint ? flip(matrix, n) : matrix, right, n, columns, 'Input matrix is not invertible.'),
      ),
    ];
  },
  MatrixTriangularSolve: (inputs, attrs) => {
    const adjoint = flag(attrs, 'adjoint');
    const lower = !attrs.has('lower') || attrs.bool('lower');
    return [
      solveEach(inputs, (matrix, right, n, columns) =>
        substitute(adjoint ? flip(matrix, n) : matrix, right, n, columns, lower !== adjoint),
      ),
    ];
  },
};

function flag(attrs: HostAttrs, name: string): boolean {
  return attrs.has(name) && attrs.bool(name);
}

function square(tensor: HostTensor): HostTensor {
  const rank = tensor.shape.length;
  if (rank < 2) throw invalid(`Input tensor must have rank >= 2, got ${rank}`);
  if (dim(tensor.shape, rank - 1) !== dim(tensor.shape, rank - 2)) throw invalid('Input matrix must be square.');
  return tensor;
}

/** Applies a function to every matrix of a batch of square ones. */
function each(tensor: HostTensor, shape: readonly number[], change: (matrix: Float64Array, n: number) => Float64Array): HostTensor {
  const n = dim(tensor.shape, tensor.shape.length - 1);
  const values = Float64Array.from(numbers(tensor));
  const out = new Float64Array(elementCount(shape));
  const matrices = elementCount(tensor.shape.slice(0, -2));
  for (let index = 0; index < matrices; index++) {
    out.set(change(values.slice(index * n * n, (index + 1) * n * n), n), (index * out.length) / matrices);
  }
  return fromNumbers(tensor.dtype, shape, out);
}

function solveEach(
  inputs: readonly HostTensor[],
  solve: (matrix: Float64Array, right: Float64Array, n: number, columns: number) => Float64Array,
): HostTensor {
  const left = square(input(inputs, 0));
  const right = input(inputs, 1);
  const n = dim(left.shape, left.shape.length - 1);
  if (right.shape.length < 2 || dim(right.shape, right.shape.length - 2) !== n) {
    throw invalid(`Input matrix and rhs are incompatible. Got: ${shapeText(left.shape)} vs ${shapeText(right.shape)}`);
  }
  const columns = dim(right.shape, right.shape.length - 1);
  const batch = broadcastShape(left.shape.slice(0, -2), right.shape.slice(0, -2));
  const [from, to] = [broadcastIndices(left.shape.slice(0, -2), batch), broadcastIndices(right.shape.slice(0, -2), batch)];
  const [a, b] = [Float64Array.from(numbers(left)), Float64Array.from(numbers(right))];
  const out = allocate('double', elementCount(batch) * n * columns) as Float64Array;
  for (let index = 0; index < from.length; index++) {
    const [i, j] = [from[index] ?? 0, to[index] ?? 0];
    out.set(solve(a.slice(i * n * n, (i + 1) * n * n), b.slice(j * n * columns, (j + 1) * n * columns), n, columns), index * n * columns);
  }
  return fromNumbers(left.dtype, [...batch, n, columns], out);
}

function product(inputs: readonly HostTensor[], flipLeft: boolean, flipRight: boolean): HostTensor {
  const [left, right] = [input(inputs, 0), input(inputs, 1)];
  const [rankLeft, rankRight] = [left.shape.length, right.shape.length];
  if (rankLeft < 2 || rankRight < 2) throw invalid('In[0] and In[1] must be matrices or batches of them');
  const [rows, inner] = flipLeft
    ? [dim(left.shape, rankLeft - 1), dim(left.shape, rankLeft - 2)]
    : [dim(left.shape, rankLeft - 2), dim(left.shape, rankLeft - 1)];
  const [other, columns] = flipRight
    ? [dim(right.shape, rankRight - 1), dim(right.shape, rankRight - 2)]
    : [dim(right.shape, rankRight - 2), dim(right.shape, rankRight - 1)];
  if (inner !== other) throw invalid(`Matrix size-incompatible: In[0]: ${shapeText(left.shape)}, In[1]: ${shapeText(right.shape)}`);
  const batch = broadcastShape(left.shape.slice(0, -2), right.shape.slice(0, -2));
  const [from, to] = [broadcastIndices(left.shape.slice(0, -2), batch), broadcastIndices(right.shape.slice(0, -2), batch)];
  const [a, b] = [numbers(left), numbers(right)];
  const out = allocate('double', elementCount(batch) * rows * columns) as Float64Array;
  let at = 0;
  for (let index = 0; index < from.length; index++) {
    const [i, j] = [(from[index] ?? 0) * rows * inner, (to[index] ?? 0) * inner * columns];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let k = 0; k < inner; k++) {
          sum +=
            (a[i + (flipLeft ? k * rows + row : row * inner + k)] ?? 0) *
            (b[j + (flipRight ? column * inner + k : k * columns + column)] ?? 0);
        }
        out[at++] = sum;
      }
    }
  }
  return fromNumbers(left.dtype, [...batch, rows, columns], out);
}

function identity(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
}

function flip(matrix: Float64Array, n: number): Float64Array {
  return matrix.map((_, at) => matrix[(at % n) * n + Math.floor(at / n)] ?? 0);
}

/** Gauss's elimination with row pivots. Throws INVALID_ARGUMENT with the message for a singular matrix. */
function eliminate(matrix: Float64Array, right: Float64Array, n: number, columns: number, message: string): Float64Array {
  const { upper, order } = decompose(matrix, n);
  const solution = new Float64Array(n * columns);
  for (let row = 0; row < n; row++) {
    if (upper[row * n + row] === 0) throw invalid(message);
    for (let column = 0; column < columns; column++) {
      let value = right[(order[row] ?? 0) * columns + column] ?? 0;
      for (let k = 0; k < row; k++) value -= (upper[row * n + k] ?? 0) * (solution[k * columns + column] ?? 0);
      solution[row * columns + column] = value;
    }
  }
  return substitute(upper, solution, n, columns, false);
}

/** L and U in one matrix (L's ones left out), the order of the rows and its sign. */
function decompose(
  matrix: Float64Array,
  n: number,
): { readonly upper: Float64Array; readonly order: readonly number[]; readonly sign: number } {
  const upper = matrix.slice();
  const order = Array.from({ length: n }, (_, row) => row);
  let sign = 1;
  for (let pivot = 0; pivot < n; pivot++) {
    let best = pivot;
    for (let row = pivot + 1; row < n; row++)
      if (Math.abs(upper[row * n + pivot] ?? 0) > Math.abs(upper[best * n + pivot] ?? 0)) best = row;
    if (best !== pivot) {
      sign = -sign;
      [order[pivot], order[best]] = [order[best] ?? 0, order[pivot] ?? 0];
      for (let k = 0; k < n; k++) [upper[pivot * n + k], upper[best * n + k]] = [upper[best * n + k] ?? 0, upper[pivot * n + k] ?? 0];
    }
    const head = upper[pivot * n + pivot] ?? 0;
    if (head === 0) continue;
    for (let row = pivot + 1; row < n; row++) {
      const factor = (upper[row * n + pivot] ?? 0) / head;
      upper[row * n + pivot] = factor;
      for (let k = pivot + 1; k < n; k++) upper[row * n + k] = (upper[row * n + k] ?? 0) - factor * (upper[pivot * n + k] ?? 0);
    }
  }
  return { upper, order, sign };
}

function determinant(matrix: Float64Array, n: number): number {
  const { upper, sign } = decompose(matrix, n);
  let result = sign;
  for (let row = 0; row < n; row++) result *= upper[row * n + row] ?? 0;
  return result;
}

function logDeterminant(matrix: Float64Array, n: number): { readonly sign: number; readonly log: number } {
  const { upper, sign } = decompose(matrix, n);
  let log = 0;
  let side = sign;
  for (let row = 0; row < n; row++) {
    const value = upper[row * n + row] ?? 0;
    log += Math.log(Math.abs(value));
    side *= Math.sign(value);
  }
  return { sign: side, log };
}

/** The lower factor; all of it NaN for a matrix that has none, as TensorFlow gives. */
function cholesky(matrix: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let row = 0; row < n; row++) {
    for (let column = 0; column <= row; column++) {
      let sum = matrix[row * n + column] ?? 0;
      for (let k = 0; k < column; k++) sum -= (out[row * n + k] ?? 0) * (out[column * n + k] ?? 0);
      if (row !== column) out[row * n + column] = sum / (out[column * n + column] ?? 1);
      else if (sum > 0) out[row * n + row] = Math.sqrt(sum);
      else return out.map((_, at) => (at % n <= Math.floor(at / n) ? Number.NaN : 0));
    }
  }
  return out;
}

/** Solves with a triangular matrix; what lies on the other side of its diagonal is not read. */
function substitute(matrix: Float64Array, right: Float64Array, n: number, columns: number, lower: boolean): Float64Array {
  const solution = new Float64Array(n * columns);
  for (let step = 0; step < n; step++) {
    const row = lower ? step : n - 1 - step;
    const head = matrix[row * n + row] ?? 0;
    if (head === 0) throw invalid('Input matrix is not invertible.');
    for (let column = 0; column < columns; column++) {
      let value = right[row * columns + column] ?? 0;
      for (let k = lower ? 0 : row + 1; k < (lower ? row : n); k++)
        value -= (matrix[row * n + k] ?? 0) * (solution[k * columns + column] ?? 0);
      solution[row * columns + column] = value / head;
    }
  }
  return solution;
}
