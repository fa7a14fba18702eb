/**
 * What an executor and its thread say to each other. Tensors lie in shared memory, and only where they lie travels; an executor that is a process
 * gets and gives their bytes with the message.
 */
import type { StatusCode } from '#mesh/errors.ts';
import type { DType } from '#mesh/tensor.ts';
import type { FromUserCode, RunContext, ToUserCode } from './call-protocol.ts';
import type { LoadRequest, ModelDescription } from './runtime.ts';

/** Every tensor starts at a multiple of this, so that any typed array can be laid over it. */
export const TENSOR_ALIGNMENT = 8;

/** Batches an executor holds at once: one runs while the next is assembled. */
export const SLOTS_PER_EXECUTOR = 2;

/**
 * Batches a thread holds at once while all of them together are short: what wakes a thread, and what wakes the service when it is done, costs more
 * than they do, and then one wake-up serves several.
 */
export const SLOTS_FOR_SHORT = 16;

/** A servable on the executors of one worker: a number, so that two generations of one version can stand side by side. */
export type ModelKey = number & { readonly brand: 'ModelKey' };

/** Outputs of at least so many bytes get memory of their own: it goes with the output, where a region would stay as large for good. */
export const OWN_OUTPUT_BYTES = 1024 * 1024;

/** Where a tensor lies: in its slot's region, or in a buffer of its own. */
export interface TensorPlace {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly byteLength: number;
  /** Its own buffer, shared for an input, given away with the message for an output; absent: the slot's region. */
  readonly buffer?: SharedArrayBuffer | ArrayBuffer;
}

/** To the thread. It answers each message with one, in order. */
export type ToThread =
  | {
      readonly type: 'load';
      readonly model: ModelKey;
      readonly runtime: string;
      readonly request: LoadRequest;
      /** What the code of users in it is called; none: there is none. */
      readonly userCode: readonly string[];
    }
  | { readonly type: 'unload'; readonly model: ModelKey }
  | {
      readonly type: 'run';
      readonly model: ModelKey;
      readonly slot: number;
      readonly signature: string;
      readonly outputs: readonly string[];
      readonly inputs: readonly TensorPlace[];
      /** What user code may be told of the requests. */
      readonly context?: RunContext;
      /** The slot's input region, when it is new. */
      readonly region?: SharedArrayBuffer;
      /** Instead of a region: what lies in it. */
      readonly carried?: Carried;
    };

/** From the thread. */
export type FromThread =
  | { readonly type: 'loaded'; readonly description: ModelDescription }
  | { readonly type: 'unloaded' }
  | {
      readonly type: 'ran';
      readonly executedMs: number;
      readonly outputs: readonly TensorPlace[];
      /** The slot's output region, when it is new. */
      readonly region?: SharedArrayBuffer;
      /** Instead of a region: what lies in it. */
      readonly carried?: Carried;
      /** Calls of users' code in this run; absent: none. */
      readonly calls?: readonly CallCount[];
    }
  | {
      readonly type: 'failed';
      readonly executedMs: number;
      readonly code: StatusCode;
      readonly message: string;
      readonly calls?: readonly CallCount[];
      /** The code of a user that failed. */
      readonly failedIn?: string;
    };

/** The bytes of tensors, from a multiple of the alignment; or how many of them come by the pipe for large ones. */
export type Carried = Uint8Array | { readonly piped: number };

/** How often code of a user was called in a run, and for how long in all. */
export interface CallCount {
  readonly name: string;
  readonly count: number;
  readonly tookMs: number;
}

/** To an executor's process. */
export type ToProcess =
  | ToThread
  /** For user code: see `call-protocol.ts`. */
  | { readonly type: 'calls'; readonly message: ToUserCode };

/** From an executor's process. */
export type FromProcess =
  | FromThread
  /** The code of a user that runs from now on. */
  | { readonly type: 'entered'; readonly name: string }
  /** An error that belongs to no call; the process ends. */
  | { readonly type: 'threw'; readonly text: string }
  | { readonly type: 'calls'; readonly message: FromUserCode };

/** What a thread is started with. */
export interface ThreadData {
  /** One Int32, raised and notified after each message to the thread. */
  readonly wake: SharedArrayBuffer;
}

/** Rounds up to the alignment of tensors. */
export function alignedBytes(byteLength: number): number {
  return Math.ceil(byteLength / TENSOR_ALIGNMENT) * TENSOR_ALIGNMENT;
}

/** A region that holds `byteLength`: `region` itself when it is large enough, else a new one, a power of two of at least 4 KiB. */
export function grownRegion(region: SharedArrayBuffer | undefined, byteLength: number): SharedArrayBuffer {
  if (region !== undefined && region.byteLength >= byteLength) return region;
  return new SharedArrayBuffer(2 ** Math.ceil(Math.log2(Math.max(4096, byteLength))));
}
