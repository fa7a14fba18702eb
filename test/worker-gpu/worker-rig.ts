/** A worker under test, with a gateway and a batcher that the test plays itself. */
import { Writable } from 'node:stream';
import { startBlobStore } from '#mesh/blobs.ts';
import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import { type Clock, createSystemClock } from '#mesh/clock.ts';
import { parseSettings } from '#mesh/config.ts';
import type { AssignedServable, HeldServable, SignaturesAnswer, WorkerDetail } from '#mesh/control.ts';
import { type BatchId, type MemberId, newMemberId, type RequestId, servableKey } from '#mesh/ids.ts';
import {
  type Answer,
  type BatchFrame,
  type BatchPart,
  decodeAnswers,
  decodeReady,
  encodeBatch,
  encodeCancel,
  encodeTensors,
  type ReadyFrame,
  type WireTensor,
} from '#mesh/messages.ts';
import { startPresence } from '#mesh/presence.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createTelemetry, type TelemetryOptions } from '#mesh/telemetry.ts';
import type { DType } from '#mesh/tensor.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { WORKER_SETTINGS } from '../../services/worker-gpu/config.ts';
import { startWorker, type WorkerDeps } from '../../services/worker-gpu/index.ts';

type Outputs = Extract<Answer, { readonly type: 'outputs' }>;

/** Numbers of an inline output. */
export function floatsOf(tensor: WireTensor | undefined): number[] {
  if (tensor?.payload.type !== 'inline') throw new Error(`not an inline tensor: ${JSON.stringify(tensor?.payload)}`);
  const { bytes } = tensor.payload;
  return [...new Float32Array(bytes.slice().buffer)];
}

/** An inline input. */
export function input(name: string, dtype: DType, shape: readonly number[], bytes: Uint8Array): WireTensor {
  return { name, dtype, shape, payload: { type: 'inline', bytes } };
}

/** An inline float input. */
export function floatInput(name: string, values: readonly number[], shape: readonly number[] = [values.length]): WireTensor {
  return input(name, 'float', shape, new Uint8Array(Float32Array.from(values).buffer));
}

export async function startRig(
  options: {
    readonly args?: readonly string[];
    readonly clock?: Clock;
    readonly platforms?: WorkerDeps['platforms'];
    readonly spanProcessor?: TelemetryOptions['spanProcessor'];
    readonly wrapTransport?: (transport: WorkerDeps['transport']) => WorkerDeps['transport'];
  } = {},
) {
  await using stack = new AsyncDisposableStack();
  const broker = createMemoryBroker();
  const subjects = createSubjects('test');
  const clock = options.clock ?? createSystemClock();
  const transport = stack.use(broker.connect());
  const gatewayId = newMemberId('gateway');
  const batcherId = newMemberId('batcher');
  const logged: Record<string, unknown>[] = [];
  const telemetry = createTelemetry({
    service: 'test',
    logLevel: 'debug',
    otlpEndpoint: '',
    ...(options.spanProcessor ? { spanProcessor: options.spanProcessor } : {}),
    logTo: new Writable({
      write(line, _, done) {
        logged.push(JSON.parse(String(line)));
        news();
        done();
      },
    }),
  });

  const answers: Answer[] = [];
  const readies: ReadyFrame[] = [];
  const announced: WorkerDetail[] = [];
  const waiters = new Set<() => void>();
  const news = () => {
    for (const waiter of [...waiters]) waiter();
  };
  /** Resolves with the first value that is not undefined, looked for now and whenever anything arrives. */
  function until<Value>(look: () => Value | undefined): Promise<Value> {
    return new Promise((resolve) => {
      const attempt = () => {
        const value = look();
        if (value === undefined) return;
        waiters.delete(attempt);
        resolve(value);
      };
      waiters.add(attempt);
      attempt();
    });
  }
  stack.use(
    transport.subscribe(subjects.answer(gatewayId), ({ data }) => {
      answers.push(...decodeAnswers(data).answers);
      news();
    }),
  );
  stack.use(
    transport.subscribe(subjects.ready(batcherId), ({ data }) => {
      readies.push(decodeReady(data));
      news();
    }),
  );
  const presence = stack.use(
    await startPresence({ transport, subjects, clock, kind: 'batcher', id: batcherId, detail: { draining: false } }),
  );
  stack.use(
    presence.onChange(({ type, member }) => {
      if (member.kind !== 'worker') return;
      if (type !== 'gone') announced.push(structuredClone(member.detail) as WorkerDetail);
      news();
    }),
  );
  const blobs = stack.use(startBlobStore({ transport, subjects, id: gatewayId }));
  const workerTransport = stack.use(broker.connect());
  const { values } = parseSettings(WORKER_SETTINGS, { args: ['--unload_grace_ms=0', ...(options.args ?? [])], env: {} });
  const worker = stack.use(
    await startWorker({
      transport: options.wrapTransport?.(workerTransport) ?? workerTransport,
      subjects,
      clock,
      telemetry,
      settings: values,
      ...(options.platforms ? { platforms: options.platforms } : {}),
    }),
  );
  let revision = 0;
  let batches = 0;
  let requests = 0;
  const running = stack.move();

  const rig = {
    worker,
    transport,
    subjects,
    telemetry,
    blobs,
    gatewayId,
    batcherId,
    answers,
    readies,
    announced,
    logged,
    until,
    /** Resolves when a log line with this message was written so many times. */
    untilLogged: (message: string, times: number) =>
      until(() => (logged.filter(({ msg }) => msg === message).length >= times ? true : undefined)),
    /** Sends a full list; `fencingToken` 1 unless given. */
    assign(servables: readonly AssignedServable[], fencingToken = 1) {
      transport.publish(subjects.assign(worker.id), utf8(JSON.stringify({ fencingToken, revision: ++revision, servables })));
    },
    /** The state the worker announced last. */
    held: (name: string, version = 1): HeldServable | undefined =>
      announced.at(-1)?.servables.find((one) => servableKey(one.id) === servableKey({ name, version })),
    /** Resolves when the worker announces the servable in a state that fits. */
    untilHeld: (name: string, fits: (held: HeldServable) => boolean, version = 1): Promise<HeldServable> =>
      until(() => {
        const held = rig.held(name, version);
        return held && fits(held) ? held : undefined;
      }),
    /** Assigns and waits until all are available. */
    async serve(...servables: readonly AssignedServable[]) {
      rig.assign(servables);
      for (const { id, generation } of servables) {
        const held = await rig.untilHeld(
          id.name,
          (one) => (one.state === 'AVAILABLE' && one.generation === generation) || one.state === 'END',
          id.version,
        );
        if (held.state === 'END') throw new Error(`${id.name} failed to load: ${held.status.message}`);
      }
    },
    part(tensors: readonly WireTensor[], more: Partial<BatchPart> = {}): BatchPart {
      const rows = tensors[0]?.shape[0] ?? 0;
      return {
        gatewayId,
        requestId: ++requests as RequestId,
        rowStart: 0,
        rowCount: rows,
        totalRows: rows,
        budgetMs: Number.POSITIVE_INFINITY,
        queuedMs: 0,
        traceparent: '',
        body: encodeTensors(tensors),
        ...more,
      };
    },
    /** Sends a batch and returns its id. `executeRows` is the parts' sum unless given. */
    send(name: string, parts: readonly BatchPart[], more: Partial<BatchFrame> = {}): BatchId {
      const batchId = ++batches as BatchId;
      const frame: BatchFrame = {
        batcherId,
        batchId,
        servable: { name, version: 1 },
        signature: 'serving_default',
        outputs: ['y'],
        executeRows: parts.reduce((sum, { rowCount }) => sum + rowCount, 0),
        padRagged: false,
        alone: false,
        parts,
        ...more,
      };
      transport.publish(subjects.batch(worker.id), encodeBatch(frame));
      return batchId;
    },
    cancel(requestIds: readonly RequestId[]) {
      transport.publish(subjects.drop(worker.id), encodeCancel({ gatewayId, requestIds }));
    },
    untilReady: (batchId: BatchId): Promise<ReadyFrame> => until(() => readies.find((ready) => ready.batchId === batchId)),
    answerTo: (requestId: RequestId): Answer | undefined => answers.find((answer) => answer.requestId === requestId),
    /** Sends a batch of parts and returns their answers once its token is back, in the parts' order. */
    async run(name: string, parts: readonly BatchPart[], more: Partial<BatchFrame> = {}): Promise<Answer[]> {
      await rig.untilReady(rig.send(name, parts, more));
      return parts.map(({ requestId }) => {
        const answer = rig.answerTo(requestId);
        if (!answer) throw new Error(`request ${requestId} has no answer`);
        return answer;
      });
    },
    /** Runs one request alone and unbatched. */
    async ask(name: string, tensors: readonly WireTensor[], more: Partial<BatchFrame> = {}): Promise<Answer> {
      const [answer] = await rig.run(name, [rig.part(tensors, { rowCount: 0, totalRows: 0 })], more);
      if (!answer) throw new Error('no answer');
      return answer;
    },
    async signatures(name: string): Promise<SignaturesAnswer> {
      const question = utf8(JSON.stringify({ id: { name, version: 1 } }));
      return JSON.parse(fromUtf8(await transport.request(subjects.signatures(worker.id), question, { timeoutMs: 5000 })));
    },
    workerId: worker.id as MemberId,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
  return rig;
}

/** The outputs of an answer that must have some. */
export function outputsOf(answer: Answer | undefined): Outputs {
  if (answer?.type !== 'outputs') throw new Error(`not outputs: ${JSON.stringify(answer)}`);
  return answer;
}

/** Code and message of an answer that must be an error. */
export function errorOf(answer: Answer | undefined): { readonly code: string; readonly message: string } {
  if (answer?.type !== 'error') throw new Error(`not an error: ${JSON.stringify(answer?.type)}`);
  return { code: answer.code, message: answer.message };
}
