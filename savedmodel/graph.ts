/** A SavedModel's graph as it is stored: our own types over TensorFlow's GraphDef, FunctionDef, AttrValue and SignatureDef. */
import type { Tensor } from '#mesh/tensor.ts';

/** A dtype as a `tensorflow.DataType` number: graphs also name dtypes that no client can send (resource 20, variant 21, quantised ones). */
export type DataTypeNumber = number;

/** A shape as stored: `null` for an unknown rank, -1 for an unknown size. */
export type PartialShape = readonly number[] | null;

/** One attribute of a node. `placeholder` names an attribute of the calling node, in a function's body. */
export type AttrValue =
  | { readonly type: 'string'; readonly value: Uint8Array }
  | { readonly type: 'int'; readonly value: number }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'dtype'; readonly value: DataTypeNumber }
  | { readonly type: 'shape'; readonly value: PartialShape }
  | { readonly type: 'tensor'; readonly value: Tensor }
  | { readonly type: 'function'; readonly name: string; readonly attrs: ReadonlyMap<string, AttrValue> }
  | { readonly type: 'placeholder'; readonly name: string }
  | { readonly type: 'list'; readonly values: readonly AttrValue[] };

/** A node as stored. Inputs: `name`, `name:index`, `^name` (control); in a function's body `arg` or `node:out_arg:index`. */
export interface StoredNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly attrs: ReadonlyMap<string, AttrValue>;
}

/** An argument of an op or function. A list has a `numberAttr` (equal dtypes) or a `typeListAttr`. */
export interface ArgDef {
  readonly name: string;
  readonly dtype?: DataTypeNumber;
  readonly typeAttr?: string;
  readonly numberAttr?: string;
  readonly typeListAttr?: string;
}

/** A function of the library. */
export interface StoredFunction {
  readonly name: string;
  readonly inputs: readonly ArgDef[];
  readonly outputs: readonly ArgDef[];
  readonly nodes: readonly StoredNode[];
  /** Output argument to the value in the body that it returns. */
  readonly returns: ReadonlyMap<string, string>;
  /** Nodes that must run for their effect. */
  readonly controlReturns: readonly string[];
  readonly attrs: ReadonlyMap<string, AttrValue>;
}

/** One named input or output of a signature. A sparse one has three tensors instead of one. */
export interface StoredTensorInfo {
  /** `node:index`; empty for a sparse tensor. */
  readonly tensorName: string;
  readonly dtype: DataTypeNumber;
  readonly shape: PartialShape;
  readonly dimNames: readonly string[];
  readonly sparse?: { readonly values: string; readonly indices: string; readonly denseShape: string };
}

/** A signature as stored. */
export interface StoredSignature {
  readonly inputs: ReadonlyMap<string, StoredTensorInfo>;
  readonly outputs: ReadonlyMap<string, StoredTensorInfo>;
  readonly methodName: string;
  /** Inputs that may be left out, with what they are then. */
  readonly defaults: ReadonlyMap<string, Tensor>;
}

/** One MetaGraph. */
export interface MetaGraph {
  readonly tags: readonly string[];
  readonly tensorflowVersion: string;
  readonly nodes: readonly StoredNode[];
  readonly functions: ReadonlyMap<string, StoredFunction>;
  /** Without `__saved_model_init_op`, which is in `initOp`. */
  readonly signatures: ReadonlyMap<string, StoredSignature>;
  /** Tensors that stand for the path of a file below `assets/`. */
  readonly assets: readonly { readonly tensorName: string; readonly fileName: string }[];
  /** The node (or function output) that initialises tables: `saved_model_main_op`, `legacy_init_op` or `__saved_model_init_op`. */
  readonly initOp: string | null;
  /** The saver that restores variables; null in a model without variables. */
  readonly saver: { readonly filenameTensorName: string; readonly restoreOpName: string } | null;
  /** Definitions of ops that the model carries itself (custom ops, and more). */
  readonly strippedOps: ReadonlyMap<
    string,
    { readonly inputs: readonly ArgDef[]; readonly outputs: readonly ArgDef[]; readonly defaults: ReadonlyMap<string, AttrValue> }
  >;
}
