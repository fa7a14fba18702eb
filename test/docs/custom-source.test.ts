import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { takeWalk } from './walk.ts';

// The page removes what it writes into the clone; a walk that ends early does not come to that.
afterAll(() => {
  for (const file of ['ready-source.ts', 'try.ts']) rmSync(join(import.meta.dirname, '../..', file), { force: true });
});

describe('docs/custom-source.md', () => {
  test('shows what a reader sees who types what it shows', async () => {
    const outputs = await takeWalk('docs/custom-source.md');
    expect(outputs.length).toBeGreaterThan(5);
    expect(outputs.map(({ line, printed }) => ({ line, text: printed }))).toEqual(
      outputs.map(({ line, shown }) => ({ line, text: shown })),
    );
  }, 240_000);
});
