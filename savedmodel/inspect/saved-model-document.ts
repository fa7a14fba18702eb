/** What was seen of a SavedModel, for programs. */
import type { StoredSignature, StoredTensorInfo } from '../graph.ts';
import { dataTypeName } from '../read/data-types.ts';
import { type MetaGraphInspection, signaturesOf } from './inspect-saved-model.ts';

/** The JSON value of one MetaGraph: `signatures`, `ops`, and either `plan` or `unsupported`. Shapes are null for an unknown rank, sizes -1 when unknown. */
export function metaGraphDocument({ tags, tensorflowVersion, source, ops, outcome }: MetaGraphInspection): unknown {
  return {
    tags,
    tensorflow_version: tensorflowVersion,
    signatures: mapped(signaturesOf(source), signatureDocument),
    ops,
    ...('error' in outcome
      ? { plan: null, unsupported: { code: outcome.error.code, message: outcome.error.message } }
      : { plan: outcome.outline, unsupported: null }),
  };
}

function signatureDocument({ inputs, outputs, methodName, defaults }: StoredSignature): unknown {
  return {
    method_name: methodName,
    inputs: mapped(inputs, (info, alias) => ({ ...infoDocument(info), optional: defaults.has(alias) })),
    outputs: mapped(outputs, infoDocument),
  };
}

function infoDocument({ dtype, shape, tensorName, sparse }: StoredTensorInfo): Record<string, unknown> {
  return { dtype: dataTypeName(dtype), shape, name: tensorName, ...(sparse === undefined ? {} : { coo_sparse: sparse }) };
}

function mapped<Value>(map: ReadonlyMap<string, Value>, convert: (value: Value, key: string) => unknown): Record<string, unknown> {
  return Object.fromEntries([...map].map(([key, value]) => [key, convert(value, key)]));
}
