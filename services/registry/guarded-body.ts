/** The thread's side of `guarded-thread.ts`. */
import { parentPort } from 'node:worker_threads';
import type { FromGuardedThread, ToGuardedThread } from './guarded-thread.ts';

/**
 * Answers all calls of this thread by `answer`; what that throws becomes the text of the error. Returns what tells the registry something of
 * the thread's own accord. Throws outside of a worker thread.
 */
export function answerCalls(answer: (order: unknown, signal: AbortSignal) => unknown): (told: unknown) => void {
  const port = parentPort;
  if (port === null) throw new Error('a body of a guarded thread runs in a worker thread only');
  const send = (message: FromGuardedThread) => port.postMessage(message);
  const running = new Map<number, AbortController>();

  async function run(call: number, order: unknown): Promise<void> {
    const cancelled = new AbortController();
    running.set(call, cancelled);
    try {
      send({ call, result: await answer(order, cancelled.signal) });
    } catch (caught) {
      send({ call, threw: textOf(caught) });
    }
    running.delete(call);
  }

  port.on('message', (message: ToGuardedThread) => {
    if ('cancel' in message) running.get(message.cancel)?.abort(new Error('nobody waits for the answer any more'));
    else void run(message.call, message.order);
  });
  return (told) => send({ told });
}

/** The default export of a module, or an Error that names its file. */
export async function importDefault(file: string, url: string): Promise<(...values: readonly unknown[]) => unknown> {
  let module: { readonly default?: unknown };
  try {
    module = await import(url);
  } catch (caught) {
    throw new Error(`${file} cannot be imported: ${textOf(caught)}`, { cause: caught });
  }
  if (typeof module.default !== 'function') throw new Error(`${file} has no default export that is a function`);
  return module.default as (...values: readonly unknown[]) => unknown;
}

/** The message of what was thrown, whatever it is. */
export function textOf(caught: unknown): string {
  return caught instanceof Error ? caught.message : String(caught);
}
