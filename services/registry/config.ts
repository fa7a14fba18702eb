import type { Declaration, SettingsOf } from '#mesh/config.ts';
import { ServeError } from '#mesh/errors.ts';
import { IMPORT_SETTINGS } from '#mesh/import-settings.ts';
import { SERVABLE_MODULE_SETTINGS } from '#mesh/servable-module-settings.ts';
import { USER_CODE_SETTINGS } from '#mesh/user-code-settings.ts';

/** The settings of a registry: TF Serving's flags about models, versions, batching and loading, and our own about the fleet. */
export const REGISTRY_SETTINGS = {
  modelConfigFile: {
    name: 'model_config_file',
    type: 'string',
    default: '',
    help: 'A file with a ModelServerConfig in proto text form. When given, --model_name and --model_base_path are not used.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  modelConfigFilePollWaitSeconds: {
    name: 'model_config_file_poll_wait_seconds',
    type: 'int',
    default: 0,
    help: 'Seconds between readings of --model_config_file; a change is applied, a failure is logged. 0: it is read once.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
    min: 0,
  },
  modelName: {
    name: 'model_name',
    type: 'string',
    default: 'default',
    help: 'The name of the one model under --model_base_path.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  modelBasePath: {
    name: 'model_base_path',
    type: 'string',
    default: '',
    help: 'The folder whose numbered sub-folders are versions of the one model. Needed unless --model_config_file is given.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  enableBatching: {
    name: 'enable_batching',
    type: 'bool',
    default: false,
    help: 'Executes requests of several callers together.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  batchingParametersFile: {
    name: 'batching_parameters_file',
    type: 'string',
    default: '',
    help: 'A file with BatchingParameters in proto text form, for all models. Needs --enable_batching.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  enablePerModelBatchingParameters: {
    name: 'enable_per_model_batching_parameters',
    type: 'bool',
    default: false,
    help: 'Reads batching_params.pbtxt from each version folder (absent: that version is not batched); the global file then only gives num_batch_threads and thread_pool_name.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  allowVersionLabelsForUnavailableModels: {
    name: 'allow_version_labels_for_unavailable_models',
    type: 'bool',
    default: false,
    help: 'Binds a label to a version that is not available at once, when the label is new or names that version already. Without it such a label binds as soon as the version is available.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  fileSystemPollWaitSeconds: {
    name: 'file_system_poll_wait_seconds',
    type: 'int',
    default: 1,
    help: 'Seconds between looks at each model folder. 0: each is looked at until its versions are known, then never again. Negative: never. With more than 250 models, replaced files inside a version are looked for every 4 ms times the number of models; new versions always at this pace.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  flushFilesystemCaches: {
    name: 'flush_filesystem_caches',
    type: 'bool',
    default: true,
    help: 'The operating system decides what it caches.',
    group: 'TensorFlow Serving',
    treatment: 'ignored',
  },
  numLoadThreads: {
    name: 'num_load_threads',
    type: 'int',
    default: 0,
    help: 'How many versions the registry checks at once before they are loaded (0: two). Loading itself happens beside the executors of each worker.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
    min: 0,
  },
  numUnloadThreads: {
    name: 'num_unload_threads',
    type: 'int',
    default: 0,
    help: 'Workers unload beside their executors; nothing waits for it.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
    min: 0,
  },
  maxNumLoadRetries: {
    name: 'max_num_load_retries',
    type: 'int',
    default: 5,
    help: 'How often a worker tries again to load a version after the first attempt failed.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
    min: 0,
  },
  loadRetryIntervalMicros: {
    name: 'load_retry_interval_micros',
    type: 'int',
    default: 60_000_000,
    help: 'Microseconds between attempts to load a version. Negative: no pause.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  enableModelWarmup: {
    name: 'enable_model_warmup',
    type: 'bool',
    default: true,
    help: 'Replays assets.extra/tf_serving_warmup_requests before a version becomes available.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  numRequestIterationsForWarmup: {
    name: 'num_request_iterations_for_warmup',
    type: 'int',
    default: 0,
    help: 'How often each warmup record is replayed. 0: once.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
    min: 0,
  },
  savedModelTags: {
    name: 'saved_model_tags',
    type: 'string',
    default: 'serve',
    help: 'Tags, separated by commas, of the MetaGraph that is served of a SavedModel: the one that has exactly these.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  preferTfliteModel: {
    name: 'prefer_tflite_model',
    type: 'bool',
    default: false,
    help: 'There is no TensorFlow Lite runtime.',
    group: 'TensorFlow Serving',
    treatment: 'ignored',
  },
  platformConfigFile: {
    name: 'platform_config_file',
    type: 'string',
    default: '',
    help: 'Platforms are found out from the version folders; the file is not read and a warning says so.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
  },
  aspiredVersionPolicy: {
    name: 'aspired_version_policy',
    type: 'string',
    default: 'availability_preserving',
    help: 'How a version replaces another: availability_preserving loads the new one first and needs memory for both; resource_preserving unloads the old one first and leaves a gap.',
    group: 'Headrace',
    treatment: 'honoured',
    oneOf: ['availability_preserving', 'resource_preserving'],
  },
  transitionPolicyModule: {
    name: 'transition_policy_module',
    type: 'string',
    default: '',
    help: 'A module whose default export decides, instead of --aspired_version_policy, how a version replaces another. Where it fails, breaks a limit or wants what no policy may, availability_preserving decides. Empty: none.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  sourceModules: {
    name: 'source_modules',
    type: 'string',
    default: '',
    help: 'Modules that find versions, as NAME=FILE,NAME=FILE. A model whose base_path is NAME:location uses the module of that name; every other one the file system.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  ...USER_CODE_SETTINGS,
  ...SERVABLE_MODULE_SETTINGS,
  replicas: {
    name: 'replicas',
    type: 'int',
    default: 0,
    help: 'On how many workers each version runs. 0: on every worker; one that keeps state between requests on one.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 0,
  },
  versionSettleMs: {
    name: 'version_settle_ms',
    type: 'int',
    default: 500,
    help: 'A version folder is used once its files have not changed for this many ms, so that a half-copied one is not loaded. 0: at once.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 0,
  },
  ...IMPORT_SETTINGS,
  statePrefix: {
    name: 'state_prefix',
    type: 'string',
    default: 'registry',
    help: 'What the keys of the registry start with in the state store.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  leaseMs: {
    name: 'lease_ms',
    type: 'int',
    default: 3000,
    help: 'How long a leading registry that fell silent keeps the others waiting, in ms. It is renewed three times as often.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 300,
  },
} as const satisfies Declaration;

/** A registry's settings after flags, environment and file were read; `checkRegistrySettings` has yet to refuse bad combinations. */
export type RegistrySettings = SettingsOf<typeof REGISTRY_SETTINGS>;

/**
 * Refuses combinations of flags that TF Serving refuses, with its words (INVALID_ARGUMENT). `hasDefaultConfig`: the caller brings models of
 * its own for when the flags name none.
 */
export function checkRegistrySettings(settings: RegistrySettings, hasDefaultConfig = false): void {
  if (settings.batchingParametersFile !== '' && !settings.enableBatching) {
    throw new ServeError(
      'INVALID_ARGUMENT',
      'server_options.batching_parameters_file is set without setting server_options.enable_batching to true.',
    );
  }
  if (settings.modelBasePath === '' && settings.modelConfigFile === '' && !hasDefaultConfig) {
    throw new ServeError('INVALID_ARGUMENT', 'Both server_options.model_base_path and server_options.model_config_file are empty!');
  }
}

/** The tags of `--saved_model_tags`. */
export function savedModelTags(setting: string): readonly string[] {
  return setting
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
}

/** Sentences to log at start: flags that are accepted and mean something else here. */
export function registryWarnings(settings: RegistrySettings): readonly string[] {
  return settings.platformConfigFile === ''
    ? []
    : [`--platform_config_file=${settings.platformConfigFile} is not read: the platform of a version is found out from its folder`];
}
