/** `tensorflow.SignatureDef` and the TensorInfos in it. */
import type { Tensor } from '#mesh/tensor.ts';
import type { WireReader } from '#proto/wire.ts';
import type { StoredSignature, StoredTensorInfo } from '../graph.ts';
import { readTensor } from './attr-value.ts';
import { readMapEntry } from './map-entry.ts';
import { type NamedShape, readPartialShape } from './partial-shape.ts';

const SIGNATURE = { input: 10, output: 18, methodName: 26, defaults: 34 } as const;
const INFO = { name: 10, dtype: 16, shape: 26, sparse: 34 } as const;
const SPARSE = { values: 10, indices: 18, denseShape: 26 } as const;
const ENTRY = { key: 10, value: 18 } as const;

/** Reads a SignatureDef. Errors name `name`. Throws INVALID_ARGUMENT. */
export function readSignatureDef(reader: WireReader, name: string): StoredSignature {
  const inputs = new Map<string, StoredTensorInfo>();
  const outputs = new Map<string, StoredTensorInfo>();
  const defaults = new Map<string, Tensor>();
  let methodName = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === SIGNATURE.input) readInfoEntry(reader.message(), inputs);
    else if (tag === SIGNATURE.output) readInfoEntry(reader.message(), outputs);
    else if (tag === SIGNATURE.methodName) methodName = reader.text();
    else if (tag === SIGNATURE.defaults) readDefault(reader.message(), defaults, name);
    else reader.skip(tag);
  }
  return { inputs, outputs, methodName, defaults };
}

/** Reads a TensorInfo. Without a shape it is a scalar, as protobuf's defaults have it. Throws INVALID_ARGUMENT. */
export function readTensorInfo(reader: WireReader): StoredTensorInfo {
  let tensorName = '';
  let dtype = 0;
  let named: NamedShape = { shape: [], dimNames: [] };
  let sparse: StoredTensorInfo['sparse'];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === INFO.name) tensorName = reader.text();
    else if (tag === INFO.dtype) dtype = reader.int32();
    else if (tag === INFO.shape) named = readPartialShape(reader.message());
    else if (tag === INFO.sparse) sparse = readSparse(reader.message());
    else reader.skip(tag);
  }
  return { tensorName, dtype, ...named, ...(sparse === undefined ? {} : { sparse }) };
}

function readSparse(reader: WireReader): StoredTensorInfo['sparse'] {
  let [values, indices, denseShape] = ['', '', ''];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === SPARSE.values) values = reader.text();
    else if (tag === SPARSE.indices) indices = reader.text();
    else if (tag === SPARSE.denseShape) denseShape = reader.text();
    else reader.skip(tag);
  }
  return { values, indices, denseShape };
}

function readInfoEntry(entry: WireReader, into: Map<string, StoredTensorInfo>): void {
  const { key, value } = readMapEntry(entry);
  into.set(key, readTensorInfo(value));
}

function readDefault(entry: WireReader, into: Map<string, Tensor>, signature: string): void {
  let key = '';
  let value: Tensor | undefined;
  while (entry.more()) {
    const tag = entry.tag();
    if (tag === ENTRY.key) key = entry.text();
    else if (tag === ENTRY.value) value = readTensor(entry, `default input ${key} of signature ${signature}`);
    else entry.skip(tag);
  }
  if (value !== undefined) into.set(key, value);
}
