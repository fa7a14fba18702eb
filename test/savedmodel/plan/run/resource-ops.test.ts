import { describe, expect, test } from '@jest/globals';
import { tensorOfHost } from '../../../../savedmodel/flatten/constant-value.ts';
import { fromNumbers } from '../../../../savedmodel/host/host-tensor.ts';
import type { HostTensor } from '../../../../savedmodel/host-value.ts';
import type { Operand } from '../../../../savedmodel/plan/plan.ts';
import { attr, call, FLOAT, floats, ints, longs, PlanBuilder, values, word, words } from './plan-builder.ts';

type Attrs = Parameters<PlanBuilder['segment']>[2];

/** Writes a variable that starts as `initial` with one op, and says what it is then. */
async function afterWrite(initial: HostTensor | null, op: string, inputs: readonly HostTensor[], attrs: Attrs = {}): Promise<HostTensor> {
  const plan = new PlanBuilder();
  const dtype = initial?.dtype ?? 'float';
  const variable = plan.variable('v', dtype, initial);
  plan.signature('write', (program) => {
    const given = inputs.map((tensor) => program.constant(tensor));
    program.host(op, [variable, ...given], { attrs, outputs: /^(Resource|Assign\w*VariableOp)/.test(op) ? 0 : 1, effect: true });
  });
  plan.signature('read', (program) => program.output('v', dtype, program.host('ReadVariableOp', [variable])));
  const { runner } = await plan.open();
  await call(runner, [], {}, 'write');
  return (await call(runner, ['v'], {}, 'read'))[0] ?? floats([0]);
}

describe('variables', () => {
  test('one signature counts, another reads, and outputs of an earlier run stay what they were', async () => {
    const plan = new PlanBuilder();
    const counter = plan.variable('counter', 'int64', longs([], 40));
    plan.signature('increment', (program) => {
      const by = program.input('by', 'int64');
      program.host('AssignAddVariableOp', [counter, by], { outputs: 0, effect: true });
      program.output('count', 'int64', program.host('ReadVariableOp', [counter]));
    });
    plan.signature('read', (program) => program.output('count', 'int64', program.host('ReadVariableOp', [counter])));
    const { runner, folder } = await plan.open();
    const [first] = await runner.run('increment', ['count'], new Map([['by', tensorOfHost(longs([], 1))]]));
    const [second] = await call(runner, ['count'], { by: longs([], 1) }, 'increment');
    expect([first?.bytes[0], values(second)]).toEqual([41, [42]]);
    expect(values((await call(runner, ['count'], {}, 'read'))[0])).toEqual([42]);
    expect(folder).not.toBe('');
  });

  test('runners that share a state see each other’s updates, and closing one leaves it', async () => {
    const plan = new PlanBuilder();
    const counter = plan.variable('counter', 'float', floats([], 0));
    plan.signature('increment', (program) => {
      program.host('AssignAddVariableOp', [counter, program.constant(floats([], 1))], { outputs: 0, effect: true });
      program.output('count', 'float', program.host('ReadVariableOp', [counter]));
    });
    const { runner: first } = await plan.open();
    const { runner: second } = await plan.open({ state: first.state });
    await call(first, ['count'], {}, 'increment');
    expect(values((await call(second, ['count'], {}, 'increment'))[0])).toEqual([2]);
    second.close();
    expect(values((await call(first, ['count'], {}, 'increment'))[0])).toEqual([3]);
  });

  test('an assigned value does not change with the request’s memory', async () => {
    const plan = new PlanBuilder();
    const [number, text] = [plan.variable('n', 'float', null), plan.variable('s', 'string', null)];
    plan.signature('write', (program) => {
      program.host('AssignVariableOp', [number, program.input('n', 'float')], { outputs: 0, effect: true });
      program.host('AssignVariableOp', [text, program.input('s', 'string')], { outputs: 0, effect: true });
    });
    plan.signature('read', (program) => {
      program.output('n', 'float', program.host('ReadVariableOp', [number]));
      program.output('s', 'string', program.host('ReadVariableOp', [text]));
    });
    const { runner } = await plan.open();
    const inputs = new Map([
      ['n', tensorOfHost(floats([2], 1, 2))],
      ['s', tensorOfHost(words('abc'))],
    ]);
    await runner.run('write', [], inputs);
    for (const { bytes } of inputs.values()) bytes.fill(0);
    expect((await call(runner, ['n', 's'], {}, 'read')).map(values)).toEqual([[1, 2], ['abc']]);
  });

  test('one that nothing initialised cannot be read, in TensorFlow’s words', async () => {
    const plan = new PlanBuilder();
    const variable = plan.variable('dense/kernel', 'float', null);
    plan.signature('serving_default', (program) => {
      program.output('value', 'float', program.host('ReadVariableOp', [variable], { node: 'dense/Read' }));
      program.output('set', 'bool', program.host('VarIsInitializedOp', [variable]));
      program.output('reference', 'float', program.host('Neg', [variable], { node: 'neg' }));
    });
    const { runner } = await plan.open();
    expect(values((await call(runner, ['set']))[0])).toEqual([0]);
    await expect(call(runner, ['value'])).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringMatching(
        /^Could not find variable dense\/kernel\. This could mean that the variable has been deleted\. .* does not exist\.\n\t \[\[\{\{node dense\/Read\}\}\]\]$/,
      ),
    });
    await expect(call(runner, ['reference'])).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: 'Attempting to use uninitialized value dense/kernel\n\t [[{{node neg}}]]',
    });
  });

  test('are fed to segments as their value is when the segment runs', async () => {
    const plan = new PlanBuilder();
    const weight = plan.variable('w', 'float', floats([], 2));
    const multiply = plan.segment('Mul');
    plan.signature('serving_default', (program) => {
      const x = program.input('x', 'float');
      const [before] = program.onnx(multiply, { x, w: weight }, ['y']);
      program.host('AssignSubVariableOp', [weight, program.constant(floats([], 5))], { outputs: 0, effect: true });
      const [after] = program.onnx(multiply, { x, w: weight }, ['y']);
      program.output('before', 'float', before ?? x);
      program.output('after', 'float', after ?? x);
    });
    const { runner } = await plan.open();
    expect((await call(runner, ['before', 'after'], { x: floats([], 10) })).map(values)).toEqual([[20], [-30]]);
  });

  test('a reference goes on through Assign and RefIdentity; an Identity reads it', async () => {
    const plan = new PlanBuilder();
    const variable = plan.variable('v', 'float', floats([], 1));
    plan.signature('serving_default', (program) => {
      const early = program.host('Identity', [variable], { attrs: { T: attr.dtype(FLOAT) } });
      const assigned = program.host('Assign', [variable, program.constant(floats([], 5))], { effect: true });
      const again = program.host('AssignAdd', [program.host('RefIdentity', [assigned]), program.constant(floats([], 2))], { effect: true });
      program.output('early', 'float', early);
      program.output('late', 'float', program.host('Identity', [assigned], { attrs: { T: attr.dtype(FLOAT) } }));
      program.output('reference', 'float', again);
    });
    const { runner } = await plan.open();
    expect((await call(runner, ['early', 'late', 'reference'])).map(values)).toEqual([[1], [7], [7]]);
  });

  test('rows, elements, shapes and counts', async () => {
    const plan = new PlanBuilder();
    const table = plan.variable('rows', 'float', floats([3, 2], 1, 2, 3, 4, 5, 6));
    const counter = plan.variable('counter', 'int32', ints([], 0));
    plan.signature('serving_default', (program) => {
      program.output('rows', 'float', program.host('ResourceGather', [table, program.constant(ints([2], 2, 0))]));
      program.output('cells', 'float', program.host('ResourceGatherNd', [table, program.constant(ints([2, 2], 0, 1, 2, 0))]));
      program.output('shape', 'int32', program.host('VariableShape', [table]));
    });
    plan.signature('count', (program) => {
      program.output('n', 'int32', program.host('CountUpTo', [counter], { attrs: { limit: attr.int(2) }, effect: true }));
    });
    const { runner } = await plan.open();
    expect((await call(runner, ['rows', 'cells', 'shape'])).map(values)).toEqual([
      [5, 6, 1, 2],
      [2, 5],
      [3, 2],
    ]);
    expect(values((await call(runner, ['n'], {}, 'count'))[0])).toEqual([0]);
    expect(values((await call(runner, ['n'], {}, 'count'))[0])).toEqual([1]);
    await expect(call(runner, ['n'], {}, 'count')).rejects.toMatchObject({
      code: 'OUT_OF_RANGE',
      message: 'Reached limit of 2\n\t [[{{node CountUpTo}}]]',
    });
  });

  test('assignments of another dtype or shape are refused', async () => {
    const two = floats([2], 1, 2);
    await expect(afterWrite(two, 'AssignVariableOp', [longs([], 1)])).rejects.toThrow(
      'Trying to assign variable with wrong dtype. Expected float got int64',
    );
    await expect(afterWrite(two, 'AssignAddVariableOp', [floats([3], 1, 2, 3)])).rejects.toThrow(
      'Cannot update variable with shape [2] using a Tensor with shape [3], shapes must be equal.',
    );
    await expect(afterWrite(two, 'Assign', [floats([3], 1, 2, 3)])).rejects.toThrow(
      'Assign requires shapes of both tensors to match. lhs shape= [2] rhs shape= [3]',
    );
    expect(values(await afterWrite(two, 'AssignVariableOp', [floats([3], 7, 8, 9)]))).toEqual([7, 8, 9]);
    expect(values(await afterWrite(two, 'Assign', [floats([1], 7)], { validate_shape: attr.bool(false) }))).toEqual([7]);
  });
});

describe('scatters', () => {
  const start = floats([3, 2], 1, 2, 3, 4, 5, 6);
  const rows = ints([2], 2, 0);
  const updates = floats([2, 2], 10, 20, 30, 2);

  test.each([
    ['Update', [30, 2, 3, 4, 10, 20]],
    ['Add', [31, 4, 3, 4, 15, 26]],
    ['Sub', [-29, 0, 3, 4, -5, -14]],
    ['Mul', [30, 4, 3, 4, 50, 120]],
    ['Div', [Math.fround(1 / 30), 1, 3, 4, 0.5, Math.fround(6 / 20)]],
    ['Min', [1, 2, 3, 4, 5, 6]],
    ['Max', [30, 2, 3, 4, 10, 20]],
  ])('%s changes rows', async (combine, expected) => {
    expect(values(await afterWrite(start, `ResourceScatter${combine}`, [rows, updates]))).toEqual(expected);
    expect(values(await afterWrite(start, `Scatter${combine}`, [rows, updates]))).toEqual(expected);
  });

  test('a scalar is for all rows, and rows that come twice add up', async () => {
    expect(values(await afterWrite(start, 'ResourceScatterAdd', [ints([2], 1, 1), floats([], 10)]))).toEqual([1, 2, 23, 24, 5, 6]);
  });

  test('int64, half and strings', async () => {
    const big = { dtype: 'int64', shape: [2], data: BigInt64Array.of(2n ** 60n + 1n, 5n) } as const;
    const added = await afterWrite(big, 'ResourceScatterAdd', [ints([1], 0), longs([1], 1)]);
    expect(added.data).toEqual(BigInt64Array.of(2n ** 60n + 2n, 5n));
    const half = (...numbers: number[]) => fromNumbers('half', [numbers.length], numbers);
    expect((await afterWrite(half(1.5, 2), 'ResourceScatterAdd', [ints([1], 1), half(0.25)])).data).toEqual(half(1.5, 2.25).data);
    expect(values(await afterWrite(words('a', 'b'), 'ResourceScatterUpdate', [ints([1], 1), words('new')]))).toEqual(['a', 'new']);
  });

  test('positions and slices', async () => {
    const cells = ints([2, 2], 0, 1, 2, 0);
    expect(values(await afterWrite(start, 'ResourceScatterNdUpdate', [cells, floats([2], -1, -2)]))).toEqual([1, -1, 3, 4, -2, 6]);
    expect(values(await afterWrite(start, 'ScatterNdAdd', [ints([1, 1], 1), floats([1, 2], 10, 20)]))).toEqual([1, 2, 13, 24, 5, 6]);
    const slice = [ints([2], 0, 1), ints([2], 3, 2), ints([2], 2, 1), floats([2, 1], 70, 80)];
    expect(values(await afterWrite(start, 'ResourceStridedSliceAssign', slice))).toEqual([1, 70, 3, 4, 5, 80]);
  });

  test('indices out of range change nothing and are named', async () => {
    await expect(afterWrite(start, 'ResourceScatterUpdate', [ints([2], 0, 3), updates])).rejects.toThrow('indices[1] = 3 is not in [0, 3)');
    await expect(afterWrite(start, 'ResourceScatterNdAdd', [ints([1, 2], 0, 2), floats([1], 1)])).rejects.toThrow(
      'indices[0] = [0, 2] does not index into shape [3,2]',
    );
  });
});

describe('training ops', () => {
  /** Runs an optimizer once over variables of one element that start as `state`, and gives what they are then. */
  async function trained(op: string, state: readonly number[], scalars: readonly number[], attrs: Attrs = {}): Promise<number[]> {
    const plan = new PlanBuilder();
    const variables = state.map((value, index) => plan.variable(`v${index}`, 'float', floats([1], value)));
    plan.signature('train', (program) => {
      const rest = scalars.map((value, index) => program.constant(index === gradientAt(op) ? floats([1], value) : floats([], value)));
      program.host(op, [...variables, ...rest], { attrs, outputs: op.startsWith('Resource') ? 0 : 1, effect: true });
    });
    plan.signature('read', (program) => {
      for (const [index, variable] of variables.entries())
        program.output(`v${index}`, 'float', program.host('ReadVariableOp', [variable as Operand]));
    });
    const { runner } = await plan.open();
    await call(runner, [], {}, 'train');
    const read = await call(
      runner,
      state.map((_, index) => `v${index}`),
      {},
      'read',
    );
    return read.map((tensor) => Number(values(tensor)[0]));
  }
  const gradientAt = (op: string) => (/Adam$/.test(op) ? 6 : /RMSProp$/.test(op) ? 4 : /Adadelta$/.test(op) ? 3 : /Ftrl$/.test(op) ? 0 : 1);

  test.each([
    ['GradientDescent', [1], [0.1, 2], {}, [0.8]],
    ['Momentum', [1, 0.5], [0.1, 2, 0.9], {}, [0.755, 2.45]],
    ['Momentum', [1, 0.5], [0.1, 2, 0.9], { use_nesterov: attr.bool(true) }, [0.5795, 2.45]],
    ['Adagrad', [1, 0.1], [0.1, 2], {}, [1 - 0.2 / Math.sqrt(4.1), 4.1]],
    ['Adagrad', [1, 4], [0.1, 2], { update_slots: attr.bool(false) }, [0.9, 4]],
    // The first step of Adam is the rate, whatever the gradient is.
    ['Adam', [1, 0, 0], [0.9, 0.999, 0.001, 0.9, 0.999, 1e-8, 7], {}, [0.999, 0.7, 0.049]],
    ['RMSProp', [1, 0, 0], [0.1, 0.9, 0, 0, 2], {}, [1 - 0.2 / Math.sqrt(0.4), 0.4, 0.2 / Math.sqrt(0.4)]],
    ['Adadelta', [1, 0, 0], [1, 0.5, 1, 2], {}, [1 - 2 / Math.sqrt(3), 2, 2 / 3]],
    ['Ftrl', [0, 1, 0], [2, 0.5, 0, 0, -0.5], {}, [(-2 * 0.5) / Math.sqrt(5), 5, 2]],
  ] as const)('%s', async (name, state, scalars, attrs, expected) => {
    for (const op of [`ResourceApply${name}`, `Apply${name}`]) {
      const after = await trained(op, state, scalars, attrs);
      for (const [index, value] of expected.entries()) expect(after[index]).toBeCloseTo(value, 5);
    }
  });

  test('the sparse form changes the rows of the indices alone', async () => {
    const start = floats([3, 1], 1, 1, 1);
    const plan = new PlanBuilder();
    const [variable, accum] = [plan.variable('v', 'float', start), plan.variable('a', 'float', start)];
    plan.signature('train', (program) => {
      const given = [floats([], 0.5), floats([2, 1], 1, Math.sqrt(3)), ints([2], 2, 0)].map((tensor) => program.constant(tensor));
      program.host('ResourceSparseApplyAdagrad', [variable, accum, ...given], { outputs: 0, effect: true });
      program.output('v', 'float', program.host('ReadVariableOp', [variable]));
      program.output('a', 'float', program.host('ReadVariableOp', [accum]));
    });
    const { runner } = await plan.open();
    const [v, a] = await call(runner, ['v', 'a'], {}, 'train');
    const expected = [1 - (0.5 * Math.sqrt(3)) / 2, 1, 1 - 0.5 / Math.sqrt(2)];
    for (const [index, value] of expected.entries()) expect(values(v)[index]).toBeCloseTo(value, 5);
    for (const [index, value] of [4, 1, 2].entries()) expect(values(a)[index]).toBeCloseTo(value, 5);
  });

  test('a gradient of another shape is refused', async () => {
    await expect(afterWrite(floats([2], 1, 2), 'ResourceApplyGradientDescent', [floats([], 1), floats([3], 1, 2, 3)])).rejects.toThrow(
      'var and grad do not have the same shape[2] [3]',
    );
  });
});

describe('lists of tensors in ops of tensors', () => {
  test('AddN and ZerosLike go element by element', async () => {
    const { runner } = await new PlanBuilder()
      .signature('serving_default', (program) => {
        const any = program.constant(ints([], -1));
        const list = program.host('TensorListFromTensor', [program.input('x', 'float'), any], {
          attrs: { element_dtype: attr.dtype(FLOAT) },
        });
        const sum = program.host('AddN', [list, list, program.host('ZerosLike', [list])]);
        program.output('y', 'float', program.host('TensorListStack', [sum, any]));
      })
      .open();
    expect(values((await call(runner, ['y'], { x: floats([2, 2], 1, 2, 3, 4) }))[0])).toEqual([2, 4, 6, 8]);
  });
});

describe('checks', () => {
  const failing = (data: readonly HostTensor[], attrs: Attrs = {}) =>
    new PlanBuilder()
      .signature('serving_default', (program) => {
        const condition = program.input('ok', 'bool');
        program.host('Assert', [condition, ...data.map((tensor) => program.constant(tensor))], {
          attrs,
          outputs: 0,
          effect: true,
          node: 'Assert/Assert',
        });
        program.output('ok', 'bool', condition);
      })
      .open();
  const flag = (value: number) => ({ ok: fromNumbers('bool', [], [value]) });

  test('a failed Assert says its data as TensorFlow summarises them', async () => {
    const data = [word('it’s "x"\n'), ints([5], 1, 2, 3, 4, 5), floats([2, 2], 0.1, 1 / 3, -2, 1e10), fromNumbers('bool', [], [1])];
    const { runner } = await failing(data);
    expect(values((await call(runner, ['ok'], flag(1)))[0])).toEqual([1]);
    await expect(call(runner, ['ok'], flag(0))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message:
        'assertion failed: [it\\342\\200\\231s \\"x\\"\\n] [1 2 3...] [[0.1 0.333333343][-2...]...] [1]\n\t [[{{node Assert/Assert}}]]',
    });
    const { runner: all } = await failing(data.slice(1, 3), { summarize: attr.int(-1) });
    await expect(call(all, ['ok'], flag(0))).rejects.toThrow('assertion failed: [1 2 3 4 5] [[0.1 0.333333343][-2 1e+10]]');
  });

  test('CheckNumerics passes finite numbers and names what it found', async () => {
    const { runner } = await new PlanBuilder()
      .signature('serving_default', (program) => {
        program.output(
          'y',
          'float',
          program.host('CheckNumerics', [program.input('x', 'float')], { attrs: { message: attr.text('loss') } }),
        );
      })
      .open();
    expect(values((await call(runner, ['y'], { x: floats([2], 1, -2) }))[0])).toEqual([1, -2]);
    await expect(call(runner, ['y'], { x: floats([2], 1, Number.NaN) })).rejects.toThrow('loss : Tensor had NaN values');
    await expect(call(runner, ['y'], { x: floats([2], Number.NEGATIVE_INFINITY, Number.NaN) })).rejects.toThrow(
      'loss : Tensor had Inf and NaN values',
    );
  });

  test('a placeholder that nothing feeds is named with dtype and shape', async () => {
    const { runner } = await new PlanBuilder()
      .signature('serving_default', (program) => {
        const attrs = { dtype: attr.dtype(FLOAT), shape: attr.shape([-1, 3]) };
        program.output('y', 'float', program.host('Placeholder', [], { attrs, node: 'x' }));
      })
      .open();
    await expect(call(runner, ['y'])).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: "You must feed a value for placeholder tensor 'x' with dtype float and shape [?,3]\n\t [[{{node x}}]]",
    });
  });
});
