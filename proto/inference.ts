/** `tensorflow.serving.MultiInferenceRequest` and `MultiInferenceResponse`: several signatures of one model on the same rows. */
import { type Classifications, encodeClassificationResult } from './classification.ts';
import { decodeInput, encodeInput, type InputRows } from './input.ts';
import { ABSENT_SPEC, type AnsweredSpec, decodeModelSpec, encodeAnsweredSpec, encodeModelSpec, type ModelSpec } from './model-spec.ts';
import { encodeRegressionResult } from './regression.ts';
import { WIRE, WireReader, WireWriter } from './wire.ts';

/** One signature to run. */
export interface InferenceTask {
  readonly spec: ModelSpec;
  /** As the client wrote it, such as `tensorflow/serving/classify`. */
  readonly methodName: string;
}

/** Tasks and the rows they share. */
export interface MultiInferenceRequest {
  readonly tasks: readonly InferenceTask[];
  /** Serialized tf.Example messages; see `decodeInput`. */
  readonly examples: readonly Uint8Array[];
}

/** The answer to one task. */
export type InferenceResult =
  | { readonly type: 'classification'; readonly spec: AnsweredSpec; readonly rows: Classifications }
  | { readonly type: 'regression'; readonly spec: AnsweredSpec; readonly values: ArrayLike<number> };

/** Decodes a request. Throws INVALID_ARGUMENT. */
export function decodeMultiInferenceRequest(bytes: Uint8Array | WireReader): MultiInferenceRequest {
  const reader = bytes instanceof WireReader ? bytes : new WireReader(bytes);
  const tasks: InferenceTask[] = [];
  let examples: readonly Uint8Array[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) tasks.push(readTask(reader.message()));
    else if (tag === 2 * 8 + WIRE.bytes) examples = decodeInput(reader.message());
    else reader.skip(tag);
  }
  return { tasks, examples };
}

/** Encodes a request: for clients, tools and tests. */
export function encodeMultiInferenceRequest(tasks: readonly InferenceTask[], input: InputRows): Uint8Array {
  const writer = new WireWriter();
  for (const { spec, methodName } of tasks) {
    writer.delimited(1, () => {
      if (spec.present) encodeModelSpec(writer, 1, spec);
      if (methodName !== '') writer.stringField(2, methodName);
    });
  }
  encodeInput(writer, 2, input);
  return writer.finish();
}

/** Encodes an answer, results in the order of the tasks. */
export function encodeMultiInferenceResponse(results: readonly InferenceResult[]): Uint8Array {
  const writer = new WireWriter();
  for (const result of results) {
    writer.delimited(1, () => {
      encodeAnsweredSpec(writer, 1, result.spec);
      if (result.type === 'classification') encodeClassificationResult(writer, 2, result.rows);
      else encodeRegressionResult(writer, 3, result.values);
    });
  }
  return writer.finish();
}

function readTask(reader: WireReader): InferenceTask {
  let spec = ABSENT_SPEC;
  let methodName = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) spec = decodeModelSpec(reader.message(), spec);
    else if (tag === 2 * 8 + WIRE.bytes) methodName = reader.text();
    else reader.skip(tag);
  }
  return { spec, methodName };
}
