/** Attributes of ONNX nodes as kernels of custom ops read them. */
import { ServeError } from '#mesh/errors.ts';
import { DTYPES } from '#mesh/tensor.ts';
import { readOnnxTensor } from '#proto/onnx-tensor.ts';
import { dtypeFromOnnx, ONNX } from '#proto/onnx-types.ts';
import { WIRE, WireReader } from '#proto/wire.ts';
import type { StoredAttr } from '../../../../savedmodel/plan/plan.ts';

/** What AttributeProto calls the kinds of attributes. */
const KIND = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7, strings: 8 } as const;

/**
 * The attributes of a node by name. Those named in `dtypes` are element types: a kernel reads them as dtypes. Throws UNIMPLEMENTED for what kernels cannot be
 * given: graphs, sparse tensors, types.
 */
export function nodeAttributes(attributes: readonly Uint8Array[], dtypes: ReadonlySet<string>): Readonly<Record<string, StoredAttr>> {
  return Object.fromEntries(
    attributes.map((bytes) => {
      const { name, value } = readAttribute(bytes);
      return [name, dtypes.has(name) ? asDType(name, value) : value];
    }),
  );
}

function asDType(name: string, value: StoredAttr): StoredAttr {
  const dtype = value.type === 'int' ? dtypeFromOnnx(value.value) : undefined;
  if (dtype === undefined) throw new ServeError('INVALID_ARGUMENT', `its attribute ${name} names no element type that tensors here have`);
  return { type: 'dtype', value: DTYPES[dtype].number };
}

function readAttribute(bytes: Uint8Array): { readonly name: string; readonly value: StoredAttr } {
  const fields = ONNX.attribute;
  const floats: StoredAttr[] = [];
  const ints: StoredAttr[] = [];
  const strings: StoredAttr[] = [];
  let name = '';
  let kind = 0;
  let single: StoredAttr | undefined;
  const reader = new WireReader(bytes);
  while (reader.more()) {
    const tag = reader.tag();
    const field = tag >>> 3;
    const isBytes = (tag & 7) === WIRE.bytes;
    if (field === fields.name) name = reader.text();
    else if (field === fields.type) kind = reader.int32();
    else if (field === fields.float) single = float(reader.float());
    else if (field === fields.int) single = int(reader.int64Exact());
    else if (field === fields.string) single = string(reader.view());
    else if (field === fields.tensor) single = tensor(reader.view());
    else if (field === fields.strings) strings.push(string(reader.view()));
    else if (field === fields.floats && isBytes) for (const all = reader.message(); all.more(); ) floats.push(float(all.float()));
    else if (field === fields.floats) floats.push(float(reader.float()));
    else if (field === fields.ints && isBytes) for (const all = reader.message(); all.more(); ) ints.push(int(all.int64Exact()));
    else if (field === fields.ints) ints.push(int(reader.int64Exact()));
    else reader.skip(tag);
  }
  if (kind === KIND.floats) return { name, value: { type: 'list', values: floats } };
  if (kind === KIND.ints) return { name, value: { type: 'list', values: ints } };
  if (kind === KIND.strings) return { name, value: { type: 'list', values: strings } };
  // What is at its default is not written.
  const value = single ?? defaultOf(kind);
  if (value === undefined) throw new ServeError('UNIMPLEMENTED', `its attribute ${name} is of a kind that no kernel can be given`);
  return { name, value };
}

function defaultOf(kind: number): StoredAttr | undefined {
  if (kind === KIND.int) return { type: 'int', value: 0 };
  if (kind === KIND.float) return { type: 'float', value: 0 };
  return kind === KIND.string ? { type: 'string', base64: '' } : undefined;
}

function int(value: bigint): StoredAttr {
  const near = Number(value);
  return Number.isSafeInteger(near) ? { type: 'int', value: near } : { type: 'bigint', value: value.toString() };
}

function float(value: number): StoredAttr {
  if (Number.isFinite(value) && !Object.is(value, -0)) return { type: 'float', value };
  return { type: 'float', value: Object.is(value, -0) ? '-0' : `${value}` };
}

function string(value: Uint8Array): StoredAttr {
  return { type: 'string', base64: Buffer.from(value).toString('base64') };
}

function tensor(value: Uint8Array): StoredAttr {
  const { dtype, shape, bytes } = readOnnxTensor(value);
  return { type: 'tensor', dtype, shape, base64: Buffer.from(bytes).toString('base64') };
}
