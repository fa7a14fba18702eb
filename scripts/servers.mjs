// Finds nats-server and redis-server, which the contract tests run against, and installs them from system packages where that is possible.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const SERVERS = ['nats-server', 'redis-server'];
/** Where distributions keep servers; an ordinary user's PATH often lacks these. */
const SERVER_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin', '/usr/local/bin'];

/** PATH with the folders where packages put servers. */
export function serverPath(path = process.env.PATH ?? '') {
  const folders = path.split(delimiter);
  return [...folders, ...SERVER_FOLDERS.filter((folder) => existsSync(folder) && !folders.includes(folder))].join(delimiter);
}

/** Installs the servers that are missing. Returns the names of those that are still missing, having said why. */
export function ensureServers() {
  const missing = missingServers();
  if (missing.length === 0) return missing;
  console.error(`headrace: the tests of the real transport and stores need ${missing.join(' and ')}`);
  const install = packageManager();
  if (typeof install === 'string') {
    console.error(`headrace: cannot install: ${install}. Install ${missing.join(' and ')} and put them on PATH.`);
    return missing;
  }
  install(missing);
  return missingServers();
}

function missingServers() {
  const folders = serverPath().split(delimiter);
  return SERVERS.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
}

/** A function that installs, or the reason why there is none. */
function packageManager() {
  if (process.platform === 'darwin')
    return has('brew') ? (names) => say('brew', ['install', ...names.map(brewFormula)]) : 'Homebrew is not installed';
  if (process.platform !== 'linux' || !has('apt-get')) return 'this system has no apt-get and no brew';
  const prefix = process.getuid?.() === 0 ? [] : spawnSync('sudo', ['-n', 'true']).status === 0 ? ['sudo', '-n'] : undefined;
  if (prefix === undefined) return 'apt-get needs root or sudo without a password';
  return (names) => {
    const apt = (...args) => say(...[...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args].reduce(headAndTail, []));
    // One broken third-party list fails an update and says nothing about the packages wanted here: the install decides.
    apt('update', '-q');
    apt('install', '-y', '-q', '--no-install-recommends', ...names);
  };
}

function brewFormula(name) {
  return name === 'redis-server' ? 'redis' : name;
}

function headAndTail([head, tail], word) {
  return head === undefined ? [word, []] : [head, [...tail, word]];
}

function has(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined;
}

function say(command, args) {
  console.error(`headrace: ${[command, ...args].join(' ')}`);
  const { status } = spawnSync(command, args, { stdio: ['ignore', 2, 2] });
  if (status !== 0) console.error(`headrace: ${command} ended with ${status}`);
}
