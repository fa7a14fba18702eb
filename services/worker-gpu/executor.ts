/**
 * An executor: a place where servables run. It owns a thread, and when that dies or hangs it starts another and loads its servables again, so
 * that whoever holds an executor never sees the thread change.
 */
import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import type { DType } from '#mesh/tensor.ts';
import {
  alignedBytes,
  type FromThread,
  grownRegion,
  type ModelKey,
  SLOTS_PER_EXECUTOR,
  type TensorPlace,
  type ThreadData,
  type ToThread,
} from './executor-protocol.ts';
import type { LoadRequest, ModelDescription } from './runtime.ts';

/** An input of a run. It lies in a shared buffer of its own, or is written into the executor's. */
export interface RunInput {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  readonly source:
    | { readonly type: 'write'; readonly into: (place: Uint8Array) => void }
    | { readonly type: 'shared'; readonly buffer: SharedArrayBuffer };
}

/** One run of one signature. */
export interface Run {
  readonly model: ModelKey;
  readonly signature: string;
  readonly outputs: readonly string[];
  readonly inputs: readonly RunInput[];
}

/** An output of a run. `bytes` is a view into the executor's memory, valid during the call that hands it out. */
export interface RunOutput {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** The thread died with this work on it. */
export class ExecutorLost extends ServeError {
  /** The work was being done when the thread died, so it may be the cause; otherwise it only waited there. */
  readonly suspect: boolean;

  constructor(message: string, suspect: boolean) {
    super('INTERNAL', message);
    this.suspect = suspect;
  }
}

/** A place to run servables; see the top of this file. */
export interface Executor extends AsyncDisposable {
  readonly kind: 'shared' | 'dedicated';
  /** Runs here or waiting here: from 0 to 2. */
  readonly inFlight: number;
  /** Loads, warmups and unloads under way here; batches had better go elsewhere. */
  readonly loading: number;
  /** Servables held. */
  readonly held: number;
  /** True when a run of the servable would be taken now. */
  canTake(model: ModelKey): boolean;
  /** Loads a servable. Rejects with the runtime's error, or INTERNAL when the thread dies of it. */
  load(model: ModelKey, runtime: string, request: LoadRequest): Promise<ModelDescription>;
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
  /** A run that takes longer has hung: its thread is given up. */
  readonly hangMs: number;
  /** A slot became free, or a servable can be run again after a restart. */
  readonly onCapacity: () => void;
  /** The thread died, or was given up. `model` is what it was doing. */
  readonly onDeath: (reason: string, model: ModelKey | undefined) => void;
  /** A servable can be run again after a death. */
  readonly onRestored: (model: ModelKey) => void;
  /** A servable could not be loaded again after a death. */
  readonly onModelLost: (model: ModelKey, error: ServeError) => void;
}

/** Something sent to the thread and not answered yet. Answers come in order. */
interface Pending {
  readonly type: ToThread['type'];
  readonly model: ModelKey;
  readonly slot: number;
  startedMs: number;
  answer(message: FromThread): void;
  lose(error: ExecutorLost): void;
}

interface Thread {
  readonly worker: Worker;
  readonly wake: Int32Array;
  readonly pending: Pending[];
  readonly inputRegions: (SharedArrayBuffer | undefined)[];
  readonly outputRegions: (SharedArrayBuffer | undefined)[];
  readonly freeSlots: number[];
  dead: boolean;
}

interface Held {
  readonly runtime: string;
  readonly request: LoadRequest;
  ready: boolean;
}

/** Makes an executor. Its thread starts with the first load. */
export function createExecutor(options: ExecutorOptions): Executor {
  const { clock, hangMs } = options;
  const models = new Map<ModelKey, Held>();
  let thread: Thread | undefined;
  let loading = 0;
  let closed = false;
  let watchdog: Timer | undefined;
  /** Called, one each time, when a slot becomes free, before anybody else can take it; all, when the thread is lost. */
  const slotWaiters: (() => void)[] = [];

  function startThread(): Thread {
    const wake = new SharedArrayBuffer(4);
    const worker = new Worker(new URL('./executor-thread.ts', import.meta.url), { workerData: { wake } satisfies ThreadData });
    const started: Thread = {
      worker,
      wake: new Int32Array(wake),
      pending: [],
      inputRegions: [],
      outputRegions: [],
      freeSlots: Array.from({ length: SLOTS_PER_EXECUTOR }, (_, slot) => slot),
      dead: false,
    };
    worker.on('message', (message: FromThread) => {
      const head = started.pending.shift();
      if (started.dead || head === undefined) return;
      const next = started.pending[0];
      if (next) next.startedMs = clock.now();
      head.answer(message);
    });
    worker.on('error', (error: unknown) => die(started, `threw ${error instanceof Error ? error.message : String(error)}`));
    worker.on('exit', (code) => die(started, `left with code ${code}`));
    return started;
  }

  function send(to: Thread, message: ToThread, pending: Pending): void {
    to.pending.push(pending);
    to.worker.postMessage(message);
    Atomics.add(to.wake, 0, 1);
    Atomics.notify(to.wake, 0);
  }

  /** The thread is gone or given up: everything on it is lost, and its servables are loaded on a new one. */
  function die(dying: Thread, reason: string): void {
    if (dying.dead) return;
    dying.dead = true;
    if (thread === dying) thread = undefined;
    const lost = dying.pending.splice(0);
    const doing = lost[0];
    if (!closed) options.onDeath(reason, doing?.model);
    const suspectLoad = doing?.type === 'load' ? doing.model : undefined;
    const again = [...models].filter(([, held]) => held.ready);
    for (const held of models.values()) held.ready = false;
    for (const wake of slotWaiters.splice(0)) wake();
    for (const [index, pending] of lost.entries()) pending.lose(new ExecutorLost(`the executor's thread ${reason}`, index === 0));
    for (const [model, held] of again) {
      if (!closed && models.get(model) === held && model !== suspectLoad) void reload(model, held);
    }
  }

  async function reload(model: ModelKey, held: Held): Promise<void> {
    try {
      await loadOn(model, held);
      if (models.get(model) !== held) return await unloadOn(model);
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
      return await ask<ModelDescription>({ type: 'load', model, runtime: held.runtime, request: held.request }, (message) => {
        if (message.type !== 'loaded') return undefined;
        held.ready = true;
        return message.description;
      });
    } finally {
      loading--;
    }
  }

  /** Sends a load or unload and waits for its answer. */
  function ask<Answer>(message: Exclude<ToThread, { type: 'run' }>, read: (answer: FromThread) => Answer | undefined): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (closed) return reject(new ExecutorLost('the executor is closed', false));
      thread ??= startThread();
      send(thread, message, {
        type: message.type,
        model: message.model,
        slot: -1,
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

  async function unloadOn(model: ModelKey): Promise<void> {
    if (thread === undefined || closed) return;
    try {
      await ask({ type: 'unload', model }, (answer) => (answer.type === 'unloaded' ? true : undefined));
    } catch (caught) {
      // A thread that died has given everything back.
      if (!(caught instanceof ExecutorLost)) throw caught;
    }
  }

  /** Looks now and then whether the run at the head has taken too long. Loads may take as long as they need. */
  function watch(): void {
    if (watchdog) return;
    watchdog = clock.schedule(hangMs / 2, () => {
      watchdog = undefined;
      const head = thread?.pending[0];
      if (thread === undefined || head === undefined) return;
      if (head.type === 'run' && clock.now() - head.startedMs >= hangMs) {
        void thread.worker.terminate();
        die(thread, `did not finish a batch within ${hangMs} ms`);
      } else watch();
    });
  }

  const executor: Executor = {
    kind: options.kind,
    get inFlight() {
      return thread === undefined ? 0 : SLOTS_PER_EXECUTOR - thread.freeSlots.length;
    },
    get loading() {
      return loading;
    },
    get held() {
      return models.size;
    },
    canTake: (model) => thread !== undefined && thread.freeSlots.length > 0 && models.get(model)?.ready === true,
    async load(model, runtime, request) {
      const held: Held = { runtime, request, ready: false };
      models.set(model, held);
      for (;;) {
        try {
          const description = await loadOn(model, held);
          if (models.get(model) === held) return description;
          // Unloaded while it loaded: nobody else will tell the thread.
          await unloadOn(model);
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
        await unloadOn(model);
      } finally {
        loading--;
      }
    },
    runWhenFree(run) {
      return new Promise<void>((resolve, reject) => {
        const attempt = () => {
          if (thread === undefined || !models.get(run.model)?.ready) return reject(new ExecutorLost('the executor lost its thread', false));
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
        let placed: Placed;
        try {
          placed = placeInputs(run.inputs, on.inputRegions[slot]);
        } catch (caught) {
          on.freeSlots.push(slot);
          throw caught;
        }
        const fresh = placed.region !== on.inputRegions[slot];
        on.inputRegions[slot] = placed.region;
        const { model, signature, outputs } = run;
        const message: ToThread = {
          type: 'run',
          model,
          slot,
          signature,
          outputs,
          inputs: placed.inputs,
          ...(fresh && placed.region ? { region: placed.region } : {}),
        };
        send(on, message, {
          type: 'run',
          model,
          slot,
          startedMs: clock.now(),
          answer(answer) {
            try {
              if (answer.type !== 'ran') return reject(toError(answer));
              if (answer.region) on.outputRegions[slot] = answer.region;
              resolve(consume(viewOutputs(answer.outputs, on.outputRegions[slot]), answer.executedMs));
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
        watch();
      });
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      watchdog?.[Symbol.dispose]();
      const last = thread;
      if (last === undefined) return;
      die(last, 'was stopped');
      models.clear();
      await last.worker.terminate();
    },
  };
  return executor;
}

interface Placed {
  readonly inputs: readonly TensorPlace[];
  readonly region: SharedArrayBuffer | undefined;
}

function placeInputs(inputs: readonly RunInput[], before: SharedArrayBuffer | undefined): Placed {
  let byteLength = 0;
  for (const input of inputs) if (input.source.type === 'write') byteLength += alignedBytes(input.byteLength);
  const region = byteLength === 0 && before === undefined ? undefined : grownRegion(before, byteLength);
  let next = 0;
  const places = inputs.map(({ name, dtype, shape, byteLength: bytes, source }): TensorPlace => {
    if (source.type === 'shared') return { name, dtype, shape, offset: 0, byteLength: bytes, buffer: source.buffer };
    const offset = next;
    next += alignedBytes(bytes);
    if (region && bytes > 0) source.into(new Uint8Array(region, offset, bytes));
    return { name, dtype, shape, offset, byteLength: bytes };
  });
  return { inputs: places, region };
}

function viewOutputs(places: readonly TensorPlace[], region: SharedArrayBuffer | undefined): RunOutput[] {
  return places.map(({ name, dtype, shape, offset, byteLength }) => ({
    name,
    dtype,
    shape,
    bytes: region === undefined ? new Uint8Array(0) : new Uint8Array(region, offset, byteLength),
  }));
}

function toError(answer: FromThread): ServeError {
  return answer.type === 'failed'
    ? new ServeError(answer.code, answer.message)
    : new ServeError('INTERNAL', `the executor's thread answered "${answer.type}" to something else (this is a bug)`);
}
