/**
 * Classify, Regress and MultiInference as the protocols call them: serialized `tf.Example`s in, classes or values out. Each is one inference
 * of a signature with a single string input; what the methods demand of that signature is checked in `classify-regress.ts`.
 */
import type { ResolvedServable } from './core.ts';

/** One Classify or Regress call. */
export interface ExamplesRequest {
  readonly servable: ResolvedServable;
  /** The signature's key; empty for the default one. */
  readonly signatureName: string;
  /** Serialized `tf.Example`s, a context already put before each. None is refused with `Input is empty.` */
  readonly examples: readonly Uint8Array[];
  /** The instant on the gateway's Clock after which the answer is useless; Infinity: none. */
  readonly deadlineMs: number;
  /** W3C traceparent of the client; empty without one. */
  readonly traceparent: string;
}

/** One class of one example. */
export interface Classification {
  /** UTF-8 by custom; empty when the signature has no `classes` output. */
  readonly label: Uint8Array;
  /** 0 when the signature has no `scores` output. */
  readonly score: number;
}

/** A call under way. */
export interface PendingExamples<Result> {
  /** Rejects with ServeError only; what the checks find wrong comes this way too, never as an exception of the call itself. */
  readonly answer: Promise<Result>;
  /** The caller has gone: `answer` then rejects with CANCELLED. */
  cancel(): void;
}

/** One task of a MultiInference. */
export interface InferenceTask {
  /** The signature's key; empty for the default one. */
  readonly signatureName: string;
  /** `tensorflow/serving/classify` or `tensorflow/serving/regress`; anything else is UNIMPLEMENTED. */
  readonly methodName: string;
}

/** Several tasks over the same examples of one model. */
export interface MultiInferenceRequest {
  readonly servable: ResolvedServable;
  readonly tasks: readonly InferenceTask[];
  readonly examples: readonly Uint8Array[];
  readonly deadlineMs: number;
  readonly traceparent: string;
}

/** The result of one task; `signatureName` is the key that was used, never empty. */
export type TaskResult =
  | { readonly type: 'classify'; readonly signatureName: string; readonly classifications: readonly (readonly Classification[])[] }
  | { readonly type: 'regress'; readonly signatureName: string; readonly values: readonly number[] };

/** The three methods that take `tf.Example`s. The calls themselves never throw: what is wrong comes by `PendingExamples.answer`. */
export interface ExamplesApi {
  /** One list of classes for each example, in order. */
  classify(request: ExamplesRequest): PendingExamples<readonly (readonly Classification[])[]>;
  /** One value for each example, in order. */
  regress(request: ExamplesRequest): PendingExamples<readonly number[]>;
  /** One result for each task, in order. */
  multiInference(request: MultiInferenceRequest): PendingExamples<readonly TaskResult[]>;
}
