/** `headrace.v1.ConfigService`: reads the running configuration and changes one model of it at a time. */
import { decodeMessage, encodeMessage } from './message.ts';
import {
  fromMessage,
  MODEL_CONFIG,
  MODEL_SERVER_CONFIG,
  type ModelConfig,
  type ModelServerConfig,
  modelFromMessage,
  modelToMessage,
  toMessage,
} from './model-server-config.ts';
import { field, INT64_VALUE, message, SCALAR, submessage } from './schema.ts';

/** A model to add or change. */
export interface PutModelRequest {
  /** Null when the request holds none. */
  readonly model: ModelConfig | null;
  /** Null: whatever is running. */
  readonly expectedRevision: number | null;
}

/** A model to remove. */
export interface RemoveModelRequest {
  readonly name: string;
  /** Null: whatever is running. */
  readonly expectedRevision: number | null;
}

/** The running configuration. */
export interface ConfigAnswer {
  readonly config: ModelServerConfig;
  readonly revision: number;
}

const PUT_MODEL_REQUEST = message('headrace.v1.PutModelRequest', {
  model: submessage(1, MODEL_CONFIG),
  expected_revision: submessage(2, INT64_VALUE),
});
const REMOVE_MODEL_REQUEST = message('headrace.v1.RemoveModelRequest', {
  name: field(1, SCALAR.string),
  expected_revision: submessage(2, INT64_VALUE),
});
const CONFIG_ANSWER = message('headrace.v1.ConfigAnswer', {
  config: submessage(1, MODEL_SERVER_CONFIG),
  revision: field(2, SCALAR.int64),
});

/** Decodes a PutModel request. Throws INVALID_ARGUMENT. */
export function decodePutModelRequest(bytes: Uint8Array): PutModelRequest {
  const { model, expected_revision: expected } = decodeMessage(PUT_MODEL_REQUEST, bytes);
  return { model: model === undefined ? null : modelFromMessage(model), expectedRevision: expected?.value ?? null };
}

/** Encodes a PutModel request: for clients, tools and tests. */
export function encodePutModelRequest({ model, expectedRevision }: PutModelRequest): Uint8Array {
  return encodeMessage(PUT_MODEL_REQUEST, {
    model: model === null ? undefined : modelToMessage(model),
    expected_revision: expectedRevision === null ? undefined : { value: expectedRevision },
  });
}

/** Decodes a RemoveModel request. Throws INVALID_ARGUMENT. */
export function decodeRemoveModelRequest(bytes: Uint8Array): RemoveModelRequest {
  const { name, expected_revision: expected } = decodeMessage(REMOVE_MODEL_REQUEST, bytes);
  return { name, expectedRevision: expected?.value ?? null };
}

/** Encodes a RemoveModel request: for clients, tools and tests. */
export function encodeRemoveModelRequest({ name, expectedRevision }: RemoveModelRequest): Uint8Array {
  return encodeMessage(REMOVE_MODEL_REQUEST, {
    name,
    expected_revision: expectedRevision === null ? undefined : { value: expectedRevision },
  });
}

/** Encodes an answer of all three methods. */
export function encodeConfigAnswer({ config, revision }: ConfigAnswer): Uint8Array {
  return encodeMessage(CONFIG_ANSWER, { config: toMessage(config), revision });
}

/** Decodes an answer: for clients, tools and tests. */
export function decodeConfigAnswer(bytes: Uint8Array): ConfigAnswer {
  const { config, revision } = decodeMessage(CONFIG_ANSWER, bytes);
  return { config: config === undefined ? { type: 'unset' } : fromMessage(config), revision };
}
