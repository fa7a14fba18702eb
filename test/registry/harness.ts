import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import { createFakeClock, type FakeClock } from '#mesh/clock.ts';
import { parseSettings } from '#mesh/config.ts';
import type {
  Assignment,
  HeldServable,
  RegistryAnswer,
  RegistryQuestion,
  RoutedModel,
  RoutedVersion,
  RoutingUpdate,
  SignaturesQuestion,
  WorkerDetail,
} from '#mesh/control.ts';
import { OK_STATUS } from '#mesh/control.ts';
import { type MemberId, type ServableId, servableKey } from '#mesh/ids.ts';
import type { JobQueue } from '#mesh/job-queue.ts';
import { createMemoryJobQueue } from '#mesh/job-queue-memory.ts';
import { type Presence, startPresence } from '#mesh/presence.ts';
import type { Signatures } from '#mesh/signature.ts';
import type { StateStore } from '#mesh/state-store.ts';
import { createMemoryStateStore } from '#mesh/state-store-memory.ts';
import { createSubjects, type Subjects } from '#mesh/subjects.ts';
import { createTelemetry } from '#mesh/telemetry.ts';
import type { Transport } from '#mesh/transport.ts';
import { createMemoryBroker, type MemoryBroker } from '#mesh/transport-memory.ts';
import { REGISTRY_SETTINGS, type RegistrySettings } from '../../services/registry/config.ts';
import { type Registry, type RegistryDeps, startRegistry } from '../../services/registry/index.ts';

/** A control plane for tests: a broker, a store, a folder of models, registries, and workers that load for pretend on a fake clock. */
export interface ControlPlane extends AsyncDisposable {
  readonly clock: FakeClock;
  readonly store: StateStore;
  /** What `--model_base_path` and base paths of configurations lie under. */
  readonly folder: string;
  /** Log messages so far. */
  readonly logs: readonly string[];
  /** The routing table as a gateway builds it from updates alone. */
  readonly table: ReadonlyMap<string, RoutedModel>;
  /** All updates, in order. */
  readonly updates: readonly RoutingUpdate[];
  readonly subjects: Subjects;
  readonly broker: MemoryBroker;
  registry(args?: readonly string[], extra?: Partial<RegistryDeps>): Promise<Registry>;
  worker(name: string, options?: WorkerOptions): Promise<TestWorker>;
  ask(question: RegistryQuestion): Promise<RegistryAnswer>;
  /** Writes a version that passes its check, at once. */
  writeVersion(model: string, version: number | string, content?: string): Promise<string>;
  /** Lets time pass until the condition holds; fails after a minute of it. */
  until(condition: () => boolean | undefined, what?: string): Promise<void>;
  /** Waits for an answer while time passes. */
  during<Value>(promise: Promise<Value>): Promise<Value>;
  version(model: string, version: number): RoutedVersion | undefined;
}

export interface WorkerOptions {
  /** How long a load takes; default 100 ms. */
  readonly loadMs?: number;
  readonly memoryLimitBytes?: number;
}

export interface TestWorker extends AsyncDisposable {
  readonly id: MemberId;
  /** Loads of these keys (`name@version`, or `name@version#generation`) fail with this text. */
  readonly failing: Map<string, string>;
  readonly assignments: readonly Assignment[];
  /** Keys that can be run. */
  available(): readonly string[];
  drain(): void;
  /** Goes without a word. */
  die(): void;
  /** It answers no question for signatures until it recovers. */
  fallMute(): void;
  /** Its heartbeats reach nobody until it recovers. */
  fallSilent(): void;
  /** It is heard and answers again. */
  recover(): void;
}

const SIGNATURES: Signatures = { serving_default: { method: 'tensorflow/serving/predict', inputs: {}, outputs: {}, batchable: true } };

export async function startControlPlane(): Promise<ControlPlane> {
  const clock = createFakeClock();
  const broker = createMemoryBroker();
  const subjects = createSubjects('test');
  const store = createMemoryStateStore({ clock });
  const jobs: JobQueue = createMemoryJobQueue({ clock });
  const folder = await mkdtemp(join(tmpdir(), 'headrace-registry-'));
  const logs: string[] = [];
  const telemetry = createTelemetry({
    service: 'test',
    logLevel: 'info',
    otlpEndpoint: '',
    logTo: { write: (line) => void logs.push((JSON.parse(line) as { msg: string }).msg) },
  });
  const gateway = broker.connect();
  const updates: RoutingUpdate[] = [];
  const table = new Map<string, RoutedModel>();
  gateway.subscribe(subjects.routing, (message) => {
    const update = JSON.parse(fromUtf8(message.data)) as RoutingUpdate;
    updates.push(update);
    for (const name of update.removed) table.delete(name);
    for (const model of update.models) table.set(model.name, model);
  });
  const started: AsyncDisposable[] = [];

  async function until(condition: () => boolean | undefined, what = 'the condition'): Promise<void> {
    for (let passedMs = 0; !condition(); passedMs += 20) {
      if (passedMs > 60_000)
        throw new Error(`${what} does not hold after a minute: ${JSON.stringify([...table.values()])}\n${logs.join('\n')}`);
      // The file system answers in real time: it gets some for each step of ours.
      await new Promise<void>((resolve) => setTimeout(resolve, 1));
      await clock.advance(20);
    }
  }

  async function during<Value>(promise: Promise<Value>): Promise<Value> {
    let settled = false;
    const watched = promise.finally(() => {
      settled = true;
    });
    watched.catch(() => {});
    await until(() => settled, 'the answer');
    return watched;
  }

  return {
    clock,
    store,
    subjects,
    broker,
    folder,
    logs,
    table,
    updates,
    until,
    async registry(args = [], extra = {}) {
      const cache = `--import_cache_dir=${join(folder, '.imports')}`;
      const settings: RegistrySettings = parseSettings(REGISTRY_SETTINGS, { args: [cache, ...args], env: {} }).values;
      const registry = await startRegistry({ transport: broker.connect(), subjects, clock, telemetry, store, jobs, settings, ...extra });
      started.push(registry);
      return registry;
    },
    async worker(name, options) {
      const worker = await startTestWorker(name as MemberId, broker.connect(), subjects, clock, options ?? {});
      started.push(worker);
      return worker;
    },
    async ask(question) {
      return JSON.parse(fromUtf8(await during(gateway.request(subjects.registry, utf8(JSON.stringify(question)), { timeoutMs: 50_000 }))));
    },
    async writeVersion(model, version, content = 'x') {
      const path = join(folder, model, String(version));
      const copying = join(folder, `.copying-${model}-${version}`);
      await mkdir(copying, { recursive: true });
      await writeFile(join(copying, 'model.onnx'), onnxBytes(content));
      await mkdir(join(folder, model), { recursive: true });
      await rename(copying, path);
      return path;
    },
    during,
    version: (model, version) => table.get(model)?.versions.find((one) => one.version === version),
    async [Symbol.asyncDispose]() {
      for (const one of started.reverse()) await one[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The outermost fields of an ONNX file: an IR version and a graph of these bytes. */
export function onnxBytes(graph: string): Uint8Array {
  const bytes = utf8(graph);
  const length: number[] = [];
  for (let left = bytes.byteLength; ; left >>= 7) {
    length.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) break;
  }
  return Uint8Array.from([0x08, 0x08, 0x3a, ...length, ...bytes]);
}

interface Loaded {
  held: HeldServable;
  loading: { readonly generation: number; timer: Disposable } | undefined;
  failedGeneration: number;
}

/** A worker as `control.ts` describes it, without models: loading takes time, fails where it is told to, and the old generation serves on. */
async function startTestWorker(
  id: MemberId,
  transport: Transport,
  subjects: Subjects,
  clock: FakeClock,
  options: WorkerOptions,
): Promise<TestWorker> {
  const { loadMs = 100, memoryLimitBytes = 0 } = options;
  const failing = new Map<string, string>();
  const servables = new Map<string, Loaded>();
  const assignments: Assignment[] = [];
  let last: Assignment = { fencingToken: 0, revision: 0, servables: [] };
  let draining = false;
  let dead = false;
  let silent = false;
  let mute = false;
  let presence: Presence | undefined;

  const detail = (): WorkerDetail => ({
    fencingToken: last.fencingToken,
    assignmentRevision: last.revision,
    memoryLimitBytes,
    servables: [...servables.values()].map((one) => one.held),
    draining,
  });
  const announce = () => void (dead || presence?.announce(detail()));
  const heldServable = (servable: ServableId, generation: number, state: HeldServable['state'], status = OK_STATUS): HeldServable => ({
    id: servable,
    generation,
    state,
    status,
    tokens: state === 'AVAILABLE' ? 1 : 0,
    estimatedBytes: 0,
    batching: null,
    stateful: false,
  });

  function reconcile(): void {
    const wanted = new Map(last.servables.map((one) => [servableKey(one.id), one]));
    for (const [key, one] of servables) {
      if (wanted.has(key) || one.held.state === 'UNLOADING') continue;
      one.loading?.timer[Symbol.dispose]();
      if (one.held.state !== 'AVAILABLE') {
        servables.delete(key);
        continue;
      }
      one.held = heldServable(one.held.id, one.held.generation, 'UNLOADING');
      clock.schedule(50, () => {
        servables.delete(key);
        reconcile();
      });
    }
    for (const [key, { id: servable, generation }] of wanted) {
      let one = servables.get(key);
      if (one?.held.state === 'UNLOADING') continue;
      if (one !== undefined && (one.loading || one.held.generation >= generation || one.failedGeneration >= generation)) continue;
      one ??= { held: heldServable(servable, generation, 'LOADING'), loading: undefined, failedGeneration: 0 };
      servables.set(key, one);
      const target = one;
      const before = one.held.state === 'AVAILABLE' ? one.held : undefined;
      if (!before) target.held = heldServable(servable, generation, 'LOADING');
      const timer = clock.schedule(loadMs, () => {
        target.loading = undefined;
        const failure = failing.get(`${key}#${generation}`) ?? failing.get(key);
        if (failure === undefined) target.held = heldServable(servable, generation, 'AVAILABLE');
        else {
          target.failedGeneration = generation;
          const status = { code: 'INTERNAL' as const, message: failure };
          target.held = before ? { ...before, status } : heldServable(servable, generation, 'END', status);
        }
        announce();
        reconcile();
      });
      target.loading = { generation, timer };
    }
    announce();
  }

  transport.subscribe(subjects.assign(id), (message) => {
    const assignment = JSON.parse(fromUtf8(message.data)) as Assignment;
    if (dead || assignment.fencingToken < last.fencingToken) return;
    if (assignment.fencingToken === last.fencingToken && assignment.revision < last.revision) return;
    assignments.push(assignment);
    last = assignment;
    reconcile();
  });
  transport.subscribe(subjects.signatures(id), (message) => {
    const { id: servable } = JSON.parse(fromUtf8(message.data)) as SignaturesQuestion;
    const loaded = servables.get(servableKey(servable))?.held.state === 'AVAILABLE';
    if (!dead && !mute && message.replyTo)
      transport.publish(message.replyTo, utf8(JSON.stringify({ signatures: loaded ? SIGNATURES : null })));
  });
  // A process that dies says nothing any more, not even good-bye.
  const mortal: Transport = {
    ...transport,
    publish: (...message) => void (dead || (silent && message[0] === subjects.presence) || transport.publish(...message)),
    connected: true,
  };
  presence = await startPresence({ transport: mortal, subjects, clock, kind: 'worker', id, detail: detail() });

  return {
    id,
    failing,
    assignments,
    fallMute() {
      mute = true;
    },
    fallSilent() {
      silent = true;
    },
    recover() {
      silent = false;
      mute = false;
      announce();
    },
    available: () => [...servables].filter(([, one]) => one.held.state === 'AVAILABLE').map(([key]) => key),
    drain() {
      draining = true;
      announce();
    },
    die() {
      dead = true;
    },
    async [Symbol.asyncDispose]() {
      await presence?.[Symbol.asyncDispose]();
      dead = true;
    },
  };
}
