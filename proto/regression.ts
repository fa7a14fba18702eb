/** `tensorflow.serving.RegressionResponse`. The request is Classify's: `decodeExamplesRequest`. */
import { type AnsweredSpec, encodeAnsweredSpec } from './model-spec.ts';
import { WireWriter } from './wire.ts';

export { decodeExamplesRequest, type ExamplesRequest, encodeExamplesRequest } from './classification.ts';

/** Encodes an answer of Regress: one value a row. */
export function encodeRegressionResponse(spec: AnsweredSpec, values: ArrayLike<number>): Uint8Array {
  const writer = new WireWriter(64 + 8 * values.length);
  encodeRegressionResult(writer, 1, values);
  encodeAnsweredSpec(writer, 2, spec);
  return writer.finish();
}

/** Writes a RegressionResult as a field. */
export function encodeRegressionResult(writer: WireWriter, field: number, values: ArrayLike<number>): void {
  const writeValue = (value: number) => void (Object.is(value, 0) || writer.floatField(1, value));
  writer.delimited(
    field,
    () => {
      for (let row = 0; row < values.length; row++) writer.delimited(1, () => writeValue(values[row] ?? 0));
    },
    7 * values.length,
  );
}
