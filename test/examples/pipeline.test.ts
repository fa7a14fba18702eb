import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import adapter from '../../examples/custom-servables/pipeline.ts';
import type { InferOther, TypedTensor } from '../../extend/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-pipeline-'));
writeFileSync(join(folder, 'labels.txt'), 'zero\none\n');
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs the pipeline on some files over a model that always reads `digit`; gives what that was asked, and what came out. */
async function run(files: readonly Uint8Array[], digit: bigint, fail?: Error) {
  const { signal } = new AbortController();
  const shared = () => Promise.reject(new Error('not asked for'));
  const version = await adapter(folder, { name: 'reader', version: 1 }).load({ signal, log: () => {}, shared });
  const asked: InferOther[] = [];
  const images: TypedTensor = { dtype: 'string', shape: [files.length], data: files };
  const results = await version.run(
    'serving_default',
    { images },
    {
      outputs: ['label', 'probability'],
      signal,
      remainingMs: () => 100,
      async infer(request) {
        if (fail) throw fail;
        asked.push(request);
        const probabilities = Float32Array.from({ length: 10 * files.length }, (_, index) => (index % 10) / 10);
        return {
          digit: { dtype: 'int64', shape: [files.length], data: new BigInt64Array(files.length).fill(digit) },
          probabilities: { dtype: 'float', shape: [files.length, 10], data: probabilities },
        };
      },
    },
  );
  return {
    asked,
    label: Array.from((results.label?.data ?? []) as readonly Uint8Array[], (bytes) => Buffer.from(bytes).toString()),
    probability: results.probability?.data,
  };
}

const png = readFileSync(join(import.meta.dirname, '../../examples/digits/request.png'));

/** JPEG files that TensorFlow decodes. */
function jpegs(): readonly Uint8Array[] {
  const text = readFileSync(join(import.meta.dirname, '../savedmodel/host/goldens-jpeg.json'), 'utf8');
  const cases = JSON.parse(text) as readonly {
    readonly op: string;
    readonly attrs: { readonly try_recover_truncated: { readonly b: boolean } };
    readonly in: readonly { readonly v: readonly string[] }[];
    readonly out?: unknown;
  }[];
  const files = cases
    .filter(({ op, out, attrs }) => op === 'DecodeJpeg' && out !== undefined && !attrs.try_recover_truncated.b)
    .map((one) => one.in[0]?.v[0] ?? '');
  return [...new Set(files)].map((base64) => Buffer.from(base64, 'base64'));
}

describe('the pipeline', () => {
  test('gives the model the picture that the digit was drawn from, in one call for all images', async () => {
    const drawn = JSON.parse(readFileSync(join(import.meta.dirname, '../../examples/digits/request.json'), 'utf8'))
      .instances[0] as number[];
    const { asked } = await run([png, png], 1n);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({ model: 'digits', inputs: { images: { dtype: 'float', shape: [2, 64] } } });
    const levels = Array.from(asked[0]?.inputs.images?.data as Float32Array);
    for (const [field, level] of [...drawn, ...drawn].entries()) expect(levels[field]).toBeCloseTo(level, 1);
  });

  test('reads JPEG files of any kind, from one pixel up', async () => {
    const files = jpegs();
    expect(files.length).toBeGreaterThan(5);
    const { asked } = await run(files, 1n);
    const levels = Array.from(asked[0]?.inputs.images?.data as Float32Array);
    expect(levels).toHaveLength(64 * files.length);
    expect(levels.filter((level) => !(level >= 0 && level <= 16))).toEqual([]);
    expect(new Set(levels.map(Math.round)).size).toBeGreaterThan(5);
  });

  test('names what the model reads, and tells how likely it is; what has no name is nameless', async () => {
    expect(await run([png], 1n)).toMatchObject({ label: ['one'], probability: Float32Array.of(0.1) });
    expect(await run([png, png], 7n)).toMatchObject({ label: ['', ''], probability: Float32Array.of(0.7, 0.7) });
  });

  test('refuses what is no image, or a broken one, and lets the errors of the model pass', async () => {
    await expect(run([Buffer.from('GIF89a')], 1n)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(run([png.subarray(0, 40)], 1n)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(run([png], 1n, Object.assign(new Error('late'), { code: 'DEADLINE_EXCEEDED' }))).rejects.toThrow('late');
  });
});
