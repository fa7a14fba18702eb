import { describe, expect, test } from '@jest/globals';
import { takeWalk } from './walk.ts';

describe('docs/custom-servable.md', () => {
  test('shows what a reader sees who types what it shows', async () => {
    const outputs = await takeWalk('docs/custom-servable.md');
    expect(outputs.length).toBeGreaterThan(8);
    expect(outputs.map(({ line, printed }) => ({ line, text: printed }))).toEqual(
      outputs.map(({ line, shown }) => ({ line, text: shown })),
    );
  }, 240_000);
});
