import type { Clock } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { RegistrySettings } from './config.ts';
import type { RegistryEvents } from './events.ts';
import type { Leading } from './leading.ts';
import { checkModelList } from './model-list.ts';
import { readSeed } from './running-config.ts';
import { knownModules } from './user-modules.ts';

/**
 * Reads --model_config_file again and again, and applies it when its content has changed. A file that did not change never undoes a change made
 * by RPC, unlike in TF Serving. Failures are logged only, and tried again.
 */
export function followConfigFile(deps: {
  readonly clock: Clock;
  readonly events: RegistryEvents;
  readonly settings: RegistrySettings;
  readonly leading: Leading;
}): AsyncDisposable {
  const { clock, events, settings, leading } = deps;
  const stopping = new AbortController();

  async function readOnce(): Promise<void> {
    try {
      const seed = await readSeed(settings, undefined);
      if (seed.digest === leading.config.seedDigest || stopping.signal.aborted) return;
      checkModelList(seed.models, leading.config.running.models, knownModules(settings));
      await leading.apply(seed.models, null, seed.digest);
    } catch (caught) {
      events.configFileFailed({ file: settings.modelConfigFile, error: toServeError(caught) });
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await clock.sleep(settings.modelConfigFilePollWaitSeconds * 1000, stopping.signal).catch(() => {});
      if (!stopping.signal.aborted) await readOnce();
    }
  }

  const loop = run();
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort(new ServeError('CANCELLED', 'the configuration file is no longer followed'));
      await loop;
    },
  };
}
