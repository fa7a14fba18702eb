/** Reads and rewrites ONNX's messages field by field: what is not touched stays as it lies. */
import { ONNX } from '#proto/onnx-types.ts';
import { WIRE, WireReader, WireWriter } from '#proto/wire.ts';

/** `repeated GraphProto graphs` of an attribute. */
export const GRAPHS = 11;

/** An attribute to write. */
export interface Attribute {
  readonly name: string;
  /** ONNX's AttributeType. */
  readonly type: number;
  readonly write: (to: WireWriter) => void;
}

/** Adds a node of one output to a graph. */
export function writeNode(writer: WireWriter, op: string, inputs: readonly string[], output: string, attribute?: Attribute): void {
  const node = new WireWriter();
  for (const input of inputs) node.stringField(ONNX.node.input, input);
  node.stringField(ONNX.node.output, output).stringField(ONNX.node.opType, op).stringField(ONNX.node.name, output);
  if (attribute !== undefined) {
    const body = new WireWriter().stringField(ONNX.attribute.name, attribute.name).varintField(ONNX.attribute.type, attribute.type);
    attribute.write(body);
    node.bytesField(ONNX.node.attribute, body.finish());
  }
  writer.bytesField(ONNX.graph.node, node.finish());
}

/** The version of ONNX's own operators that a model uses; 0 when it says none. */
export function opsetOf(model: Uint8Array): number {
  for (const { field, bytes } of fieldsOf(model)) {
    if (field !== ONNX.model.opsetImport) continue;
    let domain = '';
    let version = 0;
    for (const one of fieldsOf(bytes)) {
      if (one.field === ONNX.opset.domain) domain = textOf(one.bytes);
      else if (one.field === ONNX.opset.version) version = one.varint;
    }
    if (domain === '' || domain === 'ai.onnx') return version;
  }
  return 0;
}

/** A field of a message. */
export interface Field {
  readonly field: number;
  /** The value of a length-delimited field; empty otherwise. */
  readonly bytes: Uint8Array;
  /** The value of a varint field; 0 otherwise. */
  readonly varint: number;
  readonly isVarint: boolean;
  /** Key and value as they lie. */
  readonly raw: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** The fields of a message in order. */
export function* fieldsOf(message: Uint8Array): Generator<Field> {
  const reader = new WireReader(message);
  while (reader.more()) {
    const start = reader.offset;
    const tag = reader.tag();
    const wire = tag & 7;
    let bytes: Uint8Array = NOTHING;
    let varint = 0;
    if (wire === WIRE.bytes) bytes = reader.view();
    else if (wire === WIRE.varint) varint = reader.int64();
    else reader.skip(tag);
    yield { field: tag >>> 3, bytes, varint, isVarint: wire === WIRE.varint, raw: message.subarray(start, reader.offset) };
  }
}

/** A message with each value of one length-delimited field replaced; the very bytes given when nothing changes. */
export function mapField(message: Uint8Array, field: number, change: (value: Uint8Array) => Uint8Array): Uint8Array {
  const pieces: Field[] = [];
  const changed = new Map<Field, Uint8Array>();
  for (const piece of fieldsOf(message)) {
    pieces.push(piece);
    if (piece.field !== field || piece.isVarint) continue;
    const after = change(piece.bytes);
    if (after !== piece.bytes) changed.set(piece, after);
  }
  if (changed.size === 0) return message;
  const writer = new WireWriter(message.byteLength + 1024);
  for (const piece of pieces) {
    const after = changed.get(piece);
    if (after === undefined) writer.raw(piece.raw);
    else writer.bytesField(field, after);
  }
  return writer.finish();
}

/** The text of a field. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
