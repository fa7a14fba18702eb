import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import adapter from '../../examples/custom-servables/hashmap.ts';
import type { CallContext, TypedTensor } from '../../extend/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-hashmap-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function fileOf(content: string | Uint8Array): string {
  const path = join(folder, `${++files}.csv`);
  writeFileSync(path, content);
  return path;
}

const context: CallContext = {
  outputs: ['values', 'found'],
  signal: new AbortController().signal,
  remainingMs: () => 1000,
  infer: () => Promise.reject(new Error('not here')),
};
const keysOf = (keys: readonly string[]): TypedTensor => ({
  dtype: 'string',
  shape: [keys.length],
  data: keys.map((key) => Buffer.from(key)),
});

async function load(path: string, signal = new AbortController().signal) {
  const logged: unknown[] = [];
  const loader = adapter(path, { name: 'map', version: 1 });
  const version = await loader.load({
    signal,
    log: (message, facts) => void logged.push([message, facts]),
    shared: (_, make) => Promise.resolve(make()),
  });
  async function lookUp(keys: readonly string[], signature = 'serving_default') {
    const { values, found } = await version.run(signature, { keys: keysOf(keys) }, context);
    return {
      values: Array.from((values?.data ?? []) as readonly Uint8Array[], (value) => Buffer.from(value).toString()),
      found: [...(found?.data ?? [])],
    };
  }
  return { loader, logged, lookUp };
}

describe('the hashmap', () => {
  test('gives the values of keys that are there, and says which are not', async () => {
    const { lookUp } = await load(fileOf('a,1\nb,\n,none\n'));
    expect(await lookUp(['b', 'x', 'a', ''])).toEqual({ values: ['', '', '1', 'none'], found: [1, 0, 1, 1] });
    expect(await lookUp([])).toEqual({ values: [], found: [] });
  });

  test('fails with NOT_FOUND for a key that is not there, by the signature that says so', async () => {
    const { lookUp } = await load(fileOf('a,1'));
    await expect(lookUp(['a', 'x'], 'existing')).rejects.toMatchObject({ code: 'NOT_FOUND', message: 'key "x" is not in the map' });
    expect((await lookUp(['a'], 'existing')).values).toEqual(['1']);
  });

  test.each([
    ['no comma', 'a,1\nb;2\n', 'line 2: there is no comma between key and value'],
    ['an empty line', 'a,1\n\nb,2\n', 'line 2: there is no comma between key and value'],
    ['two commas', 'a,1\nb,2\nc,3,4', 'line 3: there is more than one comma'],
  ])('refuses a line with %s, naming file and line', async (_, content, why) => {
    const path = fileOf(content);
    await expect(load(path)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: `${path}, ${why}` });
  });

  test('takes the first of two lines with one key, and tells how many were repeated', async () => {
    const { lookUp, logged } = await load(fileOf('a,1\na,2\nb,3\na,4\n'));
    expect((await lookUp(['a', 'b'])).values).toEqual(['1', '3']);
    expect(logged).toEqual([['hashmap loaded', expect.objectContaining({ keys: 2, repeated: 2 })]]);
  });

  test('reads lines that end as on Windows, and bytes that are no text', async () => {
    const { lookUp } = await load(fileOf('a,1\r\nb,2\r\n'));
    expect((await lookUp(['a', 'b'])).values).toEqual(['1', '2']);
    const binary = adapter(fileOf(Uint8Array.of(0xff, 0x00, 44, 0xfe)), { name: 'map', version: 1 });
    const version = await binary.load({ signal: context.signal, log: () => {}, shared: (_, make) => Promise.resolve(make()) });
    const keys: TypedTensor = { dtype: 'string', shape: [1], data: [Uint8Array.of(0xff, 0x00)] };
    expect(Buffer.from((await version.run('existing', { keys }, context)).values?.data[0] as Uint8Array)).toEqual(Buffer.of(0xfe));
  });

  test('finds hashmap.csv in a folder, or the one file there is, and says what it found otherwise', async () => {
    const version = join(folder, 'version');
    mkdirSync(join(version, 'assets.extra'), { recursive: true });
    await expect(load(version)).rejects.toThrow(`${version} holds no hashmap.csv, and 0 other files`);
    writeFileSync(join(version, 'any.csv'), 'a,1');
    expect((await (await load(version)).lookUp(['a'])).values).toEqual(['1']);
    writeFileSync(join(version, 'other.csv'), 'a,2');
    await expect(load(version)).rejects.toThrow('2 other files');
    writeFileSync(join(version, 'hashmap.csv'), 'a,3');
    expect((await (await load(version)).lookUp(['a'])).values).toEqual(['3']);
  });

  test('holds what a Map would hold', async () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'é', ' ', '"'), maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 60 }), fc.array(word), async (lines, asked) => {
        const { lookUp } = await load(fileOf(lines.map(([key, value]) => `${key},${value}`).join('\n')));
        const map = new Map([...lines].reverse());
        const keys = [...asked, ...map.keys()];
        expect(await lookUp(keys)).toEqual({
          values: keys.map((key) => map.get(key) ?? ''),
          found: keys.map((key) => (map.has(key) ? 1 : 0)),
        });
      }),
      { numRuns: 40 },
    );
  });

  test('takes many lines within its estimate, and stops loading when it is not wanted any more', async () => {
    const numbers = Array.from({ length: 200_000 }, (_, line) => String(line).padStart(8, '0'));
    const path = fileOf(numbers.map((number) => `${number},value ${number}\n`).join(''));
    const { lookUp, loader } = await load(path);
    expect(await loader.estimate()).toBeGreaterThan(200_000 * (24 + 16));
    expect(await lookUp(['00000000', '00199999', '00200000'])).toEqual({
      values: ['value 00000000', 'value 00199999', ''],
      found: [1, 1, 0],
    });
    const unwanted = new AbortController();
    const loading = load(path, unwanted.signal);
    unwanted.abort(new Error('not wanted any more'));
    await expect(loading).rejects.toThrow('not wanted any more');
  }, 30_000);
});
