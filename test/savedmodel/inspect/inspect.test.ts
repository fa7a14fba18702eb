import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ServeError } from '#mesh/errors.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import { runInspect } from '../../../savedmodel/inspect/index.ts';
import type { InspectOptions } from '../../../savedmodel/inspect/inspect-saved-model.ts';
import { buildPlan } from '../../../savedmodel/plan/build-plan.ts';
import { HOST_STEP_OPS, ONNX_OPS } from '../../../savedmodel/plan/supported-ops.ts';
import { hasTranscripts, sharedPath } from '../../conformance/transcripts.ts';

const ROOT = join(import.meta.dirname, '../../..');
const PATTERNS = join(import.meta.dirname, '../goldens/patterns');
const RECORDED = join(import.meta.dirname, 'recorded');

const planned: InspectOptions['makePlan'] = (source) => buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS });
const refused: InspectOptions['makePlan'] = () =>
  Promise.reject(new ServeError('UNIMPLEMENTED', 'op Frob of node f in function g is not supported'));
const pattern = (name: string) => join(PATTERNS, name, '1');

/** What TensorFlow's tool prints, its ops in order and without the space after nothing; sparse inputs have no names there. */
function comparable(text: string): string {
  return text
    .replace(/following ops: \{(.*)\}/g, (_all, ops: string) => `following ops: {${ops.split(', ').sort().join(', ')}}`)
    .replace(/ {8}(values: .*\n {8}indices: .*\n {8}dense_shape: .*)/g, '        name:')
    .replace(/ {8}may be left out: has a default\n/g, '')
    .replace(/ +$/gm, '');
}

describe('headrace inspect', () => {
  let scratch = '';
  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), 'inspect-'));
  });
  afterEach(() => rmSync(scratch, { recursive: true }));

  test.each(readdirSync(RECORDED).map((file) => file.replace('.txt', '')))('shows of %s what saved_model_cli shows', async (name) => {
    const { output } = await runInspect([pattern(name)], refused);
    const [offered = ''] = output.split('\nHow the MetaGraph');
    expect(comparable(offered)).toBe(comparable(readFileSync(join(RECORDED, `${name}.txt`), 'utf8')));
  });

  test('shows how a model runs', async () => {
    const { output, exitCode } = await runInspect([pattern('tf2_lookup_tables')], planned);
    expect(output).toMatch(/signature_def\['serving_default'\]: \d+ ONNX segments?, [1-9]\d* host steps?, /);
    expect(output).toMatch(/\d\. host LookupTableFindV2, node /);
    expect(output).toMatch(/Lookup tables:\n {2}.*assets\/vocabulary\.txt/);
    expect(exitCode).toBe(0);
  });

  test('shows why nothing can be served, and leaves with 1', async () => {
    const { output, exitCode } = await runInspect([pattern('tf2_cond')], refused);
    expect(output).toContain('\nNot supported:\n  UNIMPLEMENTED: op Frob of node f in function g is not supported\n');
    expect(exitCode).toBe(1);
  });

  test('does not call a fault of another kind a lack of support', async () => {
    const { output } = await runInspect([pattern('tf2_cond')], () => Promise.reject(new ServeError('DATA_LOSS', 'variables are cut off')));
    expect(output).toContain('\nCannot be imported:\n  DATA_LOSS: variables are cut off\n');
  });

  test('shows which signature cannot be served while others can, and leaves with 1', async () => {
    const { output, exitCode } = await runInspect([pattern('tf1_coo_sparse')], planned);
    expect(output).toMatch(/signature_def\['dense'\]: 1 ONNX segment/);
    expect(output).toMatch(/signature_def\['serving_default'\]: not supported: /);
    expect(exitCode).toBe(1);
  });

  test('shows all MetaGraphs, or the one whose tags are given in any order', async () => {
    const all = await runInspect([pattern('tf1_tags')], planned);
    expect(all.output.match(/MetaGraphDef with tag-set: '.*' contains/g)).toHaveLength(2);
    expect(all.output.match(/^How the MetaGraph/gm)).toHaveLength(2);
    const one = await runInspect([pattern('tf1_tags'), '--tag_set', 'gpu, serve'], planned);
    expect(one.output.match(/tag-set: '.*'/g)).toEqual(["tag-set: 'serve, gpu'", "tag-set: 'serve, gpu'"]);
  });

  test('shows one signature of several', async () => {
    const { output } = await runInspect([pattern('tf1_signatures'), '--signature=from_hidden'], planned);
    expect(output.match(/signature_def\['\w+'\]/g)).toEqual(["signature_def['from_hidden']", "signature_def['from_hidden']"]);
  });

  test('gives programs the same as JSON', async () => {
    const { output } = await runInspect([pattern('tf2_default_inputs'), '--json'], planned);
    expect(JSON.parse(output)).toMatchObject({
      kind: 'savedmodel',
      version: null,
      meta_graphs: [
        {
          tags: ['serve'],
          signatures: {
            serving_default: {
              method_name: 'tensorflow/serving/predict',
              inputs: {
                x: { dtype: 'DT_FLOAT', shape: [-1], name: 'serving_default_x:0', optional: false },
                scale: { dtype: 'DT_FLOAT', shape: [], optional: true },
              },
            },
            __saved_model_init_op: { outputs: { __saved_model_init_op: { dtype: 'DT_INVALID', shape: null, name: 'NoOp' } } },
          },
          plan: { signatures: { serving_default: { refusal: null }, __saved_model_init_op: { listedOnly: true, steps: [] } } },
          unsupported: null,
        },
      ],
    });
    const { output: failed } = await runInspect([pattern('tf2_default_inputs'), '--json'], refused);
    expect(JSON.parse(failed).meta_graphs[0]).toMatchObject({ plan: null, unsupported: { code: 'UNIMPLEMENTED' } });
  });

  test('takes the newest version of a base path, by number, and says so', async () => {
    for (const version of ['9', '010', 'notes']) mkdirSync(join(scratch, version));
    writeFileSync(join(scratch, '010', 'saved_model.pb'), readFileSync(join(pattern('tf2_cond'), 'saved_model.pb')));
    const { output } = await runInspect([scratch], refused);
    expect(output.split('\n')[0]).toBe(`Version 10 (the newest; there are also 9): ${join(scratch, '010')}`);
  });

  test('shows inputs and outputs of ONNX files, and the signatures of signatures.json', async () => {
    const value = { name: 'x', dtype: 'float' as const, shape: [-1, 3] };
    const graph = {
      name: 'g',
      inputs: [value],
      outputs: [{ ...value, name: 'y', dtype: 'int64' as const, shape: null }],
      initializers: [],
    };
    const nodes = [{ op: 'Cast', inputs: ['x'], outputs: ['y'], attributes: { to: 7 } }];
    mkdirSync(join(scratch, '1'));
    writeFileSync(join(scratch, '1', 'model.onnx'), buildModel({ ...graph, opset: 18, nodes }));
    const bare = await runInspect([scratch], refused);
    expect(bare.output).toContain('takes x: DT_FLOAT, shape (-1, 3)\n  gives y: DT_INT64, shape unknown_rank\n');
    expect(bare.output).toContain('No signatures.json');
    const offered = { inputs: { a: { dtype: 'DT_FLOAT', shape: [-1, 3], onnx: 'x' } }, outputs: { b: { dtype: 'DT_INT64', onnx: 'y' } } };
    writeFileSync(join(scratch, '1', 'signatures.json'), JSON.stringify({ signatures: { serving_default: offered, other: offered } }));
    const named = await runInspect([scratch, '--signature', 'other'], refused);
    expect(named.output).toContain("signature_def['other']:\n  input(s):\n    inputs['a']: DT_FLOAT, shape (-1, 3)\n");
    expect(named.output).toContain("    outputs['b']: DT_INT64, shape unknown_rank\n  Method name is: predict\n");
    expect(named.output).not.toContain('serving_default');
    expect(JSON.parse((await runInspect([scratch, '--json'], refused)).output)).toMatchObject({
      kind: 'onnx',
      version: { chosen: 1, all: [1] },
      onnx: { files: [{ file: 'model.onnx', inputs: [{ name: 'x', dtype: 'float', shape: [-1, 3] }] }], signatures: { other: offered } },
    });
  });

  test.each([
    ['a signature that is not there', () => [pattern('tf2_cond'), '--signature', 'nope'], 'no signature "nope"'],
    ['tags that are not there', () => [pattern('tf2_cond'), '--tag_set', 'train'], '{ train }'],
    ['a folder that is not there', () => [join(scratch, 'gone')], 'cannot be read'],
    ['a folder without a model', () => [scratch], 'has no saved_model.pb'],
  ])('leaves with 1 for %s', async (_what, words, message) => {
    const { exitCode, output, errors } = await runInspect(words(), refused);
    expect([exitCode, output]).toEqual([1, '']);
    expect(errors).toContain(message);
  });

  test.each([
    ['a damaged SavedModel', 'saved_model.pb', new Uint8Array([0x12, 0xff, 0x01, 0x0a]), 'DATA_LOSS'],
    ['a chunked SavedModel', 'saved_model.cpb', new Uint8Array([1]), 'UNIMPLEMENTED'],
    ['a broken signatures.json', 'signatures.json', new Uint8Array([0x7b]), 'is not JSON'],
    ['a file that is no ONNX', 'model.onnx', new Uint8Array([0xff, 0xff, 0xff]), 'DATA_LOSS'],
  ])('leaves with 1 for %s and says what is wrong with it', async (_what, file, bytes, message) => {
    writeFileSync(join(scratch, file), bytes);
    const { exitCode, errors } = await runInspect([scratch], refused);
    expect(exitCode).toBe(1);
    expect(errors).toContain(message);
  });

  test.each([
    [[], 'DIR is missing'],
    [['a', 'b'], 'one DIR at a time'],
    [['a', '--tags', 'serve'], 'there is no --tags'],
    [['a', '--signature'], '--signature needs a value'],
    [['a', '--tag_set='], '--tag_set needs a value'],
  ])('leaves with 2 for the words %j', async (words, message) => {
    const { exitCode, errors } = await runInspect(words, refused);
    expect(exitCode).toBe(2);
    expect(errors).toContain(message);
    expect(errors).toContain('usage: headrace inspect');
  });

  test('takes the words of saved_model_cli', async () => {
    const words = ['--dir', pattern('tf1_signatures'), '--tag_set', 'serve', '--signature_def', 'embed'];
    const { output, exitCode } = await runInspect(words, planned);
    expect(exitCode).toBe(0);
    expect(output).toContain("signature_def['embed']");
  });

  test('explains itself', async () => {
    expect(await runInspect(['--help'], refused)).toMatchObject({
      exitCode: 0,
      output: expect.stringContaining('usage: headrace inspect DIR'),
    });
  });

  test('is a command', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      join(ROOT, 'scripts/headrace.mjs'),
      'inspect',
      pattern('tf1_pbtxt'),
      '--json',
    ]);
    expect(JSON.parse(stdout)).toMatchObject({ meta_graphs: [{ tags: ['serve'], unsupported: null }] });
  }, 30_000);
});

(hasTranscripts ? describe : describe.skip)('headrace inspect on models of others (skipped without ../shared)', () => {
  test('names the op, the node and the function that cannot be served', async () => {
    const { output, exitCode } = await runInspect([sharedPath('models', 'zero_out')], planned);
    expect(output).toContain('UNIMPLEMENTED: op ZeroOut of node ZeroOut in the main graph is not supported; --op_library names modules');
    expect(exitCode).toBe(1);
  });

  test('shows the variables that a counter keeps on its worker', async () => {
    const { output, exitCode } = await runInspect([sharedPath('models', 'counter')], planned);
    expect(output).toMatch(/^Version 123 \(the only one\): /);
    expect(output).toMatch(
      /signature_def\['incr_counter'\]: 0 ONNX segments, \d+ host steps?, writes variables or tables, each request runs alone/,
    );
    expect(output).toContain('\nVariables kept on the worker:\n  counter: float ()\n');
    expect(exitCode).toBe(0);
  });
});
