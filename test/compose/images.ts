import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Engine } from './engine.ts';
import { run, tryRun } from './shell.ts';

/** Names of the images that the compose file takes from its environment. */
export interface Images {
  readonly node: string;
  readonly nats: string;
  readonly redis: string;
  readonly headrace: string;
}

const PUBLIC = { node: 'node:24-slim', nats: 'nats:2-alpine', redis: 'redis:7-alpine' } as const;
/** Made on this machine where the public ones cannot be had: Debian with both servers, and Node and npm on top of it. */
const MADE = { servers: 'headrace-base/debian:bookworm', node: 'headrace-base/node:24' } as const;

/** Has all images: those named by NODE_IMAGE, NATS_IMAGE and REDIS_IMAGE, else the public ones, else ones made here; and builds Headrace's. */
export async function prepareImages(engine: Engine, root: string, cacheFolder: string): Promise<Images> {
  const base = await baseImages(engine, cacheFolder);
  const headrace = 'headrace:compose-test';
  await buildHeadrace({ engine, root, nodeImage: base.node, tag: headrace });
  return { ...base, headrace };
}

async function baseImages(engine: Engine, cacheFolder: string): Promise<Omit<Images, 'headrace'>> {
  const wanted = {
    node: process.env.NODE_IMAGE ?? PUBLIC.node,
    nats: process.env.NATS_IMAGE ?? PUBLIC.nats,
    redis: process.env.REDIS_IMAGE ?? PUBLIC.redis,
  };
  const names = Object.values(wanted);
  if ((await Promise.all(names.map(present))).every(Boolean)) return wanted;
  const made = (await present(MADE.servers)) && (await present(MADE.node));
  if (!made && (await Promise.all(names.map(pull))).every(Boolean)) return wanted;
  if (!made) await makeBaseImages(engine, cacheFolder);
  console.log(`base images: ${MADE.node} and ${MADE.servers}, made on this machine`);
  return { node: MADE.node, nats: MADE.servers, redis: MADE.servers };
}

async function present(image: string): Promise<boolean> {
  return (await tryRun('docker', ['image', 'inspect', image])).code === 0;
}

async function pull(image: string): Promise<boolean> {
  const { code, output } = await tryRun('docker', ['pull', image], { timeoutMs: 180_000 });
  if (code !== 0) console.log(`cannot pull ${image}: ${output.trim().split('\n').at(-1)}`);
  return code === 0;
}

async function makeBaseImages(engine: Engine, cacheFolder: string): Promise<void> {
  const archive = join(cacheFolder, 'debian-bookworm.tar.gz');
  if (!existsSync(archive)) await bootstrapDebian(archive);
  await run('docker', ['import', archive, MADE.servers]);

  const context = mkdtempSync(join(tmpdir(), 'headrace-node-image-'));
  try {
    // The binary that runs this test is the npm package's Node; npm is plain JavaScript and comes from this machine's own.
    mkdirSync(join(context, 'bin'));
    copyFileSync(process.execPath, join(context, 'bin', 'node'));
    const npm = dirname(dirname(realpathSync((await run('sh', ['-c', 'command -v npm'])).trim())));
    cpSync(npm, join(context, 'npm'), { recursive: true, dereference: true });
    writeFileSync(join(context, 'bin', 'npm'), '#!/bin/sh\nexec node /usr/local/lib/npm/bin/npm-cli.js "$@"\n', { mode: 0o755 });
    const lines = [`FROM ${MADE.servers}`, 'COPY bin /usr/local/bin', 'COPY npm /usr/local/lib/npm'];
    writeFileSync(join(context, 'Dockerfile'), `${lines.join('\n')}\n`);
    await run('docker', ['build', '-q', '-t', MADE.node, context], { env: engine.buildEnv });
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}

/** A minimal Debian with nats-server, redis-server and wget (for the health check) as one archive. */
async function bootstrapDebian(archive: string): Promise<void> {
  if (process.getuid?.() !== 0 || (await tryRun('debootstrap', ['--version'])).code !== 0) {
    throw new Error('no image can be pulled, and making them needs root and debootstrap. Set NODE_IMAGE, NATS_IMAGE and REDIS_IMAGE.');
  }
  console.log('making base images with debootstrap …');
  const folder = mkdtempSync(join(tmpdir(), 'headrace-debian-'));
  try {
    const packages = '--include=ca-certificates,wget,nats-server,redis-server';
    await run('debootstrap', ['--variant=minbase', packages, 'bookworm', folder], { timeoutMs: 600_000 });
    mkdirSync(dirname(archive), { recursive: true });
    const left = ['./var/cache/apt', './var/lib/apt/lists', './usr/share/doc', './usr/share/locale', './proc', './sys'];
    await run('tar', ['-C', folder, ...left.map((path) => `--exclude=${path}`), '-czf', `${archive}.part`, '.']);
    renameSync(`${archive}.part`, archive);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function buildHeadrace(options: {
  readonly engine: Engine;
  readonly root: string;
  readonly nodeImage: string;
  readonly tag: string;
}): Promise<void> {
  console.log(`building ${options.tag} …`);
  // A machine behind a proxy that re-signs TLS says so with this variable; npm inside the build needs the same trust.
  const authorities = process.env.NODE_EXTRA_CA_CERTS;
  const copied = join(options.root, 'docker', 'ca', 'compose-test.crt');
  if (authorities && existsSync(authorities)) copyFileSync(authorities, copied);
  try {
    const args = ['build', '--network=host', '--target', 'cpu', '--build-arg', `NODE_IMAGE=${options.nodeImage}`, '-t', options.tag, '.'];
    await run('docker', args, { cwd: options.root, env: options.engine.buildEnv, timeoutMs: 900_000 });
  } finally {
    rmSync(copied, { force: true });
  }
}
