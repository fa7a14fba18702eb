/**
 * The body of an executor's thread. It sleeps in `Atomics.wait` (waking from it costs a tenth of what a message costs), drains its port when
 * woken, and does one thing at a time. Loading and running block it; nothing else lives here.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { createSystemClock } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import {
  alignedBytes,
  type FromThread,
  grownRegion,
  type ModelKey,
  type TensorPlace,
  type ThreadData,
  type ToThread,
} from './executor-protocol.ts';
import type { LoadedModel, Runtime, RuntimeModule } from './runtime.ts';

/**
 * After so many messages the event loop turns once. Runs may need no turn of their own, but what the engine and native modules put off (their
 * finalizers) waits for one.
 */
const MESSAGES_PER_TURN = 64;

if (parentPort === null) throw new Error('executor-thread.ts runs in a worker thread only');
await serve(parentPort, new Int32Array((workerData as ThreadData).wake));

async function serve(port: MessagePort, wake: Int32Array): Promise<void> {
  const clock = createSystemClock();
  const runtimes = new Map<string, Runtime>();
  const models = new Map<ModelKey, LoadedModel>();
  const inputRegions: SharedArrayBuffer[] = [];
  const outputRegions: SharedArrayBuffer[] = [];
  let handled = 0;

  async function runtimeAt(url: string): Promise<Runtime> {
    const known = runtimes.get(url);
    if (known) return known;
    const runtime = ((await import(url)) as RuntimeModule).createRuntime();
    runtimes.set(url, runtime);
    return runtime;
  }

  async function handle(message: ToThread): Promise<FromThread> {
    const startedMs = clock.now();
    try {
      if (message.type === 'load') {
        const model = await (await runtimeAt(message.runtime)).load(message.request);
        models.set(message.model, model);
        return { type: 'loaded', description: model.description };
      }
      const model = models.get(message.model);
      if (message.type === 'unload') {
        models.delete(message.model);
        await model?.close();
        return { type: 'unloaded' };
      }
      if (model === undefined) throw new ServeError('INTERNAL', `the executor does not hold model ${message.model} (this is a bug)`);
      if (message.region) inputRegions[message.slot] = message.region;
      const inputs = viewInputs(message.inputs, inputRegions[message.slot]);
      const outputs = await model.run(message.signature, message.outputs, inputs);
      const executedMs = clock.now() - startedMs;
      return { type: 'ran', executedMs, ...placeOutputs(message, outputs) };
    } catch (caught) {
      const { code, message: text } = toServeError(caught);
      return { type: 'failed', executedMs: clock.now() - startedMs, code, message: text };
    }
  }

  function placeOutputs(message: Extract<ToThread, { type: 'run' }>, outputs: readonly Tensor[]) {
    let byteLength = 0;
    for (const output of outputs) byteLength += alignedBytes(output.bytes.byteLength);
    const before = outputRegions[message.slot];
    const region = grownRegion(before, byteLength);
    outputRegions[message.slot] = region;
    let offset = 0;
    const places = outputs.map((output, index): TensorPlace => {
      new Uint8Array(region, offset, output.bytes.byteLength).set(output.bytes);
      const place = {
        name: message.outputs[index] ?? '',
        dtype: output.dtype,
        shape: output.shape,
        offset,
        byteLength: output.bytes.byteLength,
      };
      offset += alignedBytes(output.bytes.byteLength);
      return place;
    });
    return { outputs: places, ...(region === before ? {} : { region }) };
  }

  for (;;) {
    const seen = Atomics.load(wake, 0);
    for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) {
      port.postMessage(await handle(received.message as ToThread));
      if (++handled % MESSAGES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // Returns at once when a message came after `seen` was read: the sender posts first and raises the counter then.
    Atomics.wait(wake, 0, seen);
  }
}

function viewInputs(places: readonly TensorPlace[], region: SharedArrayBuffer | undefined): NamedTensors {
  return new Map(
    places.map(({ name, dtype, shape, offset, byteLength, buffer }) => {
      const memory = buffer ?? region;
      if (memory === undefined) throw new ServeError('INTERNAL', `the executor has no region for the input ${name} (this is a bug)`);
      return [name, { dtype, shape, bytes: new Uint8Array(memory, offset, byteLength) }];
    }),
  );
}
