import { type Declaration, SettingError, type SettingsOf } from '#mesh/config.ts';
import { IMPORT_SETTINGS } from '#mesh/import-settings.ts';
import { SERVABLE_MODULE_SETTINGS } from '#mesh/servable-module-settings.ts';
import { USER_CODE_SETTINGS } from '#mesh/user-code-settings.ts';

/** Settings of a worker. */
export const WORKER_SETTINGS = {
  tensorflowSessionParallelism: {
    name: 'tensorflow_session_parallelism',
    type: 'int',
    default: 0,
    min: 0,
    help: 'Threads inside one operator and over operators; 0: one.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
  },
  tensorflowIntraOpParallelism: {
    name: 'tensorflow_intra_op_parallelism',
    type: 'int',
    default: 0,
    min: 0,
    help: 'Threads inside one operator; 0: what --intra_op_threads says.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
  },
  tensorflowInterOpParallelism: {
    name: 'tensorflow_inter_op_parallelism',
    type: 'int',
    default: 0,
    min: 0,
    help: 'Operators of one graph that may run at the same time; 0: one.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
  },
  tensorflowSessionConfigFile: ignored('tensorflow_session_config_file', '', 'TensorFlow sessions are not used.'),
  perProcessGpuMemoryFraction: {
    name: 'per_process_gpu_memory_fraction',
    type: 'float',
    default: 0,
    min: 0,
    max: 1,
    help: 'onnxruntime-node has no setting for it: the CUDA provider takes what the models need.',
    group: 'TensorFlow Serving',
    treatment: 'ignored',
  },
  numTflitePools: ignored('num_tflite_pools', 0, 'TensorFlow Lite is not used.'),
  numTfliteInterpretersPerPool: ignored('num_tflite_interpreters_per_pool', 1, 'TensorFlow Lite is not used; see --instances.'),
  xlaCpuCompilationEnabled: ignored('xla_cpu_compilation_enabled', false, 'XLA is not used.'),
  xlaGpuCompilationEnabled: ignored('xla_gpu_compilation_enabled', false, 'XLA is not used.'),
  mixedPrecision: ignored('mixed_precision', '', 'A model runs in the precision it was exported with.'),
  skipInitializeTpu: ignored('skip_initialize_tpu', false, 'There is no TPU support.'),
  threadPoolFactoryConfigFile: ignored('thread_pool_factory_config_file', '', 'Executors have threads of their own.'),
  removeUnusedFieldsFromBundleMetagraph: ignored('remove_unused_fields_from_bundle_metagraph', true, 'No MetaGraph is kept.'),
  executors: {
    name: 'executors',
    type: 'int',
    default: 0,
    min: 0,
    max: 256,
    help: 'Threads that small servables share; 0: one per processor.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  instances: {
    name: 'instances',
    type: 'int',
    default: 0,
    min: 0,
    max: 256,
    help: 'Executors that run one servable at the same time, unless its own configuration says; 0: one per processor as memory allows, or one on an accelerator.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  intraOpThreads: {
    name: 'intra_op_threads',
    type: 'int',
    default: 1,
    min: 1,
    max: 256,
    help: 'Threads inside one operator. More instances make better use of processors than more threads do.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  executionProviders: {
    name: 'execution_providers',
    type: 'string',
    default: 'cpu',
    help: 'What runs models, in order of preference, separated by commas: cpu, cuda, webgpu. One that is not there falls through to the next.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  memoryLimitBytes: {
    name: 'memory_limit_bytes',
    type: 'int',
    default: 0,
    min: 0,
    help: 'Memory for servables by estimate, in bytes; 0: 80 % of what the machine or its control group has.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  sharedExecutorMaxBytes: {
    name: 'shared_executor_max_bytes',
    type: 'int',
    default: 4 * 1024 * 1024,
    min: 0,
    help: 'Servables estimated to need less share executors; others get threads of their own, where loading disturbs nobody.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  inlineTensorBytes: {
    name: 'inline_tensor_bytes',
    type: 'int',
    default: 64 * 1024,
    min: 0,
    help: 'Larger tensors are not sent in messages but fetched from where they are, in bytes.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  concurrentLoads: {
    name: 'concurrent_loads',
    type: 'int',
    default: 2,
    min: 1,
    max: 64,
    help: 'Servables that load at the same time.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  unloadGraceMs: {
    name: 'unload_grace_ms',
    type: 'int',
    default: 100,
    min: 0,
    max: 60_000,
    help: 'How long a servable that is being unloaded still takes batches that were on their way, in ms.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  executorHangMs: {
    name: 'executor_hang_ms',
    type: 'int',
    default: 300_000,
    min: 1,
    help: 'A batch that runs longer than this has hung, and its executor is replaced, in ms.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  ...USER_CODE_SETTINGS,
  userCodeLoadLimitMs: {
    name: 'user_code_load_limit_ms',
    type: 'int',
    default: 120_000,
    min: 1,
    help: 'How long loading a servable that has user code may take on an executor, in ms; then the load fails, and the executor is replaced.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  quarantineAfterDeaths: {
    name: 'quarantine_after_deaths',
    type: 'int',
    default: 8,
    min: 0,
    help: 'A servable during whose runs this many executors died within a minute is taken out of service until it is assigned anew; 0: never.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  heldInputBytes: {
    name: 'held_input_bytes',
    type: 'int',
    default: 1024 * 1024 * 1024,
    min: 0,
    help: 'Memory for inputs that were fetched, in bytes; beyond it requests are sent back, and tried again elsewhere or a little later. One larger than all of it passes alone.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  heldOutputBytes: {
    name: 'held_output_bytes',
    type: 'int',
    default: 1024 * 1024 * 1024,
    min: 0,
    help: 'Outputs that wait to be fetched by gateways, in bytes; beyond it the oldest are dropped.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  ...SERVABLE_MODULE_SETTINGS,
  ...IMPORT_SETTINGS,
  workerDrainMs: {
    name: 'worker_drain_ms',
    type: 'int',
    default: 30_000,
    min: 0,
    help: 'How long a worker that leaves waits for the batches it runs, in ms.',
    group: 'Headrace',
    treatment: 'honoured',
  },
} as const satisfies Declaration;

/** The values of a worker's settings. */
export type WorkerSettings = SettingsOf<typeof WORKER_SETTINGS>;

/** Threads inside one operator and over operators, from TF Serving's flags and ours. Throws SettingError, in TF Serving's words, when all three are set. */
export function opThreads(settings: WorkerSettings): { readonly intraOpThreads: number; readonly interOpThreads: number } {
  const { tensorflowSessionParallelism: both, tensorflowIntraOpParallelism: intra, tensorflowInterOpParallelism: inter } = settings;
  if (both > 0 && intra > 0 && inter > 0) {
    throw new SettingError(
      'Either configure server_options.tensorflow_session_parallelism or (server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all.',
    );
  }
  // Either of the two beats the one for both, as in TF Serving.
  if (intra > 0 || inter > 0) return { intraOpThreads: intra || settings.intraOpThreads, interOpThreads: inter || 1 };
  return { intraOpThreads: both || settings.intraOpThreads, interOpThreads: both || 1 };
}

const PROVIDERS = ['cpu', 'cuda', 'webgpu'];

/** The execution providers of a setting's text. Throws SettingError for a name that is not one. */
export function parseExecutionProviders(text: string): readonly string[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const stranger = names.find((name) => !PROVIDERS.includes(name));
  if (stranger !== undefined) throw new SettingError(`--execution_providers: "${stranger}" is not one of ${PROVIDERS.join(', ')}`);
  return names.length === 0 ? ['cpu'] : names;
}

function ignored<Default extends string | number | boolean>(name: string, value: Default, help: string) {
  const type = typeof value === 'boolean' ? 'bool' : typeof value === 'number' ? 'int' : 'string';
  return { name, type, default: value, help, group: 'TensorFlow Serving', treatment: 'ignored' } as const;
}
