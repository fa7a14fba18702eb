import type { Declaration } from '#mesh/config.ts';
import { NETWORK_SETTINGS, PROCESS_SETTINGS, REDIS_SETTINGS } from '#mesh/process-settings.ts';
import { BATCHER_SETTINGS } from '../batcher/config.ts';
import { GATEWAY_SETTINGS } from '../gateway/config.ts';
import { REGISTRY_SETTINGS } from '../registry/config.ts';
import { WORKER_SETTINGS } from '../worker-gpu/config.ts';

/** The settings of the embedded mesh: those of all four services. */
export const EMBEDDED_SETTINGS = {
  ...PROCESS_SETTINGS,
  ...GATEWAY_SETTINGS,
  ...BATCHER_SETTINGS,
  ...WORKER_SETTINGS,
  ...REGISTRY_SETTINGS,
} as const satisfies Declaration;

/** Every setting there is, for `docs/config.md`. */
export const ALL_SETTINGS = { ...EMBEDDED_SETTINGS, ...NETWORK_SETTINGS, ...REDIS_SETTINGS } as const satisfies Declaration;
