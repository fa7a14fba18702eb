import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import { buildModel, type OnnxModel, type OnnxNode } from '#proto/onnx-writer.ts';
import { createPlanStore } from '../../../savedmodel/cache/plan-store.ts';
import { readPlan } from '../../../savedmodel/plan/run/index.ts';

const IMPORTER = new URL('../../../services/worker-gpu/runtimes/custom-ops/import-onnx.ts', import.meta.url).href;
const never = new AbortController().signal;

const LIBRARY = `
const kernel = (name, more = {}) => ({ name, form: 'kernel', outputs: [{ dtype: { like: 0 } }], run: (inputs) => inputs, ...more });
const twice = (name, more = {}) => ({
  name, form: 'onnx', outputs: [{ dtype: { like: 0 } }], inputs: ['x'], results: ['y'],
  nodes: [{ op: 'Add', inputs: ['x', 'x'], outputs: ['y'] }], ...more,
});
export default [kernel('Mixing'), kernel('Apart', { batchable: true }), kernel('Ints', { outputs: [{ dtype: 'int64' }] }),
  twice('Mixed'), twice('Twice', { batchable: true })];
`;

const value = (name: string, dtype: 'float' | 'int64' = 'float') => ({ name, dtype, shape: ['n'] }) as const;
const custom = (op: string, inputs: readonly string[], outputs: readonly string[]): OnnxNode => ({
  op,
  domain: 'custom',
  name: `a_${op}`,
  inputs,
  outputs,
});
const model = (nodes: readonly OnnxNode[], more: Partial<OnnxModel> = {}): OnnxModel => ({
  name: 'm',
  opset: 18,
  domains: { custom: 1 },
  inputs: [value('x')],
  outputs: [value('y')],
  initializers: [],
  nodes,
  ...more,
});

/** Imports models with the library above; `inspect` sees the plan and its folder. */
async function imported<Result>(
  models: Readonly<Record<string, OnnxModel>>,
  inspect: (plan: Awaited<ReturnType<typeof readPlan>>, folder: string) => Result,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-onnx-'));
  using store = createPlanStore({
    cacheFolder: join(folder, 'cache'),
    cacheMaxBytes: 0,
    clock: createSystemClock(),
    onImported: () => {},
    ops: { libraries: [join(folder, 'ops.js')], allowModelCode: false, bounds: { callMs: 20_000, memoryBytes: 2 ** 30 } },
  });
  try {
    mkdirSync(join(folder, '1'));
    writeFileSync(join(folder, 'ops.js'), LIBRARY);
    for (const [file, one] of Object.entries(models)) writeFileSync(join(folder, '1', file), buildModel(one));
    const held = await store.obtainCut({ folder: join(folder, '1'), files: Object.keys(models), importer: IMPORTER }, never);
    return inspect(await readPlan(held.folder), held.folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the plan of an ONNX model with custom ops', () => {
  test('cuts it at kernels; dtypes that the model does not say come from onnxruntime', async () => {
    const nodes: readonly OnnxNode[] = [
      { op: 'Shape', inputs: ['x'], outputs: ['size'] },
      custom('Mixing', ['size'], ['same']),
      { op: 'Cast', inputs: ['same'], outputs: ['y'], attributes: { to: 1 } },
    ];
    const plan = await imported({ 'model.onnx': model(nodes) }, (made) => made);
    expect(plan.segments.map(({ inputs, outputs }) => [...inputs, ...outputs].map(({ name, dtype }) => `${name} ${dtype}`))).toEqual([
      ['x float', 'size int64'],
      ['same int64', 'y float'],
    ]);
    expect(plan.signatures['model.onnx']?.program.steps.map(({ type }) => type)).toEqual(['onnx', 'host', 'onnx']);
    expect(plan.ops).toMatchObject([{ name: 'Mixing', domain: 'custom', form: 'kernel' }]);
  });

  test('adds functions to a model that has no kernels, and to the parts of one that has', async () => {
    const functionsOnly = model([custom('Twice', ['x'], ['y'])]);
    const both = model([custom('Twice', ['x'], ['a']), custom('Apart', ['a'], ['b']), custom('Twice', ['b'], ['y'])]);
    await imported({ 'only.onnx': functionsOnly, 'both.onnx': both }, (plan, folder) => {
      expect(plan.signatures['only.onnx']?.program.steps).toEqual([]);
      expect(existsSync(join(folder, 'only.onnx.functions'))).toBe(true);
      expect(existsSync(join(folder, 'both.onnx.functions'))).toBe(false);
      // onnxruntime found the dtypes of what its parts give, so it could run the function in them.
      expect(plan.segments.map(({ outputs }) => outputs)).toEqual([
        [{ name: 'a', dtype: 'float', shape: null }],
        [{ name: 'y', dtype: 'float', shape: null }],
      ]);
    });
  });

  test.each([
    ['Mixing', false],
    ['Apart', true],
    ['Mixed', false],
    ['Twice', true],
  ])('with %s may share batches: %s', async (op, batchable) => {
    const plan = await imported({ 'model.onnx': model([custom(op, ['x'], ['y'])]) }, (made) => made);
    expect(plan.signatures['model.onnx']?.signature.batchable).toBe(batchable);
  });

  test.each([
    ['an op of no library', [custom('Absent', ['x'], ['y'])], /model\.onnx: node a_Absent of the op custom\.Absent: no op library has it/],
    [
      'an input left out before others',
      [custom('Mixing', ['', 'x'], ['y'])],
      /node a_Mixing of the custom op custom\.Mixing leaves out an input/,
    ],
    ['more outputs than the op has', [custom('Mixing', ['x'], ['y', 'z'])], /has 2 outputs, the op has 1/],
    ['another dtype than the model says', [custom('Ints', ['x'], ['y'])], /gives y as int64, the model says that it is float/],
    [
      'a sequence at the border',
      [
        { op: 'SequenceConstruct', inputs: ['x'], outputs: ['s'] },
        custom('Mixing', ['s'], ['t']),
        { op: 'SequenceLength', inputs: ['t'], outputs: ['y'] },
      ],
      /the value s is no tensor of a known element type/,
    ],
    [
      'an attribute that is a graph',
      [
        {
          ...custom('Mixing', ['x'], ['y']),
          attributes: { g: { graph: { name: 'g', inputs: [], outputs: [], initializers: [], nodes: [] } } },
        },
      ],
      /cannot be run: its attribute g is of a kind that no kernel can be given/,
    ],
  ])('is refused with %s, by file and node', async (_, nodes, message) => {
    await expect(imported({ 'model.onnx': model(nodes as readonly OnnxNode[]) }, () => {})).rejects.toThrow(message);
  });
});
