/** `tensorflow.serving.ClassificationRequest` and `ClassificationResponse`. */
import { decodeInput, encodeInput, type InputRows } from './input.ts';
import { ABSENT_SPEC, type AnsweredSpec, decodeModelSpec, encodeAnsweredSpec, encodeModelSpec, type ModelSpec } from './model-spec.ts';
import { WIRE, WireReader, WireWriter } from './wire.ts';

/** Rows for one signature: the request of Classify, and of Regress, which looks the same. */
export interface ExamplesRequest {
  readonly spec: ModelSpec;
  /** Serialized tf.Example messages; see `decodeInput`. */
  readonly examples: readonly Uint8Array[];
}

/** One label of a row. */
export interface LabelledScore {
  readonly label: string;
  readonly score: number;
}

/** For each row its labels. */
export type Classifications = readonly (readonly LabelledScore[])[];

/** Decodes a request of Classify (or Regress). Throws INVALID_ARGUMENT. */
export function decodeExamplesRequest(bytes: Uint8Array | WireReader): ExamplesRequest {
  const reader = bytes instanceof WireReader ? bytes : new WireReader(bytes);
  let spec = ABSENT_SPEC;
  let examples: readonly Uint8Array[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) spec = decodeModelSpec(reader.message(), spec);
    else if (tag === 2 * 8 + WIRE.bytes) examples = decodeInput(reader.message());
    else reader.skip(tag);
  }
  return { spec, examples };
}

/** Encodes a request of Classify (or Regress): for clients, tools and tests. */
export function encodeExamplesRequest(spec: Omit<ModelSpec, 'present'>, input: InputRows): Uint8Array {
  const writer = new WireWriter();
  encodeModelSpec(writer, 1, spec);
  encodeInput(writer, 2, input);
  return writer.finish();
}

/** Encodes an answer of Classify. */
export function encodeClassificationResponse(spec: AnsweredSpec, rows: Classifications): Uint8Array {
  const writer = new WireWriter(64 + 32 * rows.length);
  encodeClassificationResult(writer, 1, rows);
  encodeAnsweredSpec(writer, 2, spec);
  return writer.finish();
}

/** Writes a ClassificationResult as a field. */
export function encodeClassificationResult(writer: WireWriter, field: number, rows: Classifications): void {
  const writeClass = ({ label, score }: LabelledScore) => {
    if (label !== '') writer.stringField(1, label);
    if (!Object.is(score, 0)) writer.floatField(2, score);
  };
  const writeRow = (row: readonly LabelledScore[]) => {
    for (const one of row) writer.delimited(1, () => writeClass(one));
  };
  writer.delimited(field, () => {
    for (const row of rows) writer.delimited(1, () => writeRow(row));
  });
}
