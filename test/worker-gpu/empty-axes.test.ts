import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { elementCount } from '#mesh/tensor.ts';
import type { OnnxAttribute, OnnxNode } from '#proto/onnx-writer.ts';
import { guardEmptyAxes } from '../../services/worker-gpu/runtimes/empty-axes.ts';
import { createModelFolder, model } from './models.ts';

const FIXTURE = join(import.meta.dirname, 'fixtures', 'empty.ts');
const UNITS = 3;
const FEATURES = 2;

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** What runs of a model in a process of its own printed, a line each, or the signal that ended it. */
function runs(
  bytes: Uint8Array,
  output: string,
  shapes: readonly Readonly<Record<string, readonly number[]>>[],
): readonly string[] | string {
  const folder = createModelFolder();
  cleanups.push(() => folder[Symbol.dispose]());
  const path = folder.version('m', { 'model.onnx': bytes });
  const { stdout, signal, stderr } = spawnSync(process.execPath, [FIXTURE, path, output, JSON.stringify(shapes)], { encoding: 'utf8' });
  return signal ?? (stdout === '' ? stderr : stdout.trim().split('\n'));
}

const zeros = (name: string, shape: readonly number[]) => ({
  name,
  dtype: 'float' as const,
  shape,
  bytes: new Uint8Array(4 * elementCount(shape)),
});
const open = (name: string, rank: number) => ({ name, dtype: 'float' as const, shape: Array.from({ length: rank }, () => -1) });
const GATES = { LSTM: 4, GRU: 3 } as const;

function recurrent(op: keyof typeof GATES, more: readonly OnnxNode[] = [], output = 'y', opset = 17): Uint8Array {
  return model({
    opset,
    inputs: [open('x', 3)],
    outputs: [{ name: output, dtype: 'float', shape: null }],
    initializers: [zeros('w', [1, GATES[op] * UNITS, FEATURES]), zeros('r', [1, GATES[op] * UNITS, UNITS])],
    nodes: [{ op, inputs: ['x', 'w', 'r'], outputs: ['y'], attributes: { hidden_size: UNITS } }, ...more],
  });
}

function einsum(equation: string): Uint8Array {
  return model({
    inputs: [open('a', 4), open('b', 4)],
    outputs: [{ name: 'y', dtype: 'float', shape: null }],
    nodes: [{ op: 'Einsum', inputs: ['a', 'b'], outputs: ['y'], attributes: { equation } }],
  });
}

const whole = (values: readonly number[]) => ({
  name: 'k',
  dtype: 'int64' as const,
  shape: [values.length],
  bytes: new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer),
});
const yes = { name: 'c', dtype: 'bool' as const, shape: [], bytes: Uint8Array.of(1) };

function topK(k: number, attributes: Readonly<Record<string, OnnxAttribute>> = {}, opset = 17): Uint8Array {
  return model({
    opset,
    inputs: [open('x', 2)],
    outputs: [{ name: 'values', dtype: 'float', shape: null }],
    initializers: [whole([k])],
    nodes: [{ op: 'TopK', inputs: ['x', 'k'], outputs: ['values', 'places'], attributes }],
  });
}

/** y = op(inputs, constants). */
function single(
  op: string,
  inputs: readonly ReturnType<typeof open>[],
  attributes: Readonly<Record<string, OnnxAttribute>> = {},
  constants: readonly ReturnType<typeof zeros>[] = [],
): Uint8Array {
  return model({
    inputs,
    outputs: [{ name: 'y', dtype: 'float', shape: null }],
    initializers: constants,
    nodes: [{ op, inputs: [...inputs, ...constants].map(({ name }) => name), outputs: ['y'], attributes }],
  });
}

/** A branch that gives what a node makes of `x`. */
function branch(op: string, inputs: readonly string[], attributes: Readonly<Record<string, OnnxAttribute>> = {}): OnnxAttribute {
  const outputs = [{ name: `${op}/z`, dtype: 'float' as const, shape: null }];
  return { graph: { name: op, inputs: [], outputs, initializers: [], nodes: [{ op, inputs, outputs: [`${op}/z`], attributes }] } };
}

describe('an operator that ends the process on an empty axis', () => {
  test.each(['LSTM', 'GRU'] as const)('%s answers what has elements, and refuses what has none', (op) => {
    const shapes = [
      [2, 2],
      [2, 0],
      [0, 2],
      [0, 0],
      [1, 3],
    ].map((sizes) => ({ x: [...sizes, FEATURES] }));
    const refused = 'INVALID_ARGUMENT';
    expect(runs(recurrent(op), 'y', shapes)).toEqual(['[2,1,2,3]', refused, refused, refused, '[1,1,3,3]']);
  });

  test('Einsum does so', () => {
    const shapes = [2, 0].map((batch) => ({ a: [batch, 2, 3, 4], b: [batch, 5, 3, 4] }));
    expect(runs(einsum('bqhk,bthk->bhqt'), 'y', shapes)).toEqual(['[2,3,2,5]', 'INVALID_ARGUMENT']);
  });

  test('a product with a turned factor has no rows for no rows', () => {
    const turned = model({
      inputs: [open('a', 3), open('b', 3)],
      outputs: [{ name: 'y', dtype: 'float', shape: null }],
      nodes: [
        { op: 'Transpose', inputs: ['a'], outputs: ['t'], attributes: { perm: [1, 0, 2] } },
        { op: 'MatMul', inputs: ['t', 'b'], outputs: ['y'] },
      ],
    });
    expect(runs(turned, 'y', [{ a: [0, 2, 4], b: [2, 4, 3] }])).toEqual(['[2,0,3]']);
  });

  test('TopK counts rows, and refuses where there are none; entries to choose from may be none', () => {
    const shapes = [
      [2, 3],
      [0, 3],
      [2, 0],
    ].map((x) => ({ x }));
    expect(runs(topK(1), 'values', shapes.slice(0, 2))).toEqual(['[2,1]', 'INVALID_ARGUMENT']);
    expect(runs(topK(0), 'values', shapes.slice(2))).toEqual(['[2,0]']);
    expect(runs(topK(1, { axis: 0 }), 'values', [{ x: [2, 0] }])).toEqual(['[1,0]']);
    expect(runs(topK(1, {}, 11), 'values', shapes.slice(0, 2))).toEqual(['[2,1]', 'INVALID_ARGUMENT']);
  });

  test('Unique compares entries, and refuses those without elements', () => {
    const unique = (axis: number) => single('Unique', [open('x', 2)], { axis });
    expect(runs(unique(0), 'y', [{ x: [2, 3] }, { x: [2, 0] }, { x: [0, 3] }])).toEqual(['[1,3]', 'INVALID_ARGUMENT', '[0,3]']);
    expect(runs(unique(-1), 'y', [{ x: [0, 2] }, { x: [2, 3] }])).toEqual(['INVALID_ARGUMENT', '[2,1]']);
  });

  test('InstanceNormalization takes no samples, but no picture without pixels', () => {
    const normalised = single('InstanceNormalization', [open('x', 3)], {}, [zeros('s', [3]), zeros('b', [3])]);
    expect(runs(normalised, 'y', [{ x: [2, 3, 4] }, { x: [2, 3, 0] }, { x: [0, 3, 4] }])).toEqual([
      '[2,3,4]',
      'INVALID_ARGUMENT',
      '[0,3,4]',
    ]);
  });

  test('DFT takes no signals, but none without a length', () => {
    const transformed = single('DFT', [open('x', 3)], { axis: 1 });
    expect(runs(transformed, 'y', [{ x: [2, 4, 1] }, { x: [2, 0, 1] }, { x: [0, 4, 1] }])).toEqual([
      '[2,4,2]',
      'INVALID_ARGUMENT',
      '[0,4,2]',
    ]);
  });

  test('Conv with a kernel that a request brings refuses one without a size, and one with its own kernel stays as it is', () => {
    const fed = single('Conv', [open('x', 4), open('w', 4)]);
    const x = [1, 2, 4, 4];
    expect(
      runs(fed, 'y', [
        { x, w: [3, 2, 2, 2] },
        { x, w: [3, 2, 0, 2] },
      ]),
    ).toEqual(['[1,3,3,3]', 'INVALID_ARGUMENT']);
    const own = single('Conv', [open('x', 4)], {}, [zeros('w', [3, 2, 2, 2])]);
    expect(guardEmptyAxes(own)).toEqual({ model: own, guarded: 0, unguarded: [] });
  });

  test('is guarded in functions that the model brings, and in branches inside them', () => {
    const call = { op: 'F', domain: 'own', inputs: ['x'], outputs: ['y'] };
    const body: OnnxNode[] = [
      { op: 'Constant', inputs: [], outputs: ['k'], attributes: { value: { tensor: whole([1]) } } },
      { op: 'TopK', inputs: ['x', 'k'], outputs: ['y', 'places'] },
    ];
    const inFunction = model({
      inputs: [open('x', 2)],
      outputs: [{ name: 'y', dtype: 'float', shape: null }],
      nodes: [call],
      functions: [{ domain: 'own', name: 'F', inputs: ['x'], outputs: ['y'], nodes: body }],
    });
    expect(runs(inFunction, 'y', [{ x: [2, 3] }, { x: [0, 3] }])).toEqual(['[2,1]', 'INVALID_ARGUMENT']);
    const outputs = [{ name: 'z', dtype: 'float' as const, shape: null }];
    const nodes = [{ op: 'TopK', inputs: ['x', 'k'], outputs: ['z', 'places'] }];
    const inside = { graph: { name: 'some', inputs: [], outputs, initializers: [], nodes } };
    const choice = { op: 'If', inputs: ['c'], outputs: ['y'], attributes: { then_branch: inside, else_branch: branch('Identity', ['x']) } };
    const test = { op: 'Constant', inputs: [], outputs: ['c'], attributes: { value: { tensor: yes } } };
    const inBranch = model({
      inputs: [open('x', 2)],
      outputs: [{ name: 'y', dtype: 'float', shape: null }],
      nodes: [call],
      functions: [{ domain: 'own', name: 'F', inputs: ['x'], outputs: ['y'], nodes: [...body.slice(0, 1), test, choice] }],
    });
    expect(guardEmptyAxes(inBranch).guarded).toBe(1);
    expect(runs(inBranch, 'y', [{ x: [2, 3] }, { x: [0, 3] }])).toEqual(['[2,1]', 'INVALID_ARGUMENT']);
  });

  test('is guarded once for layers one behind the other, and in branches', () => {
    const weights = ['w2', 'r2'].map((name) => ({ op: 'Identity', inputs: ['r'], outputs: [name] }));
    const behind: OnnxNode[] = [
      { op: 'Squeeze', inputs: ['y'], outputs: ['s'] },
      ...weights,
      { op: 'LSTM', inputs: ['s', 'w2', 'r2'], outputs: ['z'], attributes: { hidden_size: UNITS } },
    ];
    expect(guardEmptyAxes(recurrent('LSTM', behind, 'z')).guarded).toBe(1);
    const inner = branch('LSTM', ['x', 'w', 'r'], { hidden_size: UNITS });
    const choice = (test: string): OnnxNode => ({
      op: 'If',
      inputs: [test],
      outputs: ['z'],
      attributes: { then_branch: branch('Identity', ['x']), else_branch: inner },
    });
    expect(guardEmptyAxes(recurrent('LSTM', [choice('c')], 'z')).guarded).toBe(2);
    const tested: OnnxNode[] = [
      { op: 'Size', inputs: ['x'], outputs: ['size'] },
      { op: 'Equal', inputs: ['size', 'nothing'], outputs: ['isEmpty'] },
    ];
    expect(guardEmptyAxes(recurrent('LSTM', [...tested, choice('isEmpty')], 'z')).guarded).toBe(1);
  });

  test('that the importer has filled already stays as it is', () => {
    const filled = model({
      opset: 18,
      inputs: [open('x', 3)],
      outputs: [{ name: 'y', dtype: 'float', shape: null }],
      initializers: [zeros('w', [1, 12, 2]), zeros('r', [1, 12, 3])],
      nodes: [
        { op: 'Shape', inputs: ['x'], outputs: ['rows'], attributes: { start: 1, end: 2 } },
        { op: 'Equal', inputs: ['rows', 'none'], outputs: ['isEmpty'] },
        { op: 'Cast', inputs: ['isEmpty'], outputs: ['missing'], attributes: { to: 7 } },
        { op: 'Pad', inputs: ['x', 'missing', '', 'axis'], outputs: ['padded'] },
        { op: 'LSTM', inputs: ['padded', 'w', 'r'], outputs: ['y'], attributes: { hidden_size: UNITS } },
      ],
    });
    expect(guardEmptyAxes(filled)).toEqual({ model: filled, guarded: 0, unguarded: [] });
  });

  test('says what it cannot guard: operators of old models', () => {
    const old = recurrent('GRU', [], 'y', 9);
    expect(guardEmptyAxes(old)).toEqual({ model: old, guarded: 0, unguarded: ['y'] });
  });
});
