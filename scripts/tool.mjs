// node scripts/tool.mjs NAME ARGS…: runs a tool from node_modules/.bin on the pinned Node, installing packages first when they are missing.
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { childEnv, ensureInstalled, root } from './ensure.mjs';

const node = ensureInstalled();
const [name, ...args] = process.argv.slice(2);
const link = join(root, 'node_modules', '.bin', name ?? '');
if (!name || !existsSync(link)) {
  console.error(`usage: node scripts/tool.mjs NAME [ARGS…], where NAME is in node_modules/.bin${name ? `; "${name}" is not` : ''}`);
  process.exit(2);
}
const { status } = spawnSync(node, [realpathSync(link), ...args], { cwd: root, stdio: 'inherit', env: childEnv() });
process.exit(status ?? 1);
