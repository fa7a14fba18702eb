import type { Tensor } from '#mesh/tensor.ts';
import { GraphBuilder } from './graph.ts';
import { reshaped } from './rearrange.ts';
import { inOrder, type Weights } from './weights.ts';

const TOKENS = 64;
const WIDTH = 64;
const HEADS = 4;
const LAYERS = 2;
const EPSILON = 1e-5;

/** The encoder with MatMul, LayerNormalization and the exact GELU that onnxruntime fuses. */
export function buildDirectTransformer(weights: Weights): Uint8Array {
  const graph = new GraphBuilder(1);
  const next = inOrder(weights);
  const dense = (x: string, kernel: Tensor, bias: Tensor) =>
    graph.node('Add', [graph.node('MatMul', [x, graph.given(kernel)]), graph.given(bias)]);
  let x = graph.node('Gather', [graph.given(next()), 'ids'], { axis: 0 });
  const normalised = (sum: string) =>
    graph.node('LayerNormalization', [sum, graph.given(next()), graph.given(next())], { axis: -1, epsilon: { float: EPSILON } });
  for (let layer = 0; layer < LAYERS; layer++) {
    x = normalised(graph.node('Add', [x, attention(graph, x, dense, next)]));
    const wide = gelu(graph, dense(x, next(), next()));
    x = normalised(graph.node('Add', [x, dense(wide, next(), next())]));
  }
  const mean = graph.node('ReduceMean', [x], { axes: [1], keepdims: 0 });
  const scores = graph.node('Softmax', [graph.node('Gemm', [mean, graph.given(next()), graph.given(next())])], { axis: -1 });
  return graph.finish(
    'transformer',
    [{ name: 'ids', dtype: 'int32', shape: ['N', TOKENS] }],
    { name: 'scores', dtype: 'float', shape: ['N', 5] },
    scores,
  );
}

function attention(graph: GraphBuilder, x: string, dense: (x: string, kernel: Tensor, bias: Tensor) => string, next: () => Tensor): string {
  const depth = WIDTH / HEADS;
  const split = graph.integers([0, TOKENS, HEADS, depth]); // 0 keeps the batch dimension
  // Kernels of the heads are [width, heads, depth], that of the result [heads, depth, width].
  const projected = () => dense(x, reshaped(next(), [WIDTH, WIDTH]), reshaped(next(), [WIDTH]));
  const heads = (perm: readonly number[]) => graph.node('Transpose', [graph.node('Reshape', [projected(), split])], { perm });
  const queries = heads([0, 2, 1, 3]);
  const keys = heads([0, 2, 3, 1]);
  const values = heads([0, 2, 1, 3]);
  const scores = graph.node('Mul', [graph.node('MatMul', [queries, keys]), graph.filled([], 1 / Math.sqrt(depth))]);
  const mixed = graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), values]);
  const joined = graph.node('Reshape', [graph.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }), graph.integers([0, TOKENS, WIDTH])]);
  return dense(joined, reshaped(next(), [WIDTH, WIDTH]), next());
}

/** x (1 + erf(x / √2)) / 2. */
function gelu(graph: GraphBuilder, x: string): string {
  const erf = graph.node('Erf', [graph.node('Div', [x, graph.filled([], Math.SQRT2)])]);
  const shifted = graph.node('Add', [erf, graph.filled([], 1)]);
  return graph.node('Mul', [graph.node('Mul', [x, shifted]), graph.filled([], 0.5)]);
}
