import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { readOnnxSkeletonFile } from '#proto/onnx-skeleton.ts';
import { ONNX } from '#proto/onnx-types.ts';
import type { OnnxFunction, OnnxInitializer, OnnxNode } from '#proto/onnx-writer.ts';
import { WIRE, WireReader, WireWriter } from '#proto/wire.ts';
import { guardEmptyAxes } from '../../services/worker-gpu/runtimes/empty-axes.ts';
import { guardIntegerDivision } from '../../services/worker-gpu/runtimes/integer-division.ts';
import { assigned, createModelFolder, model } from './models.ts';
import { errorOf, input, outputsOf, startRig } from './worker-rig.ts';

const FIXTURE = join(import.meta.dirname, 'fixtures', 'divide.ts');
type Whole = 'int32' | 'int64';
const SMALLEST = { int32: '-2147483648', int64: '-9223372036854775808' };

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
function folder() {
  const made = createModelFolder();
  cleanups.push(() => made[Symbol.dispose]());
  return made;
}

/** Runs a model in a process of its own: what it printed, or the signal that ended it. */
function divide(bytes: Uint8Array, dtype: Whole, dividends: string, divisors: string): string {
  const path = folder().version('m', { 'model.onnx': bytes });
  const { stdout, signal, stderr } = spawnSync(process.execPath, [FIXTURE, path, dtype, dividends, divisors], { encoding: 'utf8' });
  return signal ?? (stdout.trim() || stderr);
}

function divider(
  dtype: Whole,
  op: 'Div' | 'Mod',
  more: { readonly nodes?: readonly OnnxNode[]; readonly opset?: number } = {},
): Uint8Array {
  const { nodes = [{ op, inputs: ['x', 'y'], outputs: ['z'] }], opset = 17 } = more;
  return model({
    opset,
    inputs: [
      { name: 'x', dtype, shape: ['N'] },
      { name: 'y', dtype, shape: ['N'] },
    ],
    outputs: [{ name: 'z', dtype, shape: ['N'] }],
    nodes,
  });
}

function constant(dtype: Whole, value: bigint): OnnxInitializer {
  const bytes = dtype === 'int32' ? new Uint8Array(Int32Array.of(Number(value)).buffer) : new Uint8Array(BigInt64Array.of(value).buffer);
  return { name: 'c', dtype, shape: [1], bytes };
}

function divideBy(dtype: Whole, value: bigint): Uint8Array {
  return model({
    inputs: [{ name: 'x', dtype, shape: ['N'] }],
    outputs: [{ name: 'z', dtype, shape: ['N'] }],
    initializers: [constant(dtype, value)],
    nodes: [{ op: 'Div', inputs: ['x', 'c'], outputs: ['z'] }],
  });
}

/** z = F(x, y), a function of the model with the outputs' name `c`. */
function calling(dtype: Whole, nodes: readonly OnnxNode[], more: readonly OnnxFunction[] = []): Uint8Array {
  return model({
    inputs: ['x', 'y'].map((name) => ({ name, dtype, shape: ['N'] })),
    outputs: [{ name: 'z', dtype, shape: ['N'] }],
    nodes: [{ op: 'F', domain: 'own', inputs: ['x', 'y'], outputs: ['z'] }],
    functions: [...more, { domain: 'own', name: 'F', inputs: ['a', 'b'], outputs: ['c'], nodes }],
  });
}

describe('integer division', () => {
  test.each<[Whole, 'Div' | 'Mod', string]>([
    ['int32', 'Div', `${SMALLEST.int32},-3,2147483647,${SMALLEST.int32},5 0`],
    ['int64', 'Div', `${SMALLEST.int64},-3,2147483647,${SMALLEST.int64},5 0`],
    ['int32', 'Mod', '0,-1,0,0,0 0'],
    ['int64', 'Mod', '0,-1,0,0,0 0'],
  ])('of %s by %s wraps around where the processor would trap, and is exact elsewhere', (dtype, op, expected) => {
    const dividends = [SMALLEST[dtype], '7', '-2147483647', SMALLEST[dtype], '-5'].join(',');
    expect(divide(divider(dtype, op), dtype, dividends, '-1,-2,-1,1,-1')).toBe(expected);
  });

  test.each<[Whole, 'Div' | 'Mod']>([
    ['int32', 'Div'],
    ['int64', 'Mod'],
  ])('of %s by %s is INVALID_ARGUMENT for a divisor of zero', (dtype, op) => {
    expect(divide(divider(dtype, op), dtype, '1,2', '1,0')).toBe('INVALID_ARGUMENT: Integer division by zero');
  });

  test('by a constant -1 is guarded, by another constant is left as it is', () => {
    expect(divide(divideBy('int32', -1n), 'int32', `${SMALLEST.int32},9`, '')).toBe(`${SMALLEST.int32},-9 0`);
    const plain = divideBy('int32', 3n);
    expect(guardIntegerDivision(plain)).toEqual({ model: plain, guarded: 0, unknown: [] });
  });

  test('is guarded where only the graph before it says that it is of integers', () => {
    const nodes: OnnxNode[] = [
      { op: 'Add', inputs: ['x', 'x'], outputs: ['sum'] },
      { op: 'Transpose', inputs: ['sum'], outputs: ['turned'] },
      { op: 'Div', inputs: ['turned', 'y'], outputs: ['quotient'] },
      { op: 'Identity', inputs: ['quotient'], outputs: ['z'] },
    ];
    const half = '-1073741824';
    expect(divide(divider('int32', 'Div', { nodes }), 'int32', `${half},2`, '-1,2')).toBe(`${SMALLEST.int32},2 0`);
  });

  test('of an operator set as old as 7 is guarded too', () => {
    expect(divide(divider('int32', 'Div', { opset: 7 }), 'int32', `${SMALLEST.int32},6`, '-1,4')).toBe(`${SMALLEST.int32},1 0`);
  });

  test('inside a graph that a node carries is guarded', () => {
    const sub = branchOf(divider('int32', 'Div', { nodes: [{ op: 'Div', inputs: ['x', 'y'], outputs: ['q'] }] }), 'q');
    const other = branchOf(divider('int32', 'Div', { nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['r'] }] }), 'r');
    expect(divide(ifModel({ then_branch: sub, else_branch: other }), 'int32', `${SMALLEST.int32},6`, '-1,4')).toBe(`${SMALLEST.int32},1 0`);
  });

  test('of floats is left as it is, and of sizes of tensors too', () => {
    const floats = model({
      inputs: [{ name: 'x', dtype: 'float', shape: ['N'] }],
      outputs: [{ name: 'z', dtype: 'float', shape: ['N'] }],
      nodes: [{ op: 'Div', inputs: ['x', 'x'], outputs: ['z'] }],
    });
    expect(guardIntegerDivision(floats)).toMatchObject({ guarded: 0, unknown: [] });
    const sizes = model({
      inputs: [{ name: 'x', dtype: 'float', shape: ['N'] }],
      outputs: [{ name: 'z', dtype: 'int64', shape: [1] }],
      nodes: [
        { op: 'Shape', inputs: ['x'], outputs: ['s'] },
        { op: 'Div', inputs: ['s', 's'], outputs: ['z'] },
      ],
    });
    expect(guardIntegerDivision(sizes)).toMatchObject({ guarded: 0, unknown: [] });
  });

  test('of a type that nothing tells is named, and left as it is, where operators are too old to guard any type', () => {
    const unknown = model({
      opset: 13,
      inputs: [{ name: 'x', dtype: 'float', shape: ['N'] }],
      outputs: [],
      nodes: [
        { op: 'Mystery', domain: 'somewhere', inputs: ['x'], outputs: ['m'] },
        { op: 'Div', inputs: ['m', 'm'], outputs: ['q'] },
      ],
    });
    expect(guardIntegerDivision(unknown)).toEqual({ model: unknown, guarded: 0, unknown: ['q'] });
  });

  test.each<[Whole, 'Div' | 'Mod', string]>([
    ['int32', 'Div', `${SMALLEST.int32},-3,7,-5 0`],
    ['int64', 'Div', `${SMALLEST.int64},-3,7,-5 0`],
    ['int32', 'Mod', '0,-1,0,0 0'],
  ])('of %s by %s is guarded in a function that a model brings', (dtype, op, expected) => {
    const dividends = [SMALLEST[dtype], '7', '7', '5'].join(',');
    expect(divide(calling(dtype, [{ op, inputs: ['a', 'b'], outputs: ['c'] }]), dtype, dividends, '-1,-2,1,-1')).toBe(expected);
  });

  test('is guarded in functions that functions call, and in branches inside them', () => {
    const inner = {
      domain: 'own',
      name: 'Inner',
      inputs: ['p', 'q'],
      outputs: ['r'],
      nodes: [{ op: 'Div', inputs: ['p', 'q'], outputs: ['r'] }],
    };
    const nested = calling('int32', [{ op: 'Inner', domain: 'own', inputs: ['a', 'b'], outputs: ['c'] }], [inner]);
    expect(divide(nested, 'int32', `${SMALLEST.int32},6`, '-1,4')).toBe(`${SMALLEST.int32},1 0`);
    const side = (op: string, inputs: readonly string[]) => ({
      graph: {
        name: op,
        inputs: [],
        outputs: [{ name: op, dtype: 'int32' as const, shape: null }],
        initializers: [],
        nodes: [{ op, inputs, outputs: [op] }],
      },
    });
    const yes = { tensor: { name: 'yes', dtype: 'bool' as const, shape: [], bytes: Uint8Array.of(1) } };
    const branching = calling('int32', [
      { op: 'Constant', inputs: [], outputs: ['yes'], attributes: { value: yes } },
      {
        op: 'If',
        inputs: ['yes'],
        outputs: ['c'],
        attributes: { then_branch: side('Div', ['a', 'b']), else_branch: side('Identity', ['a']) },
      },
    ]);
    expect(divide(branching, 'int32', `${SMALLEST.int32},6`, '-1,4')).toBe(`${SMALLEST.int32},1 0`);
  });

  test('of floats in a function is left as it is; in one that is called for both, no number changes', () => {
    const division = [{ op: 'Div', inputs: ['a', 'b'], outputs: ['c'] }];
    const floats = model({
      inputs: ['x', 'y'].map((name) => ({ name, dtype: 'float' as const, shape: ['N'] })),
      outputs: [{ name: 'z', dtype: 'float', shape: ['N'] }],
      nodes: [{ op: 'F', domain: 'own', inputs: ['x', 'y'], outputs: ['z'] }],
      functions: [{ domain: 'own', name: 'F', inputs: ['a', 'b'], outputs: ['c'], nodes: division }],
    });
    expect(guardIntegerDivision(floats)).toEqual({ model: floats, guarded: 0, unknown: [] });
    // 1 / -0 is -Infinity, whose sign is what comes out.
    const call = (inputs: readonly string[], output: string) => ({ op: 'F', domain: 'own', inputs, outputs: [output] });
    const cast = (input: string, output: string, to: number) => ({ op: 'Cast', inputs: [input], outputs: [output], attributes: { to } });
    const both = model({
      inputs: ['x', 'y'].map((name) => ({ name, dtype: 'int32' as const, shape: ['N'] })),
      outputs: [{ name: 'z', dtype: 'int32', shape: ['N'] }],
      nodes: [
        call(['x', 'y'], 'whole'),
        cast('y', 'divisor', 1),
        { op: 'Sub', inputs: ['divisor', 'divisor'], outputs: ['zero'] },
        { op: 'Neg', inputs: ['zero'], outputs: ['below'] },
        { op: 'Cos', inputs: ['zero'], outputs: ['one'] },
        call(['one', 'below'], 'endless'),
        { op: 'Sign', inputs: ['endless'], outputs: ['sign'] },
        cast('sign', 'minus', 6),
        { op: 'Mul', inputs: ['whole', 'minus'], outputs: ['z'] },
      ],
      functions: [{ domain: 'own', name: 'F', inputs: ['a', 'b'], outputs: ['c'], nodes: division }],
    });
    expect(divide(both, 'int32', `${SMALLEST.int32},6`, '-1,4')).toBe(`${SMALLEST.int32},-1 0`);
  });

  test('of a type that nothing tells is guarded all the same', () => {
    const nodes: OnnxNode[] = [
      { op: 'SequenceConstruct', inputs: ['x'], outputs: ['list'] },
      { op: 'Constant', inputs: [], outputs: ['first'], attributes: { value_int: 0 } },
      { op: 'SequenceAt', inputs: ['list', 'first'], outputs: ['some'] },
      { op: 'SequenceConstruct', inputs: ['y'], outputs: ['others'] },
      { op: 'SequenceAt', inputs: ['others', 'first'], outputs: ['other'] },
      { op: 'Div', inputs: ['some', 'other'], outputs: ['quotient'] },
      { op: 'Identity', inputs: ['quotient'], outputs: ['z'] },
    ];
    expect(divide(divider('int64', 'Div', { nodes }), 'int64', `${SMALLEST.int64},-7,9`, '-1,2,-1')).toBe(`${SMALLEST.int64},-3,-9 0`);
  });

  test('is not looked for in graphs nested deeper than any reader goes, nor through endless rows of calls', () => {
    let graph: Uint8Array = new Uint8Array(0);
    for (let depth = 0; depth < 3000; depth++) {
      const attribute = new WireWriter().stringField(ONNX.attribute.name, 'then_branch').bytesField(ONNX.attribute.graph, graph).finish();
      const node = new WireWriter().stringField(ONNX.node.opType, 'If').bytesField(ONNX.node.attribute, attribute).finish();
      graph = new WireWriter().bytesField(ONNX.graph.node, node).finish();
    }
    const deep = new WireWriter().bytesField(ONNX.model.graph, graph).finish();
    const refused = /graphs are nested deeper than 64/;
    expect(() => guardIntegerDivision(deep)).toThrow(refused);
    expect(() => guardEmptyAxes(deep)).toThrow(refused);
    const last = { op: 'Div', inputs: ['p', 'q'], outputs: ['r'] };
    const functions = Array.from({ length: 5000 }, (_, index) => ({
      domain: 'own',
      name: `F${index}`,
      inputs: ['p', 'q'],
      outputs: ['r'],
      nodes: [index === 4999 ? last : { ...last, op: `F${index + 1}`, domain: 'own' }],
    }));
    const call = { op: 'F0', domain: 'own', inputs: ['a', 'b'], outputs: ['c'] };
    expect(guardIntegerDivision(calling('int32', [call], functions))).toMatchObject({ guarded: 1, unknown: [] });
  });

  test('is found without reading the weights, and weights beside the model are found again', () => {
    const weights = new Uint8Array(Int32Array.from({ length: 4096 }, () => 1).buffer);
    const inline = withWeights({ name: 'w', dtype: 'int32', shape: [4096], bytes: weights });
    const path = folder().version('m', { 'model.onnx': inline });
    const skeleton = readOnnxSkeletonFile(join(path, 'model.onnx'));
    expect(skeleton.byteLength).toBeLessThan(1024);
    expect(guardIntegerDivision(skeleton).guarded).toBe(1);
    writeFileSync(join(path, 'model.onnx'), withWeightsOutside(inline, 4096));
    writeFileSync(join(path, 'weights.bin'), weights);
    const { stdout, signal } = spawnSync(process.execPath, [FIXTURE, path, 'int32', SMALLEST.int32, '-1'], { encoding: 'utf8' });
    expect(signal ?? stdout.slice(0, 24)).toBe(`${SMALLEST.int32},${SMALLEST.int32},`);
  });

  test('by zero fails the request that does it, and its neighbours in the batch succeed', async () => {
    await using rig = await startRig();
    await rig.serve(assigned('d', folder().version('d', { 'model.onnx': divider('int32', 'Div') })));
    const whole = (name: string, values: readonly number[]) =>
      input(name, 'int32', [values.length], new Uint8Array(Int32Array.from(values).buffer));
    const part = (x: number, y: number) => rig.part([whole('x', [x]), whole('y', [y])]);
    const answers = await rig.run('d', [part(8, 2), part(1, 0), part(9, 3)], { outputs: ['z'] });
    expect(errorOf(answers[1])).toEqual({ code: 'INVALID_ARGUMENT', message: 'Integer division by zero' });
    const number = (at: number) => {
      const [tensor] = outputsOf(answers[at]).outputs;
      return tensor?.payload.type === 'inline' ? new Int32Array(tensor.payload.bytes.slice().buffer)[0] : undefined;
    };
    expect([number(0), number(2)]).toEqual([4, 3]);
  });
});

/** A message with the values at a path of fields changed. */
function change(message: Uint8Array, path: readonly number[], to: (value: Uint8Array) => Uint8Array): Uint8Array {
  const [field, ...rest] = path;
  const writer = new WireWriter();
  const reader = new WireReader(message);
  while (reader.more()) {
    const start = reader.offset;
    const tag = reader.tag();
    if (tag >>> 3 === field && (tag & 7) === WIRE.bytes) {
      const value = reader.view();
      writer.bytesField(field, rest.length > 0 ? change(value, rest, to) : to(value));
      continue;
    }
    reader.skip(tag);
    writer.raw(message.subarray(start, reader.offset));
  }
  return writer.finish();
}

/** The nodes of a model as a GraphProto with one output and no inputs of its own. */
function branchOf(bytes: Uint8Array, output: string): Uint8Array {
  const branch = new WireWriter();
  change(bytes, [ONNX.model.graph, ONNX.graph.node], (node) => {
    branch.bytesField(ONNX.graph.node, node);
    return node;
  });
  branch.stringField(ONNX.graph.name, 'branch');
  branch.delimited(ONNX.graph.output, () => branch.stringField(ONNX.valueInfo.name, output));
  return branch.finish();
}

/** z = the first branch where a dividend is negative, else the second. */
function ifModel(branches: Readonly<Record<string, Uint8Array>>): Uint8Array {
  const shell = divider('int32', 'Div', {
    nodes: [
      { op: 'ReduceMin', inputs: ['x'], outputs: ['least'], attributes: { keepdims: 0 } },
      { op: 'Cast', inputs: ['least'], outputs: ['wide'], attributes: { to: 1 } },
      { op: 'Sign', inputs: ['wide'], outputs: ['sign'] },
      { op: 'Cast', inputs: ['sign'], outputs: ['then'], attributes: { to: 9 } },
      { op: 'If', inputs: ['then'], outputs: ['z'], attributes: { then_branch: '', else_branch: '' } },
    ],
  });
  // The writer knows no attribute that is a graph, so strings stand in for them.
  return change(shell, [ONNX.model.graph, ONNX.graph.node, ONNX.node.attribute], (attribute) => {
    const name = Object.keys(branches).find((one) => Buffer.from(attribute).includes(one));
    const graph = name === undefined ? undefined : branches[name];
    if (name === undefined || graph === undefined) return attribute;
    const { attribute: fields } = ONNX;
    return new WireWriter().stringField(fields.name, name).bytesField(fields.graph, graph).varintField(fields.type, 5).finish();
  });
}

/** z = (x / y) * w. */
function withWeights(weights: OnnxInitializer): Uint8Array {
  return model({
    inputs: [
      { name: 'x', dtype: 'int32', shape: ['N'] },
      { name: 'y', dtype: 'int32', shape: ['N'] },
    ],
    outputs: [{ name: 'z', dtype: 'int32', shape: ['M'] }],
    initializers: [weights],
    nodes: [
      { op: 'Div', inputs: ['x', 'y'], outputs: ['q'] },
      { op: 'Mul', inputs: ['q', 'w'], outputs: ['z'] },
    ],
  });
}

/** The same with the values of its one initializer in `weights.bin`. */
function withWeightsOutside(bytes: Uint8Array, count: number): Uint8Array {
  return change(bytes, [ONNX.model.graph, ONNX.graph.initializer], () => {
    const { tensor: fields, entry } = ONNX;
    const tensor = new WireWriter().varintField(fields.dims, count).varintField(fields.dataType, 6).stringField(fields.name, 'w');
    for (const [key, value] of Object.entries({ location: 'weights.bin', offset: '0', length: String(4 * count) }))
      tensor.delimited(fields.externalData, () => tensor.stringField(entry.key, key).stringField(entry.value, value));
    return tensor.varintField(fields.dataLocation, 1).finish();
  });
}
