import { GraphBuilder } from './graph.ts';
import { transposed } from './rearrange.ts';
import { inOrder, type Weights } from './weights.ts';

/** Channels and strides of the depthwise separable blocks. */
const BLOCKS = [
  [32, 1],
  [64, 2],
  [64, 1],
  [128, 2],
  [128, 1],
  [192, 1],
] as const;
const EPSILON = 1e-3;

/** The CNN with channels first inside, one transpose at its entry, and a BatchNormalization after each Conv. */
export function buildDirectCnn(weights: Weights): Uint8Array {
  const graph = new GraphBuilder(1);
  const next = inOrder(weights);
  const normalised = (x: string) => {
    const parameters = Array.from({ length: 4 }, () => graph.given(next()));
    return graph.node('Relu', [graph.node('BatchNormalization', [x, ...parameters], { epsilon: { float: EPSILON } })]);
  };
  const convolved = (x: string, group: number, size: number, stride: number) => {
    // Kernels are [height, width, in, out], depthwise ones [height, width, channels, 1].
    const kernel = transposed(next(), group > 1 ? [2, 3, 0, 1] : [3, 2, 0, 1]);
    // What SAME means for even sides: with stride 2 one row below, none above.
    const pads = size === 1 ? [0, 0, 0, 0] : stride === 2 ? [0, 0, 1, 1] : [1, 1, 1, 1];
    return normalised(graph.node('Conv', [x, graph.given(kernel)], { kernel_shape: [size, size], strides: [stride, stride], pads, group }));
  };
  let x = graph.node('Transpose', ['image'], { perm: [0, 3, 1, 2] });
  x = graph.node('MaxPool', [convolved(x, 1, 3, 2)], { kernel_shape: [2, 2], strides: [2, 2] });
  let channels = 16;
  for (const [outer, stride] of BLOCKS) {
    x = convolved(x, channels, 3, stride);
    const y = convolved(x, 1, 1, 1);
    x = outer === channels ? graph.node('Add', [x, y]) : y;
    channels = outer;
  }
  const flat = graph.node('Flatten', [graph.node('GlobalAveragePool', [x])], { axis: 1 });
  const scores = graph.node('Softmax', [graph.node('Gemm', [flat, graph.given(next()), graph.given(next())])], { axis: -1 });
  return graph.finish(
    'cnn',
    [{ name: 'image', dtype: 'float', shape: ['N', 96, 96, 3] }],
    { name: 'scores', dtype: 'float', shape: ['N', 100] },
    scores,
  );
}
