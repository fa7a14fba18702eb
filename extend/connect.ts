/**
 * TensorFlow Serving's ConnectSourceToTarget, in plain TypeScript. The registry connects all its sources with it, the one that watches folders
 * and those of authors alike; authors may use it to try a source out, or to put one source in front of another. Unlike the rest of `extend` it
 * is code, not types: it is imported by its path.
 */
import type { FoundVersion, Source, Target } from './sources.ts';

/** A source that is connected. Disposing it stops the source; the target hears nothing any more from then on. */
export interface Connection extends AsyncDisposable {
  /** Asks a polled source now instead of when it is next due. Resolves when the target has heard; at once for a source that pushes. */
  poll(): Promise<void>;
}

/** How a polled source is asked. */
export interface ConnectOptions {
  /** Between the end of one `find` and the next, in ms; default 1000. 0: it is asked once. Negative: only by `Connection.poll`. */
  readonly everyMs?: number;
  /** Calls back after a delay; default: `setTimeout`. */
  readonly schedule?: (delayMs: number, callback: () => void) => Disposable;
}

/**
 * Connects a source to a target: starts a source that pushes, asks one that is polled now and again. The target hears of each list, checked by
 * {@link checkFoundVersions}, and of everything that keeps the source from telling; after a failure a polled source is asked again as usual.
 */
export function connectSourceToTarget(source: Source, target: Target, options: ConnectOptions = {}): Connection {
  const { everyMs = 1000, schedule = scheduleByTimeout } = options;
  const stopping = new AbortController();
  let timer: Disposable | undefined;
  let asking: Promise<void> | undefined;

  function aspire(versions: readonly FoundVersion[]): void {
    if (!stopping.signal.aborted) target.aspire(checkFoundVersions(versions));
  }

  function failed(caught: unknown): void {
    if (!stopping.signal.aborted) target.failed(caught instanceof Error ? caught : new Error(String(caught)));
  }

  async function ask(): Promise<void> {
    if (!('find' in source)) return;
    timer?.[Symbol.dispose]();
    try {
      aspire(await source.find(stopping.signal));
    } catch (caught) {
      failed(caught);
    }
    asking = undefined;
    if (everyMs > 0 && !stopping.signal.aborted) timer = schedule(everyMs, () => void poll());
  }

  async function begin(): Promise<void> {
    if (!('start' in source)) return everyMs >= 0 ? poll() : undefined;
    try {
      await source.start(aspire, failed);
    } catch (caught) {
      failed(caught);
    }
  }

  function poll(): Promise<void> {
    if (stopping.signal.aborted) return Promise.resolve();
    asking ??= ask();
    return asking;
  }

  // Not before the caller has the connection in hand.
  const begun = Promise.resolve().then(begin);
  return {
    poll,
    async [Symbol.asyncDispose]() {
      if (stopping.signal.aborted) return;
      stopping.abort(new Error('the source is stopped'));
      timer?.[Symbol.dispose]();
      await source.stop?.();
      await Promise.all([begun, asking]);
    },
  };
}

/**
 * Returns a list of versions as it is, or throws an Error that says what is wrong with it: versions are whole numbers from 0 on, each once;
 * paths are absolute.
 */
export function checkFoundVersions(versions: unknown): readonly FoundVersion[] {
  if (!Array.isArray(versions)) throw new Error(`expected a list of versions, found ${describe(versions)}`);
  const seen = new Set<number>();
  return versions.map((found: unknown) => {
    if (typeof found !== 'object' || found === null) throw new Error(`expected {version, path}, found ${describe(found)}`);
    const { version, path } = found as { readonly version?: unknown; readonly path?: unknown };
    if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 0) {
      throw new Error(`expected a version that is a whole number from 0 on, found ${describe(version)}`);
    }
    if (typeof path !== 'string' || !path.startsWith('/')) {
      throw new Error(`expected version ${version} to have an absolute path, found ${describe(path)}`);
    }
    if (seen.has(version)) throw new Error(`version ${version} is in the list twice`);
    seen.add(version);
    return { version, path };
  });
}

/** As it would be written in the source, cut short. */
function describe(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'bigint' || value === undefined) return String(value);
  if (typeof value === 'function') return 'a function';
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    return 'an object that is no JSON';
  }
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function scheduleByTimeout(delayMs: number, callback: () => void): Disposable {
  const handle = setTimeout(callback, delayMs);
  return { [Symbol.dispose]: () => clearTimeout(handle) };
}
