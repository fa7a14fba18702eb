/** Custom servables: anything that answers named tensors with named tensors, loaded from a path, versioned and batched like a model. */
import type { DType, PartialShape, TypedTensor } from './tensors.ts';

/** What a module of servables exports as its default: the source adapter, from the path of a version to a loader. */
export type ServableAdapter = (path: string, context: AdapterContext) => Loader;

/** What an adapter is told. */
export interface AdapterContext {
  readonly name: string;
  readonly version: number;
}

/** Loads and unloads one version. `estimate` comes first, then `load`, in the end `unload`; each at most once. */
export interface Loader {
  /** Memory that it will take, in bytes, known without loading it. */
  estimate(): number | Promise<number>;
  load(context: LoadContext): ServableVersion | Promise<ServableVersion>;
  /** Gives everything back. Called after a `load` that succeeded; not when the process died. */
  unload?(): void | Promise<void>;
}

/** What loading may use. */
export interface LoadContext {
  /** Aborts when the version is no longer wanted. */
  readonly signal: AbortSignal;
  /**
   * State that several servables of this module share on one thread: made by the first that asks for the key, disposed when the last that
   * asked has been unloaded.
   */
  shared<State extends Disposable | AsyncDisposable>(key: string, make: () => State | Promise<State>): Promise<State>;
  /** Writes a line to the worker's log. */
  log(message: string, facts?: Readonly<Record<string, string | number | boolean>>): void;
}

/** A loaded version. */
export interface ServableVersion {
  /** By name; `serving_default` is used when a client names none. At least one. */
  readonly signatures: Readonly<Record<string, ServableSignature>>;
  /** It keeps state between requests: then no request is executed twice. Default false. */
  readonly stateful?: boolean;
  /**
   * Answers one batch: a tensor for each output of the signature (or at least for each of `context.outputs`), with one row for each row of the
   * inputs where the signature is batchable. Inputs are valid until it settles, and not to be changed. An Error that it throws fails the requests
   * of the batch: with the status that its `code` names (`NOT_FOUND`) and its text, or else as INTERNAL with the module's name. Requests of a
   * batch that failed run again, each alone, unless the servable is stateful.
   */
  run(signature: string, inputs: Readonly<Record<string, TypedTensor>>, context: CallContext): NamedResults | Promise<NamedResults>;
}

/** Outputs by name. */
export type NamedResults = Readonly<Record<string, TypedTensor>>;

/** One way to call a servable. */
export interface ServableSignature {
  /** Default `tensorflow/serving/predict`. */
  readonly method?: 'tensorflow/serving/predict' | 'tensorflow/serving/classify' | 'tensorflow/serving/regress';
  readonly inputs: Readonly<Record<string, ServableTensor>>;
  readonly outputs: Readonly<Record<string, ServableTensor>>;
  /** Rows along dimension 0 are independent, so that requests may share a batch. Default false. */
  readonly batchable?: boolean;
}

/** What a named tensor is. */
export interface ServableTensor {
  readonly dtype: DType;
  /** What clients are told, and held to: other shapes are refused before the servable sees them. */
  readonly shape: PartialShape;
}

/** What one call may use. */
export interface CallContext {
  /** The outputs that the caller asked for. */
  readonly outputs: readonly string[];
  /** Aborts when nobody waits for the answer any more: the deadline is over, or all callers are gone. */
  readonly signal: AbortSignal;
  /** How many ms remain. */
  remainingMs(): number;
  /**
   * Calls another servable through the mesh, within this call's deadline. Rejects with an Error whose `code` is the status code and whose
   * message is what a client would see. Refused with FAILED_PRECONDITION: a call back to a servable that waits for this one, or to another
   * servable of the same module, which would need the executor that this one has.
   */
  infer(request: InferOther): Promise<NamedResults>;
}

/** A call of another servable. */
export interface InferOther {
  readonly model: string;
  readonly version?: number;
  readonly label?: string;
  readonly signature?: string;
  readonly inputs: Readonly<Record<string, TypedTensor>>;
  /** Default: all. */
  readonly outputs?: readonly string[];
}
