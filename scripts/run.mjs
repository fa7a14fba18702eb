// node scripts/run.mjs FILE ARGS…: runs a TypeScript entry on the pinned Node, installing packages first when they are missing.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { childEnv, ensureInstalled, nodeFlags, root } from './ensure.mjs';

const node = ensureInstalled();
const [entry, ...args] = process.argv.slice(2);
if (!entry) {
  console.error('usage: node scripts/run.mjs FILE [ARGS…]');
  process.exit(2);
}
const child = spawn(node, [...nodeFlags, join(root, entry), ...args], { stdio: 'inherit', env: childEnv() });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(signal ? 128 + 15 : (code ?? 1)));
