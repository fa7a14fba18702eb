/** The names and constants of one ONNX model in the making, shared by its graph and the graphs inside loops and branches. */
import type { Tensor } from '#mesh/tensor.ts';
import type { OnnxGraph, OnnxInitializer, OnnxNode } from '#proto/onnx-writer.ts';
import { transposeTensor } from './constants.ts';
import type { ConstantReference, TypedValue } from './translator.ts';

/** Constants up to this size are deduplicated by content, larger ones by identity. */
const SMALL_CONSTANT_BYTES = 256;

/** References up to this size are read and become part of the model. */
const LOADED_BYTES = 64 * 1024;

/** Stores constants once, and hands out names that nothing in the model has yet. */
export class ConstantPool {
  readonly #initializers: OnnxInitializer[] = [];
  readonly #names = new Set<string>();
  readonly #counters = new Map<string, number>();
  readonly #smallConstants = new Map<string, TypedValue>();
  readonly #largeConstants = new Map<Tensor | ConstantReference, TypedValue>();
  readonly #references = new Set<string>();
  readonly #transposed = new Map<string, TypedValue>();

  /** A name that nothing has yet: the base itself, or with a number after it. */
  freshName(base: string): string {
    let name = base;
    while (this.#names.has(name)) {
      const count = (this.#counters.get(base) ?? 0) + 1;
      this.#counters.set(base, count);
      name = `${base}~${count}`;
    }
    this.#names.add(name);
    return name;
  }

  /** Stores a constant, or finds it stored. */
  constant(tensor: Tensor): TypedValue {
    const known = this.#largeConstants.get(tensor);
    if (known !== undefined) return known;
    const small = tensor.bytes.byteLength <= SMALL_CONSTANT_BYTES;
    const key = small ? `${tensor.dtype}[${tensor.shape}]${Buffer.from(tensor.bytes).toString('latin1')}` : '';
    const equal = small ? this.#smallConstants.get(key) : undefined;
    if (equal !== undefined) return equal;
    const name = this.freshName('const');
    this.#initializers.push({ name, dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.bytes });
    const value: TypedValue = { name, dtype: tensor.dtype, shape: tensor.shape, constant: tensor };
    if (small) this.#smallConstants.set(key, value);
    else this.#largeConstants.set(tensor, value);
    return value;
  }

  /** Refers to a constant beside the model, or reads a small one. */
  reference(reference: ConstantReference): TypedValue {
    const known = this.#largeConstants.get(reference);
    if (known !== undefined) return known;
    const { dtype, shape, external } = reference;
    const value = external.byteLength <= LOADED_BYTES ? this.constant(reference.load()) : this.#external({ dtype, shape, external });
    this.#largeConstants.set(reference, value);
    return value;
  }

  #external(reference: Pick<ConstantReference, 'dtype' | 'shape' | 'external'>): TypedValue {
    const name = this.freshName('weights');
    this.#initializers.push({ name, ...reference });
    this.#references.add(name);
    return { name, dtype: reference.dtype, shape: reference.shape };
  }

  /** Whether a value is a constant beside the model. */
  isReference(value: TypedValue): boolean {
    return this.#references.has(value.name);
  }

  /** A constant with its axes permuted, made once per permutation: out of its elements, or by `emit` for one beside the model. */
  transposed(value: TypedValue, permutation: readonly number[], emit: () => TypedValue): TypedValue {
    const key = `${value.name}|${permutation}`;
    const found = this.#transposed.get(key);
    if (found !== undefined) return found;
    const made = value.constant === undefined ? emit() : this.constant(transposeTensor(value.constant, permutation));
    this.#transposed.set(key, made);
    return made;
  }

  /** The constants that nodes, also those inside, refer to: folding leaves some without a user. */
  usedBy(nodes: readonly OnnxNode[]): OnnxInitializer[] {
    const used = new Set<string>();
    const open: Pick<OnnxGraph, 'nodes'>[] = [{ nodes }];
    for (let graph = open.pop(); graph !== undefined; graph = open.pop()) {
      for (const node of graph.nodes) {
        for (const input of node.inputs) used.add(input);
        for (const attribute of Object.values(node.attributes ?? {})) {
          if (typeof attribute === 'object' && 'graph' in attribute) open.push(attribute.graph);
        }
      }
    }
    return this.#initializers.filter((one) => used.has(one.name));
  }
}
