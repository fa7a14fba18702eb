/** Moves the weights of TensorFlow's layers to where ONNX's operators want them. */
import { elementCount, type Tensor } from '#mesh/tensor.ts';

/** Floats with their axes in another order. */
export function transposed(tensor: Tensor, permutation: readonly number[]): Tensor {
  const from = floatsOf(tensor);
  const shape = permutation.map((axis) => tensor.shape[axis] ?? 1);
  const strides = permutation.map((axis) => elementCount(tensor.shape.slice(axis + 1)));
  const to = new Float32Array(from.length);
  for (let index = 0; index < to.length; index++) {
    let rest = index;
    let source = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const size = shape[axis] ?? 1;
      source += (rest % size) * (strides[axis] ?? 0);
      rest = Math.floor(rest / size);
    }
    to[index] = from[source] ?? 0;
  }
  return tensorOf(shape, to);
}

/** The same floats under another shape. */
export function reshaped(tensor: Tensor, shape: readonly number[]): Tensor {
  return { ...tensor, shape };
}

/** Blocks of rows in another order: row block `order[i]` of `order.length` equal ones comes to place i. */
export function blocksReordered(tensor: Tensor, order: readonly number[]): Tensor {
  const from = floatsOf(tensor);
  const size = from.length / order.length;
  const to = new Float32Array(from.length);
  for (const [place, block] of order.entries()) to.set(from.subarray(block * size, (block + 1) * size), place * size);
  return tensorOf(tensor.shape, to);
}

/** Vectors one after another. */
export function joined(...parts: readonly Tensor[]): Tensor {
  const values = parts.flatMap((part) => [...floatsOf(part)]);
  return tensorOf([values.length], Float32Array.from(values));
}

/** Zeros. */
export function zeros(count: number): Tensor {
  return tensorOf([count], new Float32Array(count));
}

/** The numbers of a float tensor, in memory of their own. */
export function floatsOf({ bytes }: Tensor): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}

function tensorOf(shape: readonly number[], values: Float32Array): Tensor {
  return { dtype: 'float', shape, bytes: new Uint8Array(values.buffer) };
}
