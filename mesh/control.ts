/**
 * The documents of the control plane, as they travel between registry, workers, batchers and gateways (JSON over the transport).
 * None of them is on the path of a request.
 */
import type { StatusCode } from './errors.ts';
import type { MemberId, ServableId } from './ids.ts';
import type { Signatures } from './signature.ts';

/** TensorFlow Serving's states of a version, in the order of its life. */
export type ServableState = 'START' | 'LOADING' | 'AVAILABLE' | 'UNLOADING' | 'END';

/** A status as it is reported: OK, or a code with the text that goes to the client. */
export interface StatusReport {
  readonly code: StatusCode | 'OK';
  readonly message: string;
}

/** The status of what is well. */
export const OK_STATUS: StatusReport = { code: 'OK', message: '' };

/** TF Serving's `BatchingParameters`, with defaults filled in. Batch sizes count rows. */
export interface BatchingLimits {
  /** Rows in one formed batch, and in one request unless splitting is on. */
  readonly maxBatchSize: number;
  /** How long a batch that is not full waits for more, in µs, while the device is busy. 0: it closes as soon as a token is there. */
  readonly batchTimeoutMicros: number;
  /** Full batches a lane may hold before it refuses. */
  readonly maxEnqueuedBatches: number;
  /** Batches executed at once on one worker. Its tokens for the servable follow from it: one more may be ready. */
  readonly numBatchThreads: number;
  /** Increasing; a batch is padded up to the next one. Empty: no padding. */
  readonly allowedBatchSizes: readonly number[];
  /** Pad inner dimensions to the largest in the batch, so that requests of unequal inner shape share a lane. */
  readonly padVariableLengthInputs: boolean;
  /** Split a request that is larger than a batch over several. */
  readonly enableLargeBatchSplitting: boolean;
  /** With splitting: rows of an executed batch; at most `maxBatchSize`. */
  readonly maxExecutionBatchSize: number;
  /** The label of metrics. */
  readonly threadPoolName: string;
}

/** TF Serving's defaults. `numBatchThreads` 0: as many as the worker has executors. */
export const DEFAULT_BATCHING: BatchingLimits = {
  maxBatchSize: 1000,
  batchTimeoutMicros: 0,
  maxEnqueuedBatches: 10,
  numBatchThreads: 0,
  allowedBatchSizes: [],
  padVariableLengthInputs: false,
  enableLargeBatchSplitting: false,
  maxExecutionBatchSize: 1000,
  threadPoolName: 'batch_threads',
};

/** How a servable is to be run; part of its assignment. */
export interface RunSettings {
  /** Executors that may run it at the same time on one worker; 0: as many as the worker has cores. */
  readonly instances: number;
  /** Threads inside one operator; 0: one. */
  readonly intraOpThreads: number;
  /** Execution providers in order of preference: cpu, cuda, webgpu. Empty: the worker's own default. */
  readonly executionProviders: readonly string[];
  readonly warmup: boolean;
  /** Times each warmup record is replayed; at least 1. */
  readonly warmupIterations: number;
  readonly maxLoadRetries: number;
  /** Negative: retry at once. */
  readonly loadRetryIntervalMicros: number;
}

/** What of a SavedModel is imported: with the importer's version this is the address of the result in an import cache. */
export interface ImportSource {
  /** SHA-256 over the files that an import reads, in hex; empty: not known. */
  readonly digest: string;
  /** Those of the MetaGraph that is served. */
  readonly tags: readonly string[];
}

/** One version that a worker shall hold. */
export interface AssignedServable {
  readonly id: ServableId;
  /** The version's folder, as the worker sees it. */
  readonly path: string;
  /** `tensorflow`, `onnx`, or empty to find out from the folder. */
  readonly platform: string;
  /** For a version that has to be imported: what of it. Absent for every other one. */
  readonly imported?: ImportSource;
  /** The batching of this servable; null: one request at a time. */
  readonly batching: BatchingLimits | null;
  /**
   * `--enable_per_model_batching_parameters`: the worker reads `batching_params.pbtxt` in the version's folder instead (absent: no batching);
   * `batching` then only gives `numBatchThreads` and `threadPoolName`.
   */
  readonly perModelBatching: boolean;
  readonly run: RunSettings;
  /** Goes up when the same version must be loaded again (its files were replaced). */
  readonly generation: number;
}

/**
 * All that one worker shall hold: a full, idempotent list. What is not in it is unloaded once no batch uses it. Or, with `since`, what has
 * changed of a long one.
 */
export interface Assignment {
  /** The leadership under which it was made: a worker ignores a token lower than the highest it has seen. */
  readonly fencingToken: number;
  /** Goes up with each assignment of one leadership. */
  readonly revision: number;
  readonly servables: readonly AssignedServable[];
  /**
   * The revision of the same leadership that this one changes: servables that are not named stay as they are. A worker that has another
   * revision ignores it, and is told all of it later. Absent: the list is full.
   */
  readonly since?: number;
  /** With `since`: what shall be held no more. */
  readonly removed?: readonly ServableId[];
  /** A full list that is too large for one message: which part this is, from 0. It counts once all parts of a revision are there. */
  readonly part?: { readonly index: number; readonly count: number };
}

/** The state of one servable on one worker. */
export interface HeldServable {
  readonly id: ServableId;
  readonly generation: number;
  readonly state: ServableState;
  readonly status: StatusReport;
  /** Batches the worker takes of it at once from each batcher (ready tokens). 0 unless AVAILABLE. */
  readonly tokens: number;
  /** Memory it is estimated to need, in bytes. */
  readonly estimatedBytes: number;
  /** The batching in force; null: one request at a time. Batchers follow this, so that they need no registry. */
  readonly batching: BatchingLimits | null;
  /** The servable keeps state between requests: a request to it is never executed twice. */
  readonly stateful: boolean;
}

/** What each kind of member announces with its presence. */
export interface WorkerDetail {
  readonly fencingToken: number;
  readonly assignmentRevision: number;
  readonly memoryLimitBytes: number;
  readonly servables: readonly HeldServable[];
  /** True while draining: give it nothing new. */
  readonly draining: boolean;
}
/** What a batcher announces. */
export interface BatcherDetail {
  readonly draining: boolean;
}
/** What a gateway announces. */
export interface GatewayDetail {
  readonly routingRevision: number;
}
/** What a registry announces. */
export interface RegistryDetail {
  readonly leading: boolean;
}

/** The question a registry asks a worker on `subjects.signatures`, and its answer. */
export interface SignaturesQuestion {
  readonly id: ServableId;
}
/** The signatures of a held servable; null when the worker does not hold it. */
export interface SignaturesAnswer {
  readonly signatures: Signatures | null;
}

/** One version in the routing table. */
export interface RoutedVersion {
  readonly version: number;
  readonly state: ServableState;
  readonly status: StatusReport;
  /** Present once some worker has loaded it. */
  readonly signatures: Signatures | null;
  /** Requests may be sent to it. True at the latest when `state` is AVAILABLE; false again before it is unloaded. */
  readonly routable: boolean;
  readonly batching: BatchingLimits | null;
  /** The servable keeps state between requests: a request to it is never executed twice. */
  readonly stateful: boolean;
}

/** All a gateway needs to know of one model. Versions in descending order. */
export interface RoutedModel {
  readonly name: string;
  readonly versions: readonly RoutedVersion[];
  readonly labels: Readonly<Record<string, number>>;
  /**
   * True while a new leader has yet to hear what is served of it: a gateway keeps the versions that an earlier table made routable, unless this
   * one says that they go.
   */
  readonly unsettled?: boolean;
}

/**
 * A change of the routing table, or a page of all of it. `revision` goes up by one with each change under one leadership (`fencingToken`);
 * a receiver that finds a gap asks for all of it.
 */
export interface RoutingUpdate {
  readonly fencingToken: number;
  readonly revision: number;
  readonly models: readonly RoutedModel[];
  readonly removed: readonly string[];
}

/** Questions to the leading registry. Every answer is a `RegistryAnswer`. */
export type RegistryQuestion =
  /** The routing table, from the model name after `after` (empty: the start) on, as many as fit `maxBytes`. */
  | { readonly type: 'routing'; readonly after: string; readonly maxBytes: number }
  /** HandleReloadConfigRequest: the model list replaces the running one. `configText` is a ModelServerConfig in proto text form. */
  | { readonly type: 'reload'; readonly configText: string; readonly timeoutMs: number }
  /** The running configuration and its revision. */
  | { readonly type: 'read-config' }
  /** Adds or changes one model; fails with ABORTED unless `expectedRevision` (null: any) is the running one. `modelText` is a ModelConfig. */
  | { readonly type: 'put-model'; readonly modelText: string; readonly expectedRevision: number | null; readonly timeoutMs: number }
  | { readonly type: 'remove-model'; readonly name: string; readonly expectedRevision: number | null };

/** What the leading registry answers; an error carries the text that goes to the client. */
export type RegistryAnswer =
  | { readonly type: 'routing'; readonly update: RoutingUpdate; readonly next: string | null }
  | { readonly type: 'config'; readonly configText: string; readonly revision: number }
  | { readonly type: 'error'; readonly code: StatusCode; readonly message: string };

/** The member a document came from; kept beside the documents so that their handlers share one shape. */
export interface From<Document> {
  readonly from: MemberId;
  readonly document: Document;
}
