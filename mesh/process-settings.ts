import type { Declaration } from './config.ts';

/** Settings that every process of the mesh has. */
export const PROCESS_SETTINGS = {
  settingsFile: {
    name: 'settings_file',
    type: 'string',
    default: '',
    help: 'A file of lines `name = value`, one setting each; flags and environment variables beat it.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  help: { name: 'help', type: 'bool', default: false, help: 'Prints all flags and leaves.', group: 'Headrace', treatment: 'honoured' },
  version: {
    name: 'version',
    type: 'bool',
    default: false,
    help: 'Prints the version and leaves.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  logLevel: {
    name: 'log_level',
    type: 'string',
    default: 'info',
    help: 'The least severe log lines that are written.',
    group: 'Headrace',
    treatment: 'honoured',
    oneOf: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
  },
  otlpEndpoint: {
    name: 'otlp_endpoint',
    type: 'string',
    default: '',
    help: 'Where OpenTelemetry spans go over OTLP/HTTP, such as http://collector:4318. Empty: no tracing.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  meshName: {
    name: 'mesh_name',
    type: 'string',
    default: 'headrace',
    help: 'Separates meshes that share a NATS server: letters, digits and dashes.',
    group: 'Headrace',
    treatment: 'honoured',
  },
} as const satisfies Declaration;

/** Settings of a process that talks to the others over a network: all but the embedded one. */
export const NETWORK_SETTINGS = {
  natsUrl: {
    name: 'nats_url',
    type: 'string',
    default: 'nats://127.0.0.1:4222',
    help: 'NATS servers, separated by commas.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  connectTimeoutMs: {
    name: 'connect_timeout_ms',
    type: 'int',
    default: 30_000,
    help: 'How long a starting process waits for NATS and Redis, in ms. Once connected it reconnects for ever.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 0,
  },
  monitoringPort: {
    name: 'monitoring_port',
    type: 'int',
    default: 0,
    help: 'A port for /healthz, /readyz and /metrics of this process. 0: none. (A gateway has them on its REST port as well.)',
    group: 'Headrace',
    treatment: 'honoured',
    min: 0,
    max: 65_535,
  },
  tensorPort: {
    name: 'tensor_port',
    type: 'int',
    default: 0,
    help: 'The port of a gateway or worker from which other members fetch large tensors directly, which costs a tenth of what it costs over NATS. 0: one that is free; -1: none. What cannot be fetched directly comes over NATS.',
    group: 'Headrace',
    treatment: 'honoured',
    min: -1,
    max: 65_535,
  },
  tensorHost: {
    name: 'tensor_host',
    type: 'string',
    default: '',
    help: 'The address or name by which other members reach --tensor_port; it listens on that address, or on all where that is not one of this machine. Empty: the address from which this process reaches NATS, and no port at all when NATS is reached over TLS, because tensors travel unencrypted here.',
    group: 'Headrace',
    treatment: 'honoured',
  },
} as const satisfies Declaration;

/** Settings of the registry's connection to Redis. */
export const REDIS_SETTINGS = {
  redisUrl: {
    name: 'redis_url',
    type: 'string',
    default: 'redis://127.0.0.1:6379',
    help: 'The Redis server that keeps desired state, leases and jobs.',
    group: 'Headrace',
    treatment: 'honoured',
  },
} as const satisfies Declaration;
