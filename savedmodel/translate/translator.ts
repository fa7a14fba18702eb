/** The vocabulary of translation: TensorFlow nodes on one side, ONNX values with what is known of them on the other. */
import type { DType, Tensor } from '#mesh/tensor.ts';
import type { ExternalData, OnnxAttribute } from '#proto/onnx-writer.ts';
import type { FlatNode } from '../flat-graph.ts';
import type { UntranslatableError } from './untranslatable.ts';

/** A dtype and a shape: `null` for an unknown rank, -1 for an unknown size. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly number[] | null;
}

/**
 * An ONNX value with what is statically known. A known rank or size is a promise, not a hint: whoever feeds values whose shapes clients may
 * disregard says -1 or null.
 */
export interface TypedValue extends TensorType {
  readonly name: string;
  /** The value itself, when it is a constant of the graph and at hand: a {@link ConstantReference} beyond 64 KiB is not. */
  readonly constant?: Tensor;
  /** The elements of an integer scalar or vector that are known although the value is computed, such as a shape; null for an unknown one. */
  readonly partial?: readonly (number | null)[];
  /** The same data with its channels first, when that is what was computed and this only a transpose of it. */
  readonly channelsFirst?: TypedValue;
}

/** A constant that lies in a file beside the model: variables, and large constants of the graph. Its shape is known, its elements stay there. */
export interface ConstantReference {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly external: ExternalData;
  /** Reads it. Called for small ones only, which a translator may have to look at; those become part of the model. */
  load(): Tensor;
}

/** A size that is known, or an int64 value of shape [1] that will hold it. */
export type Dim = number | TypedValue;

/** The attributes of an ONNX node. */
export type OnnxAttributes = Readonly<Record<string, OnnxAttribute>>;

/** What a translator builds with. Every method that makes a node names it after the TensorFlow node being translated. */
export interface TranslationContext {
  /** The node being translated. */
  readonly node: FlatNode;
  /** Adds a node of one output. A null input is an optional one left out. */
  emit(op: string, inputs: readonly (TypedValue | null)[], result: TensorType, attributes?: OnnxAttributes): TypedValue;
  /** Adds a node of several outputs. */
  emitMany(op: string, inputs: readonly (TypedValue | null)[], results: readonly TensorType[], attributes?: OnnxAttributes): TypedValue[];
  /**
   * Adds a node whose data inputs share a dtype that the runtime may lack a kernel for: they are cast to one that it has, and outputs declared
   * with the data's dtype are cast back. `others` are appended uncast.
   */
  compute(
    op: string,
    data: readonly TypedValue[],
    result: TensorType,
    attributes?: OnnxAttributes,
    others?: readonly (TypedValue | null)[],
  ): TypedValue;
  /** A constant of the graph. Equal small ones and the same large one are stored once; bytes are kept by reference. */
  constant(tensor: Tensor): TypedValue;
  /** A constant scalar. */
  scalar(value: number, dtype: DType): TypedValue;
  /** A constant int64 vector. */
  int64s(values: readonly number[]): TypedValue;
  /** The value in another dtype; itself when it has it. */
  castTo(value: TypedValue, dtype: DType): TypedValue;
  /** An integer scalar or vector as an int64 vector, as ONNX takes shapes, axes and bounds. */
  toInt64Vector(value: TypedValue): TypedValue;
  /** The value's shape, int64 of shape [rank]. */
  shapeOf(value: TypedValue): TypedValue;
  /** One size of the value: a number when known. `axis` must not be negative. */
  dimOf(value: TypedValue, axis: number): Dim;
  /** An int64 vector of sizes. */
  dims(sizes: readonly Dim[]): TypedValue;
  /** Reshapes to sizes; at most one -1 among the numbers, meaning the rest. */
  reshape(value: TypedValue, sizes: readonly Dim[]): TypedValue;
  /** Inserts axes of size 1; axes count in the result. */
  unsqueeze(value: TypedValue, axes: readonly number[]): TypedValue;
  /** Removes axes of size 1. */
  squeeze(value: TypedValue, axes: readonly number[]): TypedValue;
  /** Permutes axes. A constant is permuted at once, one beside the model by a node that runtimes run when they load it. */
  transpose(value: TypedValue, permutation: readonly number[]): TypedValue;
  /** An element-wise operation of two inputs of one dtype, with broadcasting; `dtype` is the result's, by default the inputs'. */
  binary(op: string, left: TypedValue, right: TypedValue, dtype?: DType): TypedValue;
  /** `condition ? left : right`, with broadcasting, in any dtype. */
  where(condition: TypedValue, left: TypedValue, right: TypedValue): TypedValue;
  /** The same value with more known of it. */
  refine(
    value: TypedValue,
    known: { readonly shape?: readonly number[] | null; readonly partial?: readonly (number | null)[] },
  ): TypedValue;
  /** The elements of a scalar or vector of integers when all are known, else null. */
  staticInts(value: TypedValue): readonly number[] | null;
  /** Like staticInts, but throws UNIMPLEMENTED saying that `what` must be known. */
  requireInts(value: TypedValue, what: string): readonly number[];
  /** The rank; throws UNIMPLEMENTED when unknown. */
  requireRank(value: TypedValue): number;
  /** The input of that index. Throws INVALID_ARGUMENT when the node has fewer. */
  input(index: number): TypedValue;
  /** An UNIMPLEMENTED error that has the node and names the op, the node and the reason, to be thrown. */
  unsupported(reason: string): UntranslatableError;
}

/** Translates one node. Gives as many values as the node has outputs. Throws UntranslatableError for what cannot be expressed. */
export type Translator = (node: FlatNode, inputs: readonly TypedValue[], context: TranslationContext) => readonly TypedValue[];
