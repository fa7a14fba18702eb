import { GraphBuilder } from './graph.ts';
import { reshaped, transposed } from './rearrange.ts';
import { type Weights, weightNamed } from './weights.ts';

const SIDE = 28;
const EPSILON = 1e-3;

/** The mnist example: two convolutions, two dense layers; gives scores [N, 10] and classes [N]. */
export function buildDirectMnist(weights: Weights): Uint8Array {
  const graph = new GraphBuilder(1);
  const given = (name: string) => graph.given(weightNamed(weights, name));
  const convolved = (x: string, name: string, size: number) => {
    const kernel = graph.given(transposed(weightNamed(weights, `${name}/kernel`), [3, 2, 0, 1]));
    const border = (size - 1) / 2;
    const pads = [border, border, border, border];
    const y = graph.node('Conv', [x, kernel], { kernel_shape: [size, size], pads });
    const parameters = ['scale', 'offset', 'mean', 'variance'].map((one) => given(`${name}/norm/${one}`));
    const normed = graph.node('BatchNormalization', [y, ...parameters], { epsilon: { float: EPSILON } });
    return graph.node('MaxPool', [graph.node('Relu', [normed])], { kernel_shape: [2, 2], strides: [2, 2] });
  };
  // One channel: first or last is the same.
  const image = graph.node('Reshape', ['images', graph.integers([-1, 1, SIDE, SIDE])]);
  const y = convolved(convolved(image, 'first', 5), 'second', 3);
  // Flattened with channels first, so the dense layer's rows are moved instead of the activations.
  const kernel = reshaped(transposed(reshaped(weightNamed(weights, 'hidden/kernel'), [7, 7, 16, 32]), [2, 0, 1, 3]), [784, 32]);
  const flat = graph.node('Flatten', [y], { axis: 1 });
  const hidden = graph.node('Relu', [graph.node('Gemm', [flat, graph.given(kernel), given('hidden/bias')])]);
  const logits = graph.node('Gemm', [hidden, given('logits/kernel'), given('logits/bias')]);
  const scores = graph.node('Softmax', [logits], { axis: -1 });
  const classes = graph.node('ArgMax', [scores], { axis: -1, keepdims: 0 });
  return graph.finishAll(
    'mnist',
    [{ name: 'images', dtype: 'float', shape: ['N', SIDE * SIDE] }],
    [
      { value: scores, output: { name: 'scores', dtype: 'float', shape: ['N', 10] } },
      { value: classes, output: { name: 'classes', dtype: 'int64', shape: ['N'] } },
    ],
  );
}
