/** Whole SavedModels against TensorFlow's own answers: those committed here, and those of `../shared/models` where that folder is. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { loadPatternGolden, type PatternCall, patternFolders } from '../goldens/goldens.ts';
import { answerCalls, type ModelAnswers } from './answer-calls.ts';
import { difference } from './difference.ts';

const SHARED = join(import.meta.dirname, '../../../../shared/models');
const hasShared = existsSync(SHARED);

interface GoldenModel {
  readonly name: string;
  readonly folder: string;
  readonly tags: readonly string[];
  readonly calls: readonly PatternCall[];
}

/** What cannot be served, and the words that say so. */
const REFUSED: ReadonlyMap<string, RegExp> = new Map([['zero_out/1', /^op ZeroOut of node ZeroOut in the main graph is not supported/]]);

/** Calls that TensorFlow's Python answers and no server can: TensorFlow Serving has no name to feed a sparse tensor by either. */
const UNSERVABLE: ReadonlyMap<string, RegExp> = new Map([
  ['tf1_coo_sparse/1 serving_default', /^tensor x of signature serving_default is sparse/],
]);

/** Random ops: TensorFlow's generators give other numbers, of the same shape and dtype. */
const RANDOM = new Set(['tf1_random/1', 'tf2_random/1']);

function sharedModels(): readonly GoldenModel[] {
  if (!hasShared) return [];
  return readdirSync(SHARED)
    .filter((name) => existsSync(join(SHARED, name, 'golden.json')))
    .flatMap((name) => modelsIn(name, join(SHARED, name)));
}

function modelsIn(name: string, directory: string): readonly GoldenModel[] {
  const versions = readdirSync(directory).filter((version) =>
    ['saved_model.pb', 'saved_model.pbtxt'].some((file) => existsSync(join(directory, version, file))),
  );
  const tagSets = [undefined, ...(otherTags(directory) ?? [])];
  return versions.flatMap((version) =>
    tagSets.map((tags): GoldenModel => {
      const golden = loadPatternGolden(directory, tags);
      const suffix = tags === undefined ? '' : ` {${tags}}`;
      return { name: `${name}/${version}${suffix}`, folder: join(directory, version), tags: golden.tags, calls: golden.calls };
    }),
  );
}

function otherTags(directory: string): readonly (readonly string[])[] | undefined {
  const golden = JSON.parse(readFileSync(join(directory, 'golden.json'), 'utf8')) as {
    readonly other_tags?: readonly { readonly tags: readonly string[] }[];
  };
  return golden.other_tags?.map(({ tags }) => tags);
}

function declare(models: readonly GoldenModel[]): void {
  const answers = new Map<string, ModelAnswers>();
  beforeAll(async () => {
    const wanted = models.map(({ folder, tags, calls }) => ({
      folder,
      tags,
      calls: calls.map(({ signature, inputs, answer }) => ({
        signature,
        inputs,
        outputs: answer.type === 'outputs' ? [...answer.outputs.keys()] : ['y'],
      })),
    }));
    const given = await answerCalls(wanted);
    models.forEach(({ name }, index) => {
      const one = given[index];
      if (one !== undefined) answers.set(name, one);
    });
  }, 120_000);

  test.each(models.map((model) => [model.name, model] as const))('%s answers as TensorFlow', (name, { calls }) => {
    const given = answers.get(name);
    const refusal = REFUSED.get(name);
    if (refusal !== undefined) {
      expect(given).toEqual({ type: 'refused', code: 'UNIMPLEMENTED', message: expect.stringMatching(refusal) });
      return;
    }
    if (given?.type !== 'loaded') throw new Error(`it was refused: ${given?.message}`);
    const problems = calls.flatMap((call, index) => {
      const answer = given.answers[index];
      const where = `call ${index}, ${call.signature}`;
      if (call.answer.type === 'error')
        return answer?.type === 'error' ? [] : [`${where}: it answered, TensorFlow did not: ${call.answer.message}`];
      const unservable = UNSERVABLE.get(`${name} ${call.signature}`);
      if (unservable !== undefined)
        return answer?.type === 'error' && unservable.test(answer.message) ? [] : [`${where}: it was not refused`];
      if (answer?.type !== 'outputs') return [`${where}: ${answer?.code} ${answer?.message}`];
      return [...call.answer.outputs].flatMap(([output, wanted]) => {
        const found = difference(answer.outputs.get(output), wanted, { tolerance: call.tolerance, onlyType: RANDOM.has(name) });
        return found === null ? [] : [`${where}, ${output}: ${found}`];
      });
    });
    expect(problems).toEqual([]);
  });
}

describe('the committed patterns', () => {
  declare(patternFolders().flatMap(({ name, directory }) => modelsIn(name, directory)));
});

(hasShared ? describe : describe.skip)('the models of ../shared (skipped where that is absent)', () => {
  if (hasShared) declare(sharedModels());
  else test('are absent', () => {});
});
