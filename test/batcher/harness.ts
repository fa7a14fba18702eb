import { createFakeClock, type FakeClock } from '#mesh/clock.ts';
import { type BatchingLimits, DEFAULT_BATCHING, type HeldServable, type WorkerDetail } from '#mesh/control.ts';
import type { MemberId, RequestId, ServableId } from '#mesh/ids.ts';
import {
  type Answer,
  type BatchFrame,
  type CancelFrame,
  decodeAnswers,
  decodeBatch,
  decodeBatchList,
  decodeCancel,
  encodeAnswers,
  encodeBatchList,
  encodeCancel,
  encodeReady,
  encodeSubmit,
  encodeTensors,
  type SubmittedRequest,
  type WireTensor,
} from '#mesh/messages.ts';
import { type Presence, startPresence } from '#mesh/presence.ts';
import { createSubjects, type Subjects } from '#mesh/subjects.ts';
import { createSilentTelemetry, type Telemetry } from '#mesh/telemetry.ts';
import type { Transport } from '#mesh/transport.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { BATCHER_SETTINGS, type BatcherSettings } from '../../services/batcher/config.ts';
import { type Batcher, startBatcher } from '../../services/batcher/index.ts';
import { makeReconnectable } from '../mesh/reconnectable.ts';

export const SERVABLE: ServableId = { name: 'm', version: 1 };

/** The settings' defaults with some replaced. */
export function settingsWith(changes: Partial<BatcherSettings> = {}): BatcherSettings {
  const defaults = Object.fromEntries(Object.entries(BATCHER_SETTINGS).map(([key, setting]) => [key, setting.default]));
  return { ...(defaults as unknown as BatcherSettings), ...changes };
}

export function batching(changes: Partial<BatchingLimits> = {}): BatchingLimits {
  return { ...DEFAULT_BATCHING, ...changes };
}

/** What a worker announces of one servable. */
export function held(changes: Partial<HeldServable> = {}): HeldServable {
  return {
    id: SERVABLE,
    generation: 1,
    state: 'AVAILABLE',
    status: { code: 'OK', message: '' },
    tokens: 1,
    estimatedBytes: 0,
    batching: batching({ maxBatchSize: 4 }),
    stateful: false,
    ...changes,
  };
}

/** One float input `x` of shape [values.length / inner, inner]. */
export function inputsOf(values: readonly number[], inner = 1): Uint8Array {
  const bytes = new Uint8Array(new Float32Array(values).buffer);
  return encodeTensors([{ name: 'x', dtype: 'float', shape: [values.length / inner, inner], payload: { type: 'inline', bytes } }]);
}

export function request(id: number, changes: Partial<SubmittedRequest> = {}): SubmittedRequest {
  return {
    requestId: id as RequestId,
    servable: SERVABLE,
    signature: 'serving_default',
    outputs: ['y'],
    laneKey: 'm@1 serving_default y [1]',
    rows: 1,
    budgetMs: Number.POSITIVE_INFINITY,
    attempt: 0,
    traceparent: '',
    body: inputsOf([id]),
    ...changes,
  };
}

/** A worker that does what a test tells it. */
export interface ScriptedWorker {
  readonly id: MemberId;
  /** Batches received and not returned, oldest first. */
  readonly batches: BatchFrame[];
  /** All batches ever received. */
  readonly received: BatchFrame[];
  readonly drops: CancelFrame[];
  /** Request ids of each batch received. */
  readonly ids: () => number[][];
  announce(detail: Partial<WorkerDetail>): Promise<void>;
  answers(answers: readonly { readonly gatewayId: MemberId; readonly answer: Answer }[]): void;
  ready(batch: BatchFrame, outcome?: 'answered' | 'refused'): Promise<void>;
  /** It has work of another batcher: what must be alone does not begin. */
  occupy(): void;
  /** Dies: its subscriptions end and nothing it sends arrives. The others notice when its lease ends. */
  die(): Promise<void>;
  /** Batches it had, or their tokens, are lost on the way: it knows of none, and the batcher of all. */
  forget(): void;
  /** Its connection to the broker was gone for a moment. */
  reconnect(): Promise<void>;
  /** It, or its host, stands still: it takes what comes and says nothing any more, not even that its connection ended. */
  freeze(): void;
  /** Its subscriptions end, yet its heartbeats go on: the next batch for it has no responder. */
  deafen(): void;
  /** Says good-bye. */
  leave(): Promise<void>;
}

export interface ScriptedGateway {
  readonly id: MemberId;
  /** All answers, in order of arrival. */
  readonly answers: Answer[];
  readonly frames: number[];
  submit(...requests: SubmittedRequest[]): Promise<void>;
  cancel(...ids: number[]): Promise<void>;
  /** The errors so far: request id, code, and text. */
  errors(): { readonly id: number; readonly code: string; readonly message: string; readonly resend: boolean }[];
}

export interface Harness extends AsyncDisposable {
  readonly batcher: Batcher;
  readonly clock: FakeClock;
  readonly subjects: Subjects;
  readonly transport: Transport;
  addWorker(servables?: readonly HeldServable[], id?: string): Promise<ScriptedWorker>;
  addGateway(id?: string): ScriptedGateway;
  /** Lets all messages under way arrive. */
  settle(): Promise<void>;
}

/** Starts a batcher on an in-memory broker and a clock that stands still. */
export async function startHarness(
  options: {
    readonly settings?: Partial<BatcherSettings>;
    readonly telemetry?: Telemetry;
    readonly maxPayloadBytes?: number;
    readonly onTransport?: (transport: Transport) => Transport;
  } = {},
): Promise<Harness> {
  const broker = createMemoryBroker();
  const clock = createFakeClock();
  const subjects = createSubjects('test');
  const plain = broker.connect();
  const limited: Transport = options.maxPayloadBytes === undefined ? plain : withPayloadLimit(plain, options.maxPayloadBytes);
  const transport = options.onTransport?.(limited) ?? limited;
  const batcher = await startBatcher({
    transport,
    subjects,
    clock,
    telemetry: options.telemetry ?? createSilentTelemetry(),
    settings: settingsWith(options.settings),
    id: 'batcher-1' as MemberId,
  });
  const presences: Presence[] = [];
  const settle = () => clock.advance(0);
  let made = 0;

  return {
    batcher,
    clock,
    subjects,
    transport,
    settle,
    async addWorker(servables = [held()], id = `worker-${++made}`) {
      const workerId = id as MemberId;
      const { transport: connection, reconnect } = makeReconnectable(broker.connect());
      let dead = false;
      let occupied = false;
      const mortal: Transport = {
        maxPayloadBytes: connection.maxPayloadBytes,
        connected: true,
        publish: (subject, data, how) => {
          if (!dead) connection.publish(subject, data, how);
        },
        subscribe: (subject, handler, how) => connection.subscribe(subject, handler, how),
        request: (subject, data, how) => connection.request(subject, data, how),
        flush: () => connection.flush(),
        onConnectionChange: (listener) => connection.onConnectionChange(listener),
        [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
      };
      let detail: WorkerDetail = { fencingToken: 1, assignmentRevision: 1, memoryLimitBytes: 0, servables, draining: false };
      const batches: BatchFrame[] = [];
      const received: BatchFrame[] = [];
      const drops: CancelFrame[] = [];
      const hearing = [
        mortal.subscribe(subjects.batch(workerId), ({ data }) => {
          const frame = decodeBatch(data);
          batches.push(frame);
          received.push(frame);
          if (!frame.alone || occupied) return;
          mortal.publish(subjects.ready(frame.batcherId), encodeReady({ workerId, batchId: frame.batchId, outcome: 'begun' }));
        }),
        mortal.subscribe(subjects.drop(workerId), ({ data }) => void drops.push(decodeCancel(data))),
        mortal.subscribe(subjects.missing(workerId), ({ data, replyTo = '' }) => {
          const { batcherId, batchIds } = decodeBatchList(data);
          const missing = batchIds.filter((asked) => !batches.some(({ batchId }) => batchId === asked));
          mortal.publish(replyTo, encodeBatchList({ batcherId, batchIds: missing }));
        }),
      ];
      const deafen = () => {
        for (const subscription of hearing) subscription[Symbol.dispose]();
      };
      const presence = await startPresence({ transport: mortal, subjects, clock, kind: 'worker', id: workerId, detail });
      presences.push(presence);
      await settle();
      return {
        id: workerId,
        batches,
        received,
        drops,
        ids: () => received.map(({ parts }) => parts.map(({ requestId }) => requestId)),
        async announce(changes) {
          detail = { ...detail, assignmentRevision: detail.assignmentRevision + 1, ...changes };
          presence.announce(detail);
          await settle();
        },
        answers(answers) {
          const byGateway = Map.groupBy(answers, ({ gatewayId }) => gatewayId);
          for (const [gatewayId, own] of byGateway)
            mortal.publish(subjects.answer(gatewayId), encodeAnswers({ answers: own.map(({ answer }) => answer) }));
        },
        async ready(batch, outcome = 'answered') {
          batches.splice(batches.indexOf(batch), 1);
          mortal.publish(subjects.ready(batch.batcherId), encodeReady({ workerId, batchId: batch.batchId, outcome }));
          await settle();
        },
        occupy() {
          occupied = true;
        },
        forget() {
          batches.length = 0;
        },
        async reconnect() {
          reconnect();
          await settle();
        },
        async die() {
          dead = true;
          deafen();
          batches.length = 0;
          await presence[Symbol.asyncDispose]();
          await settle();
        },
        freeze() {
          dead = true;
        },
        deafen,
        async leave() {
          deafen();
          await presence[Symbol.asyncDispose]();
          await settle();
        },
      };
    },
    addGateway(id = `gateway-${++made}`) {
      const gatewayId = id as MemberId;
      const connection = broker.connect();
      const answers: Answer[] = [];
      const frames: number[] = [];
      connection.subscribe(subjects.answer(gatewayId), ({ data }) => {
        const frame = decodeAnswers(data);
        frames.push(frame.answers.length);
        answers.push(...frame.answers);
      });
      return {
        id: gatewayId,
        answers,
        frames,
        async submit(...requests) {
          connection.publish(subjects.submit(batcher.id), encodeSubmit({ gatewayId, requests }));
          await settle();
        },
        async cancel(...ids) {
          connection.publish(subjects.cancel(batcher.id), encodeCancel({ gatewayId, requestIds: ids as RequestId[] }));
          await settle();
        },
        errors: () =>
          answers.flatMap((answer) =>
            answer.type === 'error'
              ? [{ id: answer.requestId as number, code: answer.code, message: answer.message, resend: answer.resend }]
              : [],
          ),
      };
    },
    async [Symbol.asyncDispose]() {
      const stopping = batcher[Symbol.asyncDispose]();
      await clock.advance(20_000);
      await stopping;
      for (const presence of presences) await presence[Symbol.asyncDispose]();
      await plain[Symbol.asyncDispose]();
    },
  };
}

/** The float values of a tensor with inline bytes. */
export function valuesOf(tensor: WireTensor | undefined): number[] {
  if (tensor?.payload.type !== 'inline') throw new Error('the tensor is not inline');
  return [...new Float32Array(Uint8Array.from(tensor.payload.bytes).buffer)];
}

function withPayloadLimit(transport: Transport, maxPayloadBytes: number): Transport {
  return {
    maxPayloadBytes,
    connected: true,
    publish(subject, data, how) {
      if (data.byteLength > maxPayloadBytes) throw new Error(`${data.byteLength} bytes on ${subject} exceed ${maxPayloadBytes}`);
      transport.publish(subject, data, how);
    },
    subscribe: (subject, handler, how) => transport.subscribe(subject, handler, how),
    request: (subject, data, how) => transport.request(subject, data, how),
    flush: () => transport.flush(),
    onConnectionChange: (listener) => transport.onConnectionChange(listener),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}
