/** `tensorflow.Example`: one row as named features, each a list of one kind of value. */
import { WIRE, WireReader, WireWriter } from './wire.ts';

/** A feature's values. `none`: a feature that is named but holds no list, which TensorFlow treats as missing. */
export type Feature =
  | { readonly kind: 'bytes'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'float'; readonly values: Float32Array }
  | { readonly kind: 'int64'; readonly values: BigInt64Array }
  | { readonly kind: 'none' };

/** Features by name. */
export type Example = ReadonlyMap<string, Feature>;

const LIST = { bytes: 1, float: 2, int64: 3 } as const;

/**
 * Decodes an Example. Byte values are views of `bytes`; of a name that comes twice the last wins. With `wanted`, other features are stepped over
 * unread, as TensorFlow does: they cost neither time nor memory. Throws INVALID_ARGUMENT.
 */
export function decodeExample(bytes: Uint8Array, wanted?: ReadonlySet<string>): Example {
  const reader = new WireReader(bytes);
  const example = new Map<string, Feature>();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== 1 * 8 + WIRE.bytes) {
      reader.skip(tag);
      continue;
    }
    const features = reader.message();
    while (features.more()) {
      const inner = features.tag();
      if (inner === 1 * 8 + WIRE.bytes) readEntry(features.message(), example, wanted);
      else features.skip(inner);
    }
  }
  return example;
}

/** Encodes an Example. */
export function encodeExample(example: Example): Uint8Array {
  const writer = new WireWriter();
  writer.delimited(1, () => {
    for (const [name, feature] of example) {
      writer.delimited(1, () => {
        writer.stringField(1, name);
        writer.delimited(2, () => writeFeature(writer, feature));
      });
    }
  });
  return writer.finish();
}

function readEntry(reader: WireReader, into: Map<string, Feature>, wanted: ReadonlySet<string> | undefined): void {
  let name = '';
  let feature: WireReader | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) name = reader.text();
    else if (tag === 2 * 8 + WIRE.bytes) feature = reader.message();
    else reader.skip(tag);
  }
  if (wanted === undefined || wanted.has(name)) into.set(name, feature === undefined ? { kind: 'none' } : readFeature(feature));
}

function readFeature(reader: WireReader): Feature {
  let feature: Feature = { kind: 'none' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === LIST.bytes * 8 + WIRE.bytes) feature = { kind: 'bytes', values: readBytes(reader.message()) };
    else if (tag === LIST.float * 8 + WIRE.bytes) feature = { kind: 'float', values: readFloats(reader.message()) };
    else if (tag === LIST.int64 * 8 + WIRE.bytes) feature = { kind: 'int64', values: readIntegers(reader.message()) };
    else reader.skip(tag);
  }
  return feature;
}

function readBytes(reader: WireReader): Uint8Array[] {
  const values: Uint8Array[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) values.push(reader.view());
    else reader.skip(tag);
  }
  return values;
}

function readFloats(reader: WireReader): Float32Array {
  const values: number[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.fixed32) values.push(reader.float());
    else if (tag === 1 * 8 + WIRE.bytes) for (const packed = reader.message(); packed.more(); ) values.push(packed.float());
    else reader.skip(tag);
  }
  return Float32Array.from(values);
}

function readIntegers(reader: WireReader): BigInt64Array {
  const values: bigint[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.varint) values.push(reader.int64Exact());
    else if (tag === 1 * 8 + WIRE.bytes) for (const packed = reader.message(); packed.more(); ) values.push(packed.int64Exact());
    else reader.skip(tag);
  }
  return BigInt64Array.from(values);
}

function writeFeature(writer: WireWriter, feature: Feature): void {
  if (feature.kind === 'none') return;
  writer.delimited(LIST[feature.kind], () => {
    if (feature.kind === 'bytes') for (const value of feature.values) writer.bytesField(1, value);
    else if (feature.values.length > 0) writer.delimited(1, () => writeNumbers(writer, feature.values));
  });
}

function writeNumbers(writer: WireWriter, values: Float32Array | BigInt64Array): void {
  for (const value of values) {
    if (typeof value === 'number') writer.float(value);
    else writer.int64(value);
  }
}
