import { NETWORK_SETTINGS, PROCESS_SETTINGS } from '#mesh/process-settings.ts';
import { runNetworked } from '#mesh/run-networked.ts';
import { BATCHER_SETTINGS } from './config.ts';
import { startBatcher } from './index.ts';

await runNetworked(process, {
  service: 'batcher',
  declaration: { ...PROCESS_SETTINGS, ...NETWORK_SETTINGS, ...BATCHER_SETTINGS },
  start: async ({ settings, ...context }) => ({
    service: await startBatcher({ ...context, settings: settings.values }),
    ready: () => true,
  }),
});
