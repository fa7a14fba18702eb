import type { Declaration, SettingsOf } from '#mesh/config.ts';

/** Settings of the REST edge. Those of TensorFlow Serving keep its names, defaults and meaning. None changes while running. */
export const REST_SETTINGS = {
  restApiPort: {
    name: 'rest_api_port',
    type: 'int',
    default: 0,
    help: 'Port of the REST API. 0: no REST API. Must differ from --port.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
    min: 0,
    max: 65535,
  },
  restApiNumThreads: {
    name: 'rest_api_num_threads',
    type: 'int',
    default: 0,
    help: 'Threads of the REST API. Requests are handled by one event loop and run on executors: see --instances.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
    min: 0,
  },
  restApiTimeoutInMs: {
    name: 'rest_api_timeout_in_ms',
    type: 'int',
    default: 30_000,
    help: 'Milliseconds an inference over REST may take once its body has been read; after that 504.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
    min: 1,
  },
  restApiEnableCorsSupport: {
    name: 'rest_api_enable_cors_support',
    type: 'bool',
    default: false,
    help: 'Adds CORS headers to every answer under /v1, so that browsers may call from any origin.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  monitoringConfigFile: {
    name: 'monitoring_config_file',
    type: 'string',
    default: '',
    help: 'A MonitoringConfig in text format; with prometheus_config { enable: true } metrics are served on the REST port.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  restApiHost: {
    name: 'rest_api_host',
    type: 'string',
    default: '0.0.0.0',
    help: 'The address the REST API binds to.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  restApiMaxBodyBytes: {
    name: 'rest_api_max_body_bytes',
    type: 'int',
    default: 512 * 1024 * 1024,
    help: 'The largest request body in bytes, as sent; larger ones are answered 413. A gzip body may inflate to 100 MB at most.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 1,
    max: 2 ** 32 - 1,
  },
  restApiBodyTimeoutInMs: {
    name: 'rest_api_body_timeout_in_ms',
    type: 'int',
    default: 30_000,
    help: 'Milliseconds a client may send nothing in the middle of a body, or take nothing of its answer, before it is closed (408).',
    group: 'Headrace',
    treatment: 'honoured',
    min: 100,
  },
} as const satisfies Declaration;

/** The values of `REST_SETTINGS`. */
export type RestSettings = SettingsOf<typeof REST_SETTINGS>;
