// npm test: installs packages and servers that are missing, then runs Jest on the pinned Node. Arguments go to Jest: npm test -- test/mesh
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { childEnv, ensureInstalled, root } from './ensure.mjs';
import { ensureServers, serverPath } from './servers.mjs';

const node = ensureInstalled();
const missing = ensureServers();
if (missing.length > 0) {
  if (process.env.CI && process.env.CI !== 'false') {
    console.error(`headrace: CI is set and ${missing.join(' and ')} cannot be had: the tests would prove less than they say`);
    process.exit(1);
  }
  console.error(`headrace: SKIPPING every test that needs ${missing.join(' or ')}`);
}

const args = [
  '--experimental-vm-modules',
  '--disable-warning=ExperimentalWarning',
  join(root, 'node_modules/jest/bin/jest.js'),
  ...process.argv.slice(2),
];
console.error(`headrace: jest on Node ${spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim()}`);
const jest = spawnSync(node, args, { cwd: root, stdio: 'inherit', env: childEnv({ PATH: serverPath() }) });
process.exit(jest.status ?? 1);
