/** The models of the bench: what they compute matters little, what they cost is like real ones. Weights are random and the same every time. */
import type { DType } from '#mesh/tensor.ts';
import { GraphBuilder } from './graph.ts';

/** A model and what to send it. */
export interface BenchModel {
  readonly name: string;
  /** One line for the report. */
  readonly what: string;
  readonly input: { readonly name: string; readonly dtype: Extract<DType, 'float' | 'int64'>; readonly rowShape: readonly number[] };
  /** Values of the input below this bound: a vocabulary, or 1. */
  readonly bound: number;
  build(): Uint8Array;
}

/** y = x / 2 + 2 over a vector: the cost is all in the server. */
export const HALF: BenchModel = {
  name: 'half',
  what: 'y = x / 2 + 2',
  input: { name: 'x', dtype: 'float', rowShape: [] },
  bound: 1,
  build() {
    const graph = new GraphBuilder(1);
    const y = graph.node('Add', [graph.node('Mul', ['x', graph.filled([], 0.5)]), graph.filled([], 2)]);
    return graph.finish('half', [{ name: 'x', dtype: 'float', shape: ['N'] }], { name: 'y', dtype: 'float', shape: ['N'] }, y);
  },
};

/** A perceptron 784-512-512-10. */
export const MLP: BenchModel = {
  name: 'mlp',
  what: 'MLP 784-512-512-10',
  input: { name: 'x', dtype: 'float', rowShape: [784] },
  bound: 1,
  build() {
    const graph = new GraphBuilder(2);
    let x = 'x';
    let inner = 784;
    for (const outer of [512, 512]) {
      x = graph.node('Relu', [graph.dense(x, inner, outer)]);
      inner = outer;
    }
    const y = graph.node('Softmax', [graph.dense(x, inner, 10)], { axis: -1 });
    return graph.finish('mlp', [{ name: 'x', dtype: 'float', shape: ['N', 784] }], { name: 'y', dtype: 'float', shape: ['N', 10] }, y);
  },
};

/** Channels and strides of the conv net's layers. */
const CONVOLUTIONS = [
  [64, 1],
  [64, 1],
  [64, 1],
  [64, 1],
  [128, 2],
  [128, 1],
  [128, 1],
  [128, 1],
  [256, 2],
  [256, 1],
  [256, 1],
] as const;

/** A convolutional net on 32 x 32 x 3 pictures (channels last, as TensorFlow's clients send them): 340 million multiplications a picture. */
export const CONV: BenchModel = {
  name: 'conv',
  what: 'conv net, 32x32x3, 11 convolutions',
  input: { name: 'x', dtype: 'float', rowShape: [32, 32, 3] },
  bound: 1,
  build() {
    const graph = new GraphBuilder(3);
    let x = graph.node('Transpose', ['x'], { perm: [0, 3, 1, 2] });
    let inner = 3;
    for (const [outer, stride] of CONVOLUTIONS) {
      const inputs = [x, graph.weights([outer, inner, 3, 3], inner * 9), graph.filled([outer], 0)];
      x = graph.node('Relu', [graph.node('Conv', inputs, { kernel_shape: [3, 3], strides: [stride, stride], pads: [1, 1, 1, 1] })]);
      inner = outer;
    }
    const flat = graph.node('Flatten', [graph.node('GlobalAveragePool', [x])], { axis: 1 });
    const y = graph.node('Softmax', [graph.dense(flat, inner, 10)], { axis: -1 });
    return graph.finish(
      'conv',
      [{ name: 'x', dtype: 'float', shape: ['N', 32, 32, 3] }],
      { name: 'y', dtype: 'float', shape: ['N', 10] },
      y,
    );
  },
};

const TOKENS = 128;
const WIDTH = 256;
const HEADS = 4;
const VOCABULARY = 1000;

/** A transformer encoder: 128 tokens, 4 layers, 256 wide, 4 heads, a classifier on the mean. */
export const TRANSFORMER: BenchModel = {
  name: 'transformer',
  what: 'transformer, 128 tokens, 4 layers, 256 wide',
  input: { name: 'ids', dtype: 'int64', rowShape: [TOKENS] },
  bound: VOCABULARY,
  build() {
    const graph = new GraphBuilder(4);
    const embedded = graph.node('Gather', [graph.weights([VOCABULARY, WIDTH], WIDTH), 'ids'], { axis: 0 });
    let x = normalize(graph, graph.node('Add', [embedded, graph.weights([TOKENS, WIDTH], WIDTH)]));
    for (let layer = 0; layer < 4; layer++) {
      x = normalize(graph, graph.node('Add', [x, attention(graph, x)]));
      const wide = graph.node('Relu', [graph.dense(x, WIDTH, 4 * WIDTH)]);
      x = normalize(graph, graph.node('Add', [x, graph.dense(wide, 4 * WIDTH, WIDTH)]));
    }
    const mean = graph.node('ReduceMean', [x], { axes: [1], keepdims: 0 });
    const y = graph.node('Softmax', [graph.dense(mean, WIDTH, 2)], { axis: -1 });
    const input = { name: 'ids', dtype: 'int64', shape: ['N', TOKENS] } as const;
    return graph.finish('transformer', [input], { name: 'y', dtype: 'float', shape: ['N', 2] }, y);
  },
};

/** Every model of the bench. */
export const BENCH_MODELS: readonly BenchModel[] = [HALF, MLP, CONV, TRANSFORMER];

function normalize(graph: GraphBuilder, x: string): string {
  return graph.node('LayerNormalization', [x, graph.filled([WIDTH], 1), graph.filled([WIDTH], 0)], { axis: -1, epsilon: { float: 1e-5 } });
}

/** Self-attention of all tokens to all tokens; x and the result have shape [N, TOKENS, WIDTH]. */
function attention(graph: GraphBuilder, x: string): string {
  const depth = WIDTH / HEADS;
  const split = graph.integers([0, TOKENS, HEADS, depth]); // 0 keeps the batch dimension
  const heads = (perm: readonly number[]) =>
    graph.node('Transpose', [graph.node('Reshape', [graph.dense(x, WIDTH, WIDTH), split])], { perm });
  const queries = heads([0, 2, 1, 3]);
  const keys = heads([0, 2, 3, 1]);
  const values = heads([0, 2, 1, 3]);
  const scores = graph.node('Mul', [graph.node('MatMul', [queries, keys]), graph.filled([], 1 / Math.sqrt(depth))]);
  const mixed = graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), values]);
  const joined = graph.node('Reshape', [graph.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }), graph.integers([0, TOKENS, WIDTH])]);
  return graph.dense(joined, WIDTH, WIDTH);
}
