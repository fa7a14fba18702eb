/** The values of one feature over many examples, as dense, sparse and ragged tensors. */
import type { DType } from '#mesh/tensor.ts';
import { elementCount } from '#mesh/tensor.ts';
import type { Feature } from '#proto/example.ts';
import type { HostTensor } from '../host-value.ts';
import { allocate, fromNumbers, int64s, invalid, joinData, shapeText, take } from './host-tensor.ts';

/** The values of one feature of one example. */
export type FeatureValues = readonly Uint8Array[] | Float32Array | BigInt64Array;

/** What each feature of one example is said to be in errors. */
export interface Where {
  readonly example: string;
  readonly key: string;
  readonly index: number;
}

/** The dtype that a feature's list has. */
export function featureDtype(feature: Feature): DType | undefined {
  return feature.kind === 'bytes' ? 'string' : feature.kind === 'none' ? undefined : feature.kind;
}

/** The values of a feature, or undefined if it is missing. Throws INVALID_ARGUMENT with TensorFlow's text for another type, which differs for dense features. */
export function valuesOf(feature: Feature | undefined, dtype: DType, where: Where, dense = true): FeatureValues | undefined {
  if (feature === undefined || feature.kind === 'none') return undefined;
  const found = featureDtype(feature);
  const types = dense ? `Data type: ${found} but expected type: ${dtype}` : `Expected type: ${dtype}, Actual type: ${found}`;
  if (found !== dtype) throw wrong(where, `Data types don't match. ${types}`);
  return feature.values;
}

/** The error of a feature in one example. */
export function wrong(where: Where, what: string): Error {
  return invalid(`Name: ${where.example}, Key: ${where.key}, Index: ${where.index}.  ${what}`);
}

/** All values one after another. */
export function flatten(dtype: DType, lists: readonly (FeatureValues | undefined)[]): HostTensor {
  const count = lists.reduce((sum, list) => sum + (list?.length ?? 0), 0);
  const data = allocate(dtype, count);
  let at = 0;
  for (const list of lists) {
    if (list === undefined) continue;
    if (Array.isArray(data)) for (const value of list as readonly Uint8Array[]) data[at++] = value;
    else {
      (data as { set(values: unknown, at: number): void }).set(list, at);
      at += list.length;
    }
  }
  return { dtype, shape: [count], data };
}

/** Indices [values, 2], values and dense shape of a column of lists; of a single list (`batched` false) indices have rank 1. */
export function sparseColumn(
  dtype: DType,
  lists: readonly (FeatureValues | undefined)[],
  batched: boolean,
): [HostTensor, HostTensor, HostTensor] {
  const values = flatten(dtype, lists);
  const indices: number[] = [];
  let widest = 0;
  lists.forEach((list, row) => {
    const size = list?.length ?? 0;
    widest = Math.max(widest, size);
    for (let column = 0; column < size; column++) {
      if (batched) indices.push(row);
      indices.push(column);
    }
  });
  const rank = batched ? 2 : 1;
  return [int64s([values.shape[0] ?? 0, rank], indices), values, int64s([rank], batched ? [lists.length, widest] : [widest])];
}

/** Row splits of lists: their running lengths, from 0. */
export function rowSplits(lengths: readonly number[], dtype: DType): HostTensor {
  const splits = [0];
  for (const length of lengths) splits.push((splits.at(-1) ?? 0) + length);
  return fromNumbers(dtype, [splits.length], splits);
}

/** A dense feature: its key, dtype, shape below the batch (a first size of -1 varies), and the default (no elements: required). */
export interface DenseFeature {
  readonly key: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly fallback: HostTensor;
}

/** A dense tensor [lists, ...shape]; `batched` false gives [...shape] of the one list. Throws INVALID_ARGUMENT in TensorFlow's words. */
export function denseColumn(
  feature: DenseFeature,
  lists: readonly (FeatureValues | undefined)[],
  examples: readonly string[],
  batched: boolean,
): HostTensor {
  const { key, dtype, shape, fallback } = feature;
  const varies = shape[0] === -1;
  const stride = elementCount(varies ? shape.slice(1) : shape);
  lists.forEach((list, index) => {
    if (list !== undefined) checkLength(feature, list.length, stride, varies, { example: examples[index] ?? '<unknown>', key, index });
    else if (!varies && fallback.data.length === 0 && stride > 0) {
      throw invalid(`Name: ${examples[index] ?? '<unknown>'}, Feature: ${key} (data type: ${dtype}) is required but could not be found.`);
    }
  });
  const widest = varies ? lists.reduce((most, list) => Math.max(most, list?.length ?? 0), 0) : stride;
  const values = flatten(dtype, lists);
  const base = values.shape[0] ?? 0;
  const source = joinData(dtype, [values, fallback], [base + fallback.data.length]);
  const indices = allocate('int32', lists.length * widest) as Int32Array;
  let from = 0;
  lists.forEach((list, row) => {
    const size = list?.length ?? 0;
    for (let at = 0; at < widest; at++) {
      const standIn = fallback.data.length === 0 ? -1 : base + (fallback.data.length === widest && !varies ? at : 0);
      indices[row * widest + at] = at < size ? from + at : standIn;
    }
    from += size;
  });
  const inner = varies ? [widest / Math.max(1, stride), ...shape.slice(1)] : shape;
  return take(source, batched ? [lists.length, ...inner] : inner, indices);
}

function checkLength(feature: DenseFeature, found: number, stride: number, varies: boolean, where: Where): void {
  if (!varies && found !== stride) {
    throw wrong(
      where,
      `Number of ${feature.dtype === 'string' ? 'bytes' : feature.dtype} values != expected.  Values size: ${found} but output shape: ${shapeText(feature.shape)}`,
    );
  }
  if (varies && stride > 0 && found % stride !== 0) {
    throw wrong(
      where,
      `Number of ${feature.dtype === 'string' ? 'bytes' : feature.dtype} values is not a multiple of stride length. Saw ${found} values but output shape is: ${shapeText(feature.shape)}`,
    );
  }
}
