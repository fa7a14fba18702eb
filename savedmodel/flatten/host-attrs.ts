import { ServeError } from '#mesh/errors.ts';
import { type DType, dtypeFromNumber } from '#mesh/tensor.ts';
import type { FlatNode } from '../flat-graph.ts';
import type { AttrValue } from '../graph.ts';
import type { HostAttrs } from '../host-value.ts';

type Typed<K extends AttrValue['type']> = Extract<AttrValue, { readonly type: K }>;

/** A node's attributes as kernels read them. Each read throws ServeError INVALID_ARGUMENT, naming node and op, where the attribute does not fit. */
export function hostAttrsOf(node: FlatNode): HostAttrs {
  const wrong = (name: string, wanted: string) => {
    const found = node.attrs.get(name)?.type ?? 'nothing';
    return new ServeError('INVALID_ARGUMENT', `attribute ${name} of node ${node.name} (${node.op}) is ${found}, not ${wanted}`);
  };
  const only = <K extends AttrValue['type']>(name: string, type: K): Typed<K> =>
    narrow(node.attrs.get(name), type) ?? fail(wrong(name, type));
  const all = <K extends AttrValue['type']>(name: string, type: K): readonly Typed<K>[] =>
    only(name, 'list').values.map((value) => narrow(value, type) ?? fail(wrong(name, `a list of ${type}`)));
  const dtypeOf = (name: string, number: number): DType => dtypeFromNumber(number) ?? fail(wrong(name, 'a dtype of plain values'));
  const textOf = (value: Uint8Array) => new TextDecoder().decode(value);
  return {
    int: (name) => only(name, 'int').value,
    float: (name) => only(name, 'float').value,
    bool: (name) => only(name, 'bool').value,
    text: (name) => textOf(only(name, 'string').value),
    dtype: (name) => dtypeOf(name, only(name, 'dtype').value),
    bytes: (name) => only(name, 'string').value,
    ints: (name) => all(name, 'int').map((one) => one.value),
    bigints: (name) => all(name, 'int').map((one) => BigInt(one.value)),
    floats: (name) => all(name, 'float').map((one) => one.value),
    dtypes: (name) => all(name, 'dtype').map((one) => dtypeOf(name, one.value)),
    texts: (name) => all(name, 'string').map((one) => textOf(one.value)),
    shapes: (name) => all(name, 'shape').map((one) => one.value),
    shape: (name) => only(name, 'shape').value,
    has: (name) => node.attrs.has(name),
  };
}

function narrow<K extends AttrValue['type']>(value: AttrValue | undefined, type: K): Typed<K> | undefined {
  return value?.type === type ? (value as Typed<K>) : undefined;
}

function fail(error: ServeError): never {
  throw error;
}
