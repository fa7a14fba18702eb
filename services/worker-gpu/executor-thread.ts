/**
 * The body of an executor's thread. It sleeps in `Atomics.wait` (waking from it costs a tenth of what a message costs), drains its port when
 * woken, and does one thing at a time. Loading and running block it; nothing else lives here.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { createSystemClock } from '#mesh/clock.ts';
import { type FromThread, grownRegion, OWN_OUTPUT_BYTES, type ThreadData, type ToThread } from './executor-protocol.ts';
import { createExecutorWork, type PlaceOutputs, placeOutputs, type RunMessage, viewInputs } from './executor-work.ts';

/**
 * After so many messages the event loop turns once. Runs may need no turn of their own, but what the engine and native modules put off (their
 * finalizers) waits for one.
 */
const MESSAGES_PER_TURN = 64;

const NOTHING: readonly ArrayBuffer[] = [];

if (parentPort === null) throw new Error('executor-thread.ts runs in a worker thread only');
await serve(parentPort, workerData as ThreadData);

async function serve(port: MessagePort, data: ThreadData): Promise<void> {
  const wake = new Int32Array(data.wake);
  const work = createExecutorWork(createSystemClock(), {});
  const inputRegions: SharedArrayBuffer[] = [];
  const outputRegions: SharedArrayBuffer[] = [];
  let handled = 0;

  function handle(message: ToThread): Promise<FromThread> {
    if (message.type === 'load') return work.load(message);
    if (message.type === 'unload') return work.unload(message.model);
    if (message.region) inputRegions[message.slot] = message.region;
    return work.run(message, () => viewInputs(message.inputs, inputRegions[message.slot]), placeFor(message));
  }

  function placeFor({ slot, outputs: names }: RunMessage): PlaceOutputs {
    return (outputs) => {
      const before = outputRegions[slot];
      const { places, memory } = placeOutputs(names, outputs, (byteLength) => grownRegion(before, byteLength), OWN_OUTPUT_BYTES);
      outputRegions[slot] = memory;
      return { outputs: places, ...(memory === before ? {} : { region: memory }) };
    };
  }

  for (;;) {
    const seen = Atomics.load(wake, 0);
    for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) {
      const answer = await handle(received.message as ToThread);
      port.postMessage(answer, givenAway(answer));
      if (++handled % MESSAGES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // Returns at once when a message came after `seen` was read: the sender posts first and raises the counter then.
    Atomics.wait(wake, 0, seen);
  }
}

/** Memory that goes with an answer. */
function givenAway(answer: FromThread): readonly ArrayBuffer[] {
  if (answer.type !== 'ran' || !answer.outputs.some(({ buffer }) => buffer !== undefined)) return NOTHING;
  return answer.outputs.flatMap(({ buffer }) => (buffer instanceof ArrayBuffer ? [buffer] : []));
}
