import type { Clock } from '#mesh/clock.ts';
import { toServeError } from '#mesh/errors.ts';
import type { Fencing, StateStore } from '#mesh/state-store.ts';
import type { RegistryEvents } from './events.ts';
import { createModelState, type ModelState, storeModel, type Transition } from './model-state.ts';
import type { StoredModel } from './version-record.ts';

/** A line of history as it is stored. */
export interface HistoryEntry extends Transition {
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

/** Keeps models and their history in the state store, in the background. */
export interface ModelDocuments extends AsyncDisposable {
  /** The models of an earlier leadership. */
  readonly restored: ReadonlyMap<string, ModelState>;
  /** Writes what of the `changed` models differs from what was written last. Models that are not among `models` are forgotten. */
  save(models: ReadonlyMap<string, ModelState>, changed: Iterable<ModelState>): void;
  /** Adds to a model's history. */
  record(model: string, transitions: readonly Transition[]): void;
}

interface Document {
  /** Undefined: the document shall be removed. */
  text: string | undefined;
  written: string | undefined;
  revision: number;
}

/** Lines of history that are kept of one model. */
const MAX_HISTORY = 200;
/** Between attempts while the store cannot be reached. */
const RETRY_MS = 1000;

/** Reads all documents of the models. Rejects with what the store rejects with. */
export async function openModelDocuments(options: {
  readonly store: StateStore;
  readonly clock: Clock;
  readonly events: RegistryEvents;
  readonly prefix: string;
  readonly fencing: Fencing;
  readonly lost: (reason: string) => void;
}): Promise<ModelDocuments> {
  const { store, clock, events, prefix, fencing, lost } = options;
  const modelPrefix = `${prefix}/model/`;
  const historyPrefix = `${prefix}/history/`;
  const documents = new Map<string, Document>();
  /** Keys of documents that are not written as they shall be. */
  const waiting = new Set<string>();
  /** Models that have a document or a history. */
  const known = new Set<string>();
  const histories = new Map<string, HistoryEntry[]>();
  /** Histories that were added to since they were last saved: a long one costs more to write out than a turn that adds nothing. */
  const longer = new Set<string>();
  const restored = new Map<string, ModelState>();
  const stopping = new AbortController();
  let flushing: Promise<void> | undefined;

  for (const { key, value, revision } of await store.list<StoredModel>(modelPrefix)) {
    const name = key.slice(modelPrefix.length);
    restored.set(name, createModelState(name, value));
    known.add(name);
    documents.set(key, { text: undefined, written: JSON.stringify(value), revision });
  }
  for (const { key, value, revision } of await store.list<readonly HistoryEntry[]>(historyPrefix)) {
    const name = key.slice(historyPrefix.length);
    histories.set(name, [...value]);
    known.add(name);
    documents.set(key, { text: undefined, written: JSON.stringify(value), revision });
  }

  function want(key: string, value: unknown): void {
    const document = documents.get(key) ?? { text: undefined, written: undefined, revision: 0 };
    document.text = JSON.stringify(value);
    documents.set(key, document);
    if (document.text !== document.written) waiting.add(key);
  }

  function forget(name: string): void {
    known.delete(name);
    histories.delete(name);
    longer.delete(name);
    for (const key of [modelPrefix + name, historyPrefix + name]) {
      const document = documents.get(key);
      if (document === undefined) continue;
      document.text = undefined;
      waiting.add(key);
    }
  }

  async function write(key: string, document: Document): Promise<void> {
    const { text } = document;
    try {
      if (text === undefined) {
        await store.remove(key, { expected: document.revision, fencing });
        document.revision = 0;
      } else document.revision = await store.put(key, JSON.parse(text), { expected: document.revision, fencing });
      document.written = text;
      if (document.text === undefined && text === undefined) documents.delete(key);
    } catch (caught) {
      const error = toServeError(caught);
      // The leader alone writes: another revision is an earlier write of ours whose answer was lost, or a store that was emptied.
      if (error.code === 'ABORTED') document.revision = (await store.get(key))?.revision ?? 0;
      else throw error;
    }
  }

  async function flush(): Promise<void> {
    for (;;) {
      const [key] = waiting;
      if (key === undefined) return;
      const document = documents.get(key);
      if (document === undefined || document.text === document.written) {
        waiting.delete(key);
        continue;
      }
      try {
        await write(key, document);
      } catch (caught) {
        const error = toServeError(caught);
        if (error.code === 'FAILED_PRECONDITION') return lost(error.message);
        events.storeUnavailable({ doing: `writing ${key}`, error });
        if (stopping.signal.aborted) return;
        await clock.sleep(RETRY_MS, stopping.signal).catch(() => {});
      }
    }
  }

  function flushSoon(): void {
    if (flushing !== undefined) return;
    flushing = flush().finally(() => {
      flushing = undefined;
    });
  }

  return {
    restored,
    save(models, changed) {
      for (const name of known) if (!models.has(name)) forget(name);
      for (const model of changed) {
        const { name } = model;
        if (!models.has(name)) continue;
        known.add(name);
        want(modelPrefix + name, storeModel(model));
        if (longer.delete(name)) want(historyPrefix + name, histories.get(name));
      }
      flushSoon();
    },
    record(model, transitions) {
      if (transitions.length === 0) return;
      known.add(model);
      const history = histories.get(model) ?? [];
      for (const transition of transitions) history.push({ atMs: clock.wallNow(), ...transition });
      history.splice(0, history.length - MAX_HISTORY);
      histories.set(model, history);
      longer.add(model);
    },
    async [Symbol.asyncDispose]() {
      // What is not written yet gets a last attempt each, until one fails; the next leader sees the rest for itself.
      stopping.abort();
      await flushing;
    },
  };
}
