import { expect, test } from '@jest/globals';
import { takeWalk } from './walk.ts';

test('the walk of docs/custom-op.md shows what it says', async () => {
  const outputs = await takeWalk('docs/custom-op.md');
  expect(outputs.length).toBeGreaterThanOrEqual(6);
  expect(outputs.map(({ command, printed }) => ({ command, printed }))).toEqual(
    outputs.map(({ command, shown }) => ({ command, printed: shown })),
  );
}, 300_000);
