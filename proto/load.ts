/** The .proto files of this folder, for whoever wants the services as descriptions: reflection, clients, tests. Headrace itself uses the codecs. */
import { fileURLToPath } from 'node:url';
import { loadSync, type Options, type PackageDefinition } from '@grpc/proto-loader';

/** The folder that the imports in .proto files are relative to. */
export const PROTO_ROOT: string = fileURLToPath(new URL('.', import.meta.url));

/** The files that, with what they import, define every message and service here. */
export const PROTO_FILES: readonly string[] = [
  'tensorflow_serving/apis/prediction_service.proto',
  'tensorflow_serving/apis/model_service.proto',
  'tensorflow_serving/apis/prediction_log.proto',
  'tensorflow_serving/config/monitoring_config.proto',
  'tensorflow_serving/config/platform_config.proto',
  'tensorflow_serving/config/ssl_config.proto',
  'tensorflow_serving/servables/tensorflow/session_bundle_config.proto',
  'grpc/health/v1/health.proto',
  'headrace/v1/config.proto',
];

/** Loads all services and messages by their full names. Field names stay as written; `options` are those of `@grpc/proto-loader`. */
export function loadPackageDefinition(options: Options = {}): PackageDefinition {
  return loadSync([...PROTO_FILES], { keepCase: true, longs: String, enums: String, oneofs: true, ...options, includeDirs: [PROTO_ROOT] });
}
