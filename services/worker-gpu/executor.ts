/**
 * An executor: a place where servables run. It owns a thread (or, for code of users, a process under limits), and when that dies or hangs it
 * starts another and loads its servables again, so that whoever holds an executor never sees it change.
 */
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError, type StatusCode } from '#mesh/errors.ts';
import { type CallLimits, limitOf, overdue } from './call-limits.ts';
import type { RunContext } from './call-protocol.ts';
import type { ExecutorHost, HostListener } from './executor-host.ts';
import { type CallCount, type FromThread, type ModelKey, SLOTS_FOR_SHORT, SLOTS_PER_EXECUTOR, type ToThread } from './executor-protocol.ts';
import { carryInputs, type PlacedInputs, placeInputs, type RunInput, type RunOutput, viewOutputs } from './run-tensors.ts';
import type { LoadRequest, ModelDescription } from './runtime.ts';

/** One run of one signature. */
export interface Run {
  readonly model: ModelKey;
  readonly signature: string;
  readonly outputs: readonly string[];
  readonly inputs: readonly RunInput[];
  /** For user code: what of the requests it may know. */
  readonly context?: RunContext;
}

/** What ended a thread or process before its time: it went by itself, or broke a limit. */
export type Breach = 'end' | 'time' | 'memory';

/** The thread died with this work on it. */
export class ExecutorLost extends ServeError {
  /** The work was being done when the thread died, so it may be the cause; otherwise it only waited there. */
  readonly suspect: boolean;
  readonly breach: Breach;

  constructor(message: string, fact: { readonly suspect: boolean; readonly breach: Breach }) {
    super('INTERNAL', message);
    this.suspect = fact.suspect;
    this.breach = fact.breach;
  }
}

/** How an executor lost its thread or process. */
export interface Death {
  /** A sentence without its subject: `left with code 9`. */
  readonly reason: string;
  readonly breach: Breach;
  /** What it was doing; for code of users that broke it between calls, all of them. */
  readonly models: readonly ModelKey[];
  /** The code of a user that it is put down to. */
  readonly userCode: string | undefined;
}

/** What an executor is told of a servable besides what its runtime is. */
export interface Guard {
  /** What the code of users in it is called. */
  readonly names: readonly string[];
  readonly estimatedBytes: number;
}

/** A place to run servables; see the top of this file. */
export interface Executor extends AsyncDisposable {
  /** A guarded one runs code of users, and breaks when that breaks its limits. */
  readonly kind: 'shared' | 'dedicated' | 'guarded';
  /** Runs here or waiting here: at most two, and more only of those that take less than a ms together. */
  readonly inFlight: number;
  /** Loads, warmups and unloads under way here; batches had better go elsewhere. */
  readonly loading: number;
  /** Servables held. */
  readonly held: number;
  /** True when a run of the servable would be taken now. */
  canTake(model: ModelKey): boolean;
  /** Loads a servable. Rejects with the runtime's error, or INTERNAL when the thread dies of it. `guard` is for a guarded executor. */
  load(model: ModelKey, runtime: string, request: LoadRequest, guard?: Guard): Promise<ModelDescription>;
  /** Drops a servable once the runs of it are done. */
  unload(model: ModelKey): Promise<void>;
  /** Runs as soon as a slot is free, for its side effects: warmup. Rejects as `run` does. */
  runWhenFree(run: Run): Promise<void>;
  /**
   * Runs; call only when `canTake`. Inputs are written before it returns. `consume` gets the outputs and what they took in ms, at once when they
   * are there. Rejects with the runtime's ServeError, ExecutorLost, or what `consume` threw.
   */
  run<Result>(run: Run, consume: (outputs: readonly RunOutput[], executedMs: number) => Result): Promise<Result>;
}

/** What an executor is made with. */
export interface ExecutorOptions {
  readonly kind: Executor['kind'];
  readonly clock: Clock;
  /** A run that takes longer has hung: its thread is given up. For code of users, `limits` say when. */
  readonly hangMs: number;
  /** For a guarded executor only. */
  readonly limits?: CallLimits;
  /** Starts a thread, or a process; `heapLimitBytes` is for the latter. */
  readonly startHost: (listener: HostListener, heapLimitBytes: number) => ExecutorHost;
  /** A slot became free, or a servable can be run again after a restart. */
  readonly onCapacity: () => void;
  /** The thread died, or was given up. */
  readonly onDeath: (death: Death) => void;
  /** Code of users was called in a run; `failed`: which failed and how, when one did. */
  readonly onCalls: (calls: readonly CallCount[], failed: { readonly name: string; readonly code: StatusCode } | undefined) => void;
  /** A servable can be run again after a death. */
  readonly onRestored: (model: ModelKey) => void;
  /** A servable could not be loaded again after a death. */
  readonly onModelLost: (model: ModelKey, error: ServeError) => void;
}

/** More than two runs are taken while all of them together are expected to take no longer: what comes next had better go where less waits. */
const SHORT_MS = 1;
/** Weight of the newest run in what a servable's run is expected to take. */
const NEWEST_WEIGHT = 0.2;

/** Something sent to the thread and not answered yet. Answers come in order. */
interface Pending {
  readonly type: ToThread['type'];
  readonly model: ModelKey;
  /** What the code of users in it is called; a servable that is being unloaded is not held any more. */
  readonly names: readonly string[];
  readonly slot: number;
  /** What a run is expected to take; 0 for everything else. */
  readonly expectedMs: number;
  startedMs: number;
  answer(message: FromThread): void;
  lose(error: ExecutorLost): void;
}

interface Thread {
  readonly host: ExecutorHost;
  readonly pending: Pending[];
  /** Of all that is pending. */
  expectedMs: number;
  readonly inputRegions: (SharedArrayBuffer | undefined)[];
  readonly outputRegions: (SharedArrayBuffer | undefined)[];
  readonly freeSlots: number[];
  /** The code of a user that was entered last in what is being done. */
  entered: string | undefined;
  /** The most that its servables were estimated to need at one time: what one leaves behind is not given back at once. */
  estimatedBytes: number;
  dead: boolean;
}

interface Held {
  readonly runtime: string;
  readonly request: LoadRequest;
  readonly guard: Guard;
  ready: boolean;
  /** What a run takes, a moving average; undefined before the first. */
  runMs: number | undefined;
}

const NO_GUARD: Guard = { names: [], estimatedBytes: 0 };

/** What a process may take beside all estimates and limits: work that is the engine's own and onnxruntime's. */
const OWN_BYTES = 128 * 2 ** 20;
/** The memory of a process that works is looked at this often, in ms; what it can take between two looks it may have beyond its limit. */
const LOOK_BUSY_MS = 20;
/** The same while it waits for work. */
const LOOK_IDLE_MS = 1000;

/** Makes an executor. Its thread starts with the first load. */
export function createExecutor(options: ExecutorOptions): Executor {
  const { clock, hangMs, limits } = options;
  const slotCount = options.kind === 'guarded' ? SLOTS_PER_EXECUTOR : SLOTS_FOR_SHORT;
  const models = new Map<ModelKey, Held>();
  let thread: Thread | undefined;
  let loading = 0;
  let closed = false;
  let watchdog: { readonly atMs: number; readonly timer: Timer } | undefined;
  /** Called, one each time, when a slot becomes free, before anybody else can take it; all, when the thread is lost. */
  const slotWaiters: (() => void)[] = [];

  function startThread(): Thread {
    const listener: HostListener = {
      onMessage(message) {
        const head = started.pending.shift();
        if (head === undefined) return;
        started.expectedMs = started.pending.length === 0 ? 0 : started.expectedMs - head.expectedMs;
        started.entered = undefined;
        const next = started.pending[0];
        if (next) next.startedMs = clock.now();
        watch();
        if ('calls' in message && message.calls) {
          const failed = message.type === 'failed' && message.failedIn !== undefined;
          options.onCalls(message.calls, failed ? { name: message.failedIn, code: message.code } : undefined);
        }
        head.answer(message);
      },
      onEntered(name) {
        started.entered = name;
      },
      onEnd: ({ reason, outOfMemory }) => die(started, outOfMemory ? memoryBreach() : { reason, breach: 'end' }),
    };
    const started: Thread = {
      host: options.startHost(listener, memoryLimitBytes(estimatedBytes())),
      pending: [],
      expectedMs: 0,
      inputRegions: [],
      outputRegions: [],
      freeSlots: Array.from({ length: slotCount }, (_, slot) => slot),
      entered: undefined,
      estimatedBytes: estimatedBytes(),
      dead: false,
    };
    return started;
  }

  function inFlightOn({ freeSlots }: Thread): number {
    return slotCount - freeSlots.length;
  }

  /** What all servables here are estimated to need. */
  function estimatedBytes(): number {
    let bytes = 0;
    for (const { guard } of models.values()) bytes += guard.estimatedBytes;
    return bytes;
  }

  function memoryLimitBytes(estimated: number): number {
    return OWN_BYTES + estimated + (limits?.memoryBytes ?? 0);
  }

  function send(to: Thread, message: ToThread, pending: Pending): void {
    to.pending.push(pending);
    to.expectedMs += pending.expectedMs;
    to.host.post(message);
    watch();
  }

  /** The thread is gone or given up: everything on it is lost, and its servables are loaded on a new one. */
  function die(dying: Thread, { reason, breach }: { readonly reason: string; readonly breach: Breach }): void {
    if (dying.dead) return;
    dying.dead = true;
    void dying.host.end();
    if (thread === dying) thread = undefined;
    const lost = dying.pending.splice(0);
    const doing = lost[0];
    const again = [...models].filter(([, held]) => held.ready);
    // Code of users that breaks its process between calls (a timer of its own) is one of those it holds.
    const blamed = doing ? [doing.model] : limits ? again.map(([model]) => model) : [];
    const names = doing ? doing.names : blamed.flatMap((model) => models.get(model)?.guard.names ?? []);
    const userCode = dying.entered ?? ([...new Set(names)].join(' or ') || undefined);
    if (!closed) options.onDeath({ reason, breach, models: blamed, userCode });
    const suspectLoad = doing?.type === 'load' ? doing.model : undefined;
    for (const held of models.values()) held.ready = false;
    for (const wake of slotWaiters.splice(0)) wake();
    const message = `${userCode ?? "the executor's thread"} ${reason}`;
    for (const [index, pending] of lost.entries()) pending.lose(new ExecutorLost(message, { suspect: index === 0, breach }));
    for (const [model, held] of again) {
      if (!closed && models.get(model) === held && model !== suspectLoad) void reload(model, held);
    }
  }

  async function reload(model: ModelKey, held: Held): Promise<void> {
    try {
      await loadOn(model, held);
      if (models.get(model) !== held) return await unloadOn(model, held);
      options.onCapacity();
      options.onRestored(model);
    } catch (caught) {
      if (models.get(model) !== held) return;
      // Another servable's load killed the new thread: not this one's fault.
      if (caught instanceof ExecutorLost && !caught.suspect && !closed) return reload(model, held);
      models.delete(model);
      if (!closed) options.onModelLost(model, caught as ServeError);
    }
  }

  async function loadOn(model: ModelKey, held: Held): Promise<ModelDescription> {
    loading++;
    try {
      const { runtime, request, guard } = held;
      return await ask<ModelDescription>({ type: 'load', model, runtime, request, userCode: guard.names }, guard.names, (message) => {
        if (message.type !== 'loaded') return undefined;
        held.ready = true;
        return message.description;
      });
    } finally {
      loading--;
    }
  }

  /** Sends a load or unload and waits for its answer. */
  function ask<Answer>(
    message: Exclude<ToThread, { type: 'run' }>,
    names: readonly string[],
    read: (answer: FromThread) => Answer | undefined,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (closed) return reject(new ExecutorLost('the executor is closed', { suspect: false, breach: 'end' }));
      thread ??= startThread();
      thread.estimatedBytes = Math.max(thread.estimatedBytes, estimatedBytes());
      send(thread, message, {
        type: message.type,
        model: message.model,
        names,
        slot: -1,
        expectedMs: 0,
        startedMs: clock.now(),
        answer(answer) {
          const value = read(answer);
          if (value !== undefined) resolve(value);
          else reject(toError(answer));
        },
        lose: reject,
      });
    });
  }

  async function unloadOn(model: ModelKey, { guard }: Held): Promise<void> {
    if (thread === undefined || closed) return;
    try {
      await ask({ type: 'unload', model }, guard.names, (answer) => (answer.type === 'unloaded' ? true : undefined));
    } catch (caught) {
      // A thread that died has given everything back.
      if (!(caught instanceof ExecutorLost)) throw caught;
    }
  }

  /** Looks, while there is something to look at, whether what runs has broken a limit. */
  function watch(): void {
    if (closed || thread === undefined) return;
    const lookMs = nextLookMs(thread);
    if (lookMs === undefined) return;
    const atMs = clock.now() + lookMs;
    if (watchdog && watchdog.atMs <= atMs) return;
    watchdog?.timer[Symbol.dispose]();
    const timer = clock.schedule(lookMs, () => {
      watchdog = undefined;
      look();
      watch();
    });
    watchdog = { atMs, timer };
  }

  /** How long until it has to be looked at; undefined: it need not. */
  function nextLookMs({ pending: [head] }: Thread): number | undefined {
    if (limits === undefined) return head?.type === 'run' ? hangMs / 2 : undefined;
    if (head === undefined) return LOOK_IDLE_MS;
    return Math.min(LOOK_BUSY_MS, Math.max(0, head.startedMs + limitOf(head.type, limits) - clock.now()));
  }

  function look(): void {
    const looked = thread;
    const head = looked?.pending[0];
    if (looked === undefined) return;
    const tookMs = head === undefined ? 0 : clock.now() - head.startedMs;
    if (limits === undefined) {
      // Loads of code that is known may take as long as they need.
      if (head?.type === 'run' && tookMs >= hangMs) die(looked, { reason: `did not finish a batch within ${hangMs} ms`, breach: 'time' });
      return;
    }
    if (head && tookMs >= limitOf(head.type, limits)) die(looked, { reason: overdue(head.type, limits), breach: 'time' });
    const bytes = looked.host.memoryBytes();
    if (bytes !== undefined && bytes > memoryLimitBytes(looked.estimatedBytes)) die(looked, memoryBreach());
  }

  function memoryBreach() {
    const reason = `took more memory than ${limits?.memoryBytes ?? 0} bytes beyond its estimate (--user_code_memory_limit_bytes)`;
    return { reason, breach: 'memory' } as const;
  }

  const executor: Executor = {
    kind: options.kind,
    get inFlight() {
      return thread === undefined ? 0 : inFlightOn(thread);
    },
    get loading() {
      return loading;
    },
    get held() {
      return models.size;
    },
    canTake(model) {
      const held = models.get(model);
      if (thread === undefined || !held?.ready || thread.freeSlots.length === 0) return false;
      return inFlightOn(thread) < SLOTS_PER_EXECUTOR || thread.expectedMs + (held.runMs ?? hangMs) <= SHORT_MS;
    },
    async load(model, runtime, request, guard = NO_GUARD) {
      const held: Held = { runtime, request, guard, ready: false, runMs: undefined };
      models.set(model, held);
      for (;;) {
        try {
          const description = await loadOn(model, held);
          if (models.get(model) === held) return description;
          // Unloaded while it loaded: nobody else will tell the thread.
          await unloadOn(model, held);
          throw new ServeError('CANCELLED', 'the servable was unloaded while it was being loaded');
        } catch (caught) {
          if (caught instanceof ExecutorLost && !caught.suspect && !closed && models.get(model) === held) continue;
          if (models.get(model) === held) models.delete(model);
          throw caught;
        }
      }
    },
    async unload(model) {
      const held = models.get(model);
      models.delete(model);
      if (!held?.ready) return;
      loading++;
      try {
        await unloadOn(model, held);
      } finally {
        loading--;
      }
    },
    runWhenFree(run) {
      return new Promise<void>((resolve, reject) => {
        const attempt = () => {
          if (thread === undefined || !models.get(run.model)?.ready)
            return reject(new ExecutorLost('the executor lost its thread', { suspect: false, breach: 'end' }));
          if (!executor.canTake(run.model)) return void slotWaiters.push(attempt);
          loading++;
          executor
            .run(run, () => {})
            .finally(() => loading--)
            .then(resolve, reject);
        };
        attempt();
      });
    },
    run(run, consume) {
      return new Promise((resolve, reject) => {
        const on = thread;
        const slot = on?.freeSlots.pop();
        if (on === undefined || slot === undefined) throw new ServeError('INTERNAL', 'the executor has no free slot (this is a bug)');
        let placed: PlacedInputs;
        try {
          placed = on.host.sharesMemory ? placeInputs(run.inputs, on.inputRegions[slot]) : carryInputs(run.inputs);
        } catch (caught) {
          on.freeSlots.push(slot);
          throw caught;
        }
        const fresh = placed.region !== on.inputRegions[slot];
        on.inputRegions[slot] = placed.region;
        const { model, signature, outputs, context } = run;
        const held = models.get(model);
        const message: ToThread = {
          type: 'run',
          model,
          slot,
          signature,
          outputs,
          inputs: placed.inputs,
          ...(context === undefined ? {} : { context }),
          ...(fresh && placed.region ? { region: placed.region } : {}),
          ...(placed.carried ? { carried: placed.carried } : {}),
        };
        send(on, message, {
          type: 'run',
          model,
          names: held?.guard.names ?? [],
          slot,
          expectedMs: held?.runMs ?? hangMs,
          startedMs: clock.now(),
          answer(answer) {
            try {
              if (answer.type !== 'ran') return reject(toError(answer));
              if (held) held.runMs = nextAverageMs(held.runMs, answer.executedMs);
              if (answer.region) on.outputRegions[slot] = answer.region;
              const memory = answer.carried instanceof Uint8Array ? answer.carried.buffer : on.outputRegions[slot];
              resolve(consume(viewOutputs(answer.outputs, memory), answer.executedMs));
            } catch (caught) {
              reject(caught);
            } finally {
              on.freeSlots.push(slot);
              const waiter = slotWaiters.shift();
              if (waiter) waiter();
              options.onCapacity();
            }
          },
          lose: reject,
        });
      });
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      watchdog?.timer[Symbol.dispose]();
      const last = thread;
      if (last === undefined) return;
      die(last, { reason: 'was stopped', breach: 'end' });
      models.clear();
      await last.host.end();
    },
  };
  return executor;
}

function nextAverageMs(beforeMs: number | undefined, ranMs: number): number {
  return beforeMs === undefined ? ranMs : beforeMs + NEWEST_WEIGHT * (ranMs - beforeMs);
}

function toError(answer: FromThread): ServeError {
  return answer.type === 'failed'
    ? new ServeError(answer.code, answer.message)
    : new ServeError('INTERNAL', `the executor's thread answered "${answer.type}" to something else (this is a bug)`);
}
