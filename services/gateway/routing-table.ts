/**
 * The gateway's copy of the routing table. The leading registry publishes every change with a revision; this copy applies them in order, asks
 * for all of it when it finds a gap or a new leadership, and keeps the last table while no registry is there.
 */
import { utf8 } from '#mesh/bytes.ts';
import type { Clock, Timer } from '#mesh/clock.ts';
import type { RegistryAnswer, RegistryQuestion, RoutedModel, RoutingUpdate } from '#mesh/control.ts';
import { readRegistryAnswer, readRoutingUpdate } from '#mesh/control-reader.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';

/** The table as this gateway has it, perhaps older than the registry's. Reading never waits; disposing it stops following. */
export interface RoutingTable extends AsyncDisposable {
  /** True once a whole table has arrived. */
  readonly known: boolean;
  /** The revision in force; 0 before the first table. */
  readonly revision: number;
  /** Resolves with the first whole table. */
  readonly whenKnown: Promise<void>;
  model(name: string): RoutedModel | undefined;
  /** Names of all models, sorted. */
  names(): readonly string[];
  /** Calls `listener` after any change. */
  onChange(listener: () => void): Disposable;
  /** Compares with the leading registry now instead of at the next interval. */
  compare(): void;
}

/** What following the table needs, and who hears when the registry could not be asked. */
export interface RoutingTableDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  /** Told of what went wrong with a question; the table goes on with what it has. */
  readonly onTrouble: (error: ServeError) => void;
}

/** How often the revision is compared with the leading registry's: bounds how long a lost update goes unnoticed. */
const COMPARE_EVERY_MS = 5000;
/** Between questions until the first table has arrived. */
const RETRY_EVERY_MS = 200;
const QUESTION_TIMEOUT_MS = 2000;
/** A page that only tells the revision. */
const PROBE_BYTES = 1024;
/** Pages of one table must be of one revision; a table that changes faster than it can be read is tried this often before the next interval. */
const MAX_READS = 8;

/** Starts following the routing table. Returns at once; `whenKnown` tells when there is one. */
export function startRoutingTable({ transport, subjects, clock, onTrouble }: RoutingTableDeps): RoutingTable {
  const listeners = new Set<() => void>();
  const { promise: whenKnown, resolve: becomeKnown } = Promise.withResolvers<void>();
  const stopping = new AbortController();
  const pageBytes = Math.min(512 * 1024, Math.floor(transport.maxPayloadBytes / 2));
  let models = new Map<string, RoutedModel>();
  /** In order; undefined: to be put in order when somebody asks. */
  let names: readonly string[] | undefined;
  let known = false;
  let fencingToken = -1;
  let revision = 0;
  let timer: Timer | undefined;
  let reading = false;
  /** Updates that came while the table was read; applied to what was read. */
  let early: RoutingUpdate[] = [];

  function take(newModels: Map<string, RoutedModel>, update: RoutingUpdate): void {
    models = newModels;
    names = undefined;
    fencingToken = update.fencingToken;
    revision = update.revision;
    if (!known) {
      known = true;
      becomeKnown();
    }
  }

  function tell(): void {
    for (const listener of [...listeners]) listener();
  }

  /** Applies an update that follows the table directly. Returns false when something is missing between them. */
  function apply(update: RoutingUpdate): boolean {
    if (update.fencingToken < fencingToken || (update.fencingToken === fencingToken && update.revision <= revision)) return true;
    if (!known || update.fencingToken !== fencingToken || update.revision !== revision + 1) return false;
    // In place: a change costs what it names, however long the table is.
    for (const name of update.removed) models.delete(name);
    for (const model of update.models) models.set(model.name, keepServed(models.get(model.name), model));
    take(models, update);
    return true;
  }

  function receive(update: RoutingUpdate): void {
    if (reading) {
      early.push(update);
      return;
    }
    const before = revision;
    if (!apply(update)) void refresh();
    else if (revision !== before) tell();
  }

  async function ask(after: string, maxBytes: number): Promise<Extract<RegistryAnswer, { readonly type: 'routing' }>> {
    const question: RegistryQuestion = { type: 'routing', after, maxBytes };
    const bytes = await transport.request(subjects.registry, utf8(JSON.stringify(question)), {
      timeoutMs: QUESTION_TIMEOUT_MS,
      signal: stopping.signal,
    });
    const answer = readRegistryAnswer(bytes);
    if (answer.type === 'error') throw new ServeError(answer.code, answer.message);
    if (answer.type !== 'routing') throw new ServeError('INTERNAL', `the registry answered a routing question with ${answer.type}`);
    return answer;
  }

  /** Reads all pages of one revision; undefined when the revision changed on the way. */
  async function readWhole(): Promise<{ readonly models: Map<string, RoutedModel>; readonly update: RoutingUpdate } | undefined> {
    const read = new Map<string, RoutedModel>();
    let first: RoutingUpdate | undefined;
    for (let after: string | null = ''; after !== null; ) {
      const { update, next }: { readonly update: RoutingUpdate; readonly next: string | null } = await ask(after, pageBytes);
      first ??= update;
      if (update.fencingToken !== first.fencingToken || update.revision !== first.revision) return undefined;
      for (const model of update.models) read.set(model.name, keepServed(models.get(model.name), model));
      // Names come in order, so that a table always has a last page.
      if (next !== null && next <= after) throw new ServeError('INTERNAL', `the registry's page after ${after} makes no progress`);
      after = next;
    }
    return first === undefined ? undefined : { models: read, update: first };
  }

  /** Reads the whole table, unless that is under way. */
  async function refresh(): Promise<void> {
    if (reading || stopping.signal.aborted) return;
    reading = true;
    try {
      for (let reads = 0; reads < MAX_READS; reads++) {
        early = [];
        const whole = await readWhole();
        if (stopping.signal.aborted) return;
        if (whole === undefined) continue;
        // An answer of a leadership that has ended meanwhile: the next comparison asks the new one.
        if (whole.update.fencingToken < fencingToken) return;
        if (whole.update.fencingToken > fencingToken || whole.update.revision >= revision) take(whole.models, whole.update);
        if (early.every(apply)) return;
      }
    } catch (caught) {
      if (!stopping.signal.aborted) onTrouble(toServeError(caught));
    } finally {
      reading = false;
      early = [];
      if (!stopping.signal.aborted && known) tell();
    }
  }

  async function compare(): Promise<void> {
    if (reading || stopping.signal.aborted) return;
    if (!known) return refresh();
    try {
      const { update } = await ask('', PROBE_BYTES);
      if (update.fencingToken > fencingToken || (update.fencingToken === fencingToken && update.revision > revision)) await refresh();
    } catch (caught) {
      // Without a registry the last table stays in force, as it should.
      if (!stopping.signal.aborted) onTrouble(toServeError(caught));
    }
  }

  function plan(): void {
    if (stopping.signal.aborted) return;
    timer = clock.schedule(known ? COMPARE_EVERY_MS : RETRY_EVERY_MS, () => void compare().then(plan));
  }

  const subscription = transport.subscribe(subjects.routing, (message) => {
    try {
      receive(readRoutingUpdate(message.data));
    } catch (caught) {
      // A handler must not throw; what a broken update would have said comes with the next comparison.
      onTrouble(toServeError(caught));
    }
  });
  const reconnects = transport.onConnectionChange((connected) => {
    if (connected) void compare();
  });
  void refresh().then(plan);

  return {
    get known() {
      return known;
    },
    get revision() {
      return revision;
    },
    whenKnown,
    model: (name) => models.get(name),
    names() {
      names ??= [...models.keys()].sort();
      return names;
    },
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    compare: () => void compare(),
    async [Symbol.asyncDispose]() {
      stopping.abort(new ServeError('CANCELLED', 'the routing table is closed'));
      timer?.[Symbol.dispose]();
      subscription[Symbol.dispose]();
      reconnects[Symbol.dispose]();
      listeners.clear();
    },
  };
}

/**
 * A model as it is in force: as the leader tells it, and where the leader does not know yet, as it was. Versions that the leader says are going
 * go.
 */
function keepServed(before: RoutedModel | undefined, told: RoutedModel): RoutedModel {
  if (before === undefined || told.unsettled !== true) return told;
  const versions = new Map(told.versions.map((version) => [version.version, version]));
  for (const version of before.versions) {
    const now = versions.get(version.version);
    const goes = now?.state === 'UNLOADING' || now?.state === 'END';
    if (version.routable && now?.routable !== true && !goes) versions.set(version.version, version);
  }
  const labels = { ...before.labels, ...told.labels };
  return { ...told, versions: [...versions.values()].sort((a, b) => b.version - a.version), labels };
}
