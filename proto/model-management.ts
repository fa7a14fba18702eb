/** `tensorflow.serving.ReloadConfigRequest` and `ReloadConfigResponse` (HandleReloadConfigRequest). */
import type { StatusReport } from '#mesh/control.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import { fromMessage, MODEL_SERVER_CONFIG, type ModelServerConfig, toMessage } from './model-server-config.ts';
import { message, repeated, SCALAR, submessage } from './schema.ts';
import { encodeStatus } from './status.ts';
import { WireWriter } from './wire.ts';

/** The configuration that shall replace the running one. */
export interface ReloadConfigRequest {
  readonly config: ModelServerConfig;
  /** Counters whose growth during the reload the client wants to know. */
  readonly metricNames: readonly string[];
}

const RELOAD_CONFIG_REQUEST = message('tensorflow.serving.ReloadConfigRequest', {
  config: submessage(1, MODEL_SERVER_CONFIG),
  metric_names: repeated(2, SCALAR.string),
});

/** Decodes a request; without a configuration its type is `unset`. Throws INVALID_ARGUMENT. */
export function decodeReloadConfigRequest(bytes: Uint8Array): ReloadConfigRequest {
  const { config, metric_names: metricNames } = decodeMessage(RELOAD_CONFIG_REQUEST, bytes);
  return { config: config === undefined ? { type: 'unset' } : fromMessage(config), metricNames };
}

/** Encodes a request: for clients, tools and tests. */
export function encodeReloadConfigRequest({ config, metricNames }: ReloadConfigRequest): Uint8Array {
  return encodeMessage(RELOAD_CONFIG_REQUEST, { config: toMessage(config), metric_names: metricNames });
}

/** Encodes an answer: the same status as the call's, and the growth of counters by name. */
export function encodeReloadConfigResponse(status: StatusReport, increases: ReadonlyMap<string, number> = new Map()): Uint8Array {
  const writer = new WireWriter();
  encodeStatus(writer, 1, status);
  for (const [name, increase] of increases) {
    writer.delimited(2, () => {
      writer.stringField(1, name);
      writer.varintField(2, increase);
    });
  }
  return writer.finish();
}
