/** A graph that TensorFlow 1's own cond, while_loop and map_fn built (scripts/make-tf1-control-flow.py). */
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { analyzeConditionals, analyzeLoops, prepareServing } from '../../../savedmodel/flatten/index.ts';
import { readSavedModel } from '../../../savedmodel/read/saved-model.ts';

async function prepared() {
  const { metaGraph } = await readSavedModel(join(import.meta.dirname, 'tf1-control-flow'), { tags: ['serve'] });
  return prepareServing(metaGraph, new Set());
}

test('its three loops are found, one inside another, with what they carry', async () => {
  const { loops } = analyzeLoops((await prepared()).graph);
  const found = loops.map((loop) => [
    loop.frame,
    loop.parent?.frame,
    loop.carried.length,
    loop.invariants.length,
    loop.exits.map((exit) => exit.name),
  ]);
  expect(new Map(found.map(([frame, ...rest]) => [frame, rest]))).toEqual(
    new Map([
      ['map/while/while_context', [undefined, 3, 4, ['map/while/Exit_2']]],
      ['while/while_context', [undefined, 2, 0, ['while/Exit_1']]],
      ['while/while/while_context', ['while/while_context', 2, 0, ['while/while/Exit_1']]],
    ]),
  );
});

test('its conditionals are found: nested, one after another on the same predicate, and inside a loop', async () => {
  const { graph } = await prepared();
  const { conditionals } = analyzeConditionals(graph);
  const found = conditionals.map((one) => [
    one.predicate.node.name,
    ...one.values.flatMap((value) => [value.merge.name, value.whenTrue.node.name, value.whenFalse.node.name]),
  ]);
  expect(found).toEqual(
    expect.arrayContaining([
      ['q', 'cond/cond/Merge', 'cond/cond/add', 'cond/cond/mul'],
      ['p', 'cond/Merge', 'cond/cond/Merge', 'cond/zeros_like'],
      ['p', 'cond_1/Merge', 'cond_1/add', 'cond_1/mul'],
      ['while/while/Greater', 'while/while/cond/Merge', 'while/while/cond/Const', 'while/while/cond/Const_1'],
    ]),
  );
  expect(found.length).toBe(4);
});

test('its local variable, which no checkpoint has, takes its initialiser', async () => {
  const { variables } = await prepared();
  expect(variables.unbound).toEqual([]);
  expect([...variables.bound].map(([node, source]) => [node.name, source.type])).toEqual([['local', 'constant']]);
});
