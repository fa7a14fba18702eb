/** The answers to Classify and Regress calls over REST, in TensorFlow Serving's layout. */
import { ServeError } from '#mesh/errors.ts';
import type { Classification } from '../examples-api.ts';
import { JsonWriter } from './json-writer.ts';

/** `{"results": [[[label, score], …], …]}`: one list of classes for each example. Throws INVALID_ARGUMENT when there is none. */
export function encodeClassifications(results: readonly (readonly Classification[])[]): Buffer {
  if (results.length === 0) throw new ServeError('INVALID_ARGUMENT', 'Cannot convert empty ClassificationResults to JSON');
  const writer = new JsonWriter(256);
  writer.ascii('{\n    "results": [');
  results.forEach((classes, index) => {
    writer.ascii(index === 0 ? '[' : ', [');
    classes.forEach(({ label, score }, position) => {
      writer.ascii(position === 0 ? '[' : ', [');
      writer.string(label);
      writer.ascii(', ');
      writer.decimal(Math.fround(score), 9);
      writer.ascii(']');
    });
    writer.ascii(']');
  });
  writer.ascii('\n    ]\n}');
  return writer.finish();
}

/** `{"results": [value, …]}`. Throws INVALID_ARGUMENT when there is none. */
export function encodeRegressions(values: readonly number[]): Buffer {
  if (values.length === 0) throw new ServeError('INVALID_ARGUMENT', 'Cannot convert empty RegressionResults to JSON');
  const writer = new JsonWriter(256);
  writer.ascii('{\n    "results": [');
  values.forEach((value, index) => {
    if (index > 0) writer.ascii(', ');
    writer.decimal(Math.fround(value), 9);
  });
  writer.ascii(']\n}');
  return writer.finish();
}
