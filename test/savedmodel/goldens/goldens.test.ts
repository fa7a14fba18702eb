import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { DTYPES, elementCount, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { loadOpCases, loadPatternGolden, opFamilies, patternFolders } from './goldens.ts';

/** Whether the bytes are what the dtype and shape say. */
function isWhole(tensor: Tensor): boolean {
  const count = elementCount(tensor.shape);
  if (tensor.dtype === 'string') return unpackStrings(tensor.bytes, count).length === count;
  return tensor.bytes.byteLength === count * DTYPES[tensor.dtype].byteSize;
}

function folderBytes(folder: string): number {
  let total = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) total += statSync(join(entry.parentPath, entry.name)).size;
  return total;
}

describe('op goldens', () => {
  const cases = loadOpCases();

  test('cover more than 200 ops, each with at least one answer that is not an error', () => {
    const answered = new Set(cases.filter((one) => one.feeds.some((feed) => feed.answer.type === 'outputs')).map((one) => one.op));
    expect(answered.size).toBeGreaterThan(200);
    expect(cases.filter((one) => !answered.has(one.op)).map((one) => one.op)).toEqual([]);
  });

  test('have names that are unique within their op', () => {
    const names = cases.map((one) => `${one.family}/${one.op}/${one.name}`);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(opFamilies())('%s: every tensor has the bytes of its dtype and shape', (family) => {
    const broken = loadOpCases([family]).flatMap((one) =>
      one.feeds.flatMap((feed) => {
        const outputs = feed.answer.type === 'outputs' ? feed.answer.outputs : [];
        return [...feed.inputs, ...outputs].every(isWhole) && feed.inputs.length === one.inputs.length ? [] : [`${one.op}/${one.name}`];
      }),
    );
    expect(broken).toEqual([]);
  });

  test('keep constants equal in every feed', () => {
    const changed = cases.filter((one) =>
      one.inputs.some((input, index) => input.constant && one.feeds.some((feed) => feed.inputs[index] !== one.feeds[0]?.inputs[index])),
    );
    expect(changed.map((one) => `${one.op}/${one.name}`)).toEqual([]);
  });

  test('stay below 3 MB', () => {
    expect(folderBytes(join(import.meta.dirname, 'ops'))).toBeLessThan(3_000_000);
  });
});

describe('pattern goldens', () => {
  const patterns = patternFolders();

  test('are there, and stay below 2 MB', () => {
    expect(patterns.length).toBeGreaterThan(0);
    expect(folderBytes(join(import.meta.dirname, 'patterns'))).toBeLessThan(2_000_000);
  });

  test('know the answers of a second MetaGraph', () => {
    const tagged = join(import.meta.dirname, 'patterns', 'tf1_tags');
    expect(loadPatternGolden(tagged, ['serve', 'gpu']).calls.map((call) => call.answer.type)).toEqual(['outputs']);
    expect(() => loadPatternGolden(tagged, ['train'])).toThrow(/no answers for the tags train/);
  });

  test.each(patterns)('$name has a model below 80 kB and answers whose tensors are whole', ({ directory, versionDirectory }) => {
    expect(readdirSync(versionDirectory).some((file) => file === 'saved_model.pb' || file === 'saved_model.pbtxt')).toBe(true);
    expect(existsSync(join(directory, 'golden.json'))).toBe(true);
    expect(folderBytes(versionDirectory)).toBeLessThan(80_000);
    const { calls, tags } = loadPatternGolden(directory);
    expect(tags.length).toBeGreaterThan(0);
    expect(calls.length).toBeGreaterThan(0);
    for (const call of calls) {
      const outputs = call.answer.type === 'outputs' ? [...call.answer.outputs.values()] : [];
      expect([...call.inputs.values(), ...outputs].every(isWhole)).toBe(true);
    }
  });
});
