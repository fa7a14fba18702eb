import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { buildModel, type OnnxModel } from '#proto/onnx-writer.ts';
import { customOpModels } from '../../examples/custom-ops/make-models.ts';
import { type RunningMesh, startRunningMesh } from '../embedded/running-mesh.ts';
import { FUNCTION_MODULE, kernelModule } from './zero-out-modules.ts';

const SHARED = join(import.meta.dirname, '../../../shared/models/zero_out');
const EXAMPLE = 'zero_out/1/saved_model.pb';

function put(file: string, content: string | Uint8Array): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

function exampleModel(name: string): Uint8Array {
  const model = customOpModels().get(name);
  if (model === undefined) throw new RangeError(`no example ${name}`);
  return model;
}

const configOf = (folder: string, names: readonly string[]) =>
  `model_config_list { ${names.map((name) => `config { name: "${name}" base_path: "${join(folder, name)}" }`).join(' ')} }`;

/** A mesh with models and modules as files below its folder; `ops.ts` is its library. */
async function meshWith(files: Readonly<Record<string, string | Uint8Array>>, flags: readonly string[] = []): Promise<RunningMesh> {
  const names = new Set(Object.keys(files).flatMap((file) => (/^\w+\/\d+\//.test(file) ? [file.split('/')[0] ?? ''] : [])));
  return startRunningMesh({
    prepare(folder) {
      for (const [file, content] of Object.entries(files)) put(join(folder, file), content);
    },
    config: (folder) => configOf(folder, [...names]),
    flags: (folder) => [
      '--instances=1',
      '--load_retry_interval_micros=0',
      `--import_cache_dir=${join(folder, 'cache')}`,
      ...flags.map((flag) => flag.replace('$FOLDER', folder)),
    ],
  });
}

async function predict(
  mesh: RunningMesh,
  model: string,
  inputs: unknown,
): Promise<{ readonly outputs?: unknown; readonly error?: string }> {
  const { text } = await mesh.send('POST', `/v1/models/${model}:predict`, JSON.stringify({ inputs }));
  return JSON.parse(text) as { outputs?: unknown; error?: string };
}

/** What the status of a model's version says, once it says that loading it has failed. */
async function failure(mesh: RunningMesh, model: string): Promise<string> {
  for (;;) {
    const { text } = await mesh.send('GET', `/v1/models/${model}`);
    const [version] =
      (JSON.parse(text) as { model_version_status?: { state: string; status: { error_message: string } }[] }).model_version_status ?? [];
    if (version?.state === 'END') return version.status.error_message;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('ZeroOut', () => {
  test.each([
    ['a kernel', kernelModule()],
    ['an ONNX function', FUNCTION_MODULE],
  ])(
    'as %s answers in SavedModels and in ONNX models',
    async (_, module) => {
      await using mesh = await meshWith(
        {
          'ops.ts': module,
          'saved/1/saved_model.pb': exampleModel(EXAMPLE),
          'onnx/1/model.onnx': exampleModel('zero_out_onnx/1/model.onnx'),
        },
        ['--op_library=$FOLDER/ops.ts'],
      );
      const input = [
        [1, 2],
        [3, 4],
      ];
      expect(await predict(mesh, 'saved', input)).toEqual({
        outputs: [
          [1, 0],
          [0, 0],
        ],
      });
      expect(await predict(mesh, 'onnx', input)).toEqual({
        outputs: [
          [3, 1],
          [1, 1],
        ],
      });
      // Its rows depend on each other.
      const { text } = await mesh.send('GET', '/v1/models/saved/metadata');
      expect(text).toContain('"zeroed:0"');
    },
    60_000,
  );

  const inShared = existsSync(SHARED) ? test : test.skip;
  inShared.each([
    ['a kernel', kernelModule()],
    ['an ONNX function', FUNCTION_MODULE],
  ])(
    "as %s answers as TensorFlow's guide says over the guide's model (../shared/models/zero_out)",
    async (_, module) => {
      await using mesh = await startRunningMesh({
        prepare(folder) {
          cpSync(SHARED, join(folder, 'zero_out'), { recursive: true });
          put(join(folder, 'ops', 'zero.mjs'), module);
        },
        config: (folder) => configOf(folder, ['zero_out']),
        flags: (folder) => ['--instances=1', `--op_library=${join(folder, 'ops')}`, `--import_cache_dir=${join(folder, 'cache')}`],
      });
      expect(
        await predict(mesh, 'zero_out', [
          [1, 2],
          [3, 4],
        ]),
      ).toEqual({
        outputs: [
          [1, 0],
          [0, 0],
        ],
      });
    },
    60_000,
  );
});

describe('where modules come from', () => {
  test('a version folder brings ops along where that is allowed; they count before the library', async () => {
    const files = {
      'ops.ts': kernelModule(),
      'plain/1/saved_model.pb': exampleModel(EXAMPLE),
      'own/1/saved_model.pb': exampleModel(EXAMPLE),
      'own/1/ops/zero.js': kernelModule({ times: 5 }),
      'extra/1/model.onnx': exampleModel('zero_out_onnx/1/model.onnx'),
      'extra/1/assets.extra/ops/zero.ts': kernelModule({ times: 7 }),
    };
    await using mesh = await meshWith(files, ['--op_library=$FOLDER/ops.ts', '--allow_model_code']);
    expect(await predict(mesh, 'plain', [[2, 1]])).toEqual({ outputs: [[2, 0]] });
    expect(await predict(mesh, 'own', [[2, 1]])).toEqual({ outputs: [[10, 0]] });
    expect(await predict(mesh, 'extra', [[2, 1]])).toEqual({ outputs: [[29, 1]] });
  }, 60_000);

  test('a version folder does not run code unless allowed, and its status names op, node and setting', async () => {
    await using mesh = await meshWith({
      'saved/1/saved_model.pb': exampleModel(EXAMPLE),
      'saved/1/ops/zero.js': kernelModule(),
      'onnx/1/model.onnx': exampleModel('zero_out_onnx/1/model.onnx'),
      'onnx/1/ops/zero.js': kernelModule(),
    });
    expect(await failure(mesh, 'saved')).toMatch(/op ZeroOut of node zeroed in the main graph is not supported; --op_library/);
    expect(await failure(mesh, 'onnx')).toMatch(
      /model\.onnx: node zero_out of the op custom\.ZeroOut: no op library has it \(--op_library/,
    );
  }, 60_000);

  test('a module that is broken fails the models that need it, by its name, and no others', async () => {
    const relu = buildModel({
      name: 'relu',
      opset: 18,
      inputs: [{ name: 'x', dtype: 'float', shape: ['n'] }],
      outputs: [{ name: 'y', dtype: 'float', shape: ['n'] }],
      initializers: [],
      nodes: [{ op: 'Relu', inputs: ['x'], outputs: ['y'] }],
    });
    await using mesh = await meshWith(
      {
        'ops.ts': kernelModule({ more: "throw new Error('no such luck');" }),
        'saved/1/saved_model.pb': exampleModel(EXAMPLE),
        'onnx/1/model.onnx': exampleModel('zero_out_onnx/1/model.onnx'),
        'relu/1/model.onnx': relu,
      },
      ['--op_library=$FOLDER/ops.ts'],
    );
    expect(await failure(mesh, 'saved')).toMatch(/ops\.ts cannot be imported: no such luck/);
    expect(await failure(mesh, 'onnx')).toMatch(/ops\.ts cannot be imported: no such luck/);
    expect(await predict(mesh, 'relu', [-1, 2])).toEqual({ outputs: [0, 2] });
  }, 60_000);
});

describe('ONNX models', () => {
  const library = `export default [
    { name: 'Twice', domain: 'my.ops', form: 'kernel', batchable: true, outputs: [{ dtype: { like: 0 } }],
      run: ([x]) => [{ ...x, data: x.data.map((one) => one + one) }] },
    { name: 'Lengths', domain: 'my.ops', form: 'kernel', outputs: [{ dtype: { attribute: 'to' } }, { dtype: 'int32' }],
      run: ([texts, add], attributes) => {
        const lengths = texts.data.map((text) => text.length + add.data[0] + attributes.int('more'));
        return [
          { dtype: attributes.dtype('to'), shape: texts.shape, data: Float64Array.from(lengths) },
          { dtype: 'int32', shape: [], data: Int32Array.of(lengths.length) },
        ];
      } },
  ];`;
  const words: OnnxModel = {
    name: 'words',
    opset: 18,
    domains: { 'my.ops': 1 },
    inputs: [{ name: 'words', dtype: 'string', shape: ['n'] }],
    outputs: [
      { name: 'halves', dtype: 'double', shape: ['n'] },
      { name: 'count', dtype: 'int32', shape: [] },
      { name: 'words', dtype: 'string', shape: ['n'] },
    ],
    initializers: [
      { name: 'ten', dtype: 'int64', shape: [1], bytes: new Uint8Array(BigInt64Array.of(10n).buffer) },
      { name: 'half', dtype: 'double', shape: [], bytes: new Uint8Array(Float64Array.of(0.5).buffer) },
      { name: 'add', dtype: 'int32', shape: [1], bytes: new Uint8Array(Int32Array.of(100).buffer) },
    ],
    nodes: [
      { op: 'Lengths', domain: 'my.ops', inputs: ['words', 'add', ''], outputs: ['lengths', 'count'], attributes: { to: 11, more: 1000 } },
      { op: 'Mul', inputs: ['lengths', 'half'], outputs: ['smaller'] },
      { op: 'Twice', domain: 'my.ops', inputs: ['smaller'], outputs: ['larger'] },
      { op: 'Mul', inputs: ['larger', 'half'], outputs: ['halves'] },
    ],
  };

  test('are cut at every kernel: values of any dtype, constants and attributes reach it, inputs may be outputs', async () => {
    await using mesh = await meshWith({ 'ops.ts': library, 'words/1/model.onnx': buildModel(words) }, ['--op_library=$FOLDER/ops.ts']);
    expect(await predict(mesh, 'words', ['a', 'four'])).toEqual({
      outputs: { halves: [550.5, 552], count: 2, words: ['a', 'four'] },
    });
    expect(await predict(mesh, 'words', [])).toEqual({ outputs: { halves: [], count: 0, words: [] } });
  }, 60_000);

  test('keep weights that lie in another file where they are', async () => {
    const weights = (name: string, offset: number) =>
      ({ name, dtype: 'float', shape: [2], external: { location: 'weights.bin', offset, byteLength: 8 } }) as const;
    const model = buildModel({
      name: 'weighty',
      opset: 18,
      domains: { 'my.ops': 1 },
      inputs: [{ name: 'x', dtype: 'float', shape: ['n', 2] }],
      outputs: [{ name: 'y', dtype: 'float', shape: ['n', 2] }],
      initializers: [weights('before', 0), weights('after', 8)],
      nodes: [
        { op: 'Mul', inputs: ['x', 'before'], outputs: ['a'] },
        { op: 'Twice', domain: 'my.ops', inputs: ['a'], outputs: ['b'] },
        { op: 'Add', inputs: ['b', 'after'], outputs: ['y'] },
      ],
    });
    const bytes = new Uint8Array(Float32Array.of(2, 3, 10, 20).buffer);
    await using mesh = await meshWith({ 'ops.ts': library, 'weighty/1/model.onnx': model, 'weighty/1/weights.bin': bytes }, [
      '--op_library=$FOLDER/ops.ts',
    ]);
    expect(
      await predict(mesh, 'weighty', [
        [1, 1],
        [0, 2],
      ]),
    ).toEqual({
      outputs: [
        [14, 26],
        [10, 32],
      ],
    });
  }, 60_000);

  test('a kernel in the body of an If is refused by name', async () => {
    const branch = (op: string, domain?: string) => ({
      graph: {
        name: op,
        inputs: [],
        outputs: [{ name: 'z', dtype: 'float', shape: null }] as const,
        initializers: [],
        nodes: [{ op, ...(domain === undefined ? {} : { domain }), name: `in_${op}`, inputs: ['x'], outputs: ['z'] }],
      },
    });
    const model: OnnxModel = {
      name: 'branching',
      opset: 18,
      domains: { 'my.ops': 1 },
      inputs: [
        { name: 'x', dtype: 'float', shape: ['n'] },
        { name: 'c', dtype: 'bool', shape: [] },
      ],
      outputs: [{ name: 'y', dtype: 'float', shape: null }],
      initializers: [],
      nodes: [
        {
          op: 'If',
          inputs: ['c'],
          outputs: ['y'],
          attributes: { then_branch: branch('Twice', 'my.ops'), else_branch: branch('Identity') },
        },
      ],
    };
    await using mesh = await meshWith({ 'ops.ts': library, 'branching/1/model.onnx': buildModel(model) }, ['--op_library=$FOLDER/ops.ts']);
    expect(await failure(mesh, 'branching')).toMatch(
      /model\.onnx: node in_Twice of the op my\.ops\.Twice stands in a graph inside another .*give it the form 'onnx'/,
    );
  }, 60_000);
});

test('a kernel may be WASM that lies beside its module', async () => {
  const wasm = Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f, 0x03, 0x02, 0x01, 0x00],
    ...[0x07, 0x09, 0x01, 0x05, 0x74, 0x77, 0x69, 0x63, 0x65, 0x00, 0x00],
    ...[0x0a, 0x09, 0x01, 0x07, 0x00, 0x20, 0x00, 0x41, 0x02, 0x6c, 0x0b],
  ]);
  const module = `
    import { readFileSync } from 'node:fs';
    const bytes = readFileSync(new URL('./twice.wasm', import.meta.url));
    const { twice } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
    export const ops = [{ name: 'ZeroOut', form: 'kernel', outputs: [{ dtype: 'int32' }], run: ([x]) => [{ ...x, data: x.data.map(twice) }] }];
  `;
  await using mesh = await meshWith({ 'ops/zero.js': module, 'ops/twice.wasm': wasm, 'm/1/saved_model.pb': exampleModel(EXAMPLE) }, [
    '--op_library=$FOLDER/ops',
  ]);
  expect(await predict(mesh, 'm', [[3, -4]])).toEqual({ outputs: [[6, -8]] });
}, 60_000);

describe('a changed module', () => {
  test('counts for versions that are loaded after the change, and swapping them under load gives 0 errors', async () => {
    await using mesh = await meshWith(
      {
        'ops/zero.ts': `import { times } from './shared/times.js';${kernelModule().replace('*= 1', '*= times')}`,
        'ops/shared/times.js': 'export const times = 1;',
        'm/1/saved_model.pb': exampleModel(EXAMPLE),
      },
      ['--op_library=$FOLDER/ops'],
    );
    let swapping = true;
    const wrong: unknown[] = [];
    const seen = new Set<number>();
    const load = Array.from({ length: 4 }, async (_, client) => {
      for (let index = 1; swapping; index++) {
        const x = client * 100_000 + index;
        const { outputs, error } = await predict(mesh, 'm', [[x, 9]]);
        const [[first = Number.NaN, second = Number.NaN] = []] = (outputs ?? [[]]) as number[][];
        if (error !== undefined || second !== 0 || !Number.isInteger(first / x)) wrong.push({ x, outputs, error });
        seen.add(first / x);
      }
    });
    const timesNow = async () => (((await predict(mesh, 'm', [[1, 0]])).outputs ?? [[]]) as number[][])[0]?.[0];
    const history: unknown[] = [await timesNow()];
    for (const version of [2, 3, 4]) {
      put(join(mesh.folder, 'ops/shared/times.js'), `export const times = ${version};`);
      // What runs stays as it is.
      history.push(await timesNow());
      put(join(mesh.folder, `m/${version}/saved_model.pb`), exampleModel(EXAMPLE));
      while ((await timesNow()) !== version) await new Promise((resolve) => setTimeout(resolve, 20));
      history.push(version);
    }
    swapping = false;
    await Promise.all(load);
    expect(wrong).toEqual([]);
    expect(history).toEqual([1, 1, 2, 2, 3, 3, 4]);
    expect([...seen].sort()).toEqual([1, 2, 3, 4]);
  }, 120_000);
});
