/** Writes nodes of TensorFlow's graphs: NodeDef with the attributes that the bench needs. */
import type { WireWriter } from '#proto/wire.ts';

/** An attribute: dtypes as `tensorflow.DataType` numbers; `strings` is a tensor of rank 1. */
export type GraphAttr =
  | { readonly type: number }
  | { readonly types: readonly number[] }
  | { readonly shape: readonly number[] }
  | { readonly text: string }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly bool: boolean }
  | { readonly function: string }
  | { readonly strings: readonly string[] };

/** A node. */
export interface GraphNode {
  readonly name: string;
  readonly op: string;
  /** As stored: `name`, `name:index`, `^name`; in functions `name:argument:index`. */
  readonly inputs: readonly string[];
  readonly attrs: Readonly<Record<string, GraphAttr>>;
}

const STRING = 7;

/** Writes the fields of a NodeDef. */
export function writeNode(writer: WireWriter, { name, op, inputs, attrs }: GraphNode): void {
  writer.stringField(1, name).stringField(2, op);
  for (const input of inputs) writer.stringField(3, input);
  for (const [key, value] of Object.entries(attrs)) {
    writer.delimited(5, () => writer.stringField(1, key).delimited(2, () => writeAttr(writer, value)));
  }
}

/** Writes the fields of a TensorShapeProto; -1 is a free size. */
export function writeShape(writer: WireWriter, shape: readonly number[]): void {
  for (const size of shape) writer.delimited(2, () => writer.varintField(1, size));
}

function writeAttr(writer: WireWriter, value: GraphAttr): void {
  if ('type' in value) writer.varintField(6, value.type);
  else if ('shape' in value) writer.delimited(7, () => writeShape(writer, value.shape));
  else if ('text' in value) writer.stringField(2, value.text);
  else if ('float' in value) writer.floatField(4, value.float);
  else if ('bool' in value) writer.boolField(5, value.bool);
  else if ('function' in value) writer.delimited(10, () => writer.stringField(1, value.function));
  else if ('strings' in value) writer.delimited(8, () => writeStrings(writer, value.strings));
  else writer.delimited(1, () => writeList(writer, value));
}

function writeList(writer: WireWriter, value: { readonly types: readonly number[] } | { readonly ints: readonly number[] }): void {
  const [field, numbers] = 'types' in value ? [6, value.types] : [3, value.ints];
  writer.delimited(field, () => {
    for (const number of numbers) writer.varint(number);
  });
}

function writeStrings(writer: WireWriter, strings: readonly string[]): void {
  writer.varintField(1, STRING).delimited(2, () => writeShape(writer, [strings.length]));
  for (const one of strings) writer.stringField(8, one);
}
