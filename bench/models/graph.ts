/** Builds graphs node by node, with random weights from a seeded generator. */
import { elementCount, type Tensor } from '#mesh/tensor.ts';
import { buildModel, type OnnxAttribute, type OnnxInitializer, type OnnxNode, type OnnxValue } from '#proto/onnx-writer.ts';

const OPSET = 17;

/** A graph under construction: every method adds to it and returns the name of a value. */
export class GraphBuilder {
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers: OnnxInitializer[] = [];
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = createRandom(seed);
  }

  /** A node with one output. */
  node(op: string, inputs: readonly string[], attributes: Readonly<Record<string, OnnxAttribute>> = {}): string {
    const [output] = this.nodes(op, inputs, 1, attributes);
    if (output === undefined) throw new TypeError('a node of one output gave none (this is a bug)');
    return output;
  }

  /** A node with several outputs. */
  nodes(op: string, inputs: readonly string[], count: number, attributes: Readonly<Record<string, OnnxAttribute>> = {}): readonly string[] {
    const name = `${op.toLowerCase()}_${this.#nodes.length}`;
    const outputs = Array.from({ length: count }, (_, index) => (count === 1 ? name : `${name}_${index}`));
    this.#nodes.push({ op, inputs, outputs, attributes });
    return outputs;
  }

  /** Uniform weights with the variance 1 / fanIn, so that signals keep their size from layer to layer. */
  weights(shape: readonly number[], fanIn: number): string {
    const bound = Math.sqrt(3 / fanIn);
    return this.#constant(shape, () => (2 * this.#random() - 1) * bound);
  }

  /** The same value everywhere. */
  filled(shape: readonly number[], value: number): string {
    return this.#constant(shape, () => value);
  }

  /** Weights from elsewhere. */
  given({ dtype, shape, bytes }: Tensor): string {
    const name = `weights_${this.#initializers.length}`;
    this.#initializers.push({ name, dtype, shape, bytes });
    return name;
  }

  /** A constant of whole numbers: axes, shapes. */
  integers(values: readonly number[]): string {
    const name = `integers_${this.#initializers.length}`;
    const bytes = new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer);
    this.#initializers.push({ name, dtype: 'int64', shape: [values.length], bytes });
    return name;
  }

  /** x W + b over the last dimension, for x of rank 2 or more. */
  dense(x: string, inner: number, outer: number): string {
    return this.node('Add', [this.node('MatMul', [x, this.weights([inner, outer], inner)]), this.filled([outer], 0)]);
  }

  /** The finished model; `result` becomes its output. */
  finish(name: string, inputs: readonly OnnxValue[], output: OnnxValue, result: string): Uint8Array {
    return this.finishAll(name, inputs, [{ value: result, output }]);
  }

  /** The finished model of several outputs. */
  finishAll(
    name: string,
    inputs: readonly OnnxValue[],
    results: readonly { readonly value: string; readonly output: OnnxValue }[],
  ): Uint8Array {
    for (const { value, output } of results) this.#nodes.push({ op: 'Identity', inputs: [value], outputs: [output.name] });
    const outputs = results.map(({ output }) => output);
    return buildModel({ name, opset: OPSET, inputs, outputs, initializers: this.#initializers, nodes: this.#nodes });
  }

  #constant(shape: readonly number[], next: () => number): string {
    const name = `weights_${this.#initializers.length}`;
    const values = Float32Array.from({ length: elementCount(shape) }, next);
    this.#initializers.push({ name, dtype: 'float', shape, bytes: new Uint8Array(values.buffer) });
    return name;
  }
}

/** A seeded generator of numbers in [0, 1): mulberry32. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
