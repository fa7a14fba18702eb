import type { Declaration, SettingsOf } from '#mesh/config.ts';
import { REST_SETTINGS } from './rest/config.ts';

/** Settings of the gateway's core. */
const CORE_SETTINGS = {
  inlineTensorBytes: {
    name: 'inline_tensor_bytes',
    type: 'int',
    default: 65_536,
    help: 'Tensors larger than this many bytes stay at the gateway and are fetched by the worker that executes them; smaller ones travel with the request.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 0,
    max: 1_048_576,
  },
  maxInFlightRequests: {
    name: 'max_in_flight_requests',
    type: 'int',
    default: 65_536,
    help: 'Requests one gateway waits for at once; beyond it requests are refused with RESOURCE_EXHAUSTED.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 1,
  },
  maxInFlightBytes: {
    name: 'max_in_flight_bytes',
    type: 'int',
    default: 512 * 1024 * 1024,
    help: 'Bytes of large request bodies, inputs, outputs and answers that one gateway has in memory at once; beyond it requests are refused with RESOURCE_EXHAUSTED. One larger than all of it passes alone; payloads of up to 256 KiB pass always.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 0,
  },
  resendAfterMs: {
    name: 'resend_after_ms',
    type: 'int',
    default: 2000,
    help: 'After the connection to the mesh was lost: how long a request sent before stays without an answer until it is sent again, in ms.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 1,
  },
  drainTimeoutMs: {
    name: 'gateway_drain_timeout_ms',
    type: 'int',
    default: 30_000,
    help: 'How long a stopping gateway waits for the requests it holds, in ms.',
    group: 'Headrace',
    treatment: 'honoured',
    min: 0,
    max: 50_000,
  },
} as const satisfies Declaration;

/** Settings of the gRPC server. */
const GRPC_SETTINGS = {
  port: {
    name: 'port',
    type: 'int',
    default: 8500,
    help: 'The TCP port of gRPC. 0: none, and then --grpc_socket_path must be set.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
    min: 0,
    max: 65_535,
  },
  grpcSocketPath: {
    name: 'grpc_socket_path',
    type: 'string',
    default: '',
    help: 'Also, or instead, serve gRPC on this unix domain socket.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  sslConfigFile: {
    name: 'ssl_config_file',
    type: 'string',
    default: '',
    help: 'A text-format SSLConfig (server_key, server_cert, custom_ca, client_verify) for gRPC. Empty: no TLS.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  useAltsCredentials: {
    name: 'use_alts_credentials',
    type: 'bool',
    default: false,
    help: 'ALTS exists only on Google Cloud with its own gRPC library. Together with --ssl_config_file the start fails, as it does in TensorFlow Serving.',
    group: 'TensorFlow Serving',
    treatment: 'ignored',
  },
  grpcChannelArguments: {
    name: 'grpc_channel_arguments',
    type: 'string',
    default: '',
    help: 'Options of the gRPC server as `key=value,key=value`, such as grpc.max_connection_age_ms=2000. A value that is a whole number is passed as one.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
  },
  grpcServer: {
    name: 'grpc_server',
    type: 'string',
    default: 'headrace',
    help: "What carries gRPC: our own HTTP/2 server, or grpc-js, gRPC's library for Node, which costs more per call.",
    group: 'Headrace',
    treatment: 'honoured',
    oneOf: ['headrace', 'grpc-js'],
  },
  grpcMaxThreads: {
    name: 'grpc_max_threads',
    type: 'int',
    default: 0,
    help: 'The gateway answers gRPC from one event loop; start more gateways for more.',
    group: 'TensorFlow Serving',
    treatment: 'ignored',
    min: 0,
  },
  enableSignatureMethodNameCheck: {
    name: 'enable_signature_method_name_check',
    type: 'bool',
    default: false,
    help: 'Predict, Classify and Regress only run signatures that declare their method.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
  enableProfiler: {
    name: 'enable_profiler',
    type: 'bool',
    default: true,
    help: "TensorFlow's ProfilerService is not offered; use OpenTelemetry traces (--otlp_endpoint) instead.",
    group: 'TensorFlow Serving',
    treatment: 'ignored',
  },
  enableGrpcHealthcheckService: {
    name: 'enable_grpc_healthcheck_service',
    type: 'bool',
    default: false,
    help: 'The grpc.health.v1 service is always there, and true per model; the flag is accepted.',
    group: 'TensorFlow Serving',
    treatment: 'mapped',
  },
  enableSerializationAsTensorContent: {
    name: 'enable_serialization_as_tensor_content',
    type: 'bool',
    default: false,
    help: 'Predict answers over gRPC carry `tensor_content` instead of typed fields.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
  },
} as const satisfies Declaration;

/** All settings of a gateway. */
export const GATEWAY_SETTINGS = { ...GRPC_SETTINGS, ...REST_SETTINGS, ...CORE_SETTINGS } as const satisfies Declaration;

/** A gateway's settings after flags, environment and file were read and checked. Fixed while the process runs. */
export type GatewaySettings = SettingsOf<typeof GATEWAY_SETTINGS>;
