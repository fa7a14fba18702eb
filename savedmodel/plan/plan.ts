/**
 * A plan: what an import makes of a SavedModel. A folder with `plan.json` (a {@link Plan}), ONNX segments, and `constants.bin`. It is read on
 * every executor that hosts the model, and needs nothing of the SavedModel but its `assets/`.
 */
import type { Signature } from '#mesh/signature.ts';
import type { DType } from '#mesh/tensor.ts';

/** Goes up when plans of older importers can no longer be run; part of a cached plan's address. */
export const PLAN_VERSION = 1;

/** The file of a plan's folder that holds the {@link Plan} as JSON. */
export const PLAN_FILE = 'plan.json';

/** The file that holds the bytes of constants and variables that host steps use. */
export const CONSTANTS_FILE = 'constants.bin';

/** A whole plan. */
export interface Plan {
  readonly version: number;
  readonly signatures: Readonly<Record<string, SignaturePlan>>;
  readonly segments: readonly SegmentPlan[];
  /** Tensors in `constants.bin`: row-major and little-endian, strings in the layout of `#mesh/tensor.ts`; each starts at a multiple of 8. */
  readonly constants: readonly ConstantPlan[];
  readonly tables: readonly TablePlan[];
  /** Variables that some signature writes: they live on the worker. */
  readonly variables: readonly VariablePlan[];
  /** Sentences for the log. */
  readonly remarks: readonly string[];
  /** The custom ops that it uses; absent without any. */
  readonly ops?: readonly PlannedOp[];
}

/** A custom op of a plan. */
export interface PlannedOp {
  readonly name: string;
  readonly domain: string;
  /** A kernel runs on executors, which need its module; a function is part of the segments. */
  readonly form: 'kernel' | 'onnx';
  /** Digest of the module that defined it. */
  readonly module: string;
}

/** How one signature is run. */
export interface SignaturePlan {
  readonly signature: Signature;
  /** It writes variables or tables. */
  readonly stateful: boolean;
  /** Empty for a signature that is refused. */
  readonly program: Program;
  /** Why it cannot be served, while other signatures can: a run of it is answered with UNIMPLEMENTED and this. Null when it can. */
  readonly refusal: string | null;
}

/** One ONNX model. */
export interface SegmentPlan {
  /** In the plan's folder. */
  readonly file: string;
  readonly inputs: readonly SegmentValue[];
  readonly outputs: readonly SegmentValue[];
  /** How many ONNX nodes it has. */
  readonly nodeCount: number;
}

/** An input or output of a segment; `shape` as declared in the model: null for any, -1 for any size. */
export interface SegmentValue {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[] | null;
}

/** Where a constant lies. */
export interface ConstantPlan {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly byteLength: number;
}

/** A lookup table, filled when the plan is loaded. */
export interface TablePlan {
  /** The table's node, for error texts. */
  readonly name: string;
  /** Its op: `HashTableV2`, … */
  readonly op: string;
  readonly keyDtype: DType;
  readonly valueDtype: DType;
  /** In the order in which they fill it. */
  readonly sources: readonly TableFill[];
  /** Some signature inserts into it: it is state of the worker. */
  readonly written: boolean;
}

/** What fills a table: two constants, or a file below the SavedModel's `assets/`. */
export type TableFill =
  | { readonly type: 'tensors'; readonly keys: number; readonly values: number }
  | {
      readonly type: 'text-file';
      readonly fileName: string;
      readonly keyIndex: number;
      readonly valueIndex: number;
      readonly vocabSize: number;
      readonly delimiter: string;
      readonly offset: number;
    };

/** A variable on the worker. */
export interface VariablePlan {
  readonly name: string;
  readonly dtype: DType;
  /** Index of the constant that it starts as; null for one that nothing initialises. */
  readonly initial: number | null;
}

/** Steps over slots: each slot is written by one input or step (of one round, in loops) before it is read. */
export interface Program {
  readonly slotCount: number;
  readonly inputs: readonly { readonly alias: string; readonly dtype: DType; readonly slot: number }[];
  readonly outputs: readonly { readonly alias: string; readonly dtype: DType; readonly value: Operand }[];
  readonly steps: readonly Step[];
}

/** What a step reads. */
export type Operand =
  | { readonly slot: number }
  /** Index into `constants`. */
  | { readonly constant: number }
  /** Index into `tables`: the table's handle. */
  | { readonly table: number }
  /** Index into `variables`: the variable's handle. */
  | { readonly variable: number };

/** One step. */
export type Step = OnnxStep | HostStep | WhileStep | BranchStep;

/** Runs a segment. */
export interface OnnxStep {
  readonly type: 'onnx';
  readonly segment: number;
  readonly inputs: readonly { readonly name: string; readonly value: Operand }[];
  readonly outputs: readonly { readonly name: string; readonly slot: number }[];
}

/** Runs a kernel, or an op over tables, variables or TensorLists. */
export interface HostStep {
  readonly type: 'host';
  readonly op: string;
  /** The node's name in the graph after inlining, for traces. */
  readonly node: string;
  /** Where TensorFlow says that an error of it is, such as `{{function_node F}}{{node N}}`; absent for `{{node NAME}}`. */
  readonly place?: string;
  readonly attrs: Readonly<Record<string, StoredAttr>>;
  readonly inputs: readonly Operand[];
  /** Null for an output that nothing reads. */
  readonly outputs: readonly (number | null)[];
  /** It must run whatever outputs are asked for: a write, an assert. */
  readonly effect: boolean;
}

/** A loop: while the condition holds, runs the body. */
export interface WhileStep {
  readonly type: 'while';
  readonly node: string;
  readonly carried: readonly {
    readonly initial: Operand;
    /** Where condition and body read it. */
    readonly slot: number;
    /** What a round makes of it. */
    readonly next: Operand;
    /** Where its last value goes; null when nothing reads it. */
    readonly result: number | null;
  }[];
  readonly condition: { readonly steps: readonly Step[]; readonly value: Operand };
  readonly body: readonly Step[];
  readonly effect: boolean;
}

/** An If (branches: then, else; the selector is a predicate) or a Case (the selector is an index; out of range means the last branch). */
export interface BranchStep {
  readonly type: 'branch';
  readonly kind: 'if' | 'case';
  readonly node: string;
  readonly selector: Operand;
  readonly branches: readonly { readonly steps: readonly Step[]; readonly results: readonly Operand[] }[];
  /** Null for a result that nothing reads. */
  readonly outputs: readonly (number | null)[];
  readonly effect: boolean;
}

/** An attribute in JSON: bytes in base64, dtypes as `tensorflow.DataType` numbers. */
export type StoredAttr =
  | { readonly type: 'string'; readonly base64: string }
  | { readonly type: 'int' | 'dtype'; readonly value: number }
  /** An int beyond 2^53. */
  | { readonly type: 'bigint'; readonly value: string }
  /** A float; `NaN` and the infinities as text. */
  | { readonly type: 'float'; readonly value: number | string }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'shape'; readonly value: readonly number[] | null }
  | { readonly type: 'tensor'; readonly dtype: DType; readonly shape: readonly number[]; readonly base64: string }
  | { readonly type: 'list'; readonly values: readonly StoredAttr[] };
