/** `tensorflow.serving.ModelServerConfig`: which models to serve, in text form (`--model_config_file`) and binary (HandleReloadConfigRequest). */
import { LOGGING_CONFIG } from './logging-config.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import {
  ANY,
  enumeration,
  field,
  type MessageInit,
  type MessageOf,
  map,
  message,
  repeated,
  repeatedMessage,
  SCALAR,
  submessage,
} from './schema.ts';
import { parseText, printText } from './text-format.ts';

/** Which versions of a model are wanted. */
export type VersionPolicy =
  /** The `numVersions` highest; at least 1. */
  | { readonly type: 'latest'; readonly numVersions: number }
  | { readonly type: 'all' }
  /** Exactly these, as far as they exist. */
  | { readonly type: 'specific'; readonly versions: readonly number[] };

/** TensorFlow Serving's deprecated way to name a platform. */
export type ModelType = 'MODEL_TYPE_UNSPECIFIED' | 'TENSORFLOW' | 'OTHER';

/** One model to serve, as written: nothing is checked but the form. */
export interface ModelConfig {
  readonly name: string;
  readonly basePath: string;
  /** `tensorflow`, `onnx`, …; empty when `modelType` says it. */
  readonly modelPlatform: string;
  readonly modelType: ModelType;
  readonly versionPolicy: VersionPolicy;
  readonly versionLabels: Readonly<Record<string, number>>;
  /** How its requests are to be logged; null: not at all. */
  readonly logging: MessageOf<typeof LOGGING_CONFIG> | null;
}

/** What a server serves. */
export type ModelServerConfig =
  | { readonly type: 'list'; readonly models: readonly ModelConfig[] }
  /** A configuration of a kind of its own, by the name of its message. */
  | { readonly type: 'custom'; readonly typeUrl: string; readonly value: Uint8Array }
  | { readonly type: 'unset' };

const POLICY = 'policy_choice';
const VERSION_POLICY = message('tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy', {
  latest: submessage(
    100,
    message('tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest', { num_versions: field(1, SCALAR.uint32) }),
    POLICY,
  ),
  all: submessage(101, message('tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.All', {}), POLICY),
  specific: submessage(
    102,
    message('tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific', { versions: repeated(1, SCALAR.int64) }),
    POLICY,
  ),
});

/** The message of one model. */
export const MODEL_CONFIG = message('tensorflow.serving.ModelConfig', {
  name: field(1, SCALAR.string),
  base_path: field(2, SCALAR.string),
  model_type: field(3, enumeration<ModelType>('tensorflow.serving.ModelType', { MODEL_TYPE_UNSPECIFIED: 0, TENSORFLOW: 1, OTHER: 2 })),
  model_platform: field(4, SCALAR.string),
  logging_config: submessage(6, LOGGING_CONFIG),
  model_version_policy: submessage(7, VERSION_POLICY),
  version_labels: map(8, SCALAR.string, SCALAR.int64),
});

/** The message of a server's models. */
export const MODEL_SERVER_CONFIG = message('tensorflow.serving.ModelServerConfig', {
  model_config_list: submessage(1, message('tensorflow.serving.ModelConfigList', { config: repeatedMessage(1, MODEL_CONFIG) }), 'config'),
  custom_model_config: submessage(2, ANY, 'config'),
});

/** Parses a configuration in text form. Throws INVALID_ARGUMENT naming line, column and field. */
export function parseModelServerConfigText(text: string): ModelServerConfig {
  return fromMessage(parseText(MODEL_SERVER_CONFIG, text));
}

/** Prints a configuration so that `parseModelServerConfigText` gives it back. */
export function printModelServerConfigText(config: ModelServerConfig): string {
  return printText(MODEL_SERVER_CONFIG, toMessage(config));
}

/** Decodes a configuration. Throws INVALID_ARGUMENT. */
export function decodeModelServerConfig(bytes: Uint8Array): ModelServerConfig {
  return fromMessage(decodeMessage(MODEL_SERVER_CONFIG, bytes));
}

/** Encodes a configuration. */
export function encodeModelServerConfig(config: ModelServerConfig): Uint8Array {
  return encodeMessage(MODEL_SERVER_CONFIG, toMessage(config));
}

/** Parses one model's configuration in text form. Throws INVALID_ARGUMENT naming line, column and field. */
export function parseModelConfigText(text: string): ModelConfig {
  return modelFromMessage(parseText(MODEL_CONFIG, text));
}

/** Prints one model's configuration. */
export function printModelConfigText(model: ModelConfig): string {
  return printText(MODEL_CONFIG, modelToMessage(model));
}

/** Our configuration from the decoded message. */
export function fromMessage(config: MessageOf<typeof MODEL_SERVER_CONFIG>): ModelServerConfig {
  const { model_config_list: list, custom_model_config: custom } = config;
  if (list !== undefined) return { type: 'list', models: list.config.map(modelFromMessage) };
  if (custom !== undefined) return { type: 'custom', typeUrl: custom.type_url, value: custom.value };
  return { type: 'unset' };
}

/** The message of our configuration. */
export function toMessage(config: ModelServerConfig): MessageInit<typeof MODEL_SERVER_CONFIG> {
  if (config.type === 'list') return { model_config_list: { config: config.models.map(modelToMessage) } };
  if (config.type === 'custom') return { custom_model_config: { type_url: config.typeUrl, value: config.value } };
  return {};
}

/** One model from the decoded message. */
export function modelFromMessage(model: MessageOf<typeof MODEL_CONFIG>): ModelConfig {
  return {
    name: model.name,
    basePath: model.base_path,
    modelPlatform: model.model_platform,
    modelType: model.model_type,
    versionPolicy: policyFromMessage(model.model_version_policy),
    versionLabels: Object.fromEntries(model.version_labels),
    logging: model.logging_config ?? null,
  };
}

/** The message of one model. */
export function modelToMessage(model: ModelConfig): MessageInit<typeof MODEL_CONFIG> {
  return {
    name: model.name,
    base_path: model.basePath,
    model_type: model.modelType,
    model_platform: model.modelPlatform,
    logging_config: model.logging ?? undefined,
    model_version_policy: policyToMessage(model.versionPolicy),
    version_labels: new Map(Object.entries(model.versionLabels)),
  };
}

function policyFromMessage(policy: MessageOf<typeof VERSION_POLICY> | undefined): VersionPolicy {
  if (policy?.all !== undefined) return { type: 'all' };
  if (policy?.specific !== undefined) return { type: 'specific', versions: policy.specific.versions };
  // Zero stands for the default, one version, as in TensorFlow Serving.
  return { type: 'latest', numVersions: policy?.latest?.num_versions || 1 };
}

function policyToMessage(policy: VersionPolicy): MessageInit<typeof VERSION_POLICY> | undefined {
  if (policy.type === 'all') return { all: {} };
  if (policy.type === 'specific') return { specific: { versions: policy.versions } };
  return policy.numVersions === 1 ? undefined : { latest: { num_versions: policy.numVersions } };
}
