import { describe, expect, test } from '@jest/globals';
import type { MetaGraph, StoredFunction, StoredNode, StoredSignature } from '../../../savedmodel/graph.ts';
import { buildPlan, type DraftPlan } from '../../../savedmodel/plan/build-plan.ts';
import type { Step } from '../../../savedmodel/plan/plan.ts';
import { HOST_STEP_OPS, ONNX_OPS } from '../../../savedmodel/plan/supported-ops.ts';
import { readSavedModel } from '../../../savedmodel/read/saved-model.ts';
import { constant, dtype, int32, metaGraph, node, texts } from '../flatten/graphs.ts';
import { patternFolders } from '../goldens/goldens.ts';

const FLOAT = 1;
const INT32 = 3;
const STRING = 7;
const DTYPES = { T: dtype(FLOAT), dtype: dtype(FLOAT) };

interface Named {
  readonly inputs: Readonly<Record<string, readonly [string, number]>>;
  readonly outputs: Readonly<Record<string, readonly [string, number]>>;
  readonly shape?: readonly number[] | null;
}

function signature({ inputs, outputs, shape = [-1] }: Named): StoredSignature {
  const infos = (named: Named['inputs']) =>
    new Map(
      Object.entries(named).map(([alias, [tensorName, number]]) => [alias, { tensorName, dtype: number, shape, dimNames: [] }] as const),
    );
  return { inputs: infos(inputs), outputs: infos(outputs), methodName: 'tensorflow/serving/predict', defaults: new Map() };
}

function planOf(
  nodes: readonly StoredNode[],
  signatures: Readonly<Record<string, Named>>,
  functions: readonly StoredFunction[] = [],
): Promise<DraftPlan> {
  const stored = new Map(Object.entries(signatures).map(([key, named]) => [key, signature(named)]));
  const graph: MetaGraph = metaGraph(nodes, functions, { signatures: stored });
  const source = { metaGraph: graph, bundle: null, folder: '/nowhere', initSignature: null, tagSets: [['serve']] };
  return buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS });
}

async function planOfPattern(name: string): Promise<DraftPlan> {
  const found = patternFolders().find((one) => one.name === name);
  if (found === undefined) throw new RangeError(`no pattern ${name}`);
  const source = await readSavedModel(found.versionDirectory, { tags: ['serve'] });
  return buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS });
}

/** `onnx0`, `host StringLower`, … */
function outline({ plan }: DraftPlan, key: string): readonly string[] {
  return (plan.signatures[key]?.program.steps ?? []).map(stepText);
}

function stepText(step: Step): string {
  if (step.type === 'onnx') return `onnx ${step.segment}`;
  return step.type === 'host' ? `host ${step.op}` : step.type;
}

const placeholder = (name: string, number: number) => node(name, 'Placeholder', [], { dtype: dtype(number) });
const floats = (op: string, name: string, inputs: readonly string[]) => node(name, op, inputs, DTYPES);
const two = constant('two', { dtype: 'float', shape: [], bytes: new Uint8Array(Float32Array.of(2).buffer) });

describe('buildPlan', () => {
  test('a graph of numbers becomes one segment', async () => {
    const draft = await planOf([placeholder('x', FLOAT), two, floats('Mul', 'y', ['x', 'two'])], {
      serving_default: { inputs: { x: ['x:0', FLOAT] }, outputs: { y: ['y:0', FLOAT] } },
    });
    expect(outline(draft, 'serving_default')).toEqual(['onnx 0']);
    expect(draft.plan.segments[0]?.inputs).toMatchObject([{ dtype: 'float', shape: null }]);
    expect(draft.plan.signatures.serving_default).toMatchObject({
      stateful: false,
      refusal: null,
      signature: { batchable: true, inputs: { x: { shape: [-1], accepts: null } } },
    });
  });

  test('cheap numbers between strings stay on the host, heavy work does not', async () => {
    const nodes = [
      placeholder('words', STRING),
      node('length', 'StringLength', ['words'], { unit: 'BYTE' }),
      node('more', 'AddV2', ['length', 'length'], { T: dtype(INT32) }),
      node('text', 'AsString', ['more'], { T: dtype(INT32), precision: -1, scientific: false, shortest: false, width: -1, fill: '' }),
      node('wide', 'Cast', ['length'], { SrcT: dtype(INT32), DstT: dtype(FLOAT), Truncate: false }),
      node('square', 'MatMul', ['wide', 'wide'], { T: dtype(FLOAT), transpose_a: false, transpose_b: false }),
    ];
    const draft = await planOf(nodes, {
      serving_default: { inputs: { words: ['words:0', STRING] }, outputs: { text: ['text:0', STRING], square: ['square:0', FLOAT] } },
    });
    expect(outline(draft, 'serving_default')).toEqual(['host StringLength', 'host AddV2', 'host AsString', 'onnx 0']);
    expect(draft.models.get('segment-0.onnx')?.nodes.map(({ op }) => op)).toEqual(expect.arrayContaining(['Cast', 'MatMul']));
  });

  test('what can run nowhere is refused with op, node and function', async () => {
    const nodes = [placeholder('x', FLOAT), node('odd', 'NoSuchOp', ['x'], {})];
    await expect(
      planOf(nodes, { serving_default: { inputs: { x: ['x:0', FLOAT] }, outputs: { y: ['odd:0', FLOAT] } } }),
    ).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      message: expect.stringMatching(/^op NoSuchOp of node odd in the main graph is not supported; --op_library names modules/),
    });
  });

  test('a signature that cannot be served leaves the others', async () => {
    const nodes = [placeholder('x', FLOAT), two, floats('Mul', 'y', ['x', 'two']), node('odd', 'NoSuchOp', ['x'], {})];
    const draft = await planOf(nodes, {
      serving_default: { inputs: { x: ['x:0', FLOAT] }, outputs: { y: ['y:0', FLOAT] } },
      odd: { inputs: { x: ['x:0', FLOAT] }, outputs: { y: ['odd:0', FLOAT] } },
    });
    expect(draft.plan.signatures.serving_default?.refusal).toBeNull();
    expect(draft.plan.signatures.odd?.refusal).toMatch(/^op NoSuchOp of node odd/);
    expect(draft.plan.remarks).toEqual([expect.stringMatching(/^signature odd cannot be served: op NoSuchOp/)]);
  });

  test('a signature may feed a value in the middle of the graph', async () => {
    const nodes = [placeholder('x', FLOAT), two, floats('Mul', 'h', ['x', 'two']), floats('Mul', 'y', ['h', 'two'])];
    const draft = await planOf(nodes, {
      whole: { inputs: { x: ['x:0', FLOAT] }, outputs: { y: ['y:0', FLOAT] } },
      half: { inputs: { h: ['h:0', FLOAT] }, outputs: { y: ['y:0', FLOAT] } },
    });
    expect(draft.models.get('segment-0.onnx')?.nodes.filter(({ op }) => op === 'Mul')).toHaveLength(2);
    expect(draft.models.get('segment-1.onnx')?.nodes.filter(({ op }) => op === 'Mul')).toHaveLength(1);
  });

  test('an output may be an input or a constant', async () => {
    const draft = await planOf([placeholder('x', FLOAT), two], {
      serving_default: { inputs: { x: ['x:0', FLOAT] }, outputs: { same: ['x:0', FLOAT], two: ['two:0', FLOAT] } },
    });
    expect(outline(draft, 'serving_default')).toEqual([]);
    expect(draft.plan.signatures.serving_default?.program.outputs.map(({ value }) => value)).toEqual([{ slot: 0 }, { constant: 0 }]);
  });

  test('a placeholder that nobody feeds is an error of the run, not of the import', async () => {
    const nodes = [placeholder('x', FLOAT), placeholder('z', FLOAT), floats('Mul', 'y', ['x', 'z'])];
    const draft = await planOf(nodes, { serving_default: { inputs: { x: ['x:0', FLOAT] }, outputs: { y: ['y:0', FLOAT] } } });
    expect(outline(draft, 'serving_default')).toEqual(['host Placeholder', 'onnx 0']);
  });

  test('writes run in the order of their control edges, and make the signature stateful', async () => {
    const variable = node('v', 'VarHandleOp', [], {
      dtype: dtype(FLOAT),
      shape: { type: 'shape', value: [] },
      shared_name: 'v',
      container: '',
    });
    const nodes = [
      variable,
      two,
      placeholder('x', FLOAT),
      node('add', 'AssignAddVariableOp', ['v', 'x'], { dtype: dtype(FLOAT) }),
      node('read', 'ReadVariableOp', ['v', '^add'], { dtype: dtype(FLOAT) }),
      node('init', 'AssignVariableOp', ['v', 'two'], { dtype: dtype(FLOAT) }),
    ];
    const draft = await planOf(nodes, {
      add: { inputs: { x: ['x:0', FLOAT] }, outputs: { total: ['read:0', FLOAT] } },
      get: { inputs: {}, outputs: { total: ['read:0', FLOAT] } },
    });
    expect(outline(draft, 'add')).toEqual(['host AssignAddVariableOp', 'host ReadVariableOp']);
    expect(draft.plan.signatures.add).toMatchObject({ stateful: true, signature: { batchable: false } });
    expect(draft.plan.variables).toEqual([{ name: 'v', dtype: 'float', initial: 0 }]);
  });

  test('equal functions behind two signatures are one segment', async () => {
    const { plan } = await planOfPattern('keras3_mlp');
    expect(Object.keys(plan.signatures)).toEqual(expect.arrayContaining(['serve', 'serving_default']));
    expect(plan.segments).toHaveLength(1);
  });

  test('a convolution asks for its rank, and for no size', async () => {
    const { plan } = await planOfPattern('keras3_conv');
    const [input] = Object.values(plan.signatures.serving_default?.signature.inputs ?? {});
    expect(input?.accepts).toEqual([-1, -1, -1, -1]);
  });

  test('images in strings are decoded in a loop of the host, with a segment inside', async () => {
    const draft = await planOfPattern('tf2_image_decode');
    const loop = draft.plan.signatures.serving_default?.program.steps.find((step) => step.type === 'while');
    const body = (loop?.type === 'while' ? loop.body : []).map(stepText);
    expect(body.some((step) => /^host Decode/.test(step))).toBe(true);
    expect(body.some((step) => step.startsWith('onnx'))).toBe(true);
  });

  test('large variables lie in the weights file and not in the model', async () => {
    const bytes = new Uint8Array(4 * 200 * 200);
    const nodes = [
      placeholder('x', FLOAT),
      constant('w', { dtype: 'float', shape: [200, 200], bytes }),
      node('y', 'MatMul', ['x', 'w'], { T: dtype(FLOAT), transpose_a: false, transpose_b: false }),
    ];
    const draft = await planOf(nodes, {
      serving_default: { inputs: { x: ['x:0', FLOAT] }, outputs: { y: ['y:0', FLOAT] }, shape: [-1, 200] },
    });
    expect(draft.weights.byteLength).toBe(bytes.byteLength);
    const [initializer] = draft.models.get('segment-0.onnx')?.initializers ?? [];
    expect(initializer?.external).toEqual({ location: 'weights.bin', offset: 0, byteLength: bytes.byteLength });
  });

  test('a folder that was copied without its variables is refused in those words', async () => {
    const found = patternFolders().find((one) => one.name === 'keras3_mlp');
    const source = await readSavedModel(found?.versionDirectory ?? '', { tags: ['serve'] });
    await expect(buildPlan({ ...source, bundle: null }, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringMatching(/variables\/variables\.index is not there, and the graph restores \d+ variables from it, such as /),
    });
  });

  test('constants of the host are stored once', async () => {
    const nodes = [
      placeholder('x', STRING),
      constant('comma', texts([','], [])),
      node('a', 'StringJoin', ['x', 'comma', 'comma'], { N: 3, separator: '' }),
    ];
    const draft = await planOf(nodes, { serving_default: { inputs: { x: ['x:0', STRING] }, outputs: { y: ['a:0', STRING] } } });
    expect(draft.plan.constants).toHaveLength(1);
    expect(draft.plan.segments).toEqual([]);
  });

  test('constants that nothing reads are not stored', async () => {
    const nodes = [placeholder('x', FLOAT), constant('unused', int32([1, 2, 3])), floats('Neg', 'y', ['x'])];
    const draft = await planOf(nodes, { serving_default: { inputs: { x: ['x:0', FLOAT] }, outputs: { y: ['y:0', FLOAT] } } });
    expect(draft.plan.constants).toEqual([]);
  });
});
