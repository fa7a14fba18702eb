/**
 * State that all versions share. `vocabulary.txt` beside the version folders has one word a line; `scores.txt` in each of them has one number
 * for each word. A version tells the mean score of the words of a text. The vocabulary is read by the first version that is loaded and
 * dropped with the last one.
 */
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { LoadContext, ServableAdapter } from 'headrace/extend';

const adapter: ServableAdapter = (path) => ({
  async estimate() {
    const { size } = await stat(join(path, 'scores.txt'));
    return 8 * size;
  },

  async load({ shared, log }) {
    const file = join(dirname(path), 'vocabulary.txt');
    const vocabulary = await shared(file, () => readVocabulary(file, log));
    const scores = Float32Array.from(await readLines(join(path, 'scores.txt')), Number);
    if (scores.length !== vocabulary.ids.size) {
      throw new Error(`${path} scores ${scores.length} words, the vocabulary has ${vocabulary.ids.size}`);
    }
    return {
      signatures: {
        serving_default: {
          inputs: { texts: { dtype: 'string', shape: [-1] } },
          outputs: { scores: { dtype: 'float', shape: [-1] } },
          batchable: true,
        },
      },
      run(_signature, inputs) {
        const texts = inputs.texts?.data as readonly Uint8Array[];
        const means = texts.map((text) => meanScore(Buffer.from(text).toString(), vocabulary.ids, scores));
        return { scores: { dtype: 'float', shape: [texts.length], data: Float32Array.from(means) } };
      },
    };
  },
});

export default adapter;

interface Vocabulary extends Disposable {
  /** Line of each word, from 0. */
  readonly ids: ReadonlyMap<string, number>;
}

async function readVocabulary(file: string, log: LoadContext['log']): Promise<Vocabulary> {
  const words = await readLines(file);
  log('vocabulary read', { file, words: words.length });
  return {
    ids: new Map(words.map((word, id) => [word, id])),
    [Symbol.dispose]() {
      log('vocabulary dropped', { file });
    },
  };
}

async function readLines(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '');
}

/** 0 for a text without a known word. */
function meanScore(text: string, ids: ReadonlyMap<string, number>, scores: Float32Array): number {
  const known = text
    .toLowerCase()
    .split(/\W+/)
    .flatMap((word) => ids.get(word) ?? []);
  return known.reduce((sum, id) => sum + (scores[id] ?? 0), 0) / Math.max(1, known.length);
}
