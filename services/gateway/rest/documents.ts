/** The JSON documents of the REST API that carry no tensors: errors, status and metadata, in TensorFlow Serving's layout. */
import { defaultInputs, type ListedSpec, type Signature, type Signatures, type TensorSpec } from '#mesh/signature.ts';
import { DTYPES } from '#mesh/tensor.ts';
import type { ResolvedServable, VersionStatus } from '../core.ts';
import { quoteJson } from './json-print.ts';
import { tensorDocument } from './tensor-document.ts';

/** `{"error": message}`. */
export function errorDocument(message: string): string {
  return `{\n    "error": ${quoteJson(message)}\n}`;
}

/** The answer of `GET /v1/models/M`: versions are strings, as protobuf's JSON writes int64. */
export function statusDocument(versions: readonly VersionStatus[]): string {
  const lines = versions.map(({ version, state, status }) => ({
    version: String(version),
    state,
    status: { error_code: status.code, error_message: status.message },
  }));
  return `${JSON.stringify({ model_version_status: lines }, null, 1)}\n`;
}

/** The answer of `GET /v1/models/M/metadata`. */
export function metadataDocument({ id, signatures }: ResolvedServable): string {
  const spec = JSON.stringify({ name: id.name, version: String(id.version), signature_name: '' }, null, 1);
  const map = JSON.stringify({ signature_def: signatureMap(signatures) }, null, 1);
  return `{\n"model_spec":${spec}\n,\n"metadata": {"signature_def": ${map}\n}\n}\n`;
}

function signatureMap(signatures: Signatures): Record<string, unknown> {
  return mapValues(signatures, (signature: Signature) => ({
    inputs: { ...mapValues(signature.inputs, tensorInfo), ...mapValues(signature.listedOnly?.inputs ?? {}, listedInfo) },
    outputs: { ...mapValues(signature.outputs, tensorInfo), ...mapValues(signature.listedOnly?.outputs ?? {}, listedInfo) },
    method_name: signature.method,
    defaults: mapValues(defaultInputs(signature), tensorDocument),
  }));
}

function tensorInfo(spec: TensorSpec): unknown {
  return { name: spec.tensorName, dtype: (spec.listedDtype ?? DTYPES[spec.dtype]).protoName, tensor_shape: shapeDocument(spec) };
}

/** A sparse tensor's names stand where a dense one's name does: they are one field of which only one is set. */
function listedInfo(spec: ListedSpec): unknown {
  const { sparse } = spec;
  const encoding =
    sparse === undefined
      ? { name: spec.tensorName }
      : {
          coo_sparse: {
            values_tensor_name: sparse.values,
            indices_tensor_name: sparse.indices,
            dense_shape_tensor_name: sparse.denseShape,
          },
        };
  return { ...encoding, dtype: spec.dtype.protoName, tensor_shape: shapeDocument(spec) };
}

function shapeDocument({ shape, dimNames }: TensorSpec | ListedSpec): unknown {
  return {
    dim: (shape ?? []).map((size, axis) => ({ size: String(size), name: dimNames?.[axis] ?? '' })),
    unknown_rank: shape === null,
  };
}

function mapValues<Value, Result>(record: Readonly<Record<string, Value>>, map: (value: Value) => Result): Record<string, Result> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
