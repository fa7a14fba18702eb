import { describe, expect, test } from '@jest/globals';
import type { KernelOp, OpDefinition } from '../../../extend/ops.ts';
import type { StoredFunction, StoredNode, StoredSignature } from '../../../savedmodel/graph.ts';
import { indexOps } from '../../../savedmodel/ops/op-library.ts';
import { buildPlan, type DraftPlan } from '../../../savedmodel/plan/build-plan.ts';
import { HOST_STEP_OPS, ONNX_OPS } from '../../../savedmodel/plan/supported-ops.ts';
import { dtype, fn, fun, metaGraph, node } from '../flatten/graphs.ts';

const FLOAT = 1;
const INT32 = 3;
const STRING = 7;
const INT64 = 9;

const kernel = (name: string, more: Partial<KernelOp> = {}): OpDefinition => ({
  name,
  form: 'kernel',
  outputs: [{ dtype: { like: 0 } }],
  run: (inputs) => inputs,
  ...more,
});
const double = (name: string, more: Partial<OpDefinition> = {}): OpDefinition =>
  ({
    name,
    form: 'onnx',
    outputs: [{ dtype: { like: 0 } }],
    inputs: ['x'],
    results: ['y'],
    nodes: [{ op: 'Add', inputs: ['x', 'x'], outputs: ['y'] }],
    ...more,
  }) as OpDefinition;
const placeholder = (name: string, number: number) => node(name, 'Placeholder', [], { dtype: dtype(number) });
const relu = (name: string, input: string) => node(name, 'Relu', [input], { T: dtype(FLOAT) });

interface Case {
  readonly nodes: readonly StoredNode[];
  readonly functions?: readonly StoredFunction[];
  readonly ops: readonly OpDefinition[];
  readonly inputs?: Readonly<Record<string, number>>;
  readonly outputs: Readonly<Record<string, number>>;
}

async function planOf({ nodes, functions = [], ops, inputs = { 'x:0': FLOAT }, outputs }: Case): Promise<DraftPlan> {
  const infos = (tensors: Readonly<Record<string, number>>) =>
    new Map(
      Object.entries(tensors).map(([tensorName, number]) => [tensorName, { tensorName, dtype: number, shape: [-1, 2], dimNames: [] }]),
    );
  const stored: StoredSignature = {
    inputs: infos(inputs),
    outputs: infos(outputs),
    methodName: 'tensorflow/serving/predict',
    defaults: new Map(),
  };
  const graph = metaGraph(nodes, functions, { signatures: new Map([['serving_default', stored]]) });
  const module = { path: '/lib/ops.ts', digest: 'd1' };
  const library = indexOps(ops.map((definition) => ({ definition, domain: definition.domain ?? 'custom', module })));
  const source = { metaGraph: graph, bundle: null, folder: '/nowhere', initSignature: null, tagSets: [['serve']] };
  return buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS, library });
}

const steps = ({ plan }: DraftPlan) =>
  plan.signatures.serving_default?.program.steps.map((step) => (step.type === 'host' ? `host ${step.op}` : step.type));

describe('a custom op of a SavedModel', () => {
  test('that is a kernel runs between segments, and the plan says where it is from', async () => {
    const draft = await planOf({
      nodes: [placeholder('x', FLOAT), relu('a', 'x'), node('b', 'Odd', ['a']), relu('c', 'b')],
      ops: [kernel('Odd')],
      outputs: { 'c:0': FLOAT },
    });
    expect(steps(draft)).toEqual(['host Relu', 'host Odd', 'onnx']);
    expect(draft.plan.ops).toEqual([{ name: 'Odd', domain: 'custom', form: 'kernel', module: 'd1' }]);
  });

  test('that is a function becomes a call in the segment, with the functions that it needs', async () => {
    const calling = double('Odd', {
      nodes: [{ op: 'Even', domain: 'my.ops', inputs: ['x'], outputs: ['y'] }],
    });
    const draft = await planOf({
      nodes: [placeholder('x', FLOAT), relu('a', 'x'), node('b', 'Odd', ['a'], { k: 2, unknown: 7 }), relu('c', 'b')],
      ops: [{ ...calling, attributes: { k: 1, j: 5 } } as OpDefinition, double('Even', { domain: 'my.ops' })],
      outputs: { 'c:0': FLOAT },
    });
    expect(steps(draft)).toEqual(['onnx']);
    const model = draft.models.get('segment-0.onnx');
    expect(model?.nodes.find(({ op }) => op === 'Odd')).toMatchObject({ domain: 'custom', attributes: { k: 2 } });
    expect(model?.functions?.map(({ domain, name, defaults, opset }) => ({ domain, name, defaults, opset }))).toEqual([
      { domain: 'custom', name: 'Odd', defaults: { k: 1, j: 5 }, opset: 18 },
      { domain: 'my.ops', name: 'Even', defaults: {}, opset: 18 },
    ]);
    expect(draft.plan.ops).toEqual([{ name: 'Odd', domain: 'custom', form: 'onnx', module: 'd1' }]);
  });

  test('that calls what the library does not have is refused', async () => {
    const lost = double('Odd', { nodes: [{ op: 'Gone', domain: 'my.ops', inputs: ['x'], outputs: ['y'] }] } as Partial<OpDefinition>);
    const planned = planOf({ nodes: [placeholder('x', FLOAT), node('b', 'Odd', ['x'])], ops: [lost], outputs: { 'b:0': FLOAT } });
    await expect(planned).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('/lib/ops.ts: op Odd calls my.ops.Gone'),
    });
  });

  test.each([
    ['a kernel', kernel],
    ['a function', double],
  ])('that is %s keeps requests out of a common batch, unless it says that rows are independent', async (_, make) => {
    const batchable = async (op: OpDefinition) => {
      const draft = await planOf({ nodes: [placeholder('x', FLOAT), node('b', 'Odd', ['x'])], ops: [op], outputs: { 'b:0': FLOAT } });
      return draft.plan.signatures.serving_default?.signature.batchable;
    };
    expect(await batchable(make('Odd'))).toBe(false);
    expect(await batchable(make('Odd', { batchable: true }))).toBe(true);
  });

  test('of several outputs has the dtypes that it says, which the model may take its own ops by', async () => {
    const odd = kernel('Odd', { outputs: [{ dtype: 'int64' }, { dtype: { attribute: 'T' } }] });
    const draft = await planOf({
      nodes: [
        placeholder('x', STRING),
        node('b', 'Odd', ['x'], { T: dtype(FLOAT) }),
        node('numbers', 'Mul', ['b', 'b'], { T: dtype(INT64) }),
        relu('floats', 'b:1'),
      ],
      ops: [odd],
      inputs: { 'x:0': STRING },
      outputs: { 'numbers:0': INT64, 'floats:0': FLOAT },
    });
    expect(draft.plan.segments.flatMap(({ inputs }) => inputs.map((input) => input.dtype))).toEqual(['int64', 'float']);
    expect(steps(draft)).toEqual(['host Odd', 'onnx']);
  });

  test('says shapes for what follows', async () => {
    const shaped = kernel('Odd', { outputs: [{ dtype: 'float' }], shapes: ([shape = null]) => [shape && [...shape, 3]] });
    const nodes = [
      placeholder('x', FLOAT),
      node('b', 'Odd', ['x']),
      node('c', 'MatMul', ['b', 'b'], { T: dtype(FLOAT), transpose_a: false, transpose_b: false }),
    ];
    const draft = await planOf({ nodes, ops: [shaped], outputs: { 'c:0': FLOAT } });
    expect(draft.plan.segments[0]?.inputs).toMatchObject([{ shape: [-1, -1, -1] }]);
    const failing = kernel('Odd', {
      shapes: () => {
        throw new Error('no idea');
      },
    });
    await expect(planOf({ nodes, ops: [failing], outputs: { 'c:0': FLOAT } })).rejects.toThrow(
      '/lib/ops.ts: "shapes" of op Odd failed: no idea (for node b)',
    );
    const wrong = kernel('Odd', { shapes: () => [[-2]] });
    await expect(planOf({ nodes, ops: [wrong], outputs: { 'c:0': FLOAT } })).rejects.toThrow(
      'gave [[-2]], not one shape in a list (for node b)',
    );
  });

  test('may stand in a function that calls its output by a name, though the model does not carry its definition', async () => {
    const body = fun('body', { inputs: ['v'], nodes: [node('odd', 'Odd', ['v'])], returns: { r: 'odd:whatever:0' } });
    const draft = await planOf({
      nodes: [placeholder('x', INT32), node('call', 'PartitionedCall', ['x'], { f: fn('body') })],
      functions: [body],
      ops: [kernel('Odd')],
      inputs: { 'x:0': INT32 },
      outputs: { 'call:0': INT32 },
    });
    expect(steps(draft)).toEqual(['host Odd']);
  });

  test('never stands in for an op that Headrace has', async () => {
    const draft = await planOf({
      nodes: [placeholder('x', FLOAT), relu('a', 'x'), node('b', 'Odd', ['a'])],
      ops: [kernel('Relu'), kernel('Placeholder', { outputs: [{ dtype: 'string' }] }), kernel('Odd')],
      outputs: { 'b:0': FLOAT },
    });
    expect(steps(draft)).toEqual(['host Relu', 'host Odd']);
    expect(draft.plan.ops?.map(({ name }) => name)).toEqual(['Odd']);
  });

  test('whose function is given strings is refused with the node', async () => {
    const planned = planOf({
      nodes: [placeholder('x', STRING), node('b', 'Odd', ['x'])],
      ops: [double('Odd')],
      inputs: { 'x:0': STRING },
      outputs: { 'b:0': STRING },
    });
    await expect(planned).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      message: expect.stringMatching(/^op Odd of node b in the main graph/),
    });
  });
});

test('a model of TensorFlow Decision Forests is refused by that name', async () => {
  const planned = planOf({
    nodes: [placeholder('x', FLOAT), node('f', 'SimpleMLInferenceOpWithHandle', ['x'])],
    ops: [],
    outputs: { 'f:0': FLOAT },
  });
  await expect(planned).rejects.toThrow('is not supported: models of TensorFlow Decision Forests cannot be served');
});
