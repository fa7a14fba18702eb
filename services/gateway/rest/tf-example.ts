/** A minimal writer of `tf.Example`, enough for what JSON can say. Two of them put together read as one merged message. */
import { utf8 } from '#mesh/bytes.ts';

/** The values of one feature. */
export type Feature =
  | { readonly kind: 'bytes'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'float'; readonly values: readonly number[] }
  | { readonly kind: 'int64'; readonly values: readonly bigint[] }
  /** A feature without values has no kind. */
  | { readonly kind: 'unset' };

/** Serializes `Example { features { feature { key value } … } }`. */
export function encodeExample(features: ReadonlyMap<string, Feature>): Uint8Array {
  const entries = [...features].map(([name, feature]) => field(1, Buffer.concat([field(1, utf8(name)), field(2, encodeFeature(feature))])));
  return field(1, Buffer.concat(entries));
}

function encodeFeature(feature: Feature): Uint8Array {
  switch (feature.kind) {
    case 'bytes':
      return field(1, Buffer.concat(feature.values.map((value) => field(1, value))));
    case 'float': {
      const packed = Buffer.alloc(feature.values.length * 4);
      feature.values.forEach((value, index) => void packed.writeFloatLE(Math.fround(value), index * 4));
      return field(2, field(1, packed));
    }
    case 'int64':
      return field(3, field(1, Buffer.concat(feature.values.map((value) => varint(BigInt.asUintN(64, value))))));
    case 'unset':
      return new Uint8Array(0);
  }
}

/** A length-delimited field. */
function field(number: number, payload: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of((number << 3) | 2), varint(BigInt(payload.byteLength)), payload]);
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
