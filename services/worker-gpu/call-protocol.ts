/** What user code on an executor's thread and the worker's main thread say to each other while a run is under way, on a port of their own. */
import type { MessagePort } from 'node:worker_threads';
import type { StatusCode } from '#mesh/errors.ts';
import type { Tensor } from '#mesh/tensor.ts';

/** What a run's message tells the thread of the requests that wait for it. */
export interface RunContext {
  /** Unique within the worker's life. */
  readonly run: number;
  /** Milliseconds left, when sent, of the request with the least. Infinity: no deadline. */
  readonly budgetMs: number;
}

/** Named tensors as they cross between threads. Each has memory of its own. */
export type PostedTensors = readonly (Tensor & { readonly name: string })[];

/** A call of another servable, as the thread asks for it. */
export interface PostedCall {
  readonly model: string;
  readonly version: number | null;
  readonly label: string | null;
  readonly signature: string;
  readonly outputs: readonly string[];
  readonly inputs: PostedTensors;
}

/** To the main thread. */
export type FromUserCode =
  /** Answered with `outputs` or `error` for the same call. */
  | { readonly type: 'infer'; readonly run: number; readonly call: number; readonly request: PostedCall }
  /** Answered with `flushed` when all that was said before it has arrived. */
  | { readonly type: 'flush' }
  | {
      readonly type: 'log';
      /** Name of the module. */
      readonly module: string;
      readonly message: string;
      readonly facts: Readonly<Record<string, string | number | boolean>>;
    };

/** To the thread. */
export type ToUserCode =
  | { readonly type: 'outputs'; readonly call: number; readonly outputs: PostedTensors }
  | { readonly type: 'error'; readonly call: number; readonly code: StatusCode; readonly message: string }
  | { readonly type: 'flushed' }
  /** Nobody waits for a run any more. */
  | { readonly type: 'abort'; readonly run: number; readonly code: StatusCode; readonly message: string };

/** Tensors to post, and the memory to hand over with them. Copies: the bytes may be views of what others use. */
export function postable(tensors: Iterable<readonly [string, Tensor]>): {
  readonly tensors: PostedTensors;
  readonly transfer: readonly ArrayBuffer[];
} {
  const transfer: ArrayBuffer[] = [];
  const posted = [...tensors].map(([name, { dtype, shape, bytes }]) => {
    const own = new Uint8Array(bytes);
    transfer.push(own.buffer);
    return { name, dtype, shape: [...shape], bytes: own };
  });
  return { tensors: posted, transfer };
}

/** The thread's end of the port. */
export type CallPort = MessagePort;
