import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import type { AttrValue } from '../../../savedmodel/graph.ts';
import { describeSavedModel } from '../../../savedmodel/read/describe.ts';
import { readSavedModel } from '../../../savedmodel/read/saved-model.ts';
import { MODEL_TEXT, writeModel } from './model-text.ts';

const root = mkdtempSync(join(tmpdir(), 'saved-model-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const SERVE = { tags: ['gpu', 'serve'] };
const pb = writeModel(join(root, 'pb'), MODEL_TEXT, 'pb');
const pbtxt = writeModel(join(root, 'pbtxt'), MODEL_TEXT, 'pbtxt');
let folders = 0;
const fresh = () => join(root, `${folders++}`);
const problem = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no problem',
    (error: unknown) => (error instanceof ServeError ? `${error.code}: ${error.message}` : `not a ServeError: ${error}`),
  );

describe.each([
  ['saved_model.pb', pb],
  ['saved_model.pbtxt', pbtxt],
])('%s', (_, folder) => {
  const read = async () => (await readSavedModel(folder, SERVE)).metaGraph;
  const attrsOf = async (name: string) => (await read()).nodes.find((node) => node.name === name)?.attrs ?? new Map<string, AttrValue>();
  const tensorOf = async (name: string) => {
    const value = (await attrsOf(name)).get('value');
    if (value?.type !== 'tensor') throw new Error(`${name} has no tensor`);
    return value.value;
  };

  test('has its MetaGraph by its set of tags, whatever their order', async () => {
    const source = await readSavedModel(folder, SERVE);
    expect(source.tagSets).toEqual([['serve', 'gpu'], ['train']]);
    expect(source.metaGraph).toMatchObject({ tags: ['serve', 'gpu'], tensorflowVersion: '2.21.0' });
    expect(source).toMatchObject({ bundle: null, folder });
  });

  test('names the sets of tags that are there when the one asked for is not', async () => {
    expect(await problem(readSavedModel(folder, { tags: ['serve'] }))).toBe(
      'NOT_FOUND: Could not find meta graph def matching supplied tags: { serve }. To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli` (Available tag sets: { serve, gpu }, { train }.)',
    );
  });

  test('has nodes with their inputs, without the device', async () => {
    const { nodes } = await read();
    expect(nodes.map(({ name, op }) => `${name} ${op}`)).toEqual([
      'const Const',
      'words Const',
      'big Const',
      'unsigned Const',
      'variant Const',
      'all Everything',
    ]);
    expect(nodes.at(-1)?.inputs).toEqual(['const', 'words:1', '^big']);
  });

  test('has every kind of attribute', async () => {
    const attrs = await attrsOf('all');
    expect(attrs).toEqual(
      new Map<string, AttrValue>([
        ['s', { type: 'string', value: Uint8Array.of(...utf8('bytes '), 0xff) }],
        ['i', { type: 'int', value: -5 }],
        ['f', { type: 'float', value: Number.NEGATIVE_INFINITY }],
        ['b', { type: 'bool', value: true }],
        ['zero', { type: 'int', value: 0 }],
        ['ref', { type: 'dtype', value: 101 }],
        ['shape', { type: 'shape', value: [-1, 0, 3] }],
        ['unknown', { type: 'shape', value: null }],
        ['placeholder', { type: 'placeholder', name: 'T' }],
        ['func', { type: 'function', name: 'double_it', attrs: new Map([['T', { type: 'dtype', value: 3 }]]) }],
        ['empty', { type: 'list', values: [] }],
        [
          'list',
          {
            type: 'list',
            values: [
              { type: 'int', value: 1 },
              { type: 'int', value: 2 },
              { type: 'int', value: 3 },
              { type: 'float', value: 0.5 },
              { type: 'bool', value: false },
              { type: 'string', value: utf8('x') },
              { type: 'dtype', value: 10 },
              { type: 'shape', value: [1] },
              { type: 'function', name: 'g', attrs: new Map() },
            ],
          },
        ],
      ]),
    );
  });

  test('has constants with all their bits', async () => {
    expect(await tensorOf('const')).toMatchObject({ dtype: 'float', shape: [2] });
    expect([...new Float32Array((await tensorOf('const')).bytes.slice().buffer)]).toEqual([1, 2]);
    expect([...new BigInt64Array((await tensorOf('big')).bytes.slice().buffer)]).toEqual([9007199254740993n, -9223372036854775808n]);
    expect([...new BigUint64Array((await tensorOf('unsigned')).bytes.slice().buffer)]).toEqual([18446744073709551615n]);
    const { bytes, shape } = await tensorOf('words');
    expect(shape).toEqual([3]);
    expect(fromUtf8(bytes.subarray(16))).toBe('ab\'"cb\'"c');
  });

  test('a constant of a dtype that cannot be held is refused only when it is asked for, with the node’s name', async () => {
    expect(await problem(tensorOf('variant'))).toMatch(/^UNIMPLEMENTED: node variant \(Const\) has a constant of dtype DT_VARIANT/);
  });

  test('has functions with arguments, returns and control returns', async () => {
    const { functions } = await read();
    expect(functions.get('double_it')).toEqual({
      name: 'double_it',
      inputs: [{ name: 'x', typeAttr: 'T' }],
      outputs: [{ name: 'y', typeAttr: 'T' }],
      nodes: [{ name: 'sum', op: 'AddV2', inputs: ['x', 'x'], attrs: new Map([['T', { type: 'placeholder', name: 'T' }]]) }],
      returns: new Map([['y', 'sum:z:0']]),
      controlReturns: ['sum'],
      attrs: new Map([['_noinline', { type: 'bool', value: true }]]),
    });
  });

  test('has signatures with sparse inputs, dimension names and defaults, and without the init op', async () => {
    const { signatures, initOp } = await read();
    expect([...signatures.keys()]).toEqual(['serving_default']);
    expect(initOp).toBe('NoOp');
    const signature = signatures.get('serving_default');
    expect(signature?.inputs).toEqual(
      new Map([
        ['x', { tensorName: 'x:0', dtype: 1, shape: [-1, 2], dimNames: ['batch', ''] }],
        ['sparse', { tensorName: '', dtype: 9, shape: [-1], dimNames: [''], sparse: { values: 'v:0', indices: 'i:0', denseShape: 'd:0' } }],
        ['k', { tensorName: 'k:0', dtype: 3, shape: [], dimNames: [] }],
      ]),
    );
    expect(signature?.outputs.get('y')).toEqual({ tensorName: 'y:1', dtype: 1, shape: null, dimNames: [] });
    expect(signature?.methodName).toBe('tensorflow/serving/predict');
    expect(signature?.defaults.get('k')).toEqual({ dtype: 'int32', shape: [], bytes: Uint8Array.of(7, 0, 0, 0) });
  });

  test('has assets, saver and the ops that the model carries', async () => {
    const { assets, saver, strippedOps } = await read();
    expect(assets).toEqual([{ tensorName: 'asset:0', fileName: 'vocab/words.txt' }]);
    expect(saver).toEqual({ filenameTensorName: 'saver_filename:0', restoreOpName: 'restore' });
    expect(strippedOps.get('ZeroOut')).toEqual({
      inputs: [
        { name: 'to_zero', dtype: 3 },
        { name: 'many', typeAttr: 'T', numberAttr: 'N' },
      ],
      outputs: [{ name: 'zeroed', typeListAttr: 'Tout' }],
      defaults: new Map([['T', { type: 'dtype', value: 1 }]]),
    });
  });

  test('has TF1’s collections: assets as Any, the init op', async () => {
    const { metaGraph, initSignature } = await readSavedModel(folder, { tags: ['train'] });
    expect(metaGraph).toMatchObject({ initOp: 'init', saver: null });
    expect(initSignature).toBeNull();
    expect(metaGraph.assets).toEqual([
      { tensorName: 'Const:0', fileName: 'foo.txt' },
      { tensorName: 'Const_1:0', fileName: 'bar.txt' },
    ]);
  });
});

describe('readSavedModel', () => {
  test('keeps constants as views of the file’s one buffer', async () => {
    const { metaGraph } = await readSavedModel(pb, SERVE);
    const value = metaGraph.nodes[0]?.attrs.get('value');
    expect(value?.type === 'tensor' && value.value.bytes.buffer.byteLength).toBe(readFileSync(join(pb, 'saved_model.pb')).byteLength);
  });

  test('prefers the binary file', async () => {
    const folder = fresh();
    writeModel(folder, MODEL_TEXT, 'pb');
    writeModel(folder, 'not { a model', 'pbtxt');
    expect((await readSavedModel(folder, SERVE)).metaGraph.nodes).toHaveLength(6);
  });

  test('says so when there is no model, or only a chunked one', async () => {
    const folder = fresh();
    expect(await problem(readSavedModel(folder, SERVE))).toMatch(
      /^NOT_FOUND: Could not find SavedModel \.pb or \.pbtxt at supplied export directory path: /,
    );
    mkdirSync(folder);
    writeFileSync(join(folder, 'saved_model.cpb'), '');
    expect(await problem(readSavedModel(folder, SERVE))).toMatch(/^UNIMPLEMENTED: .*chunked/);
  });

  test.each([
    [
      'an unclosed message',
      'meta_graphs {\n  meta_info_def {',
      /^DATA_LOSS: .*saved_model\.pbtxt is damaged: line 2, column 18: Expected "}", found ""/,
    ],
    ['a wrong value', 'meta_graphs { graph_def { node { name: 5 } } }', /^DATA_LOSS: .*line 1, column 40: Expected string, got: 5/],
    [
      'a dtype that is none',
      'meta_graphs { signature_def { value { inputs { value { dtype: DT_NONE } } } } }',
      /Expected a dtype, got: DT_NONE/,
    ],
    ['an integer beyond 64 bits', 'saved_model_schema_version: 18446744073709551616', /Integer out of range/],
    [
      'two init ops',
      'meta_graphs { collection_def { key: "legacy_init_op" value { node_list { value: ["a", "b"] } } } }',
      /^FAILED_PRECONDITION: Expected exactly one main op/,
    ],
    [
      'an asset outside of the model',
      'meta_graphs { asset_file_def { filename: "a/../../b" } }',
      /^DATA_LOSS: .*"a\/..\/..\/b" is outside of assets/,
    ],
    [
      'a constant of the wrong size',
      'meta_graphs { graph_def { node { name: "c" op: "Const" attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_content: "abc" } } } } } }',
      /^DATA_LOSS: .*tensor of node c \(Const\) at byte \d+: .*3 bytes, 4 were expected/,
    ],
    ['brackets without end', `meta_graphs ${'{ unknown '.repeat(120)}`, /nested deeper than 100|ends within/],
  ])('refuses %s', async (_, text, message) => {
    expect(await problem(readSavedModel(writeModel(fresh(), text, 'pbtxt'), { tags: [] }))).toMatch(message);
  });

  test('a damaged saved_model.pb gives a model or DATA_LOSS with the file’s name, and nothing else', async () => {
    const whole = new Uint8Array(readFileSync(join(pb, 'saved_model.pb')));
    const folder = fresh();
    mkdirSync(folder);
    const file = join(folder, 'saved_model.pb');
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: whole.byteLength - 1 }), fc.integer({ min: 1, max: 255 }), fc.boolean(), async (at, flip, cut) => {
        writeFileSync(file, cut ? whole.subarray(0, at) : whole.with(at, (whole[at] ?? 0) ^ flip));
        const result = await problem(readSavedModel(folder, SERVE));
        if (result !== 'no problem') refused++;
        expect(
          result === 'no problem' ||
            result.startsWith(`DATA_LOSS: ${file} is damaged`) ||
            /^(NOT_FOUND|FAILED_PRECONDITION): /.test(result),
        ).toBe(true);
      }),
      { numRuns: 400 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  test('a damaged saved_model.pbtxt too', async () => {
    const whole = utf8(MODEL_TEXT);
    const folder = fresh();
    mkdirSync(folder);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: whole.byteLength - 1 }), fc.integer({ min: 1, max: 255 }), fc.boolean(), async (at, flip, cut) => {
        writeFileSync(join(folder, 'saved_model.pbtxt'), cut ? whole.subarray(0, at) : whole.with(at, (whole[at] ?? 0) ^ flip));
        expect(await problem(readSavedModel(folder, SERVE))).toMatch(
          /^(no problem$|DATA_LOSS: .*saved_model\.pbtxt is damaged|NOT_FOUND: |FAILED_PRECONDITION: )/,
        );
      }),
      { numRuns: 200 },
    );
  });
});

test('describeSavedModel shows what saved_model_cli shows', async () => {
  expect(describeSavedModel(await readSavedModel(pb, SERVE))).toBe(`
MetaGraphDef with tag-set: 'serve, gpu' contains the following SignatureDefs:

signature_def['__saved_model_init_op']:
  The given SavedModel SignatureDef contains the following input(s):
  The given SavedModel SignatureDef contains the following output(s):
    outputs['__saved_model_init_op'] tensor_info:
        dtype: DT_INVALID
        shape: unknown_rank
        name: NoOp
  Method name is: 

signature_def['serving_default']:
  The given SavedModel SignatureDef contains the following input(s):
    inputs['k'] tensor_info:
        dtype: DT_INT32
        shape: ()
        name: k:0
        may be left out: has a default
    inputs['sparse'] tensor_info:
        dtype: DT_INT64
        shape: (-1)
        values: v:0
        indices: i:0
        dense_shape: d:0
    inputs['x'] tensor_info:
        dtype: DT_FLOAT
        shape: (-1, 2)
        name: x:0
  The given SavedModel SignatureDef contains the following output(s):
    outputs['y'] tensor_info:
        dtype: DT_FLOAT
        shape: unknown_rank
        name: y:1
  Method name is: tensorflow/serving/predict
`);
});
