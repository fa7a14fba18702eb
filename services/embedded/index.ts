import type { Clock } from '#mesh/clock.ts';
import type { SettingsOf } from '#mesh/config.ts';
import { importCacheFolder } from '#mesh/import-settings.ts';
import { createMemoryJobQueue } from '#mesh/job-queue-memory.ts';
import { opSourcesOf } from '#mesh/op-library-settings.ts';
import { createMemoryStateStore } from '#mesh/state-store-memory.ts';
import { createSubjects } from '#mesh/subjects.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { createPlanStore } from '../../savedmodel/cache/plan-store.ts';
import { startBatcher } from '../batcher/index.ts';
import type { GatewayCore } from '../gateway/core.ts';
import { startGateway } from '../gateway/index.ts';
import { startRegistry } from '../registry/index.ts';
import { startWorker } from '../worker-gpu/index.ts';
import type { EMBEDDED_SETTINGS } from './config.ts';

/** A whole mesh in one process. Disposing it drains the gateway first, then what it needs. */
export interface Embedded extends AsyncDisposable {
  /** Null when REST is off. */
  readonly restPort: number | null;
  readonly grpcPort: number | null;
  readonly core: GatewayCore;
}

/**
 * Starts registry, worker, batcher and gateway over in-memory adapters: the same code and the same encoded messages as in a fleet. Resolves,
 * and opens its ports, once every configured model is available or has failed. Rejects with what a service could not start for.
 */
export async function startEmbedded(deps: {
  readonly settings: SettingsOf<typeof EMBEDDED_SETTINGS>;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  /** A ModelServerConfig in text form that is served when the settings name no model. */
  readonly defaultConfigText?: string;
}): Promise<Embedded> {
  const { settings, telemetry, clock } = deps;
  await using starting = new AsyncDisposableStack();
  const broker = createMemoryBroker();
  const subjects = createSubjects(settings.meshName);
  const connect = () => starting.use(broker.connect());
  const store = starting.use(createMemoryStateStore({ clock }));
  const jobs = starting.use(createMemoryJobQueue({ clock }));
  const shared = { subjects, clock, telemetry, settings };
  const plans = starting.use(
    createPlanStore({
      cacheFolder: importCacheFolder(settings.importCacheDir),
      cacheMaxBytes: settings.importCacheMaxBytes,
      ops: opSourcesOf(settings),
      clock,
      onImported: (facts) => telemetry.log.info(facts, 'a SavedModel was imported'),
    }),
  );

  starting.use(await startWorker({ ...shared, transport: connect(), plans }));
  const registry = starting.use(
    await startRegistry({
      ...shared,
      transport: connect(),
      store,
      jobs,
      plans,
      ...(deps.defaultConfigText === undefined ? {} : { defaultConfigText: deps.defaultConfigText }),
    }),
  );
  starting.use(await startBatcher({ ...shared, transport: connect() }));
  const gateway = starting.use(await startGateway({ ...shared, transport: connect(), openPortsAfter: registry.initialLoad }));

  const running = starting.move();
  return {
    restPort: gateway.restPort,
    grpcPort: gateway.grpcPort,
    core: gateway.core,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
