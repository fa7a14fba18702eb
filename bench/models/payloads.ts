/** Requests for the models of the bench, as each protocol wants them. */
import { elementCount, type Tensor } from '#mesh/tensor.ts';
import { encodePredictRequest } from '#proto/predict.ts';
import { createRandom } from './graph.ts';
import type { BenchModel } from './nets.ts';

/** `rows` rows of input, the same every time. Numbers between 0 and `bound`: eight digits as JSON for floats. */
export function sampleTensor(model: BenchModel, rows: number): Tensor {
  const { dtype, rowShape } = model.input;
  const shape = [rows, ...rowShape];
  const values = sampleValues(model, elementCount(shape));
  const array = dtype === 'float' ? Float32Array.from(values) : BigInt64Array.from(values.map(BigInt));
  return { dtype, shape, bytes: new Uint8Array(array.buffer) };
}

/** A REST predict body with `rows` instances, in row format. */
export function jsonBody(model: BenchModel, rows: number): string {
  const { rowShape } = model.input;
  const size = elementCount(rowShape);
  const values = sampleValues(model, rows * size);
  const instances = Array.from({ length: rows }, (_, row) => nest(values.slice(row * size, (row + 1) * size), rowShape));
  return JSON.stringify({ instances });
}

/** A PredictRequest with `rows` rows, tensor_content as TensorFlow's make_tensor_proto writes it. */
export function grpcRequest(model: BenchModel, rows: number): Uint8Array {
  return encodePredictRequest(
    { name: model.name, version: null, label: null, signatureName: '' },
    new Map([[model.input.name, sampleTensor(model, rows)]]),
    { tensorContent: true },
  );
}

function sampleValues(model: BenchModel, count: number): number[] {
  const random = createRandom(count);
  const next = model.input.dtype === 'int64' ? () => Math.floor(random() * model.bound) : () => Number((random() * model.bound).toFixed(8));
  return Array.from({ length: count }, next);
}

function nest(values: readonly number[], shape: readonly number[]): unknown {
  const [outer, ...inner] = shape;
  if (outer === undefined) return values[0];
  if (inner.length === 0) return values;
  const size = elementCount(inner);
  return Array.from({ length: outer }, (_, index) => nest(values.slice(index * size, (index + 1) * size), inner));
}
