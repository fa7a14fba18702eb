/** Builds graphs node by node, with random weights from a seeded generator. */
import { elementCount } from '#mesh/tensor.ts';
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
    const output = `${op.toLowerCase()}_${this.#nodes.length}`;
    this.#nodes.push({ op, inputs, outputs: [output], attributes });
    return output;
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
    this.#nodes.push({ op: 'Identity', inputs: [result], outputs: [output.name] });
    return buildModel({ name, opset: OPSET, inputs, outputs: [output], initializers: this.#initializers, nodes: this.#nodes });
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
