/** `tensorflow.serving.GetModelStatusRequest` and `GetModelStatusResponse`. */
import type { ServableState, StatusReport } from '#mesh/control.ts';
import { ABSENT_SPEC, decodeModelSpec, encodeModelSpec, type ModelSpec } from './model-spec.ts';
import { encodeStatus } from './status.ts';
import { WIRE, WireReader, WireWriter } from './wire.ts';

/** One version's state. */
export interface VersionStatus {
  readonly version: number;
  readonly state: ServableState;
  readonly status: StatusReport;
}

const STATE: Readonly<Record<ServableState, number>> = { START: 10, LOADING: 20, AVAILABLE: 30, UNLOADING: 40, END: 50 };

/** Decodes a request. Throws INVALID_ARGUMENT. */
export function decodeGetModelStatusRequest(bytes: Uint8Array): ModelSpec {
  const reader = new WireReader(bytes);
  let spec = ABSENT_SPEC;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) spec = decodeModelSpec(reader.message(), spec);
    else reader.skip(tag);
  }
  return spec;
}

/** Encodes a request: for clients, tools and tests. */
export function encodeGetModelStatusRequest(spec: Omit<ModelSpec, 'present'>): Uint8Array {
  const writer = new WireWriter();
  encodeModelSpec(writer, 1, spec);
  return writer.finish();
}

/** Encodes an answer, versions in the order given. */
export function encodeGetModelStatusResponse(versions: readonly VersionStatus[]): Uint8Array {
  const writer = new WireWriter();
  for (const { version, state, status } of versions) {
    writer.delimited(1, () => {
      if (version !== 0) writer.varintField(1, version);
      writer.varintField(2, STATE[state]);
      encodeStatus(writer, 3, status);
    });
  }
  return writer.finish();
}
