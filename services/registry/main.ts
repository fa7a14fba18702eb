import { connectBullMq } from '#mesh/job-queue-bullmq.ts';
import { NETWORK_SETTINGS, PROCESS_SETTINGS, REDIS_SETTINGS } from '#mesh/process-settings.ts';
import { runNetworked } from '#mesh/run-networked.ts';
import { connectRedisStore } from '#mesh/state-store-redis.ts';
import { REGISTRY_SETTINGS } from './config.ts';
import { startRegistry } from './index.ts';

await runNetworked(process, {
  service: 'registry',
  declaration: { ...PROCESS_SETTINGS, ...NETWORK_SETTINGS, ...REDIS_SETTINGS, ...REGISTRY_SETTINGS },
  async start({ settings, ...context }) {
    await using starting = new AsyncDisposableStack();
    const store = starting.use(await connectRedisStore(settings.values.redisUrl, settings.values.meshName));
    const jobs = starting.use(await connectBullMq(settings.values.redisUrl, settings.values.meshName));
    const registry = starting.use(await startRegistry({ ...context, store, jobs, settings: settings.values }));
    return { service: starting.move(), ready: () => registry.ready() };
  },
});
