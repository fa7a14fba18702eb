/** `tensorflow.serving.ModelSpec`: which model, version and signature a request is for, and which one answered. */
import { WIRE, type WireReader, type WireWriter } from './wire.ts';

/** What a request asks for. At most one of `version` and `label` is not null. */
export interface ModelSpec {
  /** False when the request has no model_spec at all. */
  readonly present: boolean;
  readonly name: string;
  /** Exact to 2^53; a larger one is some number that no version has. Null: the latest, or the label's. */
  readonly version: number | null;
  readonly label: string | null;
  /** Empty: the default signature. */
  readonly signatureName: string;
}

/** The servable that answered. */
export interface AnsweredSpec {
  readonly name: string;
  readonly version: number;
  /** Empty where the answer names none (GetModelMetadata). */
  readonly signatureName: string;
}

/** The spec of a request without one. */
export const ABSENT_SPEC: ModelSpec = { present: false, name: '', version: null, label: null, signatureName: '' };

/** Decodes a ModelSpec message; fields it does not set are taken from `previous`, as protobuf merges a message that comes twice. */
export function decodeModelSpec(reader: WireReader, previous: ModelSpec = ABSENT_SPEC): ModelSpec {
  let { name, version, label, signatureName } = previous;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) name = reader.text();
    else if (tag === 2 * 8 + WIRE.bytes) {
      version = decodeInt64Value(reader.message(), version ?? 0);
      label = null;
    } else if (tag === 3 * 8 + WIRE.bytes) signatureName = reader.text();
    else if (tag === 4 * 8 + WIRE.bytes) {
      label = reader.text();
      version = null;
    } else reader.skip(tag);
  }
  return { present: true, name, version, label, signatureName };
}

/** The largest double that an int64 holds: what is nearest to 2^63 - 1 would wrap around. */
const LARGEST_VERSION = 2 ** 63 - 1024;

/** Writes a ModelSpec as a field. */
export function encodeModelSpec(writer: WireWriter, field: number, spec: Omit<ModelSpec, 'present'>): void {
  const { name, version, label, signatureName } = spec;
  writer.delimited(field, () => {
    if (name !== '') writer.stringField(1, name);
    if (version !== null) writer.delimited(2, () => void (version === 0 || writer.varintField(1, Math.min(version, LARGEST_VERSION))));
    if (signatureName !== '') writer.stringField(3, signatureName);
    if (label !== null) writer.stringField(4, label);
  });
}

/** Writes the ModelSpec of an answer as a field. */
export function encodeAnsweredSpec(writer: WireWriter, field: number, spec: AnsweredSpec): void {
  encodeModelSpec(writer, field, { ...spec, label: null });
}

function decodeInt64Value(reader: WireReader, previous: number): number {
  let value = previous;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.varint) value = reader.int64();
    else reader.skip(tag);
  }
  return value;
}
