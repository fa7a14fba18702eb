import { NETWORK_SETTINGS, PROCESS_SETTINGS } from '#mesh/process-settings.ts';
import { runNetworked } from '#mesh/run-networked.ts';
import { GATEWAY_SETTINGS } from './config.ts';
import { startGateway } from './index.ts';

await runNetworked(process, {
  service: 'gateway',
  declaration: { ...PROCESS_SETTINGS, ...NETWORK_SETTINGS, ...GATEWAY_SETTINGS },
  async start({ settings, ...context }) {
    const gateway = await startGateway({ ...context, settings: settings.values });
    return { service: gateway, ready: () => gateway.core.ready() };
  },
});
