import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { digestOfModules, findModelOpModules, findOpModules, moduleUrl } from '../../../savedmodel/ops/op-modules.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'headrace-modules-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function put(file: string, content: string): void {
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(join(folder, file), content);
}

const digest = async (file: string) => (await findOpModules([join(folder, file)]))[0]?.digest;

describe('the modules of a library', () => {
  test('of a folder are the files in it that can be one, by name; of a file itself', async () => {
    for (const name of ['b.ts', 'a.mjs', 'c.mts', 'd.js', 'notes.md', 'types.d.ts', 'b.test.ts', '.hidden.js', 'below/e.ts']) put(name, '');
    const names = (await findOpModules([folder, join(folder, 'below/e.ts')])).map(({ path }) => path.slice(folder.length + 1));
    expect(names).toEqual(['a.mjs', 'b.ts', 'c.mts', 'd.js', 'below/e.ts']);
  });

  test.each([
    ['is not there', 'absent.ts', 'NOT_FOUND'],
    ['is no module', 'notes.md', 'INVALID_ARGUMENT'],
  ])('are refused when a path %s, by its name', async (_, name, code) => {
    put('notes.md', '');
    await expect(findOpModules([join(folder, name)])).rejects.toMatchObject({ code, message: expect.stringContaining(name) });
  });

  test('of a version folder lie in ops and assets.extra/ops', async () => {
    for (const name of ['1/ops/a.ts', '1/assets.extra/ops/b.js', '1/saved_model.pb', '1/c.ts']) put(name, '');
    const found = await findModelOpModules(join(folder, '1'));
    expect(found.map(({ path }) => path.slice(folder.length + 3))).toEqual(['ops/a.ts', 'assets.extra/ops/b.js']);
    expect(await findModelOpModules(join(folder, '2'))).toEqual([]);
  });
});

describe('the digest of a module', () => {
  test('is that of its content, wherever it lies', async () => {
    put('one/a.ts', 'export default [];');
    put('two/a.ts', 'export default [];');
    expect(await digest('one/a.ts')).toBe(await digest('two/a.ts'));
    put('two/a.ts', 'export default [1];');
    expect(await digest('one/a.ts')).not.toBe(await digest('two/a.ts'));
  });

  test.each([
    ['imports', "import { x } from './shared/x.ts';"],
    ['imports by and by', "const x = await import('./shared/x.ts');"],
    ['reads beside itself', "const bytes = readFileSync(new URL('./shared/x.ts', import.meta.url));"],
    ['imports through another', "import './between.ts';"],
  ])('changes with a file that it %s', async (_, source) => {
    put('a.ts', source);
    put('between.ts', "export * from './shared/x.ts';");
    put('shared/x.ts', 'export const x = 1;');
    const before = await digest('a.ts');
    put('unrelated.ts', 'x');
    expect(await digest('a.ts')).toBe(before);
    put('shared/x.ts', 'export const x = 2;');
    expect(await digest('a.ts')).not.toBe(before);
  });

  test('ends where files import each other in a ring, and passes over what is not there', async () => {
    put('a.ts', "import './b.ts'; import './absent.ts';");
    put('b.ts', "import './a.ts';");
    expect(await digest('a.ts')).toMatch(/^[0-9a-f]{64}$/);
  });

  test('is part of the URL, and of the digest of all', async () => {
    put('a.ts', 'one');
    const [first] = await findOpModules([join(folder, 'a.ts')]);
    put('a.ts', 'two');
    const [second] = await findOpModules([join(folder, 'a.ts')]);
    if (first === undefined || second === undefined) throw new Error('no module was found');
    expect(moduleUrl(first)).not.toBe(moduleUrl(second));
    expect(digestOfModules([first])).not.toBe(digestOfModules([second]));
    expect(digestOfModules([])).toBe('');
  });
});
