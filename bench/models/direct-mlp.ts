import { GraphBuilder } from './graph.ts';
import { inOrder, type Weights } from './weights.ts';

/** The MLP: Gemm and Relu, a softmax at the end. */
export function buildDirectMlp(weights: Weights): Uint8Array {
  const graph = new GraphBuilder(1);
  const next = inOrder(weights);
  const dense = (x: string) => graph.node('Gemm', [x, graph.given(next()), graph.given(next())]);
  const hidden = graph.node('Relu', [dense(graph.node('Relu', [dense('features')]))]);
  const scores = graph.node('Softmax', [dense(hidden)], { axis: -1 });
  return graph.finish(
    'mlp',
    [{ name: 'features', dtype: 'float', shape: ['N', 784] }],
    { name: 'scores', dtype: 'float', shape: ['N', 10] },
    scores,
  );
}
