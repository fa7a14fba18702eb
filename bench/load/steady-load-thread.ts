/**
 * A steady load from a thread of its own: what else the bench does meanwhile (a reload by gRPC is a cold client each time) must not make answers
 * look late.
 */
import { once } from 'node:events';
import { isMainThread, type MessagePort, parentPort, Worker, workerData } from 'node:worker_threads';
import { type Shot, type SteadyLoad, type SteadyLoadOptions, startSteadyLoad } from './steady-load.ts';

/** To the bench: the version that answers has changed, or, after `stop`, every shot. Instants are in ms since the epoch: each thread has a clock of its own. */
type FromLoad = { readonly type: 'version'; readonly version: string } | { readonly type: 'shots'; readonly shots: readonly Shot[] };

/** How often the thread looks whether another version answers, in ms. */
const LOOK_MS = 1;

/** The same as `startSteadyLoad`, in another thread. */
export function startSteadyLoadThread(options: SteadyLoadOptions): SteadyLoad {
  const thread = new Worker(new URL(import.meta.url), { workerData: options });
  let version = '';
  const shots = Promise.withResolvers<readonly Shot[]>();
  thread.on('error', shots.reject);
  thread.on('message', (message: FromLoad) => {
    if (message.type === 'version') version = message.version;
    else shots.resolve(message.shots.map((shot) => moved(shot, -performance.timeOrigin)));
  });
  return {
    get version() {
      return version;
    },
    async stop() {
      thread.postMessage('stop');
      const all = await shots.promise;
      await thread.terminate();
      return all;
    },
  };
}

async function serve(port: MessagePort, options: SteadyLoadOptions): Promise<void> {
  const load = startSteadyLoad(options);
  let told = '';
  const timer = setInterval(() => {
    const { version } = load;
    if (version === told) return;
    told = version;
    port.postMessage({ type: 'version', version } satisfies FromLoad);
  }, LOOK_MS);
  await once(port, 'message');
  clearInterval(timer);
  const shots = await load.stop();
  port.postMessage({ type: 'shots', shots: shots.map((shot) => moved(shot, performance.timeOrigin)) } satisfies FromLoad);
}

function moved(shot: Shot, byMs: number): Shot {
  return { ...shot, sentMs: shot.sentMs + byMs, doneMs: shot.doneMs + byMs };
}

if (!isMainThread && parentPort !== null) await serve(parentPort, workerData as SteadyLoadOptions);
