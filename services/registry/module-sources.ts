/** Sources of authors, as sources of the registry: their code runs in a thread for each module. */
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { type Connection, connectSourceToTarget } from '../../extend/connect.ts';
import type { AspiredVersionsCallback, FoundVersion, PushingSource, SourceFailedCallback } from '../../extend/sources.ts';
import type { RegistryEvents } from './events.ts';
import { createGuardedThread, type GuardedThread, type UserCodeLimits } from './guarded-thread.ts';
import type { SourceKind, SourceNews, SourceOrder, SourceThreadData, WantedSource } from './source-thread.ts';
import type { UserModule } from './user-modules.ts';

/** The sources of one module. Its thread starts with the first source and ends with the last. */
export interface ModuleSources extends AsyncDisposable {
  /** A source for one model, not started yet. */
  create(model: WantedSource['model']): PushingSource;
}

/** What the sources of one module run on. */
export interface ModuleSourcesDeps {
  readonly module: UserModule;
  readonly clock: Clock;
  readonly events: RegistryEvents;
  readonly limits: UserCodeLimits;
  /** Between questions to a source that is polled; 0: one question; negative: none. */
  readonly pollMs: number;
}

interface StartedSource {
  readonly aspire: AspiredVersionsCallback;
  readonly failed: SourceFailedCallback;
  lost(error: ServeError): void;
}

/** A source that cannot be started is tried again after this, or after a poll if that is longer. */
const SHORTEST_RETRY_MS = 1000;

/** Makes the sources of a module. Nothing runs before one of them is started. */
export function createModuleSources({ module, clock, events, limits, pollMs }: ModuleSourcesDeps): ModuleSources {
  const { file, url } = module;
  const name = `source module ${module.name}`;
  const started = new Map<number, StartedSource>();
  let ids = 0;
  const thread: GuardedThread = createGuardedThread({
    name,
    body: new URL('./source-thread.ts', import.meta.url),
    data: { file, url } satisfies SourceThreadData,
    clock,
    limits,
    onTold(told) {
      const news = told as SourceNews | null | undefined;
      const source = started.get(news?.id ?? 0);
      if (!news || !source) return;
      try {
        if ('failed' in news) source.failed(new ServeError('UNAVAILABLE', `${name}: ${news.failed}`));
        else source.aspire(news.versions);
      } catch (caught) {
        source.failed(toServeError(caught));
      }
    },
    onLost(error) {
      events.userThreadLost({ kind: 'source', name: module.name, error });
      for (const source of started.values()) source.lost(error);
    },
    onCall: (call, outcome) => events.userCodeCalled({ kind: 'source', name: module.name, call, outcome }),
    onLine: (line) => events.userCodeSaid({ kind: 'source', name: module.name, line }),
  });

  function create(model: WantedSource['model']): PushingSource {
    const id = ++ids;
    const subject = `model ${model.name}`;
    const stopping = new AbortController();
    let polling: Connection | undefined;
    let pushes = false;
    let retry: Timer | undefined;
    const order = (type: SourceOrder['type']): SourceOrder => ({ type, id, model });

    async function open(aspire: AspiredVersionsCallback, failed: SourceFailedCallback): Promise<void> {
      const { signal } = stopping;
      try {
        const kind = await thread.call({ doing: 'start', subject, order: order('open'), patient: true, signal });
        if (signal.aborted) return;
        if (kind === ('pushing' satisfies SourceKind)) pushes = true;
        else {
          polling = connectSourceToTarget(
            {
              find: (asked) =>
                thread.call({ doing: 'find', subject, order: order('find'), signal: asked }) as Promise<readonly FoundVersion[]>,
            },
            { aspire, failed },
            { everyMs: pollMs, schedule: (delayMs, callback) => clock.schedule(delayMs, callback) },
          );
        }
      } catch (caught) {
        if (signal.aborted) return;
        failed(toServeError(caught));
        retry = clock.schedule(Math.max(SHORTEST_RETRY_MS, pollMs), () => void open(aspire, failed));
      }
    }

    return {
      start(aspire, failed) {
        started.set(id, {
          aspire,
          failed,
          lost(error) {
            // One that is polled is opened again by its next question, and one that is being opened hears of it there.
            if (!pushes) return;
            pushes = false;
            failed(error);
            void open(aspire, failed);
          },
        });
        void open(aspire, failed);
      },
      async stop() {
        stopping.abort(new ServeError('CANCELLED', `${name}: the source of ${subject} is stopped`));
        retry?.[Symbol.dispose]();
        started.delete(id);
        await polling?.[Symbol.asyncDispose]();
        try {
          if (thread.started) await thread.call({ doing: 'stop', subject, order: order('close') });
        } catch (caught) {
          events.userCodeFailed({ kind: 'source', name: module.name, error: toServeError(caught) });
        }
        if (started.size === 0) await thread.stop();
      },
    };
  }

  return { create, [Symbol.asyncDispose]: () => thread[Symbol.asyncDispose]() };
}
