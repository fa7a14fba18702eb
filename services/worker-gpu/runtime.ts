/**
 * Runtimes: what computes a servable. A runtime is a module that exports `createRuntime(): Runtime`; an executor's thread imports it by URL,
 * so it runs beside the service's main thread and may block. `runtimes/onnx.ts` is one; a servable of a user's own is another.
 */
import type { Signatures } from '#mesh/signature.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';

/** How one executor loads one servable. */
export interface LoadRequest {
  /** The version's folder. */
  readonly path: string;
  /** Threads inside one operator; at least 1. */
  readonly intraOpThreads: number;
  /** Threads over operators; 1: operators run one after another. */
  readonly interOpThreads: number;
  /** In order of preference; one that is not there falls through to the next, the last is always `cpu`. */
  readonly executionProviders: readonly string[];
}

/** What a runtime says of a servable it has loaded. */
export interface ModelDescription {
  readonly signatures: Signatures;
  readonly stateful: boolean;
  /** The execution provider in use. */
  readonly executionProvider: string;
  /** Sentences for the log: providers that were not there, hazards found in the graph. */
  readonly remarks: readonly string[];
}

/** A servable in memory, on one thread. Calls come one at a time. */
export interface LoadedModel {
  readonly description: ModelDescription;
  /**
   * Runs one signature. Inputs are views into shared memory, aligned to 8 bytes, valid and unchanged until the call settles. Gives one tensor
   * for each name of `outputs`, in that order; their bytes need to stay valid until the next call only, and may be views of the inputs.
   * Rejects with ServeError: INVALID_ARGUMENT for what the caller can mend, INTERNAL otherwise.
   */
  run(signature: string, outputs: readonly string[], inputs: NamedTensors): Promise<readonly Tensor[]>;
  /** Gives its memory back. */
  close(): Promise<void>;
}

/** Loads servables of one kind. */
export interface Runtime {
  /** Rejects with ServeError whose message names the file and what is wrong with it. */
  load(request: LoadRequest): Promise<LoadedModel>;
}

/** What a runtime's module exports. */
export interface RuntimeModule {
  createRuntime(): Runtime;
}
