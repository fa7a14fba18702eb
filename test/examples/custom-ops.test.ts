import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { customOpModels } from '../../examples/custom-ops/make-models.ts';

const FOLDER = join(import.meta.dirname, '../../examples/custom-ops/models');

test.each([...customOpModels()])('examples/custom-ops/models/%s is what make-models.ts writes', (place, bytes) => {
  expect(new Uint8Array(readFileSync(join(FOLDER, place)))).toEqual(new Uint8Array(bytes));
});
