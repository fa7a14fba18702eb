/** Reading the attributes of a node. Each reader throws INVALID_ARGUMENT when the attribute is of another type, or absent without a default. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, dtypeFromNumber, type Tensor } from '#mesh/tensor.ts';
import type { FlatNode } from '../flat-graph.ts';
import type { AttrValue } from '../graph.ts';

type AttrOfType<K extends AttrValue['type']> = Extract<AttrValue, { readonly type: K }>;

function find<K extends AttrValue['type']>(node: FlatNode, name: string, type: K): AttrOfType<K> | undefined {
  const attr = node.attrs.get(name);
  if (attr === undefined) return undefined;
  if (attr.type === type) return attr as AttrOfType<K>;
  throw new ServeError(
    'INVALID_ARGUMENT',
    `attribute ${name} of ${node.op} node ${node.name} is of type ${attr.type}; ${type} was expected`,
  );
}

function required<T>(node: FlatNode, name: string, value: T | undefined): T {
  if (value !== undefined) return value;
  throw new ServeError('INVALID_ARGUMENT', `${node.op} node ${node.name} has no attribute ${name}`);
}

/** An int. */
export function intAttr(node: FlatNode, name: string, fallback?: number): number {
  return required(node, name, find(node, name, 'int')?.value ?? fallback);
}

/** A float. */
export function floatAttr(node: FlatNode, name: string, fallback?: number): number {
  return required(node, name, find(node, name, 'float')?.value ?? fallback);
}

/** A bool. */
export function boolAttr(node: FlatNode, name: string, fallback?: boolean): boolean {
  return required(node, name, find(node, name, 'bool')?.value ?? fallback);
}

/** A string as text. */
export function textAttr(node: FlatNode, name: string, fallback?: string): string {
  const bytes = find(node, name, 'string')?.value;
  return required(node, name, bytes === undefined ? fallback : new TextDecoder().decode(bytes));
}

/** A dtype that tensors can have. */
export function dtypeAttr(node: FlatNode, name: string, fallback?: DType): DType {
  const number = find(node, name, 'dtype')?.value;
  const dtype = number === undefined ? fallback : dtypeFromNumber(number);
  if (number !== undefined && dtype === undefined) {
    throw new ServeError(
      'UNIMPLEMENTED',
      `attribute ${name} of ${node.op} node ${node.name} is the data type ${number}, which no tensor here has`,
    );
  }
  return required(node, name, dtype);
}

/** A tensor. */
export function tensorAttr(node: FlatNode, name: string): Tensor {
  return required(node, name, find(node, name, 'tensor')?.value);
}

/** A list of ints; absent, the fallback or none. */
export function intsAttr(node: FlatNode, name: string, fallback: readonly number[] = []): readonly number[] {
  return numbers(node, name, 'int', fallback);
}

/** A list of floats; absent, the fallback or none. */
export function floatsAttr(node: FlatNode, name: string, fallback: readonly number[] = []): readonly number[] {
  return numbers(node, name, 'float', fallback);
}

function numbers(node: FlatNode, name: string, type: 'int' | 'float', fallback: readonly number[]): readonly number[] {
  const list = find(node, name, 'list');
  if (list === undefined) return fallback;
  return list.values.map((one) => {
    if (one.type === type) return one.value;
    throw new ServeError(
      'INVALID_ARGUMENT',
      `attribute ${name} of ${node.op} node ${node.name} lists a ${one.type}; ${type}s were expected`,
    );
  });
}
