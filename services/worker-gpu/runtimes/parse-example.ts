/** Parses serialized tf.Examples into dense tensors, as TensorFlow's ParseExample does, with its error texts. */

import { ServeError } from '#mesh/errors.ts';
import { DTYPES, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { decodeExample, type Feature } from '#proto/example.ts';
import type { FeatureEntry } from './signatures-file.ts';

/** How TensorFlow names the op in the texts of its errors. */
const NODE = '\n\t [[{{node ParseExample/ParseExample}}]]';
const ENCODER = new TextEncoder();

/**
 * The features of a string tensor of serialized Examples, each as a tensor of shape [examples, ...feature.shape], by the graph input it feeds.
 * Throws INVALID_ARGUMENT for an Example that lacks a required feature or holds another type or number of values.
 */
export function parseExamples(examples: Tensor, features: Readonly<Record<string, FeatureEntry>>): ReadonlyMap<string, Tensor> {
  const count = elementCount(examples.shape);
  const wanted = new Set(Object.keys(features));
  const decoded = unpackStrings(examples.bytes, count).map((bytes) => {
    try {
      return decodeExample(bytes, wanted);
    } catch (cause) {
      throw new ServeError('INVALID_ARGUMENT', `Could not parse example input, value: '${Buffer.from(bytes).toString('latin1')}'${NODE}`, {
        cause,
      });
    }
  });
  return new Map(
    Object.entries(features).map(([name, entry]) => {
      const columns = decoded.map((example, index) => valuesOf(example.get(name), name, entry, index));
      return [entry.onnx, toTensor(columns, entry)];
    }),
  );
}

type Values = ArrayLike<number | bigint | string | Uint8Array>;

function valuesOf(feature: Feature | undefined, name: string, entry: FeatureEntry, index: number): Values {
  const wanted = elementCount(entry.shape);
  if (feature === undefined || feature.kind === 'none') {
    if (entry.defaults === undefined) {
      throw new ServeError(
        'INVALID_ARGUMENT',
        `Name: <unknown>, Feature: ${name} (data type: ${entry.dtype}) is required but could not be found.${NODE}`,
      );
    }
    return entry.defaults.length === wanted ? entry.defaults : Array.from({ length: wanted }, () => entry.defaults?.[0] ?? 0);
  }
  const found = feature.kind === 'bytes' ? 'string' : feature.kind;
  if (found !== entry.dtype) {
    throw wrong(name, index, `Data types don't match. Data type: ${found} but expected type: ${entry.dtype}`);
  }
  if (feature.values.length !== wanted) {
    throw wrong(
      name,
      index,
      `Number of ${feature.kind} values != expected.  Values size: ${feature.values.length} but output shape: [${entry.shape}]`,
    );
  }
  return feature.values;
}

function wrong(name: string, index: number, what: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', `Name: <unknown>, Key: ${name}, Index: ${index}.  ${what}${NODE}`);
}

function toTensor(columns: readonly Values[], entry: FeatureEntry): Tensor {
  const shape = [columns.length, ...entry.shape];
  const each = elementCount(entry.shape);
  if (entry.dtype === 'string') {
    const elements = columns.flatMap((values) =>
      Array.from(values, (value) => (typeof value === 'string' ? ENCODER.encode(value) : (value as Uint8Array))),
    );
    return { dtype: 'string', shape, bytes: packStrings(elements) };
  }
  const bytes = new Uint8Array(columns.length * each * DTYPES[entry.dtype].byteSize);
  if (entry.dtype === 'float') {
    const into = new Float32Array(bytes.buffer);
    columns.forEach((values, row) => {
      for (let index = 0; index < each; index++) into[row * each + index] = Number(values[index]);
    });
  } else {
    const into = new BigInt64Array(bytes.buffer);
    columns.forEach((values, row) => {
      for (let index = 0; index < each; index++) into[row * each + index] = BigInt(values[index] as number | bigint);
    });
  }
  return { dtype: entry.dtype, shape, bytes };
}
