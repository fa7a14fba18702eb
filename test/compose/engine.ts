import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { run, tryRun, until } from './shell.ts';

/** A Docker engine that answers, and a compose command. Disposing stops the engine if this test started it. */
export interface Engine extends AsyncDisposable {
  /** `docker compose` or `docker-compose`. */
  readonly compose: readonly string[];
  /** For `docker build`: BuildKit where the client has it, the older builder elsewhere. */
  readonly buildEnv: Readonly<Record<string, string>>;
}

const DEBIAN_PACKAGES = ['docker.io', 'docker-compose', 'debootstrap'];

/** Finds an engine, or installs and starts one as root on Debian. Throws with what to do where neither is possible. */
export async function findEngine(cacheFolder: string): Promise<Engine> {
  const own = (await answers()) ? undefined : await startEngine(cacheFolder);
  const compose = await composeCommand();
  const buildkit = (await tryRun('docker', ['buildx', 'version'])).code === 0;
  const version = await run('docker', ['version', '--format', '{{.Server.Version}}']);
  console.log(`engine ${version.trim()}${own ? ', started here' : ''}; ${compose.join(' ')}`);
  return { compose, buildEnv: { DOCKER_BUILDKIT: buildkit ? '1' : '0' }, [Symbol.asyncDispose]: async () => own?.[Symbol.asyncDispose]() };
}

async function answers(): Promise<boolean> {
  return (await tryRun('docker', ['version', '--format', '{{.Server.Version}}'], { timeoutMs: 15_000 })).code === 0;
}

async function composeCommand(): Promise<readonly string[]> {
  if ((await tryRun('docker', ['compose', 'version'])).code === 0) return ['docker', 'compose'];
  if ((await tryRun('docker-compose', ['version'])).code !== 0) await installPackages(['docker-compose']);
  return ['docker-compose'];
}

async function startEngine(cacheFolder: string): Promise<AsyncDisposable> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new Error('no Docker engine answers. Start one, or set DOCKER_HOST, or run this as root on Debian, where it starts one itself.');
  }
  if ((await tryRun('dockerd', ['--version'])).code !== 0) await installPackages(DEBIAN_PACKAGES);
  mkdirSync(cacheFolder, { recursive: true });
  const logFile = join(cacheFolder, 'dockerd.log');
  // The default storage driver is the fast one; vfs copies whole folders and works on file systems where the others do not.
  for (const args of [[], ['--storage-driver=vfs']]) {
    const log = openSync(logFile, 'w');
    const child = spawn('dockerd', args, { stdio: ['ignore', log, log], detached: true });
    const exited = once(child, 'exit');
    const up = await Promise.race([
      until('dockerd', 60_000, async () => ((await answers()) ? true : undefined)).catch(() => false),
      exited.then(() => false),
    ]);
    if (up) {
      return {
        async [Symbol.asyncDispose]() {
          child.kill('SIGTERM');
          await exited;
        },
      };
    }
    child.kill('SIGKILL');
  }
  throw new Error(`dockerd does not start; its log is ${logFile}`);
}

async function installPackages(names: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error(`${names.join(', ')} are missing, and installing them needs root`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await tryRun('apt-get', ['update', '-q'], { env, timeoutMs: 300_000 });
  await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...names], { env, timeoutMs: 600_000 });
}
