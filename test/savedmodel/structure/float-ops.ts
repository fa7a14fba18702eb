/** The few float ops of the small models with loops that the host has no kernels for: float32, rank 2 where it matters. */
import type { HostKernel, HostTensor } from '../../../savedmodel/host-value.ts';

function floats(tensor: HostTensor | undefined): Float32Array {
  if (!(tensor?.data instanceof Float32Array)) throw new RangeError(`a ${tensor?.dtype} tensor is not float`);
  return tensor.data;
}

const each =
  (compute: (value: number) => number): HostKernel =>
  ([input]) => [{ dtype: 'float', shape: input?.shape ?? [], data: floats(input).map(compute) }];

const matMul: HostKernel = ([left, right], attrs) => {
  const flag = (name: string) => attrs.has(name) && attrs.bool(name);
  const [a, b] = [floats(left), floats(right)];
  const size = (tensor: HostTensor | undefined, axis: number) => tensor?.shape[axis] ?? 0;
  const [isLeftTurned, isRightTurned] = [flag('transpose_a'), flag('transpose_b')];
  const [rows, inner] = isLeftTurned ? [size(left, 1), size(left, 0)] : [size(left, 0), size(left, 1)];
  const columns = size(right, isRightTurned ? 0 : 1);
  const data = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let at = 0; at < inner; at++) {
        const one = a[isLeftTurned ? at * rows + row : row * inner + at] ?? 0;
        sum += one * (b[isRightTurned ? column * inner + at : at * columns + column] ?? 0);
      }
      data[row * columns + column] = sum;
    }
  }
  return [{ dtype: 'float', shape: [rows, columns], data }];
};

const biasAdd: HostKernel = ([input, bias]) => {
  const add = floats(bias);
  return [{ dtype: 'float', shape: input?.shape ?? [], data: floats(input).map((value, index) => value + (add[index % add.length] ?? 0)) }];
};

const softmax: HostKernel = ([input]) => {
  const data = floats(input).slice();
  const width = input?.shape.at(-1) ?? 1;
  for (let at = 0; at < data.length; at += width) {
    const row = data.subarray(at, at + width);
    const most = Math.max(...row);
    row.forEach((value, index) => {
      row[index] = Math.exp(value - most);
    });
    const sum = row.reduce((total, value) => total + value, 0);
    row.forEach((value, index) => {
      row[index] = value / sum;
    });
  }
  return [{ dtype: 'float', shape: input?.shape ?? [], data }];
};

/** Batch in axis 0, time in axis 1. */
const reverseSequence: HostKernel = ([input, lengths], attrs) => {
  if (attrs.int('seq_dim') !== 1 || (attrs.has('batch_dim') && attrs.int('batch_dim') !== 0))
    throw new RangeError('other axes are not here');
  const [data, [batch = 0, steps = 0, ...inner]] = [floats(input), input?.shape ?? []];
  const size = inner.reduce((product, one) => product * one, 1);
  const out = data.slice();
  for (let row = 0; row < batch; row++) {
    const length = Number(lengths?.data[row] ?? 0);
    for (let step = 0; step < length; step++) {
      const from = (row * steps + length - 1 - step) * size;
      out.set(data.subarray(from, from + size), (row * steps + step) * size);
    }
  }
  return [{ dtype: 'float', shape: input?.shape ?? [], data: out }];
};

/** By op. */
export const FLOAT_OPS: Readonly<Record<string, HostKernel>> = {
  MatMul: matMul,
  BiasAdd: biasAdd,
  Sigmoid: each((value) => 1 / (1 + Math.exp(-value))),
  Tanh: each(Math.tanh),
  Relu: each((value) => Math.max(0, value)),
  Softmax: softmax,
  ReverseSequence: reverseSequence,
};
