import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { ServeError } from '#mesh/errors.ts';
import { parseBatchingParametersText, toBatchingLimits } from '#proto/batching-parameters.ts';
import { parseModelServerConfigText } from '#proto/model-server-config.ts';
import { parseMonitoringConfigText } from '#proto/monitoring-config.ts';
import { parseSslConfigText } from '#proto/ssl-config.ts';
import { parseSignaturesFile } from '../../services/worker-gpu/runtimes/signatures-file.ts';
import { lineModel } from '../embedded/line-models.ts';
import { startRunningMesh } from '../embedded/running-mesh.ts';
import { createRandom, mutate, type Random, SEED } from './random.ts';

const scratch = mkdtempSync(join(tmpdir(), 'headrace-files-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const TEXTS: readonly (readonly [string, (text: string) => unknown, string])[] = [
  [
    'a model config',
    parseModelServerConfigText,
    `model_config_list { config { name: 'a' base_path: "/m/\\x41" model_platform: 'onnx' model_version_policy { specific { versions: 1 versions: [2, 3] } }
     version_labels { key: 'stable' value: 1 } logging_config { sampling_config { sampling_rate: 0.5e-3 } } } } # end`,
  ],
  [
    'batching parameters',
    (text) => toBatchingLimits(parseBatchingParametersText(text)),
    'max_batch_size { value: 32 } batch_timeout_micros { value: 9007199254740993 } allowed_batch_sizes: 8 allowed_batch_sizes: 32 pad_variable_length_inputs: true',
  ],
  ['a monitoring config', parseMonitoringConfigText, 'prometheus_config { enable: true path: "/metrics" }'],
  ['a TLS config', parseSslConfigText, 'server_key: "a\\nb" server_cert: \'c\' custom_ca: "" client_verify: false'],
];

function mutateText(text: string, random: Random): string {
  const kind = random.below(4);
  if (kind === 0) return Buffer.from(mutate(Buffer.from(text), random)).toString('latin1');
  const at = random.below(text.length);
  const inserted = random.pick([
    '{',
    '}',
    '[',
    ']',
    '"',
    "'",
    '\\',
    '<',
    ':',
    '9'.repeat(400),
    '-',
    '1e999',
    '\u0000',
    '# ',
    '\\u{d800}',
    '{'.repeat(5000),
  ]);
  if (kind === 1) return text.slice(0, at) + inserted + text.slice(at);
  if (kind === 2) return text.slice(0, at) + text.slice(at + 1 + random.below(20));
  return text.replace(/[0-9]+/, () =>
    random.pick(['-1', '0', '9223372036854775808', '18446744073709551616', '0x7fffffffffffffff', '1.5', 'nan']),
  );
}

describe('broken settings files', () => {
  test.each(TEXTS)(`%s is read or refused with a status, never worse (FUZZ_SEED=${SEED})`, (_, parse, text) => {
    const random = createRandom(SEED);
    parse(text.replace('9007199254740993', '5'));
    for (let count = 0; count < 1500; count++) {
      const broken = mutateText(text, random);
      try {
        parse(broken);
      } catch (caught) {
        if (!(caught instanceof ServeError)) throw new Error(`${JSON.stringify(broken.slice(0, 500))}: ${caught}`, { cause: caught });
      }
    }
  });

  test(`signatures.json of any shape is read or refused with a status (FUZZ_SEED=${SEED})`, () => {
    const random = createRandom(SEED);
    const good = {
      stateful: false,
      signatures: {
        serving_default: {
          method: 'predict',
          model: 'model.onnx',
          batchable: true,
          inputs: {
            x: { dtype: 'DT_FLOAT', shape: [-1, 1], onnx: 'x' },
            e: { dtype: 'DT_STRING', shape: [-1], parse_example: { f: { dtype: 'DT_FLOAT', shape: [1], default: [0] } } },
          },
          outputs: { y: { dtype: 'DT_FLOAT', shape: null, onnx: 'y' } },
        },
      },
    };
    const values = [null, true, 0, -1, 1e300, 0.5, '', 'x', '__proto__', [], [[]], {}, { a: 1 }, ['DT_FLOAT'], [-2], [1e300], ['x']];
    const spoil = (value: unknown): unknown => {
      if (random.chance(0.08)) return random.pick(values);
      if (Array.isArray(value)) return value.map(spoil);
      if (typeof value !== 'object' || value === null) return value;
      const entries = Object.entries(value).map(([key, one]) => [
        random.chance(0.04) ? random.pick(['__proto__', '', 'constructor', 'host']) : key,
        spoil(one),
      ]);
      return Object.fromEntries(entries);
    };
    for (let count = 0; count < 3000; count++) {
      const text = JSON.stringify(spoil(good));
      try {
        parseSignaturesFile(text, 'signatures.json', 'model.onnx');
      } catch (caught) {
        if (!(caught instanceof ServeError)) throw new Error(`${text}: ${caught}`, { cause: caught });
      }
    }
  });
});

describe('broken models', () => {
  test(`are refused with a status or run, and end no process (FUZZ_SEED=${SEED})`, () => {
    const current = join(scratch, 'current.onnx');
    const { stdout, signal, stderr } = spawnSync(
      process.execPath,
      [join(import.meta.dirname, 'load-models.ts'), String(SEED), '400', current],
      {
        encoding: 'utf8',
        timeout: 30_000,
      },
    );
    if (signal !== null) throw new Error(`${signal} at the model ${readFileSync(current).toString('base64')}`);
    expect(stderr).toBe('');
    const ended: Record<string, number> = JSON.parse(stdout);
    // INTERNAL: the runtime took the model and failed while it ran.
    expect(Object.keys(ended).filter((what) => !['ran', 'INVALID_ARGUMENT', 'DATA_LOSS', 'NOT_FOUND', 'INTERNAL'].includes(what))).toEqual(
      [],
    );
  }, 40_000);
});

const model = lineModel(0.5, 1);
const put = (folder: string, name: string, content: Uint8Array | string) => {
  mkdirSync(join(folder, name, '..'), { recursive: true });
  writeFileSync(join(folder, name), content);
};
/** For each version folder: what is wrong with it, and the status that says so. */
const FOLDERS: Readonly<Record<string, readonly [code: string, text: RegExp, make: (folder: string) => void]>> = {
  pipe: [
    'FAILED_PRECONDITION',
    /model\.onnx is neither a file nor a folder/,
    (folder) => execFileSync('mkfifo', [join(folder, 'model.onnx')]),
  ],
  device: [
    'FAILED_PRECONDITION',
    /model\.onnx is neither a file nor a folder/,
    (folder) => symlinkSync('/dev/zero', join(folder, 'model.onnx')),
  ],
  ring: ['FAILED_PRECONDITION', /too many symbolic links/, (folder) => symlinkSync('model.onnx', join(folder, 'model.onnx'))],
  endless: ['FAILED_PRECONDITION', /too many symbolic links/, (folder) => symlinkSync('.', join(folder, 'here'))],
  dangling: ['FAILED_PRECONDITION', /link cannot be looked at: .*ENOENT/, (folder) => symlinkSync('/nowhere/at/all', join(folder, 'link'))],
  empty: ['INVALID_ARGUMENT', /it is empty/, (folder) => put(folder, 'model.onnx', '')],
  cut: ['INVALID_ARGUMENT', /it is cut off/, (folder) => put(folder, 'model.onnx', model.slice(0, 100))],
  unsigned: ['INVALID_ARGUMENT', /no object "signatures"/, (folder) => put(folder, 'signatures.json', 'null')],
  folders: ['FAILED_PRECONDITION', /signatures\.json cannot be read/, (folder) => mkdirSync(join(folder, 'signatures.json'))],
  cold: ['DATA_LOSS', /warmup data/, (folder) => put(folder, 'assets.extra/tf_serving_warmup_requests', new Uint8Array(50).fill(7))],
  greedy: [
    'INVALID_ARGUMENT',
    /max_batch_size is/,
    (folder) => put(folder, 'batching_params.pbtxt', 'max_batch_size { value: 9007199254740993 }'),
  ],
};

describe('version folders that cannot be served', () => {
  test('say why, hang nothing, and leave the others alone', async () => {
    await using mesh = await startRunningMesh({
      prepare: (root) => {
        for (const [name, [, , make]] of Object.entries(FOLDERS)) {
          const folder = join(root, name, '1');
          mkdirSync(folder, { recursive: true });
          if (!['pipe', 'device', 'ring'].includes(name)) put(folder, 'model.onnx', model);
          make(folder);
        }
        for (const version of ['0', '00', '18446744073709551616', '-1', '1e3', '007'])
          put(join(root, 'versions', version), 'model.onnx', model);
        writeFileSync(join(root, 'file'), '');
      },
      config: (root) => {
        const one = (name: string, base: string) =>
          `config { name: '${name}' base_path: '${join(root, base)}' model_version_policy { all {} } }`;
        const names = ['a b', 'x@1', 'p%2Fq', '__proto__', 'ü\u{1f600}', 'n'.repeat(5000)];
        return `model_config_list { ${[...Object.keys(FOLDERS), 'versions', 'file'].map((name) => one(name, name)).join(' ')}
          ${names.map((name) => one(name, 'versions')).join(' ')} }`;
      },
      flags: () => ['--enable_batching=true', '--enable_per_model_batching_parameters=true', '--max_num_load_retries=0'],
    });
    const states = async (name: string) =>
      JSON.parse((await mesh.send('GET', `/v1/models/${encodeURIComponent(name)}`)).text).model_version_status;
    for (const [name, [code, text]] of Object.entries(FOLDERS)) {
      expect(await states(name)).toMatchObject([
        { version: '1', state: 'END', status: { error_code: code, error_message: expect.stringMatching(text) } },
      ]);
    }
    for (const name of ['versions', 'a b', 'x@1', 'p%2Fq', '__proto__', 'ü\u{1f600}', 'n'.repeat(5000)]) {
      expect(await states(name)).toMatchObject(['7', '0'].map((version) => ({ version, state: 'AVAILABLE' })));
      const { status } = await mesh.send('POST', `/v1/models/${encodeURIComponent(name)}:predict`, '{"instances":[1]}');
      expect(status).toBe(200);
    }
    expect((await mesh.send('GET', '/v1/models/file')).status).toBe(404);
  }, 40_000);
});
