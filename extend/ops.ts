/** Custom ops: what TensorFlow or ONNX does not have, for SavedModels and ONNX models alike. */
import type { OnnxAttribute, OnnxNode } from '#proto/onnx-writer.ts';
import type { DType, OpAttributes, PartialShape, TypedTensor } from './tensors.ts';

/**
 * What a module of ops exports, as its default or as `ops`. One module may define many ops; they are found by name and, in ONNX models, by
 * domain and name.
 */
export type OpLibrary = readonly OpDefinition[];

/** One op, in one of two forms. */
export type OpDefinition = KernelOp | FunctionOp;

/** What both forms say. */
export interface OpInterface {
  /** The op's type: `ZeroOut`. */
  readonly name: string;
  /** The domain in ONNX models; default `custom`. SavedModels have none. */
  readonly domain?: string;
  /** One for each output, in order. */
  readonly outputs: readonly OpOutput[];
  /** Rows along dimension 0 of inputs and outputs are independent, so that requests may share a batch; default false. */
  readonly batchable?: boolean;
}

/** What an output is. */
export interface OpOutput {
  /** A dtype, that of an input (its index), or that of an attribute. */
  readonly dtype: DType | { readonly like: number } | { readonly attribute: string };
  /** Its name in TensorFlow's registration. Needed only for an op of several outputs in the functions of a SavedModel that does not carry the registration. */
  readonly name?: string;
}

/** An op that TypeScript (or WASM that the module instantiates) computes on the executor's thread, between ONNX segments. */
export interface KernelOp extends OpInterface {
  readonly form: 'kernel';
  /**
   * Computes the outputs, at once (a promise is refused); must not change the inputs, nor keep them or what it gave. Throws for what the
   * caller can mend: the text reaches the client with the op's name and the node's. Runs under the time and memory limits of user code.
   */
  readonly run: (inputs: readonly TypedTensor[], attributes: OpAttributes) => readonly TypedTensor[];
  /** Shapes of the outputs from those of the inputs. Where it is there, results are held to it, and it helps translating what follows. */
  readonly shapes?: (inputs: readonly PartialShape[], attributes: OpAttributes) => readonly PartialShape[];
}

/** An op made of ONNX's own: it becomes a function of the model, and runs where the model runs, on a GPU too. */
export interface FunctionOp extends OpInterface {
  readonly form: 'onnx';
  /** The opset whose operators `nodes` use; default 18. */
  readonly opset?: number;
  /** Names of the inputs, as `nodes` use them. */
  readonly inputs: readonly string[];
  /** Names of the outputs, as `nodes` make them; as many as `outputs`. */
  readonly results: readonly string[];
  /** Attributes of the op that `nodes` refer to by `{ ref, type }`, with their defaults. */
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  readonly nodes: readonly OnnxNode[];
  /** Shapes of the outputs from those of the inputs; default: unknown. */
  readonly shapes?: (inputs: readonly PartialShape[], attributes: OpAttributes) => readonly PartialShape[];
}
