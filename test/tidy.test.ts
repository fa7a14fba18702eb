import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { SERVICE_START } from '../scripts/service-start.ts';

const ROOT = join(import.meta.dirname, '..');
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  .split('\n')
  .filter((path) => path !== '');
const sources = tracked.filter((path) => /\.(ts|mjs)$/.test(path));
const product = sources.filter((path) => /^(extend|mesh|proto|savedmodel|services)\//.test(path));
const text = new Map(tracked.filter((path) => !/\.(png|onnx|gz|bin|tfrecord)$/.test(path)).map((path) => [path, read(path)]));

function read(path: string): string {
  try {
    return readFileSync(join(ROOT, path), 'utf8');
  } catch {
    return ''; // Deleted in the working tree, not yet in the index.
  }
}

/** The file's code without comments and strings' contents, so that words in prose do not count. */
function code(path: string): string {
  return (text.get(path) ?? '').replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`\\])\/\/.*$/gm, '$1');
}

function importsOf(path: string): string[] {
  return [...code(path).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '');
}

/** Lines `path: why` for every file of `paths` that `broken` finds something in. */
function offenders(paths: readonly string[], broken: (path: string) => string | undefined | false): string[] {
  return paths.flatMap((path) => {
    const why = broken(path);
    return why ? [`${path}: ${why}`] : [];
  });
}

const importedBut = (pattern: RegExp, allowed: RegExp) =>
  offenders(product, (path) => !allowed.test(path) && importsOf(path).find((specifier) => pattern.test(specifier)));

describe('tidy', () => {
  test('a service imports no other service; the importer and what authors import are for all', () => {
    const found = offenders(product, (path) => {
      const service = /^services\/([^/]+)\//.exec(path)?.[1];
      if (service === undefined || service === 'embedded') return undefined;
      return importsOf(path).find(
        (specifier) =>
          specifier.startsWith('.') &&
          !new RegExp(`^/(services/${service}|savedmodel|extend)/`).test(new URL(specifier, `file:///${path}`).pathname),
      );
    });
    expect(found).toEqual([]);
  });

  test('mesh knows no service, and proto only the vocabulary of mesh', () => {
    expect(
      offenders(product, (path) => path.startsWith('mesh/') && importsOf(path).find((specifier) => specifier.includes('services/'))),
    ).toEqual([]);
    const vocabulary = /^#mesh\/(tensor|errors|signature|control|bytes|ids)\.ts$/;
    expect(
      offenders(
        product,
        (path) =>
          path.startsWith('proto/') &&
          importsOf(path).find((one) => one.includes('services/') || (one.startsWith('#mesh/') && !vocabulary.test(one))),
      ),
    ).toEqual([]);
  });

  test('NATS, Redis, BullMQ, grpc-js and onnxruntime each have one place', () => {
    expect(importedBut(/^@nats-io\//, /^mesh\/transport-nats\.ts$/)).toEqual([]);
    expect(importedBut(/^ioredis$/, /^mesh\/(state-store-redis|job-queue-bullmq)\.ts$/)).toEqual([]);
    expect(importedBut(/^bullmq$/, /^mesh\/job-queue-bullmq\.ts$/)).toEqual([]);
    expect(importedBut(/^@grpc\/grpc-js$/, /^services\/gateway\/grpc\/grpc-js-carrier\.ts$/)).toEqual([]);
    expect(importedBut(/^onnxruntime/, /^services\/worker-gpu\/runtimes\//)).toEqual([]);
  });

  test('only the clock reads the time, only main reads the process', () => {
    const time = /\b(Date\.now|performance\.now|new Date\(|process\.hrtime)/;
    expect(
      offenders(product, (path) => !/^mesh\/(clock|transport-nats|run-process)\.ts$/.test(path) && time.exec(code(path))?.[0]),
    ).toEqual([]);
    const host = /(?<![.\w#'"/-])process\.(env|argv|exit|on|stdout|stderr|cwd)\b/;
    expect(offenders(product, (path) => basename(path) !== 'main.ts' && host.exec(code(path))?.[0])).toEqual([]);
  });

  test('no any, no enum, no assertion that something is not null, no silenced rule', () => {
    expect(
      offenders(
        sources,
        (path) =>
          path.endsWith('.ts') &&
          path !== 'test/tidy.test.ts' &&
          // A value with this name has a member taken or is called; the type never.
          /(:|<|\bas) any\b(?![.(])|^\s*(export )?(const )?enum |@ts-(ignore|expect-error|nocheck)/m.exec(code(path))?.[0],
      ),
    ).toEqual([]);
    expect(
      offenders(sources, (path) => path !== 'test/tidy.test.ts' && /biome-ignore|eslint-disable/.exec(text.get(path) ?? '')?.[0]),
    ).toEqual([]);
  });

  test('every export of the product has a doc comment', () => {
    const found = offenders(product, (path) => {
      const lines = (text.get(path) ?? '').split('\n');
      const bare = lines.findIndex((line, index) => {
        if (!/^export (async )?(function|interface|type|class|const|let) [\w]/.test(line)) return false;
        const before = lines[index - 1] ?? '';
        return !/\*\/\s*$/.test(before);
      });
      return bare >= 0 && `line ${bare + 1} ${lines[bare]?.slice(0, 60)}`;
    });
    expect(found).toEqual([]);
  });

  test('files are named in kebab-case for one idea, and none is a heap of helpers', () => {
    expect(
      offenders(
        sources,
        (path) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.property)?(\.(test|contract|config))?\.(ts|mjs)$/.test(basename(path)) && 'not kebab-case',
      ),
    ).toEqual([]);
    expect(offenders(sources, (path) => /^(utils?|helpers?|common|misc)\.ts$/.test(basename(path)) && 'says nothing')).toEqual([]);
    expect(offenders(product, (path) => (text.get(path) ?? '').split('\n').length > 700 && 'longer than 700 lines')).toEqual([]);
  });

  test('every service has main, index, config and events', () => {
    for (const service of ['gateway', 'batcher', 'worker-gpu', 'registry']) {
      for (const file of ['main.ts', 'index.ts', 'config.ts', 'events.ts']) expect(tracked).toContain(`services/${service}/${file}`);
    }
  });

  test('the image starts services as the npm scripts do', () => {
    const entry = text.get('docker/entrypoint.sh') ?? '';
    expect(entry).toContain(`exec node ${SERVICE_START.flags.join(' ')} "services`);
    const stages = (text.get('Dockerfile') ?? '').split(/^FROM /m).filter((stage) => stage.includes('ENTRYPOINT'));
    expect(stages.length).toBe(2);
    for (const stage of stages)
      for (const [name, value] of Object.entries(SERVICE_START.env)) expect(stage).toContain(`    ${name}=${value} `);
  });

  test('nothing names a machine or a package registry', () => {
    const named = new RegExp([`/${'work'}/(main|shared|\\.library)`, `registry\\.${'npmjs'}`, `deb\\.${'debian'}\\.org`].join('|'));
    expect(offenders([...text.keys()], (path) => named.exec(text.get(path) ?? '')?.[0])).toEqual([]);
  });

  test('nothing is left for later in the code', () => {
    expect(offenders(product, (path) => new RegExp(`\\b(${'TO'}DO|${'FIX'}ME|${'X'}XX)\\b`).exec(text.get(path) ?? '')?.[0])).toEqual([]);
  });
});
