/** `tensorflow.serving.GetModelMetadataRequest` and `GetModelMetadataResponse`. */
import { defaultInputs, type ListedSpec, type Signature, type Signatures, type TensorSpec } from '#mesh/signature.ts';
import { DTYPES } from '#mesh/tensor.ts';
import { ABSENT_SPEC, type AnsweredSpec, decodeModelSpec, encodeAnsweredSpec, encodeModelSpec, type ModelSpec } from './model-spec.ts';
import { encodeTensorProto, encodeTensorShape } from './tensor-proto.ts';
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

function writeSignature(writer: WireWriter, signature: Signature): void {
  const { inputs, outputs, method, listedOnly } = signature;
  const writeEntries = <Spec>(field: number, specs: Readonly<Record<string, Spec>>, write: (writer: WireWriter, spec: Spec) => void) => {
    for (const [alias, spec] of Object.entries(specs)) {
      writer.delimited(field, () => {
        writer.stringField(1, alias);
        writer.delimited(2, () => write(writer, spec));
      });
    }
  };
  writeEntries(1, inputs, writeTensorInfo);
  writeEntries(1, listedOnly?.inputs ?? {}, writeListedInfo);
  writeEntries(2, outputs, writeTensorInfo);
  writeEntries(2, listedOnly?.outputs ?? {}, writeListedInfo);
  if (method !== '') writer.stringField(3, method);
  writeEntries(4, defaultInputs(signature), (_, value) => encodeTensorProto(writer, value, { tensorContent: false }));
}

function writeTensorInfo(writer: WireWriter, spec: TensorSpec): void {
  if (spec.tensorName !== '') writer.stringField(1, spec.tensorName);
  writer.varintField(2, (spec.listedDtype ?? DTYPES[spec.dtype]).number);
  writeShape(writer, spec);
}

function writeListedInfo(writer: WireWriter, spec: ListedSpec): void {
  const { sparse } = spec;
  if (spec.tensorName !== '') writer.stringField(1, spec.tensorName);
  if (spec.dtype.number !== 0) writer.varintField(2, spec.dtype.number);
  writeShape(writer, spec);
  if (sparse === undefined) return;
  writer.delimited(4, () => {
    writer.stringField(1, sparse.values);
    writer.stringField(2, sparse.indices);
    writer.stringField(3, sparse.denseShape);
  });
}

function writeShape(writer: WireWriter, { shape, dimNames }: TensorSpec | ListedSpec): void {
  if (shape === null) writer.delimited(3, () => writer.boolField(3, true));
  else encodeTensorShape(writer, 3, shape, dimNames);
}
