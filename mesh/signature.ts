/** Signatures: the named inputs and outputs through which a servable is called (TensorFlow's `SignatureDef`, in our own words). */
import type { DType } from './tensor.ts';

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
