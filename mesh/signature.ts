/** Signatures: the named inputs and outputs through which a servable is called (TensorFlow's `SignatureDef`, in our own words). */
import type { DType, NamedTensors, Tensor } from './tensor.ts';

/** The method a signature declares; it decides which RPCs may use it when `--enable_signature_method_name_check` is on. */
export type SignatureMethod = 'tensorflow/serving/predict' | 'tensorflow/serving/classify' | 'tensorflow/serving/regress' | (string & {});

/** One named input or output. */
export interface TensorSpec {
  readonly dtype: DType;
  /**
   * The shape clients are told (`null`: unknown rank; -1: any size). Advisory, as in TensorFlow Serving: half_plus_two declares [-1, 1]
   * and takes [3]. What is enforced is `accepts`.
   */
  readonly shape: readonly number[] | null;
  /** The shape the runtime insists on (`null`: anything goes; -1: any size). The gateway refuses what does not fit. */
  readonly accepts: readonly number[] | null;
  /** The tensor's name in the graph, for metadata and error texts, such as `x:0`. */
  readonly tensorName: string;
  /** Names of dimensions for metadata, where the model has them; same length as `shape`. */
  readonly dimNames?: readonly string[];
  /** What metadata shows instead of `dtype`, where that differs: a TF1 model's `DT_FLOAT_REF`, whose values are floats. */
  readonly listedDtype?: ListedDtype;
  /** An input that may be left out is this then. */
  readonly default?: StoredTensor;
}

/** A tensor of a spec's dtype as it travels in the control plane's JSON. */
export interface StoredTensor {
  readonly shape: readonly number[];
  /** Base64 of `Tensor.bytes`. */
  readonly base64: string;
}

/** A dtype as metadata shows it: its number in `tensorflow.DataType` and its name there. Also those that no tensor of ours has. */
export interface ListedDtype {
  readonly number: number;
  /** Such as `DT_INVALID` or `DT_FLOAT_REF`. */
  readonly protoName: string;
}

/** An input or output that nobody can send or receive: one without a dtype of ours, or a sparse one. It is there for metadata alone. */
export interface ListedSpec {
  readonly dtype: ListedDtype;
  readonly shape: readonly number[] | null;
  /** Empty for a sparse one. */
  readonly tensorName: string;
  readonly dimNames?: readonly string[];
  /** The three tensors of a sparse one. */
  readonly sparse?: { readonly values: string; readonly indices: string; readonly denseShape: string };
}

/** One way to call a servable. */
export interface Signature {
  readonly method: SignatureMethod;
  readonly inputs: Readonly<Record<string, TensorSpec>>;
  readonly outputs: Readonly<Record<string, TensorSpec>>;
  /**
   * True when rows along dimension 0 are independent, so that requests may share a batch. Needs a free dimension 0 in every input and output
   * (or an unknown rank), and says that the model keeps rows apart.
   */
  readonly batchable: boolean;
  /**
   * Inputs and outputs that only metadata shows, beside `inputs` and `outputs`. A signature that has some is listed and not run: a SavedModel's
   * `__saved_model_init_op` is one.
   */
  readonly listedOnly?: {
    readonly inputs: Readonly<Record<string, ListedSpec>>;
    readonly outputs: Readonly<Record<string, ListedSpec>>;
  };
}

/** Signatures by key; `serving_default` is used when a client names none. */
export type Signatures = Readonly<Record<string, Signature>>;

/** The signature of a request that names none. */
export const DEFAULT_SIGNATURE = 'serving_default';

/** True when a concrete shape fits a spec's shape, where `null` takes everything and -1 any size. */
export function shapeFits(shape: readonly number[], wanted: readonly number[] | null): boolean {
  if (wanted === null) return true;
  if (shape.length !== wanted.length) return false;
  return wanted.every((dim, axis) => dim < 0 || dim === shape[axis]);
}

/** What inputs are that a request may leave out, by alias. Decoded at each call. */
export function defaultInputs({ inputs }: Signature): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(
    Object.entries(inputs).flatMap(([alias, { dtype, default: stored }]) =>
      stored === undefined ? [] : [[alias, { dtype, shape: stored.shape, bytes: new Uint8Array(Buffer.from(stored.base64, 'base64')) }]],
    ),
  );
}

/** The inputs, and beside them the defaults of those that were left out. The same object when none was. */
export function withDefaults(signature: Signature, inputs: NamedTensors): NamedTensors {
  for (const alias in signature.inputs) {
    if (signature.inputs[alias]?.default === undefined || inputs.has(alias)) continue;
    return new Map([...Object.entries(defaultInputs(signature)), ...inputs]);
  }
  return inputs;
}
