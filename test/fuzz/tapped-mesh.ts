/** A whole mesh over an in-memory broker, with a line in: every message can be seen and forged, and a handler that throws is caught in the act. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '#mesh/clock.ts';
import { parseSettings } from '#mesh/config.ts';
import { createMemoryJobQueue } from '#mesh/job-queue-memory.ts';
import { createMemoryStateStore } from '#mesh/state-store-memory.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import type { Transport } from '#mesh/transport.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { startBatcher } from '../../services/batcher/index.ts';
import { EMBEDDED_SETTINGS } from '../../services/embedded/config.ts';
import { startGateway } from '../../services/gateway/index.ts';
import { startRegistry } from '../../services/registry/index.ts';
import { startWorker } from '../../services/worker-gpu/index.ts';
import { putLineVersion } from '../embedded/line-models.ts';
import { freePort } from '../servers/server-process.ts';

/** Starts it with y = x / 2 + 1 as model `line`. Tensors above `inlineBytes` travel as claims. */
export async function startTappedMesh(inlineBytes = 64) {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-tapped-'));
  const stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true }));
  putLineVersion(join(folder, 'line'), 1);
  const broker = createMemoryBroker();
  const clock = createSystemClock();
  const telemetry = createSilentTelemetry();
  const subjects = createSubjects('fuzz');
  const { values: settings } = parseSettings(EMBEDDED_SETTINGS, {
    args: [`--port=${await freePort()}`, '--rest_api_port=0', '--version_settle_ms=0', `--inline_tensor_bytes=${inlineBytes}`],
    env: {},
  });
  const thrown: { readonly subject: string; readonly caught: unknown; readonly data: Uint8Array }[] = [];
  /** What was published on each subject, the newest few. */
  const seen = new Map<string, Uint8Array[]>();
  const subscribed = new Set<string>();

  function tap(transport: Transport): Transport {
    const tapped: Transport = Object.create(transport, {
      publish: {
        value: ((subject, data, options) => {
          const kept = seen.get(subject) ?? [];
          if (!subject.startsWith('_inbox')) seen.set(subject, [...kept.slice(-7), data.slice()]);
          transport.publish(subject, data, options);
        }) satisfies Transport['publish'],
      },
      subscribe: {
        value: ((subject, handler, options) => {
          subscribed.add(subject);
          const guarded: typeof handler = (message) => {
            try {
              handler(message);
            } catch (caught) {
              thrown.push({ subject, caught, data: message.data });
            }
          };
          return transport.subscribe(subject, guarded, options);
        }) satisfies Transport['subscribe'],
      },
      request: {
        value: ((subject, data, options) => {
          const kept = seen.get(subject) ?? [];
          seen.set(subject, [...kept.slice(-7), data.slice()]);
          return transport.request(subject, data, options);
        }) satisfies Transport['request'],
      },
    });
    return tapped;
  }

  const connect = () => tap(stack.use(broker.connect()));
  const shared = { subjects, clock, telemetry, settings };
  const worker = stack.use(await startWorker({ ...shared, transport: connect() }));
  const store = stack.use(createMemoryStateStore({ clock }));
  const jobs = stack.use(createMemoryJobQueue({ clock }));
  const registry = stack.use(
    await startRegistry({
      ...shared,
      transport: connect(),
      store,
      jobs,
      defaultConfigText: `model_config_list { config { name: 'line' base_path: '${join(folder, 'line')}' model_platform: 'onnx' } }`,
    }),
  );
  const batcher = stack.use(await startBatcher({ ...shared, transport: connect() }));
  await registry.initialLoad;
  const gateway = stack.use(await startGateway({ ...shared, transport: connect() }));
  const line = stack.use(broker.connect());

  /** Asks for y = x / 2 + 1 with so many rows; throws for a wrong answer. */
  async function ask(rows: number): Promise<void> {
    const servable = gateway.core.resolve('line', { type: 'latest' });
    const signature = servable.signatures.serving_default;
    if (signature === undefined) throw new Error('no signature');
    const xs = Float32Array.from({ length: rows }, (_, row) => row);
    const { outputs } = await gateway.core.infer({
      servable,
      signatureName: 'serving_default',
      signature,
      inputs: new Map([['x', { dtype: 'float', shape: [rows], bytes: new Uint8Array(xs.buffer) }]]),
      outputs: ['y'],
      deadlineMs: clock.now() + 2000,
      traceparent: '',
    }).answer;
    const y = outputs.get('y');
    const ys = new Float32Array(Uint8Array.from(y?.bytes ?? []).buffer);
    if (ys.length !== rows || ys.some((value, row) => value !== row / 2 + 1)) throw new Error(`wrong answer: ${ys}`);
  }

  return {
    line,
    subjects,
    thrown,
    seen,
    subscribed,
    worker,
    batcher,
    gateway,
    ask,
    /** Asks until there is a right answer, for a mesh that a forged message has set back. */
    async askUntilAnswered(withinMs: number): Promise<void> {
      const untilMs = clock.now() + withinMs;
      for (;;) {
        try {
          return await ask(3);
        } catch (caught) {
          if (clock.now() > untilMs) throw caught;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export type TappedMesh = Awaited<ReturnType<typeof startTappedMesh>>;
