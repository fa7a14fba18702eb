import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { welcomeText } from '../../services/embedded/welcome.ts';
import { putLineVersion } from './line-models.ts';
import { startRunningMesh } from './running-mesh.ts';

test('the welcome names every model with its state, and a model whose folder is missing does not stop it', async () => {
  await using mesh = await startRunningMesh({
    prepare: (folder) => putLineVersion(join(folder, 'line'), 3),
    config: (folder) =>
      `model_config_list { ${['line', 'absent'].map((name) => `config { name: "${name}" base_path: "${join(folder, name)}" }`).join(' ')} }`,
  });
  const text = welcomeText(mesh.embedded, { examples: null });
  expect(text).toContain('line             version 3 AVAILABLE');
  expect(text).toContain('absent           no version yet');
  expect(text).toContain(`http://localhost:${mesh.restPort}/v1/models/line/metadata`);
});
