import type { Tensor } from '#mesh/tensor.ts';
import { GraphBuilder } from './graph.ts';
import { blocksReordered, joined, reshaped, transposed, zeros } from './rearrange.ts';
import { inOrder, type Weights } from './weights.ts';

/** Keras keeps the gates as input, forget, cell, output; ONNX wants input, output, forget, cell. */
const GATES = [0, 3, 1, 2];

/** Two of ONNX's LSTM one after another, time first inside, and a Gemm on the last state. */
export function buildDirectLstm(weights: Weights): Uint8Array {
  const graph = new GraphBuilder(1);
  const next = inOrder(weights);
  const first = layer(graph, graph.node('Transpose', ['series'], { perm: [1, 0, 2] }), 96, next);
  const all = graph.node('Squeeze', [first.all, graph.integers([1])]);
  const second = layer(graph, all, 64, next);
  const last = graph.node('Squeeze', [second.last, graph.integers([0])]);
  const scores = graph.node('Gemm', [last, graph.given(next()), graph.given(next())]);
  return graph.finish(
    'lstm',
    [{ name: 'series', dtype: 'float', shape: ['N', 48, 24] }],
    { name: 'scores', dtype: 'float', shape: ['N', 5] },
    scores,
  );
}

/** The hidden states of all steps, [time, 1, N, units], and the last, [1, N, units]. */
function layer(graph: GraphBuilder, x: string, units: number, next: () => Tensor): { readonly all: string; readonly last: string } {
  const matrix = (kernel: Tensor) => {
    const rows = blocksReordered(transposed(kernel, [1, 0]), GATES);
    return graph.given(reshaped(rows, [1, ...rows.shape]));
  };
  const kernel = matrix(next());
  const recurrent = matrix(next());
  const bias = reshaped(joined(blocksReordered(next(), GATES), zeros(4 * units)), [1, 8 * units]);
  const [all, last] = graph.nodes('LSTM', [x, kernel, recurrent, graph.given(bias)], 2, { hidden_size: units });
  return { all: all ?? '', last: last ?? '' };
}
