// Installs what is missing and finds the pinned Node. Plain JavaScript for any Node from 20 on: this runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Installs the packages of the lock file unless node_modules was made from this very one. Returns the path of the pinned Node binary.
 * Not `npm ci`: that refuses a lock file without the optional packages of other platforms, which not every mirror of the registry has.
 */
export function ensureInstalled() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const stamp = join(root, 'node_modules', '.headrace-lock');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
    console.error('headrace: installing packages …');
    const npm = spawnSync('npm', ['install', '--no-save', '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
      shell: process.platform === 'win32',
    });
    if (npm.status !== 0) {
      console.error('headrace: npm install failed; the messages above say why');
      process.exit(npm.status ?? 1);
    }
    writeFileSync(stamp, lock);
  }
  return pinnedNode();
}

function pinnedNode() {
  const name = process.platform === 'win32' ? 'node.exe' : 'node';
  const candidates = [
    join(root, 'node_modules', `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`, 'bin', name),
    join(root, 'node_modules', '.bin', name),
  ];
  const found = candidates.find((path) => existsSync(path));
  if (found) return found;
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  console.error(
    `headrace: no Node 24 for ${process.platform}-${process.arch} among the installed packages, and this is Node ${process.versions.node}.`,
  );
  console.error('headrace: install Node 24 or newer and run the command again.');
  process.exit(1);
}

/**
 * How Node is started for a service: flags before the script, and environment. Without MALLOC_MMAP_THRESHOLD_ glibc keeps the memory of unloaded
 * models (measured: 290 MB against 95 MB). Without a bound V8's young generation grows to 128 MB in bursts and keeps them, hour after hour; with
 * this it has 16 at most (measured: 2 to 4 % fewer small requests a second, 5 % more images, 40 MB less).
 */
const settings = JSON.parse(readFileSync(new URL('./service-start.json', import.meta.url), 'utf8'));

export const nodeFlags = settings.flags;

/**
 * The environment a Headrace process wants. Compiled code is kept beside the sources: a process starts with half the processor time, and so does
 * every thread (measured: 1.05 s against 0.43 s).
 */
export function childEnv(extra = {}) {
  return { ...settings.env, NODE_COMPILE_CACHE: join(root, '.cache', 'compile'), ...process.env, ...extra };
}
