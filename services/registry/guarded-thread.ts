/**
 * A thread for user code beside a registry. Each call has a time limit and the thread a limit of memory; where one is broken, or the code ends
 * the thread, the thread is gone and the next call starts another. What was in flight beside a guilty call is run again.
 */
import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';

/** What is sent to a thread: an order to answer, or that nobody waits for the answer any more. */
export type ToGuardedThread = { readonly call: number; readonly order: unknown } | { readonly cancel: number };

/** What a thread says: an answer, that the code threw, or something of its own accord. */
export type FromGuardedThread =
  | { readonly call: number; readonly result: unknown }
  | { readonly call: number; readonly threw: string }
  | { readonly told: unknown };

/** How a call ended, for metrics. */
export type CallOutcome = 'ok' | 'threw' | 'time-limit' | 'memory-limit' | 'left';

/** What bounds user code. */
export interface UserCodeLimits {
  readonly callMs: number;
  /** Heap and buffers of one thread, together. */
  readonly memoryBytes: number;
}

/** What a thread runs, and who hears of it. */
export interface GuardedThreadOptions {
  /** For messages: `source module etcd`. */
  readonly name: string;
  /** The module that answers calls; see `answerCalls` in `guarded-body.ts`. */
  readonly body: URL;
  readonly data: unknown;
  readonly clock: Clock;
  readonly limits: UserCodeLimits;
  /** Hears what the thread says of its own accord. */
  readonly onTold: (told: unknown) => void;
  /** Hears that the thread is gone with all that it held. */
  readonly onLost: (error: ServeError) => void;
  readonly onCall: (doing: string, outcome: CallOutcome) => void;
  /** Hears each line that the code prints. */
  readonly onLine: (line: string) => void;
}

/** One thing to be done by user code. */
export interface UserCall {
  /** What it does, for messages and metrics: `find`. */
  readonly doing: string;
  /** Whom it is for, for messages: `model resnet`. */
  readonly subject: string;
  readonly order: unknown;
  /** Waits when the thread may not start yet, instead of failing at once. */
  readonly patient?: boolean;
  readonly signal?: AbortSignal;
}

/** A thread that starts with the first call. Disposing it ends it; calls in flight are rejected. */
export interface GuardedThread extends AsyncDisposable {
  /** It runs: something may be held there. */
  readonly started: boolean;
  /**
   * Rejects with a ServeError that names the code and what it was doing: INTERNAL when it threw or ended its thread, DEADLINE_EXCEEDED and
   * RESOURCE_EXHAUSTED for a limit; or with the signal's reason.
   */
  call(call: UserCall): Promise<unknown>;
  /** Ends the thread; the next call starts another. */
  stop(): Promise<void>;
}

/** How often memory is looked at while something runs, and while nothing does. */
const MEMORY_LOOK_MS = 100;
const IDLE_MEMORY_LOOK_MS = 1000;
/** A thread that is lost again and again starts again after this, doubled each time, up to the longest. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
/** A thread that lived for so long starts again at once. */
const HEALTHY_MS = 60_000;
/** Some loops cannot be interrupted; nothing waits longer than this for a thread to end. */
const STOP_BOUND_MS = 2000;
const MEBIBYTE = 1024 * 1024;
const YOUNG_MEBIBYTES = 16;

interface Pending {
  readonly call: UserCall;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** It was in flight when the thread was lost, beside others: it is run alone now, so that it is known who is to blame. */
  apart: boolean;
  timer: Timer | undefined;
  settled: boolean;
}

interface Running {
  readonly worker: Worker;
  readonly startedMs: number;
  readonly inFlight: Map<number, Pending>;
  memoryTimer: Timer | undefined;
  memoryDueMs: number;
}

/** Makes a thread. Nothing starts before the first call. */
export function createGuardedThread(options: GuardedThreadOptions): GuardedThread {
  const { clock, limits, name } = options;
  const waiting: Pending[] = [];
  let running: Running | undefined;
  let calls = 0;
  let losses = 0;
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  let pause: Timer | undefined;
  let lastLoss: ServeError | undefined;
  let closed = false;

  /** Sends what may be sent now: those to be run apart one at a time and before all others. */
  function pump(): void {
    if (closed || waiting.length === 0) return;
    if (running === undefined) {
      const pauseMs = notBeforeMs - clock.now();
      if (pauseMs > 0) {
        pause ??= clock.schedule(pauseMs, () => {
          pause = undefined;
          pump();
        });
        return;
      }
      running = start();
    }
    const { inFlight } = running;
    const apart = waiting.findIndex((one) => one.apart);
    if ([...inFlight.values()].some((one) => one.apart)) return;
    if (apart >= 0) {
      if (inFlight.size === 0) send(running, waiting.splice(apart, 1));
    } else send(running, waiting.splice(0));
  }

  function send(to: Running, all: readonly Pending[]): void {
    for (const pending of all) {
      const call = ++calls;
      to.inFlight.set(call, pending);
      pending.timer = clock.schedule(limits.callMs, () => {
        const text = `${describe(pending.call)} did not end within ${limits.callMs} ms (--user_code_call_limit_ms)`;
        lose(to, new ServeError('DEADLINE_EXCEEDED', text), 'time-limit', pending);
      });
      to.worker.postMessage({ call, order: pending.call.order } satisfies ToGuardedThread);
    }
    watchMemory(to);
  }

  function start(): Running {
    const worker = new Worker(options.body, {
      workerData: options.data,
      // A small young generation: what survives of it at once must fit what V8 has left when it stops the thread, or the process dies.
      resourceLimits: { maxOldGenerationSizeMb: Math.ceil(limits.memoryBytes / MEBIBYTE), maxYoungGenerationSizeMb: YOUNG_MEBIBYTES },
      stdout: true,
      stderr: true,
    });
    const started: Running = {
      worker,
      startedMs: clock.now(),
      inFlight: new Map(),
      memoryTimer: undefined,
      memoryDueMs: Number.POSITIVE_INFINITY,
    };
    for (const stream of [worker.stdout, worker.stderr]) forwardLines(stream, options.onLine);
    worker.on('message', (message: unknown) => {
      // The code may have posted something itself: what is no message of ours is nobody's.
      if (running === started && isOurs(message)) receive(started, message);
    });
    worker.on('error', (cause: unknown) => {
      const outOfMemory = typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === 'ERR_WORKER_OUT_OF_MEMORY';
      if (outOfMemory) return lose(started, tooMuchMemory(), 'memory-limit');
      const text = typeof cause === 'object' && cause !== null && 'message' in cause ? cause.message : cause;
      lose(started, new ServeError('INTERNAL', `${name} ended its thread by an error that nothing caught: ${text}`, { cause }), 'left');
    });
    worker.on('exit', (code) => lose(started, new ServeError('INTERNAL', `${name} ended its thread with exit code ${code}`), 'left'));
    return started;
  }

  function receive(from: Running, message: FromGuardedThread): void {
    if ('told' in message) {
      options.onTold(message.told);
      return;
    }
    const pending = from.inFlight.get(message.call);
    if (pending === undefined) return;
    from.inFlight.delete(message.call);
    pending.timer?.[Symbol.dispose]();
    const threw = 'threw' in message;
    settle(pending, threw ? 'threw' : 'ok', () =>
      threw
        ? pending.reject(new ServeError('INTERNAL', `${describe(pending.call)} failed: ${message.threw}`))
        : pending.resolve(message.result),
    );
    pump();
  }

  function settle(pending: Pending, outcome: CallOutcome, act: () => void): void {
    options.onCall(pending.call.doing, outcome);
    if (pending.settled) return;
    pending.settled = true;
    act();
  }

  /** Nobody waits for it any more; where it has begun it is held to its limit all the same. */
  function abandon(pending: Pending, reason: unknown): void {
    if (pending.settled) return;
    pending.settled = true;
    const place = waiting.indexOf(pending);
    if (place >= 0) waiting.splice(place, 1);
    for (const [call, one] of running?.inFlight ?? []) {
      if (one === pending) running?.worker.postMessage({ cancel: call } satisfies ToGuardedThread);
    }
    pending.reject(reason);
  }

  /** The thread is gone or given up. Blames `guilty`, or the only call in flight. */
  function lose(lost: Running, error: ServeError, outcome: CallOutcome, guilty?: Pending): void {
    if (running !== lost) return;
    running = undefined;
    lost.memoryTimer?.[Symbol.dispose]();
    void lost.worker.terminate();
    const inFlight = [...lost.inFlight.values()];
    const blamed = guilty ?? (inFlight.length === 1 ? inFlight[0] : undefined);
    if (clock.now() - lost.startedMs >= HEALTHY_MS) losses = 0;
    // Two losses cost no pause: one among others and one alone, so that whoever was beside the guilty call goes on at once.
    const pauseMs = losses < 2 ? 0 : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (losses - 2));
    losses++;
    notBeforeMs = clock.now() + pauseMs;
    const named =
      blamed === undefined || blamed === guilty
        ? error
        : new ServeError(error.code, `${error.message} in ${blamed.call.doing} of ${blamed.call.subject}`, { cause: error });
    lastLoss = named;
    const again: Pending[] = [];
    for (const pending of inFlight) {
      pending.timer?.[Symbol.dispose]();
      if (pending === blamed) {
        settle(pending, outcome, () => pending.reject(named));
      } else if (!pending.settled) {
        pending.apart = true;
        again.push(pending);
      }
    }
    waiting.unshift(...again);
    options.onLost(named);
    pump();
  }

  function watchMemory(watched: Running): void {
    const dueMs = clock.now() + (watched.inFlight.size > 0 ? MEMORY_LOOK_MS : IDLE_MEMORY_LOOK_MS);
    if (dueMs >= watched.memoryDueMs) return;
    watched.memoryTimer?.[Symbol.dispose]();
    watched.memoryDueMs = dueMs;
    watched.memoryTimer = clock.schedule(dueMs - clock.now(), () => {
      watched.memoryDueMs = Number.POSITIVE_INFINITY;
      watched.worker.getHeapStatistics().then(
        ({ used_heap_size, external_memory }) => {
          if (running !== watched) return;
          if (used_heap_size + external_memory > limits.memoryBytes) lose(watched, tooMuchMemory(), 'memory-limit');
          else watchMemory(watched);
        },
        // It has yet to start, or has ended.
        () => void (running === watched && watchMemory(watched)),
      );
    });
  }

  function tooMuchMemory(): ServeError {
    return new ServeError('RESOURCE_EXHAUSTED', `${name} held more than ${limits.memoryBytes} bytes (--user_code_memory_limit_bytes)`);
  }

  function describe({ doing, subject }: UserCall): string {
    return `${name}: ${doing} of ${subject}`;
  }

  async function stop(error: ServeError): Promise<void> {
    const stopped = running;
    running = undefined;
    pause?.[Symbol.dispose]();
    pause = undefined;
    stopped?.memoryTimer?.[Symbol.dispose]();
    for (const pending of [...(stopped?.inFlight.values() ?? []), ...waiting.splice(0)]) {
      pending.timer?.[Symbol.dispose]();
      if (!pending.settled) pending.reject(error);
      pending.settled = true;
    }
    if (stopped === undefined) return;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    using _bound = clock.schedule(STOP_BOUND_MS, resolve);
    await Promise.race([stopped.worker.terminate(), late]);
  }

  return {
    get started() {
      return running !== undefined;
    },
    async call(call) {
      const { signal } = call;
      if (closed) throw new ServeError('CANCELLED', `${name} is closed`);
      if (signal?.aborted) throw signal.reason;
      if (running === undefined && !call.patient && lastLoss !== undefined && clock.now() < notBeforeMs) throw lastLoss;
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const pending: Pending = { call, resolve, reject, apart: false, timer: undefined, settled: false };
      const onAbort = () => abandon(pending, signal?.reason);
      // A source's signal lives as long as the source: what listens must not pile up there.
      signal?.addEventListener('abort', onAbort, { once: true });
      waiting.push(pending);
      pump();
      try {
        return await promise;
      } finally {
        signal?.removeEventListener('abort', onAbort);
      }
    },
    stop: () => stop(new ServeError('CANCELLED', `${name} was stopped`)),
    [Symbol.asyncDispose]() {
      closed = true;
      return stop(new ServeError('CANCELLED', `${name} is closed`));
    },
  };
}

function isOurs(message: unknown): message is FromGuardedThread {
  return typeof message === 'object' && message !== null && ('told' in message || 'call' in message);
}

/** Calls back with each line of a stream, cut short. */
function forwardLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = `${rest}${text}`.split('\n');
    rest = (lines.pop() ?? '').slice(-MAX_LINE);
    for (const line of lines) if (line !== '') onLine(line.slice(0, MAX_LINE));
  });
}

const MAX_LINE = 2000;
