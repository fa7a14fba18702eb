/** `tensorflow.serving.GetModelMetadataRequest` and `GetModelMetadataResponse`. */
import type { Signature, Signatures, TensorSpec } from '#mesh/signature.ts';
import { DTYPES } from '#mesh/tensor.ts';
import { ABSENT_SPEC, type AnsweredSpec, decodeModelSpec, encodeAnsweredSpec, encodeModelSpec, type ModelSpec } from './model-spec.ts';
import { encodeTensorShape } from './tensor-proto.ts';
import { WIRE, WireReader, WireWriter } from './wire.ts';

/** What is asked of which servable. */
export interface GetModelMetadataRequest {
  readonly spec: ModelSpec;
  /** As the client wrote them; only `signature_def` is known. */
  readonly metadataFields: readonly string[];
}

const SIGNATURE_DEF_MAP = 'type.googleapis.com/tensorflow.serving.SignatureDefMap';

/** Decodes a request. Throws INVALID_ARGUMENT. */
export function decodeGetModelMetadataRequest(bytes: Uint8Array): GetModelMetadataRequest {
  const reader = new WireReader(bytes);
  const metadataFields: string[] = [];
  let spec = ABSENT_SPEC;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) spec = decodeModelSpec(reader.message(), spec);
    else if (tag === 2 * 8 + WIRE.bytes) metadataFields.push(reader.text());
    else reader.skip(tag);
  }
  return { spec, metadataFields };
}

/** Encodes a request: for clients, tools and tests. */
export function encodeGetModelMetadataRequest(spec: Omit<ModelSpec, 'present'>, metadataFields: readonly string[]): Uint8Array {
  const writer = new WireWriter();
  encodeModelSpec(writer, 1, spec);
  for (const field of metadataFields) writer.stringField(2, field);
  return writer.finish();
}

/** Encodes the answer to `signature_def`: all signatures, and the servable they belong to (its signature name is left out). */
export function encodeGetModelMetadataResponse(spec: Omit<AnsweredSpec, 'signatureName'>, signatures: Signatures): Uint8Array {
  const writer = new WireWriter(1024);
  const writeAny = () => {
    writer.stringField(1, SIGNATURE_DEF_MAP);
    writer.delimited(2, () => encodeSignatureDefMap(writer, signatures));
  };
  encodeAnsweredSpec(writer, 1, { ...spec, signatureName: '' });
  writer.delimited(2, () => {
    writer.stringField(1, 'signature_def');
    writer.delimited(2, writeAny);
  });
  return writer.finish();
}

/** Writes the fields of a SignatureDefMap. */
export function encodeSignatureDefMap(writer: WireWriter, signatures: Signatures): void {
  for (const [name, signature] of Object.entries(signatures)) {
    writer.delimited(1, () => {
      writer.stringField(1, name);
      writer.delimited(2, () => writeSignature(writer, signature));
    });
  }
}

function writeSignature(writer: WireWriter, { inputs, outputs, method }: Signature): void {
  const writeSpecs = (field: number, specs: Readonly<Record<string, TensorSpec>>) => {
    for (const [alias, spec] of Object.entries(specs)) {
      writer.delimited(field, () => {
        writer.stringField(1, alias);
        writer.delimited(2, () => writeTensorInfo(writer, spec));
      });
    }
  };
  writeSpecs(1, inputs);
  writeSpecs(2, outputs);
  if (method !== '') writer.stringField(3, method);
}

function writeTensorInfo(writer: WireWriter, { tensorName, dtype, shape, dimNames }: TensorSpec): void {
  if (tensorName !== '') writer.stringField(1, tensorName);
  writer.varintField(2, DTYPES[dtype].number);
  if (shape === null) writer.delimited(3, () => writer.boolField(3, true));
  else encodeTensorShape(writer, 3, shape, dimNames);
}
