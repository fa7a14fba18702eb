import { NETWORK_SETTINGS, PROCESS_SETTINGS } from '#mesh/process-settings.ts';
import { runNetworked } from '#mesh/run-networked.ts';
import { WORKER_SETTINGS } from './config.ts';
import { startWorker } from './index.ts';

await runNetworked(process, {
  service: 'worker-gpu',
  declaration: { ...PROCESS_SETTINGS, ...NETWORK_SETTINGS, ...WORKER_SETTINGS },
  start: async ({ settings, ...context }) => ({ service: await startWorker({ ...context, settings: settings.values }), ready: () => true }),
});
