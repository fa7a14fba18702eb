/** `tensorflow.serving.PredictRequest` and `PredictResponse`: the hot path of gRPC. */
import { ServeError } from '#mesh/errors.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import { ABSENT_SPEC, type AnsweredSpec, decodeModelSpec, encodeAnsweredSpec, encodeModelSpec, type ModelSpec } from './model-spec.ts';
import { type DecodeTensorOptions, decodeTensorProto, encodeTensorProto } from './tensor-proto.ts';
import { WIRE, WireReader, WireWriter } from './wire.ts';

/** A request whose tensors are not decoded yet, so that what is wrong with one can be told by its alias. */
export interface PredictRequest {
  readonly spec: ModelSpec;
  /** TensorProto bytes by alias, as views of the request; in the order they came, the last of a repeated alias. */
  readonly inputs: ReadonlyMap<string, Uint8Array>;
  /** Outputs wanted, as the client wrote them; empty: all. */
  readonly outputFilter: readonly string[];
}

/** An answer as a client reads it. */
export interface PredictResponse {
  readonly spec: ModelSpec;
  readonly outputs: NamedTensors;
}

/** Decodes a request down to its tensors' bytes. Throws INVALID_ARGUMENT when it is not a PredictRequest. */
export function decodePredictRequest(bytes: Uint8Array): PredictRequest {
  const reader = new WireReader(bytes);
  const inputs = new Map<string, Uint8Array>();
  const outputFilter: string[] = [];
  let spec = ABSENT_SPEC;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) spec = decodeModelSpec(reader.message(), spec);
    else if (tag === 2 * 8 + WIRE.bytes) readEntry(reader.message(), inputs);
    else if (tag === 3 * 8 + WIRE.bytes) outputFilter.push(reader.text());
    else reader.skip(tag);
  }
  return { spec, inputs, outputFilter };
}

/** Decodes the tensors of a request. Throws INVALID_ARGUMENT `tensor parsing error: ALIAS`, TensorFlow Serving's words, keeping the cause. */
export function decodeInputs(inputs: ReadonlyMap<string, Uint8Array>, options?: DecodeTensorOptions): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [alias, bytes] of inputs) {
    try {
      tensors.set(alias, decodeTensorProto(bytes, options));
    } catch (caught) {
      throw new ServeError('INVALID_ARGUMENT', `tensor parsing error: ${alias}`, { cause: caught });
    }
  }
  return tensors;
}

/** Encodes an answer; `tensorContent` is `--enable_serialization_as_tensor_content`. */
export function encodePredictResponse(
  spec: AnsweredSpec,
  outputs: NamedTensors,
  options: { readonly tensorContent: boolean } = { tensorContent: false },
): Uint8Array {
  const writer = new WireWriter(totalBytes(outputs) + 64 * (outputs.size + 2));
  writeTensors(writer, 1, outputs, options);
  encodeAnsweredSpec(writer, 2, spec);
  return writer.finish();
}

/** Encodes a request: for clients, tools and tests. */
export function encodePredictRequest(
  spec: Omit<ModelSpec, 'present'>,
  inputs: NamedTensors,
  options: { readonly outputFilter?: readonly string[]; readonly tensorContent?: boolean } = {},
): Uint8Array {
  const writer = new WireWriter(totalBytes(inputs) + 64 * (inputs.size + 2));
  encodeModelSpec(writer, 1, spec);
  writeTensors(writer, 2, inputs, { tensorContent: options.tensorContent ?? false });
  for (const output of options.outputFilter ?? []) writer.stringField(3, output);
  return writer.finish();
}

/** Decodes an answer: for clients, tools and tests. */
export function decodePredictResponse(bytes: Uint8Array): PredictResponse {
  const reader = new WireReader(bytes);
  const outputs = new Map<string, Uint8Array>();
  let spec = ABSENT_SPEC;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) readEntry(reader.message(), outputs);
    else if (tag === 2 * 8 + WIRE.bytes) spec = decodeModelSpec(reader.message(), spec);
    else reader.skip(tag);
  }
  return { spec, outputs: decodeInputs(outputs) };
}

const NO_BYTES = new Uint8Array(0);

/** Reads one entry of a map from alias to TensorProto. */
function readEntry(reader: WireReader, into: Map<string, Uint8Array>): void {
  let alias = '';
  let tensor: Uint8Array = NO_BYTES;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) alias = reader.text();
    else if (tag === 2 * 8 + WIRE.bytes) tensor = reader.view();
    else reader.skip(tag);
  }
  into.set(alias, tensor);
}

function writeTensors(writer: WireWriter, field: number, tensors: NamedTensors, options: { readonly tensorContent: boolean }): void {
  for (const [alias, tensor] of tensors) {
    const guess = tensor.bytes.byteLength + 16 + 4 * tensor.shape.length;
    const writeEntry = () => {
      writer.stringField(1, alias);
      writer.delimited(2, () => encodeTensorProto(writer, tensor, options), guess);
    };
    writer.delimited(field, writeEntry, guess + alias.length + 8);
  }
}

function totalBytes(tensors: NamedTensors): number {
  let sum = 0;
  for (const { bytes } of tensors.values()) sum += bytes.byteLength;
  return sum;
}
