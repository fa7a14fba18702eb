/**
 * What the protocols (REST, gRPC) call. The core resolves a model, sends requests through the mesh, waits, resends, and knows nothing of
 * JSON, protobuf or HTTP.
 */
import type { BatchingLimits, ServableState, StatusReport } from '#mesh/control.ts';
import type { ServeError } from '#mesh/errors.ts';
import type { ServableId } from '#mesh/ids.ts';
import type { AnswerTimings } from '#mesh/messages.ts';
import type { Signature, Signatures } from '#mesh/signature.ts';
import type { NamedTensors } from '#mesh/tensor.ts';

/** Which version of a model a client wants. `latest` is the highest routable one. */
export type VersionChoice =
  | { readonly type: 'latest' }
  | { readonly type: 'specific'; readonly version: number }
  | { readonly type: 'label'; readonly label: string };

/** A version that requests can be sent to. */
export interface ResolvedServable {
  readonly id: ServableId;
  readonly signatures: Signatures;
  readonly batching: BatchingLimits | null;
  readonly stateful: boolean;
}

/** A request, checked and ready to send. */
export interface InferRequest {
  readonly servable: ResolvedServable;
  /** The signature's key, never empty. */
  readonly signatureName: string;
  readonly signature: Signature;
  /** One tensor for each input of the signature; names, dtypes and `accepts` shapes have been checked (`validateInputs`). */
  readonly inputs: NamedTensors;
  /** Output aliases wanted, in order; never empty. */
  readonly outputs: readonly string[];
  /** The instant on the gateway's Clock after which the answer is useless; Infinity: none. */
  readonly deadlineMs: number;
  /** W3C traceparent of the client; empty without one. */
  readonly traceparent: string;
  /** Keys of the servables that wait for the answer, where a servable asks and not a client. */
  readonly callers?: readonly string[] | undefined;
}

/** The outputs asked for, and where the time went. */
export interface InferResult {
  readonly outputs: NamedTensors;
  readonly timings: AnswerTimings;
}

/** A request under way. */
export interface PendingInference {
  /** Rejects with ServeError only. */
  readonly answer: Promise<InferResult>;
  /** The same without a promise, for edges that would make one for every request. Calls one of the two once, perhaps at once. Ask only once. */
  whenSettled(onResult: (result: InferResult) => void, onError: (error: ServeError) => void): void;
  /** The caller has gone: drops the request wherever it is. `answer` then rejects with CANCELLED. */
  cancel(): void;
}

/** One version's line of GetModelStatus. */
export interface VersionStatus {
  readonly version: number;
  readonly state: ServableState;
  readonly status: StatusReport;
}

/** The gateway without its protocols. */
export interface GatewayCore {
  /** Rejects (throws) with NOT_FOUND `Servable not found for request: Latest(m)` / `Specific(m, 3)`, INVALID_ARGUMENT `Unrecognized servable version label: L`. */
  resolve(model: string, choice: VersionChoice): ResolvedServable;
  infer(request: InferRequest): PendingInference;
  /** All versions in descending order, or just `version`. Throws NOT_FOUND with TF Serving's texts. */
  status(model: string, version: number | undefined): readonly VersionStatus[];
  /** Names of all models, sorted. */
  models(): readonly string[];
  /** Labels of a model; empty when there are none. */
  labels(model: string): Readonly<Record<string, number>>;
  /** True when the model has a routable version. */
  modelReady(model: string): boolean;
  /** True when the gateway has a routing table, is not draining, and sees a batcher. */
  ready(): boolean;
  /** Calls `listener` after any change of the routing table (for the health service's Watch). */
  onRoutingChange(listener: () => void): Disposable;
  /** Asks the leading registry; see `RegistryQuestion`. Rejects with the registry's error, or UNAVAILABLE when none leads. */
  reload(configText: string, timeoutMs: number): Promise<void>;
  readConfig(): Promise<{ readonly configText: string; readonly revision: number }>;
  putModel(
    modelText: string,
    expectedRevision: number | null,
    timeoutMs: number,
  ): Promise<{ readonly configText: string; readonly revision: number }>;
  removeModel(name: string, expectedRevision: number | null): Promise<{ readonly configText: string; readonly revision: number }>;
}
