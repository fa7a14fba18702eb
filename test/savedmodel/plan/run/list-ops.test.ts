import { describe, expect, test } from '@jest/globals';
import type { HostTensor } from '../../../../savedmodel/host-value.ts';
import type { Operand } from '../../../../savedmodel/plan/plan.ts';
import {
  attr,
  call,
  FLOAT,
  floats,
  INT32,
  ints,
  longs,
  PlanBuilder,
  type ProgramBuilder,
  STRING,
  VARIANT,
  values,
  words,
} from './plan-builder.ts';

const OF_FLOATS = { element_dtype: attr.dtype(FLOAT), shape_type: attr.dtype(INT32) };

/** Runs steps over lists that give tensors; each output by its own call. */
async function results(
  build: (program: ProgramBuilder, x: Operand) => readonly Operand[],
  dtypes: readonly HostTensor['dtype'][] = ['float'],
) {
  const plan = new PlanBuilder().signature('serving_default', (program) => {
    const x = program.input('x', 'float');
    for (const [index, value] of build(program, x).entries()) program.output(`y${index}`, dtypes[index] ?? 'float', value);
  });
  const { runner } = await plan.open();
  const aliases = plan.build().signatures.serving_default?.program.outputs.map(({ alias }) => alias) ?? [];
  return (x: HostTensor) => call(runner, aliases, { x });
}

const reserve = (program: ProgramBuilder, count: Operand, shape: Operand = program.constant(ints([], -1)), attrs = OF_FLOATS) =>
  program.host('TensorListReserve', [shape, count], { attrs });

describe('TensorLists', () => {
  test('a loop sets elements and the stack is what it set', async () => {
    const run = await results((program, x) => {
      const [zero, one, n] = [0, 1, 6].map((value) => program.constant(ints([], value))) as [Operand, Operand, Operand];
      const [, list] = program.while(
        [zero, reserve(program, n)],
        ([i]) => program.host('Less', [i ?? zero, n]),
        ([i, sofar]) => {
          const item = program.host('Mul', [x, program.host('Cast', [i ?? zero], { attrs: { DstT: attr.dtype(FLOAT) } })]);
          return [
            program.host('AddV2', [i ?? zero, one]),
            program.host('TensorListSetItem', [sofar ?? zero, i ?? zero, item], { attrs: OF_FLOATS }),
          ];
        },
      );
      return [program.host('TensorListStack', [list ?? x, program.constant(ints([], -1))], { attrs: OF_FLOATS })];
    });
    const [stack] = await run(floats([2], 1, -1));
    expect(stack?.shape).toEqual([6, 2]);
    expect(values(stack)).toEqual([0, -0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5]);
  });

  test('an element that was never set reads as zeros of the element shape, or of the shape of the others', async () => {
    const run = await results((program, x) => {
      const [two, one, any] = [program.constant(ints([], 2)), program.constant(ints([], 1)), program.constant(ints([], -1))];
      const list = program.host('TensorListSetItem', [reserve(program, two), one, x], { attrs: OF_FLOATS });
      const zero = program.constant(ints([], 0));
      const stated = reserve(program, two, program.constant(ints([1], 3)));
      return [
        program.host('TensorListStack', [list, any], { attrs: OF_FLOATS }),
        program.host('TensorListGetItem', [list, zero, any], { attrs: OF_FLOATS }),
        program.host('TensorListGetItem', [stated, zero, any], { attrs: OF_FLOATS }),
      ];
    });
    expect((await run(floats([2], 5, 6))).map(values)).toEqual([
      [0, 0, 5, 6],
      [0, 0],
      [0, 0, 0],
    ]);
  });

  test('setting beyond the end is refused, unless the list grows', async () => {
    const set = (flags: Record<string, ReturnType<typeof attr.bool>>, at: number) =>
      results(
        (program, x) => {
          const list = reserve(program, program.constant(ints([], 1)));
          const grown = program.host('TensorListSetItem', [list, program.constant(ints([], at)), x], { attrs: { ...OF_FLOATS, ...flags } });
          return [
            program.host('TensorListLength', [grown]),
            program.host('TensorListStack', [grown, program.constant(ints([], -1))], { attrs: OF_FLOATS }),
          ];
        },
        ['int32', 'float'],
      );
    await expect((await set({}, 1))(floats([], 7))).rejects.toThrow(
      'Trying to modify element 1 in a list with 1 elements.\n\t [[{{node TensorListSetItem}}]]',
    );
    for (const flag of ['_grows', 'resize_if_index_out_of_bounds']) {
      expect((await (await set({ [flag]: attr.bool(true) }, 1))(floats([], 7))).map(values)).toEqual([[2], [0, 7]]);
      expect((await (await set({ [flag]: attr.bool(true) }, 3))(floats([], 7))).map(values)).toEqual([[4], [0, 0, 0, 7]]);
    }
  });

  test('pushes and pops take turns, and an older list stays what it was', async () => {
    const run = await results(
      (program, x) => {
        const any = program.constant(ints([], -1));
        const empty = program.host('EmptyTensorList', [any, program.constant(ints([], 2))], { attrs: OF_FLOATS });
        const one = program.host('TensorListPushBack', [empty, x], { attrs: OF_FLOATS });
        const two = program.host('TensorListPushBack', [one, program.host('Neg', [x])], { attrs: OF_FLOATS });
        const [back, last] = program.hosts('TensorListPopBack', [two, any], { attrs: OF_FLOATS, outputs: 2 });
        const other = program.host('TensorListPushBack', [back ?? x, program.host('Add', [x, x])], { attrs: OF_FLOATS });
        const stack = (list: Operand) => program.host('TensorListStack', [list, any], { attrs: OF_FLOATS });
        return [stack(two), last ?? x, stack(other), stack(one), program.host('TensorListLength', [empty])];
      },
      ['float', 'float', 'float', 'float', 'int32'],
    );
    expect((await run(floats([1], 3))).map(values)).toEqual([[3, -3], [-3], [3, 6], [3], [0]]);
  });

  test('a full list takes no more, and an empty one gives nothing', async () => {
    const any = (program: ProgramBuilder) => program.constant(ints([], -1));
    const full = await results((program, x) => {
      const list = program.host('EmptyTensorList', [any(program), program.constant(ints([], 0))], { attrs: OF_FLOATS });
      return [program.host('TensorListStack', [program.host('TensorListPushBack', [list, x]), any(program)], { attrs: OF_FLOATS })];
    });
    await expect(full(floats([], 1))).rejects.toThrow('Tried to push item to a full list. list size: 0 max_num_elements: 0');
    const empty = await results((program) => {
      const list = program.host('EmptyTensorList', [any(program), any(program)], { attrs: OF_FLOATS });
      return [program.hosts('TensorListPopBack', [list, any(program)], { outputs: 2 })[1] ?? list];
    });
    await expect(empty(floats([], 1))).rejects.toThrow('Trying to pop from an empty list.');
  });

  test('tensors become lists by rows, by places and by lengths, and tensors again', async () => {
    const run = await results(
      (program, x) => {
        const any = program.constant(ints([], -1));
        const rows = program.host('TensorListFromTensor', [x, any], { attrs: OF_FLOATS });
        const places = program.constant(ints([3], 4, 0, 2));
        const spread = program.host('TensorListScatterV2', [x, places, any, any], { attrs: OF_FLOATS });
        const again = program.host('TensorListScatterIntoExistingList', [rows, x, places], { attrs: OF_FLOATS });
        const parts = program.host('TensorListSplit', [x, any, program.constant(longs([2], 1, 2))], { attrs: OF_FLOATS });
        const [joined, lengths] = program.hosts('TensorListConcatV2', [parts, any, program.constant(longs([0]))], {
          attrs: OF_FLOATS,
          outputs: 2,
        });
        const both = program.host('TensorListConcatLists', [rows, rows], { attrs: OF_FLOATS });
        const short = program.host('TensorListResize', [both, program.constant(ints([], 4))]);
        return [
          program.host('TensorListGather', [rows, program.constant(ints([2], 2, 0)), any], { attrs: OF_FLOATS }),
          program.host('TensorListStack', [spread, any], { attrs: OF_FLOATS }),
          program.host('TensorListStack', [again, any], { attrs: OF_FLOATS }),
          joined ?? x,
          lengths ?? x,
          program.host('TensorListStack', [short, any], { attrs: OF_FLOATS }),
          program.host('TensorListElementShape', [rows], { attrs: OF_FLOATS }),
        ];
      },
      ['float', 'float', 'float', 'float', 'int64', 'float', 'int32'],
    );
    const outputs = await run(floats([3, 2], 1, 2, 3, 4, 5, 6));
    expect(outputs.map(values)).toEqual([
      [5, 6, 1, 2],
      [3, 4, 0, 0, 5, 6, 0, 0, 1, 2],
      [3, 4, 3, 4, 5, 6, 0, 0, 1, 2],
      [1, 2, 3, 4, 5, 6],
      [1, 2],
      [1, 2, 3, 4, 5, 6, 1, 2],
      [2],
    ]);
  });

  test('lists of strings and lists of lists', async () => {
    const plan = new PlanBuilder().signature('serving_default', (program) => {
      const any = program.constant(ints([], -1));
      const text = program.host('TensorListFromTensor', [program.input('x', 'string'), any], {
        attrs: { element_dtype: attr.dtype(STRING) },
      });
      const attrs = { element_dtype: attr.dtype(VARIANT) };
      const outer = program.host('TensorListPushBack', [program.host('EmptyTensorList', [any, any], { attrs }), text], { attrs });
      const inner = program.host('TensorListGetItem', [outer, program.constant(ints([], 0)), any], { attrs });
      program.output('y', 'string', program.host('TensorListGather', [inner, program.constant(ints([1], 1)), any]));
    });
    const { runner } = await plan.open();
    expect(values((await call(runner, ['y'], { x: words('a', 'bb') }))[0])).toEqual(['bb']);
  });

  test('shapes and dtypes that do not fit are refused with TensorFlow’s words', async () => {
    const stated = await results((program, x) => {
      const list = reserve(program, program.constant(ints([], 1)), program.constant(ints([1], 3)));
      return [program.host('TensorListStack', [program.host('TensorListSetItem', [list, program.constant(ints([], 0)), x]), x])];
    });
    await expect(stated(floats([2], 1, 2))).rejects.toThrow(
      'Tried to set a tensor with incompatible shape at a list index. Item element shape: [2] list shape: [3]',
    );
    const empty = await results((program) => {
      const list = reserve(program, program.constant(ints([], 0)), program.constant(ints([2], -1, 3)));
      return [program.host('TensorListStack', [list, program.constant(ints([], -1))])];
    });
    await expect(empty(floats([], 1))).rejects.toThrow(
      'Tried to stack elements of an empty list with non-fully-defined element_shape: [?,3]',
    );
    const get = await results((program) => {
      const list = reserve(program, program.constant(ints([], 2)));
      return [program.host('TensorListGetItem', [list, program.constant(ints([], 2)), program.constant(ints([], -1))])];
    });
    await expect(get(floats([], 1))).rejects.toThrow('Trying to access element 2 in a list with 2 elements.');
  });
});
