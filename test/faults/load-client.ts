/** One client of an overload, in a thread of its own: the answers of a whole batch come at once, and must not wait behind those of another client. */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createFaultClient, type Ports, type Protocol } from './clients.ts';
import { type LoadRecord, runClosedLoop, runOpenLoop } from './open-loop.ts';
import { createRandom } from './random.ts';

/** Whom a client asks, how, and with which budget a request. */
export interface LoadClientOptions {
  readonly protocol: Protocol;
  readonly ports: Ports;
  readonly deadlineMs: number;
  readonly seed: number;
}

/** A stretch of load. `depth`: requests kept under way; `perSecond`: requests at fixed instants. */
export type Stretch =
  | { readonly type: 'closed'; readonly seconds: number; readonly depth: number }
  | { readonly type: 'open'; readonly seconds: number; readonly perSecond: number };

/** A client that makes load on demand, one stretch after the other. */
export interface LoadClient extends AsyncDisposable {
  run(stretch: Stretch): Promise<LoadRecord>;
}

/** Connections that REST opens at once. */
const MAX_CONNECTIONS = 1024;

/** Starts the client's thread. */
export function startLoadClient(options: LoadClientOptions): LoadClient {
  const thread = new Worker(new URL(import.meta.url), { workerData: options });
  return {
    async run(stretch) {
      thread.postMessage(stretch);
      // `once` rejects with what the thread throws.
      const [record] = await once(thread, 'message');
      return record as LoadRecord;
    },
    async [Symbol.asyncDispose]() {
      await thread.terminate();
    },
  };
}

function serve(port: NonNullable<typeof parentPort>, { protocol, ports, deadlineMs, seed }: LoadClientOptions): void {
  const client = createFaultClient(protocol, ports, MAX_CONNECTIONS);
  const random = createRandom(seed);
  const question = () => ({ model: 'device', shape: [1], values: [random.below(1000)] }) as const;
  port.on('message', async (stretch: Stretch) => {
    const plan = { client, question, deadlineMs, seconds: stretch.seconds };
    port.postMessage(stretch.type === 'closed' ? await runClosedLoop(plan, stretch.depth) : await runOpenLoop(plan, stretch.perSecond));
  });
}

if (!isMainThread && parentPort !== null) serve(parentPort, workerData as LoadClientOptions);
