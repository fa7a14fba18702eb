/**
 * What happens to a batch in a worker: payloads are fetched, what nobody waits for any more is dropped, the rest runs, every part is answered,
 * and the batch's token goes back. A part that fails with others runs again alone, so that it cannot fail its neighbours.
 */
import type { Span } from '@opentelemetry/api';
import type { BlobStore, Claim } from '#mesh/blobs.ts';
import type { Clock } from '#mesh/clock.ts';
import { ServeError, type StatusCode, toServeError } from '#mesh/errors.ts';
import { type BatchId, type MemberId, servableKey } from '#mesh/ids.ts';
import {
  type Answer,
  type BatchFrame,
  type BatchList,
  type BatchPart,
  type CancelFrame,
  decodeTensors,
  encodeReady,
  type ReadyFrame,
  type WireTensor,
} from '#mesh/messages.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Tracing } from '#mesh/telemetry.ts';
import { DTYPES, elementCount } from '#mesh/tensor.ts';
import type { Transport } from '#mesh/transport.ts';
import type { AddressedAnswer, AnswerSender } from './answer-sender.ts';
import { assembleInputs, checkBatchedOutputs, cutRows, type PartTensor } from './batch-assembly.ts';
import type { CallDesk, OpenRun } from './call-desk.ts';
import type { Dispatcher, Waiting } from './dispatcher.ts';
import type { WorkerEvents } from './events.ts';
import { type Executor, ExecutorLost } from './executor.ts';
import type { RegionPool } from './region-pool.ts';
import type { RunOutput } from './run-tensors.ts';
import type { Servable } from './servable.ts';
import { createSoloLine, type Standing } from './solo-line.ts';

/** Without a chunk for this long, the holder of a payload counts as gone. */
const FETCH_TIMEOUT_MS = 5000;

/** No request is this large: a claim that says so is broken, and asks for memory before a byte of it has come. */
const MAX_PAYLOAD_BYTES = 2 ** 34;

/** What a runner is made with. */
export interface BatchRunnerOptions {
  readonly id: MemberId;
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly tracing: Tracing | null;
  readonly events: WorkerEvents;
  readonly blobs: BlobStore;
  readonly regions: RegionPool;
  readonly dispatcher: Dispatcher;
  readonly answers: AnswerSender;
  /** Where runs of user code are known by what they may ask for. */
  readonly calls: CallDesk;
  readonly find: (id: BatchFrame['servable']) => Servable | undefined;
  /** There is room, or soon will be, for what was refused although its servable is here: batchers offer nothing more until they hear so. */
  readonly onRoom: () => void;
}

/** Runs the batches of one worker. */
export interface BatchRunner {
  /** Batches taken and not finished. */
  readonly active: number;
  take(frame: BatchFrame): void;
  cancel(frame: CancelFrame): void;
  /** Which batches of a list are not here: they never came, or are done. */
  missing(list: BatchList): BatchList;
  /** Refuses every batch from now on; resolves when none is active. */
  drain(): Promise<void>;
  /** Hands back what waits for a servable that cannot run any more. */
  refuseWaiting(servable: Servable): void;
}

interface PartRun {
  readonly part: BatchPart;
  /** The instant its answer is useless, on this worker's clock. */
  readonly deadlineMs: number;
  readonly span: Span | undefined;
  readonly regions: SharedArrayBuffer[];
  tensors: readonly PartTensor[];
  state: 'waiting' | 'settled';
  cancelled: boolean;
  /** Present while it runs: its caller has gone. */
  onCancelled: (() => void) | undefined;
  /** It was running when an executor died. Once more, and it is to blame. */
  lostOnce: boolean;
  fetching: AbortController | undefined;
}

interface BatchRun {
  readonly frame: BatchFrame;
  readonly servable: Servable;
  readonly pinned: Disposable;
  readonly parts: readonly PartRun[];
  /** The batcher asked for more rows than the parts have. */
  readonly padded: boolean;
}

/** Makes a runner. */
export function createBatchRunner(options: BatchRunnerOptions): BatchRunner {
  const { id, transport, subjects, clock, tracing, events, blobs, regions, dispatcher, answers, calls } = options;
  const active = new Set<BatchRun>();
  /** Batches of one batcher for one servable: bounded by its tokens. */
  const outstanding = new Map<string, number>();
  const line = createSoloLine<BatchRun>({ clock, start: (batch) => void runBatch(batch), handBack, onOpen: options.onRoom });
  let draining = false;
  let onDrained: (() => void)[] = [];

  function take(frame: BatchFrame): void {
    const servable = options.find(frame.servable);
    if (draining || servable === undefined) {
      refuse(frame, draining ? 'draining' : 'not-held');
      return;
    }
    const problem = problemOf(frame);
    if (problem !== undefined) {
      for (const { gatewayId, requestId } of frame.parts) {
        answers.send([{ gatewayId, answer: { type: 'error', requestId, code: 'DATA_LOSS', message: problem, resend: false } }]);
      }
      returnToken(frame, 'answered');
      return;
    }
    const account = accountOf(frame);
    const count = outstanding.get(account) ?? 0;
    // Twice the tokens: around a change of generation the batcher may hold tokens of both.
    if (count >= 2 * servable.tokens) {
      refuse(frame, 'full');
      options.onRoom();
      return;
    }
    outstanding.set(account, count + 1);
    let rows = 0;
    for (const part of frame.parts) rows += part.rowCount;
    const batch: BatchRun = {
      frame,
      servable,
      pinned: servable.pin(),
      parts: frame.parts.map((part) => startPart(servable, part)),
      // Rows beyond every allowed size are no padding that anybody configured.
      padded: frame.executeRows > rows && frame.executeRows <= Math.max(0, ...(servable.batching?.allowedBatchSizes ?? [])),
    };
    active.add(batch);
    line.enter(batch, standingOf(frame));
  }

  function startPart({ userCode }: Servable, part: BatchPart): PartRun {
    const span = tracing?.start('worker.batch', { traceparent: part.traceparent });
    if (userCode) span?.setAttribute('headrace.user_code', userCode.names.join(', '));
    return {
      part,
      deadlineMs: clock.now() + part.budgetMs,
      span,
      regions: [],
      tensors: [],
      state: 'waiting',
      cancelled: false,
      onCancelled: undefined,
      lostOnce: false,
      fetching: undefined,
    };
  }

  /** It would wait too long for suspects, and has not begun: it is as if it had never come. */
  function handBack(batch: BatchRun): void {
    events.batchRefused({ id: batch.servable.id, reason: 'suspect' });
    for (const run of batch.parts) settle(run, run.cancelled ? 'CANCELLED' : 'UNAVAILABLE');
    finish(batch, 'refused');
  }

  async function runBatch(batch: BatchRun): Promise<void> {
    try {
      if (batch.frame.alone) await sayBegun(batch.frame);
      const fetches: Promise<void>[] = [];
      for (const run of batch.parts) if (!refusedAsBlocked(batch, run)) openPart(batch, run, fetches);
      if (fetches.length > 0) await Promise.all(fetches);
      await runGroup(batch, batch.parts);
    } catch (caught) {
      // Nothing above is expected to throw; a caller must not wait for its deadline because something did.
      for (const run of batch.parts) fail(run, toServeError(caught), false);
    }
    finish(batch, 'answered');
  }

  function refusedAsBlocked({ servable }: BatchRun, run: PartRun): boolean {
    const caller = run.part.callers === undefined ? undefined : blockedBy(servable, run.part);
    if (caller === undefined) return false;
    const key = servableKey(servable.id);
    const text = `${caller} waits for ${key} on the executors that ${key} needs: servables of one module cannot call each other`;
    fail(run, new ServeError('FAILED_PRECONDITION', text), false);
    return true;
  }

  /** Decodes a part's tensors. What has to be fetched first is added to `fetches` as promises that never reject. */
  function openPart(batch: BatchRun, run: PartRun, fetches: Promise<void>[]): void {
    let wire: readonly WireTensor[];
    try {
      wire = decodeTensors(run.part.body);
    } catch (caught) {
      fail(run, toServeError(caught), false);
      return;
    }
    try {
      run.tensors = openPayloads(batch, run, wire, fetches);
    } catch (caught) {
      // No memory for what a claim announces: this part's fault, not its neighbours'. What others hold now may be free soon, or elsewhere.
      const error = toServeError(caught);
      fail(run, error, error.code === 'RESOURCE_EXHAUSTED');
    }
  }

  function openPayloads(batch: BatchRun, run: PartRun, wire: readonly WireTensor[], fetches: Promise<void>[]): readonly PartTensor[] {
    const tensors: PartTensor[] = [];
    for (const { name, dtype, shape, payload } of wire) {
      if (payload.type === 'inline') {
        tensors.push({ name, dtype, shape, bytes: payload.bytes });
        continue;
      }
      const needed = DTYPES[dtype].byteSize * elementCount(shape);
      if (payload.byteLength > MAX_PAYLOAD_BYTES || (needed > 0 && payload.byteLength !== needed)) {
        const text = `input ${name}: ${dtype} of shape [${shape}] does not have the ${payload.byteLength} bytes that are claimed`;
        fail(run, new ServeError('INVALID_ARGUMENT', text), false);
        break;
      }
      const region = regions.take(payload.byteLength);
      tensors.push({ name, dtype, shape, bytes: new Uint8Array(region, 0, payload.byteLength), shared: region });
      fetches.push(fetchInto(batch, run, payload, region));
    }
    return tensors;
  }

  async function fetchInto(batch: BatchRun, run: PartRun, claim: Claim, region: SharedArrayBuffer): Promise<void> {
    run.fetching ??= new AbortController();
    const { fetching } = run;
    const patience = run.deadlineMs - clock.now();
    const timer = Number.isFinite(patience) ? clock.schedule(patience, () => fetching.abort(expired())) : undefined;
    try {
      await blobs.fetch(claim, { signal: fetching.signal, timeoutMs: FETCH_TIMEOUT_MS, into: new Uint8Array(region, 0, claim.byteLength) });
      // Only now: after a failed fetch a late chunk may still be written, so that region is never used again.
      if (run.state === 'settled') regions.drop(region);
      else run.regions.push(region);
    } catch (caught) {
      regions.drop(region);
      if (run.cancelled) return;
      const error = toServeError(caught);
      events.partDropped({ id: batch.frame.servable, reason: 'payload' });
      // The gateway may hold the payload still: it knows whether asking again makes sense.
      fail(run, error, error.code === 'UNAVAILABLE');
    } finally {
      timer?.[Symbol.dispose]();
    }
  }

  /** Runs some parts of a batch together and resolves when all of them are settled. */
  function runGroup(batch: BatchRun, group: readonly PartRun[]): Promise<void> {
    return new Promise((resolve) => {
      const { servable } = batch;
      const work: Waiting = {
        model: servable.model,
        executors: servable.executors,
        start: (executor) => resolve(startGroup(batch, group, executor)),
        refuse() {
          for (const run of group) fail(run, new ServeError('UNAVAILABLE', `${servableKey(servable.id)} is no longer loaded`), true);
          resolve();
        },
      };
      if (servable.usable) dispatcher.submit(work);
      else work.refuse();
    });
  }

  async function startGroup(batch: BatchRun, group: readonly PartRun[], executor: Executor): Promise<void> {
    const live = group.filter((run) => stillWanted(batch, run));
    const [first] = live;
    if (first === undefined) return;
    const { frame, servable } = batch;
    const rows = live.reduce((sum, { part }) => sum + part.rowCount, 0);
    const batched = first.part.totalRows > 0;
    const executeRows = batched && batch.padded ? Math.max(frame.executeRows, rows) : rows;
    try {
      const pieces = live.map(({ tensors, part }) => ({ tensors, rowStart: part.rowStart, rowCount: batched ? part.rowCount : 0 }));
      const inputs = assembleInputs(pieces, { executeRows, padRagged: frame.padRagged });
      using begun = servable.description.userCode === undefined ? undefined : beginRun(servable, live);
      const run = { model: servable.model, signature: frame.signature, outputs: frame.outputs, inputs };
      await executor.run(begun === undefined ? run : { ...run, context: begun.context }, (outputs, executedMs) => {
        if (batched) checkBatchedOutputs(outputs, executeRows);
        events.batchRun({ id: servable.id, rows: Math.max(1, rows), executedRows: Math.max(1, executeRows), tookMs: executedMs });
        answerAll(live, outputs, { executedMs, batchRows: executeRows });
      });
    } catch (caught) {
      await recover(batch, live, toServeError(caught));
    }
  }

  /** Lets user code know of the requests it runs for. */
  function beginRun({ id: servable }: Servable, group: readonly PartRun[]): OpenRun {
    const begun = calls.begin({
      servable,
      deadlineMs: Math.min(...group.map((run) => run.deadlineMs)),
      untilMs: Math.max(...group.map((run) => run.deadlineMs)),
      callers: [...new Set(group.flatMap(({ part }) => part.callers ?? []))],
      traceparent: group[0]?.part.traceparent ?? '',
    });
    const onCancelled = () => {
      if (group.every((run) => run.cancelled)) begun.abandon(new ServeError('CANCELLED', 'the callers have gone'));
    };
    for (const run of group) run.onCancelled = onCancelled;
    return begun;
  }

  /**
   * A caller that waits for this servable on the executors that it would run on: neither would ever end. That is so for servables of one
   * module, which share executors.
   */
  function blockedBy({ executors, id: own }: Servable, { callers }: BatchPart): string | undefined {
    return callers?.find((key) => {
      const at = key.lastIndexOf('@');
      const caller = options.find({ name: key.slice(0, at), version: Number(key.slice(at + 1)) });
      return caller !== undefined && caller.id !== own && caller.executors.some((executor) => executors.includes(executor));
    });
  }

  /** After a failed run: parts that can do better alone run again alone, one after the other; the others get the error. */
  async function recover(batch: BatchRun, group: readonly PartRun[], error: ServeError): Promise<void> {
    const { stateful } = batch.servable.description;
    if (error instanceof ExecutorLost && !error.suspect) return runGroup(batch, group);
    const died = error instanceof ExecutorLost;
    const guarded = batch.servable.userCode !== null;
    // Nobody else had a part in it when a lone request took too long: trying it again would take as long.
    const certain = died && guarded && error.breach === 'time' && group.length === 1;
    const retry = group.filter((run) => !stateful && !certain && (died ? !run.lostOnce : group.length > 1));
    events.batchFailed({ id: batch.servable.id, parts: group.length, retriedApart: retry.length > 0, error });
    for (const run of group) {
      if (died) {
        run.lostOnce = true;
        run.span?.addEvent('executor lost', { 'headrace.breach': error.breach, 'headrace.reason': error.message });
      }
      if (retry.includes(run)) continue;
      fail(run, died && !guarded ? new ServeError('INTERNAL', `executing the request ends its executor: ${error.message}`) : error, false);
    }
    // Code of users breaks nobody else's executors, and each part that keeps one until a limit is over would hold up those behind it.
    if (guarded) await Promise.all(retry.map((run) => runGroup(batch, [run])));
    else for (const run of retry) await runGroup(batch, [run]);
  }

  function stillWanted(batch: BatchRun, run: PartRun): boolean {
    if (run.state === 'settled') return false;
    if (run.cancelled) {
      events.partDropped({ id: batch.frame.servable, reason: 'cancelled' });
      settle(run, 'CANCELLED');
      return false;
    }
    if (clock.now() < run.deadlineMs) return true;
    events.partDropped({ id: batch.frame.servable, reason: 'deadline' });
    fail(run, expired(), false);
    return false;
  }

  function answerAll(
    group: readonly PartRun[],
    outputs: readonly RunOutput[],
    facts: { readonly executedMs: number; readonly batchRows: number },
  ): void {
    let row = 0;
    const answered: AddressedAnswer[] = [];
    for (const { part, cancelled } of group) {
      const { requestId, gatewayId, rowStart, rowCount, totalRows, queuedMs } = part;
      const start = row;
      row += rowCount;
      if (cancelled) continue;
      const own = totalRows === 0 ? outputs : outputs.map((output) => rowsOf(output, start, rowCount));
      const timings = { queuedMs, executedMs: facts.executedMs, batchRows: facts.batchRows, workerId: id };
      const answer: Answer = { type: 'outputs', requestId, rowStart, rowCount, totalRows, timings, outputs: answers.wire(own) };
      answered.push({ gatewayId, answer });
    }
    answers.send(answered);
    for (const run of group) settle(run, 'OK');
  }

  function fail(run: PartRun, error: ServeError, resend: boolean): void {
    if (run.state === 'settled') return;
    settle(run, error.code);
    if (run.cancelled) return;
    const { gatewayId, requestId } = run.part;
    answers.send([{ gatewayId, answer: { type: 'error', requestId, code: error.code, message: error.message, resend } }]);
  }

  function settle(run: PartRun, code: StatusCode | 'OK'): void {
    run.state = 'settled';
    run.span?.setAttribute('headrace.code', code);
    run.span?.end();
  }

  function finish(batch: BatchRun, outcome: ReadyFrame['outcome']): void {
    for (const run of batch.parts) for (const region of run.regions) regions.give(region);
    active.delete(batch);
    const account = accountOf(batch.frame);
    const left = (outstanding.get(account) ?? 1) - 1;
    if (left > 0) outstanding.set(account, left);
    else outstanding.delete(account);
    batch.pinned[Symbol.dispose]();
    returnToken(batch.frame, outcome);
    line.left(batch);
    if (active.size > 0) return;
    for (const resolve of onDrained) resolve();
    onDrained = [];
  }

  function refuse(frame: BatchFrame, reason: 'not-held' | 'draining' | 'full'): void {
    events.batchRefused({ id: frame.servable, reason });
    returnToken(frame, 'refused');
  }

  function returnToken({ batcherId, batchId }: BatchFrame, outcome: ReadyFrame['outcome']): void {
    try {
      transport.publish(subjects.ready(batcherId), encodeReady({ workerId: id, batchId, outcome }));
    } catch {
      // The connection is closed for good: this worker is leaving, and the batcher sees that.
    }
  }

  /** Tells the batcher that nothing else is executed from now on. Only once the broker has it: the batch may end this process. */
  async function sayBegun({ batcherId, batchId }: BatchFrame): Promise<void> {
    if (!transport.connected) return;
    try {
      transport.publish(subjects.ready(batcherId), encodeReady({ workerId: id, batchId, outcome: 'begun' }));
      await transport.flush();
    } catch {
      // Cut off from the broker: what is lost now says nothing to the batcher, and is executed again.
    }
  }

  return {
    get active() {
      return active.size;
    },
    take,
    cancel({ gatewayId, requestIds }) {
      const gone = new Set(requestIds);
      for (const batch of active) {
        for (const run of batch.parts) {
          if (run.part.gatewayId !== gatewayId || !gone.has(run.part.requestId)) continue;
          run.cancelled = true;
          run.onCancelled?.();
          run.fetching?.abort(new ServeError('CANCELLED', 'the caller has gone'));
        }
      }
    },
    missing({ batcherId, batchIds }) {
      const here = new Set<BatchId>();
      for (const { frame } of active) if (frame.batcherId === batcherId) here.add(frame.batchId);
      return { batcherId, batchIds: batchIds.filter((batchId) => !here.has(batchId)) };
    },
    drain() {
      draining = true;
      return active.size === 0 ? Promise.resolve() : new Promise((resolve) => onDrained.push(resolve));
    },
    refuseWaiting(servable) {
      for (const work of dispatcher.withdraw(servable.model)) work.refuse();
    },
  };
}

/** Why a batch cannot be what its batcher meant; undefined: nothing speaks against it. Rows of one caller must never become another's. */
function problemOf({ parts }: BatchFrame): string | undefined {
  for (const { rowStart, rowCount, totalRows } of parts) {
    const alone = totalRows === 0 && rowCount === 0 && rowStart === 0 && parts.length === 1;
    const shares = rowCount > 0 && rowStart + rowCount <= totalRows;
    if (!alone && !shares)
      return `a batch of ${parts.length} parts has rows [${rowStart}, ${rowStart + rowCount}) of a request with ${totalRows}`;
  }
  return undefined;
}

function standingOf({ alone, parts }: BatchFrame): Standing {
  if (alone) return 'alone';
  return parts.some(({ callers }) => callers !== undefined) ? 'urgent' : 'shared';
}

function rowsOf(output: RunOutput, start: number, count: number): RunOutput {
  const { shape, bytes } = cutRows(output, start, count);
  const { name, dtype, lasting } = output;
  return lasting === undefined ? { name, dtype, shape, bytes } : { name, dtype, shape, bytes, lasting };
}

function accountOf({ batcherId, servable }: BatchFrame): string {
  return `${batcherId} ${servableKey(servable)}`;
}

function expired(): ServeError {
  return new ServeError('DEADLINE_EXCEEDED', 'the request reached its deadline before it was executed');
}
