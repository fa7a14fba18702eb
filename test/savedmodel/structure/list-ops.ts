/** TensorList ops, plainly: lists are arrays that are copied when written. */
import type { HostAttrs, HostData, HostTensor } from '../../../savedmodel/host-value.ts';

/** A list; elements that were never set are null. */
export interface TensorList {
  readonly elements: readonly (HostTensor | null)[];
}

export function isList(value: object): value is TensorList {
  return 'elements' in value;
}

type ListOp = (inputs: readonly (HostTensor | TensorList)[], attrs: HostAttrs) => readonly (HostTensor | TensorList)[];

function listAt(inputs: readonly (HostTensor | TensorList)[], index: number): readonly (HostTensor | null)[] {
  const value = inputs[index];
  if (value === undefined || !isList(value)) throw new RangeError(`input ${index} is no list`);
  return value.elements;
}

function tensorAt(inputs: readonly (HostTensor | TensorList)[], index: number): HostTensor {
  const value = inputs[index];
  if (value === undefined || isList(value)) throw new RangeError(`input ${index} is no tensor`);
  return value;
}

function rows(tensor: HostTensor, lengths?: readonly number[]): HostTensor[] {
  const [count = 0, ...inner] = tensor.shape;
  const size = inner.reduce((product, one) => product * one, 1);
  let at = 0;
  return (lengths ?? new Array<number>(count).fill(1)).map((length) => {
    const data = tensor.data.slice(at * size, (at + length) * size) as HostData;
    at += length;
    return { dtype: tensor.dtype, shape: lengths === undefined ? inner : [length, ...inner], data };
  });
}

function joined(parts: readonly HostTensor[], shape: readonly number[]): HostTensor {
  const [first] = parts;
  if (first === undefined) return { dtype: 'float', shape: [0], data: new Float32Array(0) };
  if (!ArrayBuffer.isView(first.data))
    return { dtype: first.dtype, shape, data: parts.flatMap((part) => [...(part.data as Uint8Array[])]) };
  const Make = first.data.constructor as new (length: number) => Float32Array;
  const data = new Make(parts.reduce((total, part) => total + part.data.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part.data as Float32Array, at);
    at += part.data.length;
  }
  return { dtype: first.dtype, shape, data };
}

function stacked(elements: readonly (HostTensor | null)[]): HostTensor {
  const parts = elements.map((element) => {
    if (element === null) throw new RangeError('an element was never set');
    return element;
  });
  return joined(parts, [parts.length, ...(parts[0]?.shape ?? [])]);
}

function written(elements: readonly (HostTensor | null)[], index: number, item: HostTensor, grows: boolean): (HostTensor | null)[] {
  const copy = [...elements];
  while (grows && copy.length <= index) copy.push(null);
  if (index < 0 || index >= copy.length) throw new RangeError(`index ${index} is outside of a list of ${copy.length}`);
  copy[index] = item;
  return copy;
}

const grows = (attrs: HostAttrs) => ['_grows', 'resize_if_index_out_of_bounds'].some((name) => attrs.has(name) && attrs.bool(name));
const numbers = (tensor: HostTensor) => Array.from(tensor.data as ArrayLike<number | bigint>, Number);

/** By op. */
export const LIST_OPS: Readonly<Record<string, ListOp>> = {
  TensorListReserve: (inputs) => [{ elements: new Array<null>(numbers(tensorAt(inputs, 1))[0] ?? 0).fill(null) }],
  TensorListFromTensor: (inputs) => [{ elements: rows(tensorAt(inputs, 0)) }],
  TensorListGetItem: (inputs) => [stackedItem(listAt(inputs, 0), numbers(tensorAt(inputs, 1))[0] ?? 0)],
  TensorListSetItem: (inputs, attrs) => [
    { elements: written(listAt(inputs, 0), numbers(tensorAt(inputs, 1))[0] ?? 0, tensorAt(inputs, 2), grows(attrs)) },
  ],
  TensorListStack: (inputs) => [stacked(listAt(inputs, 0))],
  TensorListGather: (inputs) => [stacked(numbers(tensorAt(inputs, 1)).map((index) => listAt(inputs, 0)[index] ?? null))],
  TensorListScatterIntoExistingList: (inputs, attrs) => {
    let elements = listAt(inputs, 0);
    const items = rows(tensorAt(inputs, 1));
    numbers(tensorAt(inputs, 2)).forEach((index, at) => {
      const item = items[at];
      if (item !== undefined) elements = written(elements, index, item, grows(attrs));
    });
    return [{ elements }];
  },
  TensorListLength: (inputs) => [{ dtype: 'int32', shape: [], data: Int32Array.of(listAt(inputs, 0).length) }],
  TensorListConcatV2: (inputs) => {
    const parts = listAt(inputs, 0).flatMap((element) => element ?? []);
    const lengths = parts.map((part) => part.shape[0] ?? 0);
    const total = lengths.reduce((sum, one) => sum + one, 0);
    const data = BigInt64Array.from(lengths, BigInt);
    return [joined(parts, [total, ...(parts[0]?.shape.slice(1) ?? [])]), { dtype: 'int64', shape: [data.length], data }];
  },
  TensorListSplit: (inputs) => [{ elements: rows(tensorAt(inputs, 0), numbers(tensorAt(inputs, 2))) }],
};

function stackedItem(elements: readonly (HostTensor | null)[], index: number): HostTensor {
  const item = elements[index];
  if (item === undefined || item === null) throw new RangeError(`element ${index} was never set`);
  return item;
}
