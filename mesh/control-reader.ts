/** Reads the documents of `control.ts` as they arrive. What has another shape throws DATA_LOSS: nothing half-right goes any further. */
import type {
  AssignedServable,
  Assignment,
  BatcherDetail,
  BatchingLimits,
  GatewayDetail,
  HeldServable,
  ImportSource,
  RegistryAnswer,
  RegistryDetail,
  RegistryQuestion,
  RoutedModel,
  RoutedVersion,
  RoutingUpdate,
  RunSettings,
  SignaturesAnswer,
  SignaturesQuestion,
  StatusReport,
  WorkerDetail,
} from './control.ts';
import type { WorkerDetailPatch } from './detail-patch.ts';
import { count, flag, listOf, mapOf, number, objectOf, oneOf, optional, orNull, readDocument, type Shape, text } from './document-shape.ts';
import { ServeError, STATUS } from './errors.ts';
import type { ServableId } from './ids.ts';
import type { ListedDtype, ListedSpec, Signature, StoredTensor, TensorSpec } from './signature.ts';
import { DTYPES } from './tensor.ts';

const CODES = Object.keys(STATUS);
const state = oneOf('START', 'LOADING', 'AVAILABLE', 'UNLOADING', 'END');
const status = objectOf<StatusReport>({ code: oneOf('OK', ...CODES), message: text });
const servableId = objectOf<ServableId>({ name: text, version: count });
const batching = orNull(
  objectOf<BatchingLimits>({
    maxBatchSize: number,
    batchTimeoutMicros: number,
    maxEnqueuedBatches: number,
    numBatchThreads: number,
    allowedBatchSizes: listOf(count),
    padVariableLengthInputs: flag,
    enableLargeBatchSplitting: flag,
    maxExecutionBatchSize: number,
    threadPoolName: text,
  }),
);
const dims = orNull(listOf(number));
const listedDtype = objectOf<ListedDtype>({ number: count, protoName: text });
const listedSpec = objectOf<ListedSpec>({
  dtype: listedDtype,
  shape: dims,
  tensorName: text,
  dimNames: optional(listOf(text)),
  sparse: optional(objectOf<NonNullable<ListedSpec['sparse']>>({ values: text, indices: text, denseShape: text })),
});
const listedOnly = objectOf<NonNullable<Signature['listedOnly']>>({ inputs: mapOf(listedSpec), outputs: mapOf(listedSpec) });
const tensorSpec = objectOf<TensorSpec>({
  dtype: oneOf(...Object.keys(DTYPES)),
  shape: dims,
  accepts: dims,
  tensorName: text,
  dimNames: optional(listOf(text)),
  listedDtype: optional(listedDtype),
  default: optional(objectOf<StoredTensor>({ shape: listOf(count), base64: text })),
});
const signatures = orNull(
  mapOf(
    objectOf<Signature>({
      method: text,
      inputs: mapOf(tensorSpec),
      outputs: mapOf(tensorSpec),
      batchable: flag,
      listedOnly: optional(listedOnly),
    }),
  ),
);
const heldServable = objectOf<HeldServable>({
  id: servableId,
  generation: count,
  state,
  status,
  tokens: count,
  estimatedBytes: number,
  batching,
  stateful: flag,
});
const routedVersion = objectOf<RoutedVersion>({ version: count, state, status, signatures, routable: flag, batching, stateful: flag });
const routedModel = objectOf<RoutedModel>({
  name: text,
  versions: listOf(routedVersion),
  labels: mapOf(count),
  unsettled: optional(flag),
});
const routingUpdate = objectOf<RoutingUpdate>({ fencingToken: count, revision: count, models: listOf(routedModel), removed: listOf(text) });
const runSettings = objectOf<RunSettings>({
  instances: number,
  intraOpThreads: number,
  executionProviders: listOf(text),
  warmup: flag,
  warmupIterations: number,
  maxLoadRetries: number,
  loadRetryIntervalMicros: number,
});
const assignedServable = objectOf<AssignedServable>({
  id: servableId,
  path: text,
  platform: text,
  imported: optional(objectOf<ImportSource>({ digest: text, tags: listOf(text) })),
  batching,
  perModelBatching: flag,
  run: runSettings,
  generation: count,
});
const assignment = objectOf<Assignment>({
  fencingToken: count,
  revision: count,
  servables: listOf(assignedServable),
  since: optional(count),
  removed: optional(listOf(servableId)),
  part: optional(objectOf<NonNullable<Assignment['part']>>({ index: count, count })),
});

const workerDetail = {
  fencingToken: count,
  assignmentRevision: count,
  memoryLimitBytes: number,
  servables: listOf(heldServable),
  draining: flag,
};
const workerPatch = objectOf<WorkerDetailPatch>({ ...workerDetail, gone: listOf(servableId) });

/** For each kind of member: what it announces. */
const DETAILS: Readonly<Record<string, Shape>> = {
  worker: objectOf<WorkerDetail>(workerDetail),
  batcher: objectOf<BatcherDetail>({ draining: flag }),
  gateway: objectOf<GatewayDetail>({ routingRevision: count }),
  registry: objectOf<RegistryDetail>({ leading: flag }),
};

/** Checks what a member announces against its kind. */
export function checkMemberDetail(kind: string, detail: unknown): void {
  if (!Object.hasOwn(DETAILS, kind)) throw new ServeError('DATA_LOSS', 'a heartbeat names a kind of member that does not exist');
  DETAILS[kind]?.(detail, `the detail of a ${kind}`);
}

/** Checks a change of what a worker announces. */
export const checkWorkerPatch: Shape = (value, path) => workerPatch(value, path);

/** Reads an assignment. */
export function readAssignment(bytes: Uint8Array): Assignment {
  return readDocument(bytes, 'assignment', assignment);
}

/** Reads a change of the routing table. */
export function readRoutingUpdate(bytes: Uint8Array): RoutingUpdate {
  return readDocument(bytes, 'routing update', routingUpdate);
}

/** Reads the question for the signatures of a servable. */
export function readSignaturesQuestion(bytes: Uint8Array): SignaturesQuestion {
  return readDocument(bytes, 'signatures question', objectOf<SignaturesQuestion>({ id: servableId }));
}

/** Reads the signatures of a servable. */
export function readSignaturesAnswer(bytes: Uint8Array): SignaturesAnswer {
  return readDocument(bytes, 'signatures answer', objectOf<SignaturesAnswer>({ signatures }));
}

/** A shape for each variant of a union whose `type` says which it is. */
type Variants<Union extends { readonly type: string }> = {
  readonly [Type in Union['type']]: { readonly [Key in keyof Extract<Union, { readonly type: Type }>]-?: Shape };
};

const revision = orNull(count);
const QUESTIONS: Variants<RegistryQuestion> = {
  routing: { type: text, after: text, maxBytes: count },
  reload: { type: text, configText: text, timeoutMs: number },
  'read-config': { type: text },
  'put-model': { type: text, modelText: text, expectedRevision: revision, timeoutMs: number },
  'remove-model': { type: text, name: text, expectedRevision: revision },
};
const ANSWERS: Variants<RegistryAnswer> = {
  routing: { type: text, update: routingUpdate, next: orNull(text) },
  config: { type: text, configText: text, revision: count },
  error: { type: text, code: oneOf(...CODES), message: text },
};

/** Reads a question to the leading registry. A question of a newer process that this one does not know is UNIMPLEMENTED. */
export function readRegistryQuestion(bytes: Uint8Array): RegistryQuestion {
  return readDocument(bytes, 'registry question', variant(QUESTIONS, 'UNIMPLEMENTED', 'this registry knows no question'));
}

/** Reads an answer of the leading registry. */
export function readRegistryAnswer(bytes: Uint8Array): RegistryAnswer {
  return readDocument(bytes, 'registry answer', variant(ANSWERS, 'DATA_LOSS', 'this member knows no registry answer'));
}

function variant(
  variants: Readonly<Record<string, Readonly<Record<string, Shape>>>>,
  code: 'DATA_LOSS' | 'UNIMPLEMENTED',
  unknown: string,
): Shape {
  const typed = objectOf<{ readonly type: string }>({ type: text });
  return (value, path) => {
    typed(value, path);
    const { type } = value as { readonly type: string };
    const members = Object.hasOwn(variants, type) ? variants[type] : undefined;
    if (members === undefined) throw new ServeError(code, `${unknown} ${JSON.stringify(type.slice(0, 100))}`);
    objectOf<Record<string, unknown>>(members)(value, path);
  };
}
