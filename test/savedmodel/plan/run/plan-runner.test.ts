import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ServeError } from '#mesh/errors.ts';
import { tensorOfHost } from '../../../../savedmodel/flatten/constant-value.ts';
import { createPlanRunner, readPlan } from '../../../../savedmodel/plan/run/index.ts';
import { attr, call, floats, ints, longs, PlanBuilder, type ProgramBuilder, values, word, words } from './plan-builder.ts';

const NEVER = { run: () => Promise.reject(new Error('no segment')) };

/** Sums 0 … n-1 in a loop on the host. */
function sumLoop(program: ProgramBuilder): void {
  const n = program.input('n', 'int32');
  const [zero, one] = [program.constant(ints([], 0)), program.constant(ints([], 1))];
  const [, total] = program.while(
    [zero, zero],
    ([i]) => program.host('Less', [i ?? zero, n]),
    ([i, sum]) => [program.host('AddV2', [i ?? zero, one]), program.host('AddV2', [sum ?? zero, i ?? zero])],
  );
  program.output('total', 'int32', total ?? zero);
}

describe('a plan runner', () => {
  test('runs a program of one segment as one call, with the inputs as feeds', async () => {
    const plan = new PlanBuilder();
    const segment = plan.segment('Add');
    plan.signature('serving_default', (program) => {
      const [y] = program.onnx(segment, { a: program.input('a', 'float'), b: program.input('b', 'float') }, ['y']);
      program.output('sum', 'float', y ?? { slot: -1 });
    });
    const { runner, calls } = await plan.open();
    const [sum] = await call(runner, ['sum'], { a: floats([2], 1, 2), b: floats([2], 10, 20) });
    expect(values(sum)).toEqual([11, 22]);
    expect(calls).toEqual([{ segment, feeds: ['a', 'b'], fetches: ['y'] }]);
  });

  test('feeds names of the segment where they are not those of the signature', async () => {
    const plan = new PlanBuilder();
    const segment = plan.segment('Sub');
    plan.signature('serving_default', (program) => {
      const [left, right] = [program.input('left', 'float'), program.input('right', 'float')];
      const [y] = program.onnx(segment, { x: right, y: left }, ['y']);
      program.output('difference', 'float', y ?? { slot: -1 });
    });
    const { runner } = await plan.open();
    expect(values((await call(runner, ['difference'], { left: floats([], 1), right: floats([], 5) }))[0])).toEqual([4]);
  });

  test('hands values between segments and kernels', async () => {
    const plan = new PlanBuilder();
    const [double, negate] = [plan.segment('Add'), plan.segment('Neg')];
    plan.signature('serving_default', (program) => {
      const x = program.input('x', 'float');
      const [twice] = program.onnx(double, { a: x, b: x }, ['y']);
      const squared = program.host('Mul', [twice ?? x, twice ?? x]);
      const [out] = program.onnx(negate, { a: squared }, ['y']);
      program.output('y', 'float', out ?? x);
      program.output('text', 'string', program.host('AsString', [squared]));
      program.output('same', 'float', x);
    });
    const { runner } = await plan.open();
    const [text, y, same] = await call(runner, ['text', 'y', 'same'], { x: floats([2], 1, 3) });
    expect(values(y)).toEqual([-4, -36]);
    expect(values(text)).toEqual(['4.000000', '36.000000']);
    expect(values(same)).toEqual([1, 3]);
  });

  test('runs only what the outputs asked for need, and every effect', async () => {
    const plan = new PlanBuilder();
    const [used, unused] = [plan.segment('Neg'), plan.segment('Abs')];
    const counter = plan.variable('counter', 'float', floats([], 0));
    plan.signature('serving_default', (program) => {
      const x = program.input('x', 'float');
      const [a] = program.onnx(used, { x }, ['y']);
      const [b] = program.onnx(unused, { x }, ['y']);
      program.host('AssignAddVariableOp', [counter, program.constant(floats([], 1))], { outputs: 0, effect: true });
      program.output('a', 'float', a ?? x);
      program.output('b', 'float', b ?? x);
      program.output('count', 'float', program.host('ReadVariableOp', [counter]));
    });
    const { runner, calls } = await plan.open();
    await call(runner, ['a'], { x: floats([], 1) });
    expect(calls.map(({ segment }) => segment)).toEqual([used]);
    expect(values((await call(runner, ['count'], { x: floats([], 1) }))[0])).toEqual([2]);
  });

  test('loops on the host', async () => {
    const { runner } = await new PlanBuilder().signature('serving_default', sumLoop).open();
    expect(values((await call(runner, ['total'], { n: ints([], 5000) }))[0])).toEqual([12_497_500]);
    expect(values((await call(runner, ['total'], { n: ints([], 0) }))[0])).toEqual([0]);
  });

  test('sums of any length are what arithmetic says', async () => {
    const { runner } = await new PlanBuilder().signature('serving_default', sumLoop).open();
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: -3, max: 300 }), async (n) => {
        const [total] = await call(runner, ['total'], { n: ints([], n) });
        expect(values(total)).toEqual([n <= 0 ? 0 : (n * (n - 1)) / 2]);
      }),
      { numRuns: 50 },
    );
  });

  test('values of a loop that become each other are swapped at once', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const [zero, one, n] = [program.constant(ints([], 0)), program.constant(ints([], 1)), program.input('n', 'int32')];
      const [, fibonacci] = program.while(
        [zero, zero, one],
        ([i]) => program.host('Less', [i ?? zero, n]),
        ([i, a, b]) => [program.host('AddV2', [i ?? zero, one]), b ?? zero, program.host('AddV2', [a ?? zero, b ?? zero])],
      );
      program.output('f', 'int32', fibonacci ?? zero);
    });
    const { runner } = await plan.open();
    expect(values((await call(runner, ['f'], { n: ints([], 20) }))[0])).toEqual([6765]);
  });

  test('loops inside of loops start anew each round', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const [zero, one, n] = [program.constant(ints([], 0)), program.constant(ints([], 1)), program.input('n', 'int32')];
      const less = (value: ReturnType<typeof program.slot> | undefined) => program.host('Less', [value ?? zero, n]);
      const [, pairs] = program.while(
        [zero, zero],
        ([i]) => less(i as { slot: number }),
        ([i, total]) => {
          const [, inner] = program.while(
            [zero, total ?? zero],
            ([j]) => less(j as { slot: number }),
            ([j, sum]) => [program.host('AddV2', [j ?? zero, one]), program.host('AddV2', [sum ?? zero, one])],
          );
          return [program.host('AddV2', [i ?? zero, one]), inner ?? zero];
        },
      );
      program.output('pairs', 'int32', pairs ?? zero);
    });
    const { runner } = await plan.open();
    expect(values((await call(runner, ['pairs'], { n: ints([], 7) }))[0])).toEqual([49]);
  });

  test('a loop runs a segment each round', async () => {
    const plan = new PlanBuilder();
    const double = plan.segment('Add');
    plan.signature('serving_default', (program) => {
      const [x, limit] = [program.input('x', 'float'), program.constant(floats([], 100))];
      const [result] = program.while(
        [x],
        ([value]) => program.host('Less', [value ?? x, limit]),
        ([value]) => program.onnx(double, { a: value ?? x, b: value ?? x }, ['y']),
      );
      program.output('y', 'float', result ?? x);
    });
    const { runner, calls } = await plan.open();
    expect(values((await call(runner, ['y'], { x: floats([], 3) }))[0])).toEqual([192]);
    expect(calls).toHaveLength(6);
  });

  test('a string loop splits and joins', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const text = program.input('text', 'string');
      const [zero, one] = [program.constant(ints([], 0)), program.constant(ints([], 1))];
      const [, parts] = program.hosts('StringSplitV2', [text, program.constant(word(' '))], { outputs: 3 });
      const count = program.host('Size', [parts ?? zero]);
      const [, joined] = program.while(
        [zero, program.constant(word(''))],
        ([i]) => program.host('Less', [i ?? zero, count]),
        ([i, sofar]) => [
          program.host('AddV2', [i ?? zero, one]),
          program.host('StringJoin', [program.host('GatherV2', [parts ?? zero, i ?? zero, zero]), sofar ?? zero], {
            attrs: { separator: attr.text('-') },
          }),
        ],
      );
      program.output('reversed', 'string', joined ?? zero);
    });
    const { runner } = await plan.open();
    expect(values((await call(runner, ['reversed'], { text: words('a bc d') }))[0])).toEqual(['d-bc-a-']);
  });

  test('an If runs one branch, by numbers, strings and sizes as TensorFlow does', async () => {
    const branch = (dtype: 'float' | 'string') =>
      new PlanBuilder().signature('serving_default', (program) => {
        const x = program.input('x', dtype);
        const failing = () =>
          program.host('Assert', [program.constant(floats([], 0)), program.constant(word('taken'))], { outputs: 0, effect: true });
        const [y] = program.branch('if', x, [
          () => [program.constant(ints([], 1))],
          () => {
            failing();
            return [program.constant(ints([], 2))];
          },
        ]);
        program.output('y', 'int32', y ?? x);
      });
    const { runner: number } = await branch('float').open();
    expect(values((await call(number, ['y'], { x: floats([], 0.5) }))[0])).toEqual([1]);
    expect(values((await call(number, ['y'], { x: floats([2], 0, 0) }))[0])).toEqual([1]);
    await expect(call(number, ['y'], { x: floats([], 0) })).rejects.toThrow('assertion failed: [taken]');
    await expect(call(number, ['y'], { x: floats([0]) })).rejects.toThrow('assertion failed: [taken]');
    const { runner: text } = await branch('string').open();
    expect(values((await call(text, ['y'], { x: word('0') }))[0])).toEqual([1]);
    await expect(call(text, ['y'], { x: word('') })).rejects.toThrow('assertion failed: [taken]');
  });

  test('a Case takes its last branch for an index out of range', async () => {
    const plan = new PlanBuilder();
    const negate = plan.segment('Neg');
    plan.signature('serving_default', (program) => {
      const [i, x] = [program.input('i', 'int32'), program.input('x', 'float')];
      const [y] = program.branch('case', i, [() => program.onnx(negate, { x }, ['y']), () => [x], () => [program.host('Mul', [x, x])]]);
      program.output('y', 'float', y ?? x);
    });
    const { runner } = await plan.open();
    const answers = await Promise.all(
      [0, 1, 2, 3, -1].map(async (i) => values((await call(runner, ['y'], { i: ints([], i), x: floats([], 3) }))[0])[0]),
    );
    expect(answers).toEqual([-3, 3, 9, 9, 9]);
  });

  test('an abort ends a loop that would not end', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const one = program.constant(ints([], 1));
      const [n] = program.while(
        [one],
        () => one,
        ([i]) => [program.host('AddV2', [i ?? one, one])],
      );
      program.output('n', 'int32', n ?? one);
    });
    const { runner } = await plan.open();
    const controller = new AbortController();
    const running = runner.run('serving_default', ['n'], new Map(), controller.signal);
    setImmediate(() => controller.abort(new ServeError('DEADLINE_EXCEEDED', 'too late')));
    await expect(running).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', message: 'too late' });
  });

  test('closing the runner ends a loop that would not end', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const one = program.constant(ints([], 1));
      const [n] = program.while(
        [one],
        () => one,
        ([i]) => [i ?? one],
      );
      program.output('n', 'int32', n ?? one);
    });
    const { runner } = await plan.open();
    const running = call(runner, ['n']);
    setImmediate(() => runner.close());
    await expect(running).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  test('custom kernels come before the host’s own', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const x = program.input('x', 'float');
      program.output('y', 'float', program.host('Zap', [x]));
      program.output('z', 'float', program.host('Neg', [x]));
    });
    await expect(plan.open()).rejects.toMatchObject({ code: 'UNIMPLEMENTED', message: 'the host has no kernel of Zap (node Zap)' });
    const same = (inputs: readonly Parameters<typeof values>[0][]) => inputs.filter((one) => one !== undefined);
    const { runner } = await plan.open({
      kernels: new Map([
        ['Zap', same],
        ['Neg', same],
      ]),
    });
    expect((await call(runner, ['y', 'z'], { x: floats([], 4) })).map(values)).toEqual([[4], [4]]);
  });

  test('a kernel’s error keeps its code and words and gets TensorFlow’s location', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const [x, i] = [program.input('x', 'float'), program.input('i', 'int32')];
      program.output(
        'y',
        'float',
        program.host('GatherV2', [x, i, program.constant(ints([], 0))], { node: 'StatefulPartitionedCall/rows/GatherV2' }),
      );
    });
    const { runner } = await plan.open();
    await expect(call(runner, ['y'], { x: floats([2], 1, 2), i: ints([1], 5) })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'indices[0] = 5 is not in [0, 2)\n\t [[{{node StatefulPartitionedCall/rows/GatherV2}}]]',
    });
  });

  test('a step that says its place in a function has that place in its errors', async () => {
    const place = '{{function_node __inference_f_1}}{{node Neg}}';
    const { runner } = await new PlanBuilder()
      .signature('serving_default', (program) => {
        program.output('y', 'string', program.host('Neg', [program.input('x', 'string')], { node: 'call/Neg', place }));
      })
      .open();
    const error = call(runner, ['y'], { x: words('a') });
    await expect(error).rejects.toThrow(`\n\t [[${place}]]`);
  });

  test('a kernel that gives too few outputs, or elements that do not fit their shape, is named', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const x = program.input('x', 'float');
      const [a, b] = program.hosts('Two', [x], { outputs: 2, node: 'n/Two' });
      program.output('a', 'float', a ?? x);
      program.output('b', 'float', b ?? x);
      program.output('c', 'float', program.host('Short', [x], { node: 'n/Short' }));
      program.output('d', 'float', program.host('Throws', [x], { node: 'n/Throws' }));
    });
    const { runner } = await plan.open({
      kernels: new Map([
        ['Two', () => [floats([], 1)]],
        ['Short', () => [floats([3], 1, 2)]],
        [
          'Throws',
          () => {
            throw new TypeError('oops');
          },
        ],
      ]),
    });
    const x = { x: floats([], 1) };
    await expect(call(runner, ['a'], x)).rejects.toMatchObject({
      code: 'INTERNAL',
      message: 'Two (node n/Two) gave 1 outputs, 2 were expected',
    });
    await expect(call(runner, ['c'], x)).rejects.toMatchObject({
      code: 'INTERNAL',
      message: 'Short (node n/Short) gave 2 elements as output 0, float of shape [3]',
    });
    await expect(call(runner, ['d'], x)).rejects.toMatchObject({
      code: 'INTERNAL',
      message: 'Throws failed: oops\n\t [[{{node n/Throws}}]]',
    });
  });

  test('a segment that gives bytes that do not fit is named', async () => {
    const plan = new PlanBuilder();
    const broken = plan.segmentOf(() => [{ dtype: 'float', shape: [2], bytes: new Uint8Array(4) }]);
    const silent = plan.segmentOf(() => []);
    plan.signature('serving_default', (program) => {
      const x = program.input('x', 'float');
      const [a] = program.onnx(broken, { x }, ['y']);
      const [b] = program.onnx(silent, { x }, ['y']);
      program.output('a', 'float', a ?? x);
      program.output('b', 'float', program.host('Neg', [b ?? x]));
    });
    const { runner } = await plan.open();
    await expect(call(runner, ['a'], { x: floats([], 1) })).rejects.toThrow('segment-0.onnx gave 4 bytes as y, float of shape [2]');
    await expect(call(runner, ['b'], { x: floats([], 1) })).rejects.toThrow('segment-1.onnx gave 0 outputs, 1 were expected');
  });

  test('what a request gets wrong is said: signature, output, input, dtype, bytes', async () => {
    const { runner } = await new PlanBuilder()
      .signature('serving_default', (program) => {
        const x = program.input('x', 'float');
        program.output('y', 'float', program.host('Neg', [x]));
      })
      .open();
    await expect(call(runner, ['y'], {}, 'other')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(call(runner, ['z'], {})).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'signature serving_default has no output z, only y',
    });
    await expect(call(runner, ['y'], {})).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: 'input x is missing' });
    await expect(call(runner, ['y'], { x: ints([], 1) })).rejects.toMatchObject({ message: 'input x is int32, float was expected' });
    const short = new Map([['x', { dtype: 'float' as const, shape: [2], bytes: new Uint8Array(5) }]]);
    await expect(runner.run('serving_default', ['y'], short)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('constants are views of the file at any dtype', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const tensors = { f: floats([2, 1], 1.5, -2), l: longs([3], 1, -2, 3), s: words('a', '', 'ccc'), i: ints([], 7) };
      for (const [name, tensor] of Object.entries(tensors)) program.output(name, tensor.dtype, program.constant(tensor));
    });
    const { runner } = await plan.open();
    const outputs = await call(runner, ['s', 'l', 'f', 'i']);
    expect(outputs.map(values)).toEqual([['a', '', 'ccc'], [1, -2, 3], [1.5, -2], [7]]);
    expect(outputs.map(({ shape }) => shape)).toEqual([[3], [3], [2, 1], []]);
  });

  test('a signature that the plan refuses says why, the others run', async () => {
    const plan = new PlanBuilder().signature('serving_default', sumLoop);
    const refused = {
      ...plan.signatures.serving_default,
      refusal: 'TRTEngineOp has no kernel',
      program: { slotCount: 0, inputs: [], outputs: [], steps: [] },
    };
    Object.assign(plan.signatures, { refused });
    const { runner } = await plan.open();
    await expect(call(runner, ['x'], {}, 'refused')).rejects.toMatchObject({ code: 'UNIMPLEMENTED', message: 'TRTEngineOp has no kernel' });
    expect(values((await call(runner, ['total'], { n: ints([], 3) }))[0])).toEqual([3]);
  });

  test('a closed runner refuses', async () => {
    const { runner } = await new PlanBuilder().signature('serving_default', sumLoop).open();
    runner.close();
    await expect(call(runner, ['total'], { n: ints([], 1) })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

describe('a plan’s folder', () => {
  test('a damaged plan.json is refused with the file and the place', async () => {
    const plan = new PlanBuilder().signature('serving_default', sumLoop);
    const folder = await plan.write();
    const file = join(folder, 'plan.json');
    const whole = plan.build();
    const program = whole.signatures.serving_default?.program;
    const cases: [unknown, string, string][] = [
      [{ ...whole, version: 99 }, 'INVALID_ARGUMENT', 'is a plan of version 99, version 1 was expected'],
      [{ ...whole, constants: {} }, 'DATA_LOSS', 'constants must be an array, found {}'],
      [[], 'DATA_LOSS', 'the file must be an object, found []'],
      [
        { ...whole, constants: [{ dtype: 'int32', shape: [2], offset: 0, byteLength: 4 }] },
        'DATA_LOSS',
        'constants[0].byteLength must be 8, for its dtype and shape, found 4',
      ],
      [
        { ...whole, signatures: { s: { ...whole.signatures.serving_default, program: { ...program, slotCount: 2 } } } },
        'DATA_LOSS',
        "must be one of the plan's 2 slots, found",
      ],
      [
        { ...whole, segments: [{ file: '../x', inputs: [], outputs: [], nodeCount: 0 }] },
        'DATA_LOSS',
        'segments[0].file must be the name of a file',
      ],
    ];
    for (const [json, code, message] of cases) {
      await writeFile(file, JSON.stringify(json));
      const error = await readPlan(folder).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
      expect(error).toMatchObject({ message: expect.stringContaining(file) });
    }
    await writeFile(file, '{');
    await expect(readPlan(folder)).rejects.toMatchObject({ code: 'DATA_LOSS', message: expect.stringContaining(file) });
    await expect(readPlan(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'DATA_LOSS' });
  });

  test('a constants.bin that is too short is refused', async () => {
    const plan = new PlanBuilder().signature('serving_default', sumLoop);
    const folder = await plan.write();
    const whole = await readFile(join(folder, 'constants.bin'));
    await truncate(join(folder, 'constants.bin'), 8);
    const options = { plan: plan.build(), planFolder: folder, modelFolder: folder, segments: NEVER };
    await expect(createPlanRunner(options)).rejects.toMatchObject({
      code: 'DATA_LOSS',
      message: expect.stringContaining("constants.bin is damaged: it has 8 bytes, the plan's constants need 12"),
    });
    await writeFile(join(folder, 'constants.bin'), whole);
    const runner = await createPlanRunner(options);
    expect(values((await call(runner, ['total'], { n: ints([], 4) }))[0])).toEqual([6]);
    runner.close();
  });
});

describe('tables', () => {
  const lookup = (plan: PlanBuilder, table: { readonly table: number }) =>
    plan.signature('serving_default', (program) => {
      const keys = program.input('keys', 'string');
      program.output('ids', 'int64', program.host('LookupTableFindV2', [table, keys, program.constant(longs([], -1))]));
      program.output('size', 'int64', program.host('LookupTableSizeV2', [table]));
    });
  const vocabulary = (fileName: string) =>
    ({ type: 'text-file', fileName, keyIndex: -2, valueIndex: -1, vocabSize: -1, delimiter: '\t', offset: 0 }) as const;

  test('are filled from an asset and from constants, in order', async () => {
    const plan = new PlanBuilder();
    const more = { type: 'tensors', keys: plan.constant(words('z')).constant, values: plan.constant(longs([1], 99)).constant } as const;
    const { runner } = await lookup(plan, plan.table({ sources: [vocabulary('vocab.txt'), more] })).open({
      assets: { 'vocab.txt': 'a\nb\nc\n' },
    });
    const [ids, size] = await call(runner, ['ids', 'size'], { keys: words('c', 'z', 'x') });
    expect([values(ids), values(size)]).toEqual([[2, 99, -1], [4]]);
  });

  test('a missing asset is an error that names table and file', async () => {
    const plan = new PlanBuilder();
    await expect(lookup(plan, plan.table({ name: 'words', sources: [vocabulary('vocab.txt')] })).open()).rejects.toMatchObject({
      code: 'DATA_LOSS',
      message: expect.stringContaining('table words (HashTableV2) cannot be filled from the asset vocab.txt'),
    });
    const outside = new PlanBuilder();
    await expect(lookup(outside, outside.table({ sources: [vocabulary('../plan.json')] })).open()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  test('one that nothing filled is not initialized, but a mutable one is empty', async () => {
    const plan = new PlanBuilder();
    const { runner } = await lookup(plan, plan.table({})).open();
    await expect(call(runner, ['ids'], { keys: words('a') })).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: 'Table not initialized.\n\t [[{{node LookupTableFindV2}}]]',
    });
    const other = new PlanBuilder();
    const { runner: mutable } = await lookup(other, other.table({ op: 'MutableHashTableV2', written: true })).open();
    expect((await call(mutable, ['ids', 'size'], { keys: words('a') })).map(values)).toEqual([[-1], [0]]);
  });

  test('inserts, removals and imports are seen by all signatures, and exports give them back', async () => {
    const plan = new PlanBuilder();
    const table = plan.table({ op: 'MutableHashTableV2', written: true });
    for (const [name, op] of [
      ['insert', 'LookupTableInsertV2'],
      ['import', 'LookupTableImportV2'],
    ] as const) {
      plan.signature(name, (program) => {
        program.host(op, [table, program.input('k', 'string'), program.input('v', 'int64')], { outputs: 0, effect: true });
      });
    }
    plan.signature('remove', (program) => {
      program.host('LookupTableRemoveV2', [table, program.input('k', 'string')], { outputs: 0, effect: true });
    });
    plan.signature('export', (program) => {
      const [k, v] = program.hosts('LookupTableExportV2', [table], { outputs: 2 });
      program.output('k', 'string', k ?? table);
      program.output('v', 'int64', v ?? table);
    });
    const { runner } = await plan.open();
    const exported = async () => (await call(runner, ['k', 'v'], {}, 'export')).map(values);
    await call(runner, [], { k: words('a', 'b'), v: longs([2], 1, 2) }, 'insert');
    await call(runner, [], { k: words('b', 'c'), v: longs([2], 20, 30) }, 'insert');
    expect(await exported()).toEqual([
      ['a', 'b', 'c'],
      [1, 20, 30],
    ]);
    await call(runner, [], { k: words('a', 'none') }, 'remove');
    expect(await exported()).toEqual([
      ['b', 'c'],
      [20, 30],
    ]);
    await call(runner, [], { k: words('z'), v: longs([1], 5) }, 'import');
    expect(await exported()).toEqual([['z'], [5]]);
    await expect(call(runner, [], { k: words('z'), v: longs([2], 5, 6) }, 'insert')).rejects.toThrow(
      'Expected shape [1] for value, got [2]',
    );
  });

  test('a default for each key fills in for those that are not there, and a constant table takes more when it is mutable', async () => {
    const plan = new PlanBuilder();
    const known = { type: 'tensors', keys: plan.constant(words('a')).constant, values: plan.constant(longs([1], 1)).constant } as const;
    const table = plan.table({ op: 'MutableHashTableV2', written: true, sources: [known] });
    plan.signature('serving_default', (program) => {
      program.host('LookupTableInsertV2', [table, program.constant(words('b')), program.constant(longs([1], 2))], {
        outputs: 0,
        effect: true,
      });
      const defaults = program.constant(longs([3], 70, 80, 90));
      program.output('ids', 'int64', program.host('LookupTableFindV2', [table, program.input('keys', 'string'), defaults]));
    });
    const { runner } = await plan.open();
    expect(values((await call(runner, ['ids'], { keys: words('x', 'b', 'a') }))[0])).toEqual([70, 2, 1]);
  });

  test('what was inserted does not change with the request’s memory', async () => {
    const plan = new PlanBuilder();
    const table = plan.table({ op: 'MutableHashTableV2', valueDtype: 'string', written: true });
    plan.signature('insert', (program) => {
      program.host('LookupTableInsertV2', [table, program.input('k', 'string'), program.input('v', 'string')], {
        outputs: 0,
        effect: true,
      });
    });
    plan.signature('find', (program) => {
      program.output('v', 'string', program.host('LookupTableFindV2', [table, program.input('k', 'string'), program.constant(word('?'))]));
    });
    const { runner } = await plan.open();
    const inputs = new Map([
      ['k', tensorOfHost(words('key'))],
      ['v', tensorOfHost(words('value'))],
    ]);
    await runner.run('insert', [], inputs);
    for (const { bytes } of inputs.values()) bytes.fill(0);
    expect(values((await call(runner, ['v'], { k: words('key') }, 'find'))[0])).toEqual(['value']);
  });
});
