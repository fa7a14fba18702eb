import type { Clock } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import { alignedBytes, type FromThread, type ModelKey, type TensorPlace, type ToThread } from './executor-protocol.ts';
import type { LoadedModel, Runtime, RuntimeHost, RuntimeModule } from './runtime.ts';

/** A run as an executor's thread or process is asked for it. */
export type RunMessage = Extract<ToThread, { readonly type: 'run' }>;

/** What an executor's thread or process has in memory and does. Nothing rejects: failures are answers. */
export interface ExecutorWork {
  load(message: Extract<ToThread, { readonly type: 'load' }>): Promise<FromThread>;
  unload(model: ModelKey): Promise<FromThread>;
  /** `place` puts the outputs where the other side finds them. */
  run(message: RunMessage, inputs: () => NamedTensors, place: PlaceOutputs): Promise<FromThread>;
}

/** Puts outputs, in the order of the run's `outputs`, where the other side finds them. */
export type PlaceOutputs = (
  outputs: readonly Tensor[],
) => Pick<Extract<FromThread, { readonly type: 'ran' }>, 'outputs' | 'region' | 'carried'>;

/** Makes what a thread or process does; it holds nothing yet. */
export function createExecutorWork(clock: Clock, host: RuntimeHost): ExecutorWork {
  const runtimes = new Map<string, Runtime>();
  const models = new Map<ModelKey, LoadedModel>();

  async function runtimeAt(url: string): Promise<Runtime> {
    const known = runtimes.get(url);
    if (known) return known;
    const runtime = ((await import(url)) as RuntimeModule).createRuntime(host);
    runtimes.set(url, runtime);
    return runtime;
  }

  async function answer(work: (startedMs: number) => Promise<FromThread>): Promise<FromThread> {
    const startedMs = clock.now();
    try {
      return await work(startedMs);
    } catch (caught) {
      const { code, message } = toServeError(caught);
      return { type: 'failed', executedMs: clock.now() - startedMs, code, message };
    }
  }

  return {
    load: ({ model, runtime, request }) =>
      answer(async () => {
        const loaded = await (await runtimeAt(runtime)).load(request);
        models.set(model, loaded);
        return { type: 'loaded', description: loaded.description };
      }),
    unload: (model) =>
      answer(async () => {
        const loaded = models.get(model);
        models.delete(model);
        await loaded?.close();
        return { type: 'unloaded' };
      }),
    run: (message, inputs, place) =>
      answer(async (startedMs) => {
        const model = models.get(message.model);
        if (model === undefined) throw new ServeError('INTERNAL', `the executor does not hold model ${message.model} (this is a bug)`);
        const outputs = await model.run(message.signature, message.outputs, inputs(), message.context);
        const executedMs = clock.now() - startedMs;
        return { type: 'ran', executedMs, ...place(outputs) };
      }),
  };
}

/** Lays inputs over the memory they came in; undefined: none came. */
export function viewInputs(places: readonly TensorPlace[], region: ArrayBufferLike | undefined): NamedTensors {
  return new Map(
    places.map(({ name, dtype, shape, offset, byteLength, buffer }) => {
      // Before the first input with bytes there is no region, and an empty one needs none.
      const memory = buffer ?? region ?? (byteLength === 0 ? new ArrayBuffer(0) : undefined);
      if (memory === undefined) throw new ServeError('INTERNAL', `the executor has no region for the input ${name} (this is a bug)`);
      return [name, { dtype, shape, bytes: new Uint8Array(memory, byteLength === 0 ? 0 : offset, byteLength) }];
    }),
  );
}

/**
 * Copies outputs one after the other into memory of enough bytes, and says where they lie. Those of at least `ownBytes` are copied into memory of
 * their own each.
 */
export function placeOutputs<Memory extends ArrayBufferLike>(
  names: readonly string[],
  outputs: readonly Tensor[],
  memoryOf: (byteLength: number) => Memory,
  ownBytes = Number.POSITIVE_INFINITY,
): { readonly places: readonly TensorPlace[]; readonly memory: Memory } {
  let byteLength = 0;
  for (const { bytes } of outputs) if (bytes.byteLength < ownBytes) byteLength += alignedBytes(bytes.byteLength);
  const memory = memoryOf(byteLength);
  let offset = 0;
  const places = outputs.map(({ dtype, shape, bytes }, index): TensorPlace => {
    if (bytes.byteLength >= ownBytes) {
      const { buffer } = Buffer.allocUnsafeSlow(bytes.byteLength);
      new Uint8Array(buffer).set(bytes);
      return { name: names[index] ?? '', dtype, shape, offset: 0, byteLength: bytes.byteLength, buffer };
    }
    new Uint8Array(memory, offset, bytes.byteLength).set(bytes);
    const place = { name: names[index] ?? '', dtype, shape, offset, byteLength: bytes.byteLength };
    offset += alignedBytes(bytes.byteLength);
    return place;
  });
  return { places, memory };
}
