/**
 * Runtimes: what computes a servable. A runtime is a module that exports `createRuntime(): Runtime`; an executor's thread imports it by URL,
 * so it runs beside the service's main thread and may block. `runtimes/onnx.ts` is one; a servable of a user's own is another.
 */

import type { ServableId } from '#mesh/ids.ts';
import type { Signatures } from '#mesh/signature.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import type { OpModule } from '../../savedmodel/ops/op-modules.ts';
import type { CallPort, RunContext } from './call-protocol.ts';

/** How one executor loads one servable. */
export interface LoadRequest {
  /** Absent where no servable is loaded but a folder is looked at. */
  readonly servable?: ServableId;
  /** The version's folder, or file. */
  readonly path: string;
  /** The module of user code that loads it, for a platform that has one. */
  readonly module?: UserModule;
  /** The modules of the kernels of custom ops that it runs. */
  readonly opModules?: readonly OpModule[];
  /** For user code: under which number it hears that the load is not wanted any more. */
  readonly context?: RunContext;
  /** Where what was made of it lies, for a platform that prepares versions. */
  readonly preparedFolder?: string;
  /** Threads inside one operator; at least 1. */
  readonly intraOpThreads: number;
  /** Threads over operators; 1: operators run one after another. */
  readonly interOpThreads: number;
  /** In order of preference; one that is not there falls through to the next, the last is always `cpu`. */
  readonly executionProviders: readonly string[];
}

/** A module of user code. */
export interface UserModule {
  /** How the settings name it. */
  readonly name: string;
  /** A file URL with the digest of the file's content in its query, so that a changed file is another module. */
  readonly url: string;
}

/** What a runtime says of a servable it has loaded. */
export interface ModelDescription {
  readonly signatures: Signatures;
  readonly stateful: boolean;
  /** The module of user code that computes it; absent for all other kinds. */
  readonly userCode?: string;
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
  run(signature: string, outputs: readonly string[], inputs: NamedTensors, context?: RunContext): Promise<readonly Tensor[]>;
  /** Gives its memory back. */
  close(): Promise<void>;
}

/** Loads servables of one kind. */
export interface Runtime {
  /** Rejects with ServeError whose message names the file and what is wrong with it. */
  load(request: LoadRequest): Promise<LoadedModel>;
}

/** What the thread that runs a runtime has for it. */
export interface RuntimeHost {
  /** Where user code asks for what the main thread has. */
  readonly calls?: CallPort;
  /**
   * On executors of user code: says which of a servable's several names (`UserCode.names`) runs from now on (undefined: none), so that errors,
   * metrics and traces name the right one.
   */
  readonly enter?: (name: string | undefined) => void;
}

/** What a runtime's module exports. */
export interface RuntimeModule {
  createRuntime(host: RuntimeHost): Runtime;
}
