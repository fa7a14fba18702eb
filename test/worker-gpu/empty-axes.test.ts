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
    const old = recurrent('GRU', [], 'y', 11);
    expect(guardEmptyAxes(old)).toEqual({ model: old, guarded: 0, unguarded: ['y'] });
  });
});
