import type { Outcome, Question } from './clients.ts';
import { type ModelName, TURNS_INPUTS, turnsTruth } from './models.ts';
import type { Random } from './random.ts';

/** Elements of a tensor larger than `--inline_tensor_bytes`, which the worker fetches from the gateway. */
const LARGE_ELEMENTS = 20_000;

/** What clients ask: a model, small; or `large`, half_plus_two with a tensor that does not travel inside messages. */
export type Topic = ModelName | 'large';

/** Makes a question. Values are eighths between -128 and 128: exact in float32, in JSON, and through every model's arithmetic. */
export function questionOf(topic: Topic, random: Random): Question {
  const eighths = (count: number) => Array.from({ length: count }, () => (random.below(2048) - 1024) / 8);
  const rows = 1 + random.below(4);
  if (topic === 'large') return { model: 'half_plus_two', shape: [1, LARGE_ELEMENTS], values: eighths(LARGE_ELEMENTS) };
  if (topic === 'turns') return { model: topic, shape: [rows, TURNS_INPUTS], values: eighths(rows * TURNS_INPUTS) };
  return { model: topic, shape: [rows], values: eighths(rows) };
}

/** What is wrong with an answer, in words; undefined when it is the truth. A line model answers by the version that it names. */
export function faultOf(
  { model, values }: Question,
  answer: Extract<Outcome, { type: 'answered' }>,
  versions: ReadonlySet<number>,
): string | undefined {
  const isLine = model === 'line' || model === 'spare';
  if (isLine && answer.version !== undefined && !versions.has(answer.version)) return `version ${answer.version} answered`;
  const right = (isLine && answer.version === undefined ? [...versions] : [answer.version ?? 1]).some((version) => {
    const truth = truthOf(model, values, version);
    return truth.length === answer.values.length && truth.every((value, index) => value === answer.values[index]);
  });
  return right
    ? undefined
    : `version ${answer.version}: ${JSON.stringify(values.slice(0, 8))} gave ${JSON.stringify(answer.values.slice(0, 8))}`;
}

function truthOf(model: ModelName, values: readonly number[], version: number): readonly number[] {
  switch (model) {
    case 'line':
    case 'spare':
      return values.map((x) => x / 2 + version);
    case 'half_plus_two':
      return values.map((x) => x / 2 + 2);
    case 'device':
      return values.map((x) => 2 * x);
    case 'hazard':
      return values.map((x) => -x);
    case 'turns':
      return Array.from({ length: values.length / TURNS_INPUTS }, (_, row) =>
        turnsTruth(values.slice(row * TURNS_INPUTS, (row + 1) * TURNS_INPUTS)),
      ).flat();
  }
}
