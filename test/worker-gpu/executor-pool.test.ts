import { expect, test } from '@jest/globals';
import type { Executor } from '../../services/worker-gpu/executor.ts';
import { createExecutorPool } from '../../services/worker-gpu/executor-pool.ts';

function setUp() {
  const ended: Executor[] = [];
  const pool = createExecutorPool(2, (kind) => {
    const executor = { kind, held: 0, [Symbol.asyncDispose]: async () => void ended.push(executor) } as unknown as Executor;
    return executor;
  });
  return { pool, ended };
}

test('shared executors stay when they are given back', async () => {
  const { pool, ended } = setUp();
  const taken = pool.take('shared', 5);
  expect(taken).toHaveLength(2);
  for (const executor of taken) await pool.release(executor);
  expect(ended).toEqual([]);
  expect(pool.take('shared', 2)).toEqual(taken);
});

test('dedicated and guarded executors without a group are new, and end when they are given back', async () => {
  const { pool, ended } = setUp();
  for (const kind of ['dedicated', 'guarded'] as const) {
    const [first] = pool.take(kind, 1);
    const [second] = pool.take(kind, 1);
    expect(first).not.toBe(second);
    if (first) await pool.release(first);
    expect(ended.splice(0)).toEqual([first]);
  }
});

test('guarded executors of a group are taken again, more are added, and each ends with its last owner', async () => {
  const { pool, ended } = setUp();
  const [first] = pool.take('guarded', 1, 'g');
  const both = pool.take('guarded', 2, 'g');
  expect(both[0]).toBe(first);
  expect(pool.take('guarded', 1, 'other')[0]).not.toBe(first);
  if (first) await pool.release(first);
  expect(ended).toEqual([]);
  for (const executor of both) await pool.release(executor);
  expect(ended).toEqual(both);
  expect(pool.take('guarded', 1, 'g')[0]).not.toBe(first);
});
