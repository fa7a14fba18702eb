/** The trained network as an ONNX graph, and the signature under which it is served. */
import { buildModel, type OnnxInitializer } from '#proto/onnx-writer.ts';
import { PIXELS } from './dataset.ts';
import { CLASSES, type Weights } from './network.ts';

/** `images` [N, 64], levels 0 to 16, gives `probabilities` [N, 10] and `digit` [N], the most probable. Weights are rounded to float32. */
export function digitsModel(weights: Weights): Uint8Array {
  const { hidden } = weights;
  return buildModel({
    name: 'digits',
    opset: 17,
    inputs: [{ name: 'images', dtype: 'float', shape: ['N', PIXELS] }],
    outputs: [
      { name: 'probabilities', dtype: 'float', shape: ['N', CLASSES] },
      { name: 'digit', dtype: 'int64', shape: ['N'] },
    ],
    initializers: [
      floats('sixteenth', [], [1 / 16]),
      floats('w1', [PIXELS, hidden], weights.w1),
      floats('b1', [hidden], weights.b1),
      floats('w2', [hidden, CLASSES], weights.w2),
      floats('b2', [CLASSES], weights.b2),
    ],
    nodes: [
      { op: 'Mul', inputs: ['images', 'sixteenth'], outputs: ['ink'] },
      { op: 'Gemm', inputs: ['ink', 'w1', 'b1'], outputs: ['sums'] },
      { op: 'Relu', inputs: ['sums'], outputs: ['features'] },
      { op: 'Gemm', inputs: ['features', 'w2', 'b2'], outputs: ['logits'] },
      { op: 'Softmax', inputs: ['logits'], outputs: ['probabilities'], attributes: { axis: 1 } },
      { op: 'ArgMax', inputs: ['logits'], outputs: ['digit'], attributes: { axis: 1, keepdims: 0 } },
    ],
  });
}

/** The text of signatures.json. */
export function digitsSignatures(): string {
  const signature = {
    method: 'predict',
    inputs: { images: { dtype: 'DT_FLOAT', shape: [-1, PIXELS], onnx: 'images', tensor_name: 'images:0' } },
    outputs: {
      digit: { dtype: 'DT_INT64', shape: [-1], onnx: 'digit', tensor_name: 'digit:0' },
      probabilities: { dtype: 'DT_FLOAT', shape: [-1, CLASSES], onnx: 'probabilities', tensor_name: 'probabilities:0' },
    },
  };
  return `${JSON.stringify({ signatures: { serving_default: signature } }, null, 2)}\n`;
}

function floats(name: string, shape: readonly number[], values: ArrayLike<number>): OnnxInitializer {
  return { name, dtype: 'float', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}
