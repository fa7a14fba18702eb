import { fromUtf8 } from '#mesh/bytes.ts';
import { type NamedTensors, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { decodeExample, type Feature } from '#proto/example.ts';
import { loadPatternGolden } from '../savedmodel/goldens/goldens.ts';
import { sharedPath } from './transcripts.ts';

/** What TensorFlow answered to serialized examples. */
export interface GoldenExamples {
  readonly model: string;
  readonly signature: string;
  readonly examples: readonly Uint8Array[];
  readonly outputs: NamedTensors;
}

/** The goldens of a model's signatures that take serialized examples as `inputs` and give all of `outputs`. */
export function goldenExamples(model: string, outputs: readonly string[]): readonly GoldenExamples[] {
  return loadPatternGolden(sharedPath('models', model)).calls.flatMap(({ signature, inputs, answer }) => {
    const given = inputs.get('inputs');
    if (given?.dtype !== 'string' || answer.type !== 'outputs' || !outputs.every((alias) => answer.outputs.has(alias))) return [];
    return [{ model, signature, examples: elements(given), outputs: answer.outputs }];
  });
}

/** For each row its labels with their scores; a model that gives only scores has empty labels. */
export function goldenClasses({ examples, outputs }: GoldenExamples): readonly (readonly { label: string; score: number }[])[] {
  const scores = floats(outputs.get('scores'));
  const classes = outputs.get('classes');
  const labels = classes === undefined ? [] : elements(classes).map(fromUtf8);
  const perRow = scores.length / examples.length;
  return examples.map((_, row) =>
    Array.from({ length: perRow }, (__, index) => ({
      label: labels[row * perRow + index] ?? '',
      score: scores[row * perRow + index] ?? 0,
    })),
  );
}

/** The elements of a float tensor. */
export function floats(tensor: Tensor | undefined): readonly number[] {
  if (tensor?.dtype !== 'float') throw new Error(`a float tensor was expected, not ${tensor?.dtype}`);
  const view = new DataView(tensor.bytes.buffer, tensor.bytes.byteOffset, tensor.bytes.byteLength);
  return Array.from({ length: tensor.bytes.byteLength / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

/** A serialized example as a REST client writes it: floats with a point, so that they are no integers. */
export function exampleJson(example: Uint8Array): string {
  const features = [...decodeExample(example)].filter(([, feature]) => feature.kind !== 'none');
  return `{${features.map(([name, feature]) => `${JSON.stringify(name)}:[${elementTexts(feature)}]`)}}`;
}

function elementTexts(feature: Feature): readonly string[] {
  switch (feature.kind) {
    case 'bytes':
      return feature.values.map((value) => JSON.stringify({ b64: Buffer.from(value).toString('base64') }));
    case 'float':
      return Array.from(feature.values, (value) => (Number.isInteger(value) ? value.toFixed(1) : String(value)));
    case 'int64':
      return Array.from(feature.values, String);
    case 'none':
      return [];
  }
}

function elements(tensor: Tensor): readonly Uint8Array[] {
  return unpackStrings(
    tensor.bytes,
    tensor.shape.reduce((product, size) => product * size, 1),
  );
}
