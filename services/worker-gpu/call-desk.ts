/** The main thread's side of what user code asks for while it runs: calls of other servables, and lines for the log. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError, type StatusCode, toServeError } from '#mesh/errors.ts';
import { createSequence, type ServableId, servableKey } from '#mesh/ids.ts';
import type { CallPort, FromUserCode, PostedCall, RunContext, ToUserCode } from './call-protocol.ts';
import { postable } from './call-protocol.ts';
import type { MeshCalls } from './mesh-calls.ts';

/** One run of a servable of a user's own. */
export interface RunFacts {
  readonly servable: ServableId;
  /** Of the request with the least time: calls of other servables end with it. */
  readonly deadlineMs: number;
  /** Of the request with the most time: after it nobody waits any more. */
  readonly untilMs: number;
  /** Keys of the servables that wait for the requests. */
  readonly callers: readonly string[];
  readonly traceparent: string;
}

/** A run under way. Disposing it ends the calls that it has not waited for. */
export interface OpenRun extends Disposable {
  readonly context: RunContext;
  /** Nobody waits for it any more: its signal aborts. */
  abandon(reason: ServeError): void;
}

/** A thread's connection. Disposing it ends what the thread asked for. */
export interface ThreadCalls extends Disposable {
  /** To hand over to the thread. */
  readonly port: CallPort;
}

/** Joins runs and threads. */
export interface CallDesk {
  connect(): ThreadCalls;
  begin(run: RunFacts): OpenRun;
}

/** What a desk is made with. */
export interface CallDeskOptions {
  readonly clock: Clock;
  readonly infer: MeshCalls['infer'];
  /** A servable's call of another one has ended. */
  readonly onCalled: (fact: { readonly id: ServableId; readonly code: StatusCode | 'OK' }) => void;
  readonly onLog: (line: Extract<FromUserCode, { readonly type: 'log' }>) => void;
}

interface Run {
  readonly facts: RunFacts;
  readonly ending: AbortController;
}

/** Makes a desk. */
export function createCallDesk({ clock, infer, onCalled, onLog }: CallDeskOptions): CallDesk {
  const runs = new Map<number, Run>();
  const ports = new Set<MessagePort>();
  const nextRun = createSequence<number>();

  async function answer(port: MessagePort, number: number, call: number, request: PostedCall, gone: AbortSignal): Promise<void> {
    const run = runs.get(number);
    try {
      if (run === undefined) throw new ServeError('CANCELLED', `the call of ${request.model} came after its batch had ended`);
      const { facts, ending } = run;
      const outputs = await infer({
        ...request,
        inputs: new Map(request.inputs.map(({ name, ...tensor }) => [name, tensor])),
        deadlineMs: facts.deadlineMs,
        traceparent: facts.traceparent,
        callers: [...facts.callers, servableKey(facts.servable)],
        signal: AbortSignal.any([ending.signal, gone]),
      });
      onCalled({ id: facts.servable, code: 'OK' });
      const { tensors, transfer } = postable(outputs);
      port.postMessage({ type: 'outputs', call, outputs: tensors } satisfies ToUserCode, transfer);
    } catch (caught) {
      const { code, message } = toServeError(caught);
      if (run !== undefined) onCalled({ id: run.facts.servable, code });
      port.postMessage({ type: 'error', call, code, message } satisfies ToUserCode);
    }
  }

  return {
    connect() {
      const { port1, port2 } = new MessageChannel();
      const leaving = new AbortController();
      port1.on('message', (message: FromUserCode) => {
        if (message.type === 'log') onLog(message);
        else if (message.type === 'flush') port1.postMessage({ type: 'flushed' } satisfies ToUserCode);
        else void answer(port1, message.run, message.call, message.request, leaving.signal);
      });
      // The thread keeps the process alive, or nothing does.
      port1.unref();
      ports.add(port1);
      return {
        port: port2,
        [Symbol.dispose]() {
          ports.delete(port1);
          leaving.abort(new ServeError('CANCELLED', "the caller's executor has ended"));
          port1.close();
        },
      };
    },
    begin(facts) {
      const number = nextRun();
      const run: Run = { facts, ending: new AbortController() };
      runs.set(number, run);
      const abandon = (reason: ServeError) => {
        if (run.ending.signal.aborted) return;
        run.ending.abort(reason);
        const { code, message } = reason;
        // Which thread has it is the executor's to know; the others do not know the number.
        for (const port of ports) port.postMessage({ type: 'abort', run: number, code, message } satisfies ToUserCode);
      };
      const overdue = () =>
        abandon(new ServeError('DEADLINE_EXCEEDED', `${servableKey(facts.servable)} did not answer within the deadline`));
      const leftMs = facts.untilMs - clock.now();
      const late: Timer | undefined = Number.isFinite(leftMs) ? clock.schedule(leftMs, overdue) : undefined;
      return {
        context: { run: number, budgetMs: Math.max(0, facts.deadlineMs - clock.now()) },
        abandon,
        [Symbol.dispose]() {
          late?.[Symbol.dispose]();
          runs.delete(number);
          run.ending.abort(new ServeError('CANCELLED', 'the batch has ended'));
        },
      };
    },
  };
}
