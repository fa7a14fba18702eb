import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { Fencing, StateStore } from '#mesh/state-store.ts';
import type { ModelConfig } from '#proto/model-server-config.ts';
import type { RegistrySettings } from './config.ts';
import { checkModelList, parseConfigFile, parseModelList, printModelList } from './model-list.ts';
import { knownModules } from './user-modules.ts';

/** What flags and files ask for. */
export interface ConfigSeed {
  readonly models: readonly ModelConfig[];
  /** Changes when the flags or the file's content do. */
  readonly digest: string;
}

/** The configuration in force. */
export interface RunningConfig {
  readonly models: readonly ModelConfig[];
  /** Grows with every change; the number of compare-and-swap. */
  readonly revision: number;
}

interface StoredConfig {
  readonly configText: string;
  /** Of the seed that was in force when it was written. */
  readonly seedDigest: string;
}

/**
 * Reads what flags and files ask for: the configuration file, else the one model of --model_base_path, else the caller's own text. Rejects with
 * INVALID_ARGUMENT or FAILED_PRECONDITION for a text that cannot be used, NOT_FOUND for a file that cannot be read.
 */
export async function readSeed(settings: RegistrySettings, defaultConfigText: string | undefined): Promise<ConfigSeed> {
  const { modelConfigFile, modelBasePath, modelName } = settings;
  if (modelConfigFile !== '') {
    const text = await readFile(modelConfigFile, 'utf8').catch((cause) => {
      throw new ServeError('NOT_FOUND', `${modelConfigFile}; ${toServeError(cause).message}`, { cause });
    });
    return checked(parseConfigFile(text) ?? [], settings);
  }
  if (modelBasePath !== '') {
    const model: ModelConfig = {
      name: modelName,
      basePath: modelBasePath,
      modelPlatform: '',
      modelType: 'MODEL_TYPE_UNSPECIFIED',
      versionPolicy: { type: 'latest', numVersions: 1 },
      versionLabels: {},
      logging: null,
    };
    return checked([model], settings);
  }
  return checked(parseModelList(defaultConfigText ?? 'model_config_list { }'), settings);
}

function checked(models: readonly ModelConfig[], settings: RegistrySettings): ConfigSeed {
  checkModelList(models, [], knownModules(settings));
  return { models, digest: createHash('sha256').update(printModelList(models)).digest('hex') };
}

/** The configuration in the state store, as one leader reads and changes it. */
export interface ConfigStore {
  readonly running: RunningConfig;
  /**
   * Replaces the model list. Rejects with ABORTED naming both revisions unless `expectedRevision` (null: any) is the running one, and with
   * what the store rejects with; nothing has changed then. `seedDigest`: the file or flags it came from, when it did.
   */
  replace(models: readonly ModelConfig[], expectedRevision: number | null, seedDigest?: string): Promise<RunningConfig>;
  /** The digest of the seed in force. */
  readonly seedDigest: string;
}

/**
 * Opens the configuration for one leadership. The stored one, changed by RPC or REST, survives restarts; flags and files win over it only when
 * they themselves have changed since it was written.
 */
export async function openConfigStore(options: {
  readonly store: StateStore;
  readonly key: string;
  readonly fencing: Fencing;
  readonly seed: ConfigSeed;
  /** What this process knew to be in force, for a store that was emptied. */
  readonly remembered: ConfigSeed | undefined;
}): Promise<ConfigStore> {
  const { store, key, fencing, seed, remembered } = options;
  const stored = await store.get<StoredConfig>(key);
  let seedDigest = stored?.value.seedDigest ?? '';
  let running: RunningConfig = { models: stored === null ? [] : parseModelList(stored.value.configText), revision: stored?.revision ?? 0 };

  async function replace(models: readonly ModelConfig[], expectedRevision: number | null, digest = seedDigest): Promise<RunningConfig> {
    if (expectedRevision !== null && expectedRevision !== running.revision) throw otherRevision(expectedRevision, running.revision);
    const value: StoredConfig = { configText: printModelList(models), seedDigest: digest };
    const revision = await store.put(key, value, { expected: running.revision, fencing }).catch(async (caught) => {
      // An earlier write may have been made although its answer was lost. Only the leader writes: what is there is ours.
      if (toServeError(caught).code !== 'ABORTED') throw caught;
      const found = await store.get<StoredConfig>(key);
      running = { models: found === null ? running.models : parseModelList(found.value.configText), revision: found?.revision ?? 0 };
      if (expectedRevision !== null) throw otherRevision(expectedRevision, running.revision);
      return store.put(key, value, { expected: running.revision, fencing });
    });
    running = { models, revision };
    seedDigest = digest;
    return running;
  }

  if (stored === null && remembered !== undefined) await replace(remembered.models, null, remembered.digest);
  if (running.revision === 0 || seedDigest !== seed.digest) await replace(seed.models, null, seed.digest);
  return {
    get running() {
      return running;
    },
    get seedDigest() {
      return seedDigest;
    },
    replace,
  };
}

function otherRevision(expected: number, running: number): ServeError {
  return new ServeError('ABORTED', `the configuration is at revision ${running}; the change expected revision ${expected}`);
}
