/** A minimal writer of `tf.Example`, enough for what JSON can say. Two of them put together read as one merged message. */
import { varintBytes, WireWriter } from '#proto/wire.ts';

/** The values of one feature. */
export type Feature =
  | { readonly kind: 'bytes'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'float'; readonly values: readonly number[] }
  | { readonly kind: 'int64'; readonly values: readonly (number | bigint)[] }
  /** A feature without values has no kind. */
  | { readonly kind: 'unset' };

/** Serializes `Example { features { feature { key value } … } }`, in one pass: an example may have hundreds of thousands of features. */
export function encodeExample(features: ReadonlyMap<string, Feature>): Uint8Array {
  const writer = new WireWriter(64 + FEATURE_BYTES * features.size);
  writer.delimited(
    1,
    () => {
      for (const [name, feature] of features) {
        writer.delimited(1, () => {
          writer.stringField(1, name);
          writer.delimited(2, () => writeFeature(writer, feature));
        });
      }
    },
    FEATURE_BYTES * features.size,
  );
  return writer.finish();
}

/** A guess: a short name and one number. */
const FEATURE_BYTES = 24;

function writeFeature(writer: WireWriter, feature: Feature): void {
  switch (feature.kind) {
    case 'bytes':
      writer.delimited(1, () => {
        for (const value of feature.values) writer.bytesField(1, value);
      });
      return;
    case 'float': {
      const bytes = 4 * feature.values.length;
      writer.delimited(
        2,
        () =>
          writer.delimited(
            1,
            () => {
              for (const value of feature.values) writer.float(value);
            },
            bytes,
          ),
        bytes + varintBytes(bytes) + 1,
      );
      return;
    }
    case 'int64':
      writer.delimited(3, () =>
        writer.delimited(1, () => {
          for (const value of feature.values) writer.int64(value);
        }),
      );
      return;
    case 'unset':
      return;
  }
}
