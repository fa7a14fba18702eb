import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createSystemClock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import type { Tensor } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import { type RunningMesh, startRunningMesh } from './running-mesh.ts';

/** One caller of the property: what it sends, and whether it leaves before the answer. */
interface Caller {
  readonly rows: number;
  readonly columns: number;
  readonly leaves: boolean;
  readonly inTime: boolean;
}

/** y = 2 * x and the sum of each row, for FLOAT [batch, n]: what comes back names its row. */
function rowModel(): Uint8Array {
  return buildModel({
    name: 'rows',
    opset: 17,
    inputs: [{ name: 'x', dtype: 'float', shape: ['batch', 'n'] }],
    outputs: [
      { name: 'y', dtype: 'float', shape: ['batch', 'n'] },
      { name: 'sum', dtype: 'float', shape: ['batch'] },
    ],
    initializers: [
      { name: 'two', dtype: 'float', shape: [], bytes: new Uint8Array(new Float32Array([2]).buffer) },
      { name: 'axes', dtype: 'int64', shape: [1], bytes: new Uint8Array(new BigInt64Array([1n]).buffer) },
    ],
    nodes: [
      { op: 'Mul', inputs: ['x', 'two'], outputs: ['y'] },
      { op: 'ReduceSum', inputs: ['x', 'axes'], outputs: ['sum'], attributes: { keepdims: 0 } },
    ],
  });
}

const caller: fc.Arbitrary<Caller> = fc.record({
  rows: fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 1, max: 8 }) }, { weight: 1, arbitrary: fc.integer({ min: 9, max: 100 }) }),
  columns: fc.integer({ min: 1, max: 3 }),
  leaves: fc.integer({ min: 0, max: 3 }).map((dice) => dice === 0),
  inTime: fc.integer({ min: 0, max: 9 }).map((dice) => dice > 0),
});

function floats({ bytes }: Tensor): number[] {
  const aligned = bytes.slice();
  return [...new Float32Array(aligned.buffer, 0, aligned.byteLength / 4)];
}

describe('rows through a whole mesh', () => {
  let mesh: RunningMesh;
  let next = 1;
  const clock = createSystemClock();
  beforeAll(async () => {
    mesh = await startRunningMesh({
      prepare(folder) {
        mkdirSync(join(folder, 'rows/1'), { recursive: true });
        writeFileSync(join(folder, 'rows/1/model.onnx'), rowModel());
        writeFileSync(
          join(folder, 'batching.config'),
          `max_batch_size { value: 32 } max_execution_batch_size { value: 16 } batch_timeout_micros { value: 500 } max_enqueued_batches { value: 1000 }
           allowed_batch_sizes: 4 allowed_batch_sizes: 8 allowed_batch_sizes: 16 enable_large_batch_splitting { value: true }`,
        );
      },
      config: (folder) => `model_config_list { config { name: "rows" base_path: "${join(folder, 'rows')}" model_platform: "onnx" } }`,
      flags: (folder) => ['--enable_batching', `--batching_parameters_file=${join(folder, 'batching.config')}`],
    });
  }, 60_000);
  afterAll(async () => {
    await mesh[Symbol.asyncDispose]();
  });

  /** Runs one caller to its end; says what was wrong with its answer. */
  async function run({ rows, columns, leaves, inTime }: Caller): Promise<string | undefined> {
    const { core } = mesh.embedded;
    const servable = core.resolve('rows', { type: 'latest' });
    const signature = servable.signatures.serving_default;
    if (signature === undefined) return 'no signature';
    // Whole numbers that no other row has, small enough that their sums are exact.
    const values = Float32Array.from({ length: rows * columns }, () => next++ % 1_000_000);
    const x: Tensor = { dtype: 'float', shape: [rows, columns], bytes: new Uint8Array(values.buffer) };
    const pending = core.infer({
      servable,
      signatureName: 'serving_default',
      signature,
      inputs: new Map([['x', x]]),
      outputs: ['y', 'sum'],
      deadlineMs: inTime ? clock.now() + 30_000 : clock.now() - 1,
      traceparent: '',
    });
    if (leaves) setImmediate(() => pending.cancel());
    try {
      const { outputs } = await pending.answer;
      const y = outputs.get('y');
      const sum = outputs.get('sum');
      if (y === undefined || sum === undefined) return 'an output is missing';
      if (y.shape.join() !== `${rows},${columns}` || sum.shape.join() !== `${rows}`) return `shapes [${y.shape}] and [${sum.shape}]`;
      const doubled = floats(y);
      const sums = floats(sum);
      for (let row = 0; row < rows; row++) {
        const mine = values.subarray(row * columns, (row + 1) * columns);
        if (mine.some((value, column) => doubled[row * columns + column] !== 2 * value)) return `row ${row} of y is another's`;
        if (sums[row] !== mine.reduce((total, value) => total + value, 0)) return `row ${row} of sum is another's`;
      }
      return inTime ? undefined : 'an answer came after the deadline';
    } catch (caught) {
      if (!(caught instanceof ServeError)) throw caught;
      if (leaves && caught.code === 'CANCELLED') return undefined;
      if (!inTime && caught.code === 'DEADLINE_EXCEEDED') return undefined;
      return `${caught.code}: ${caught.message}`;
    }
  }

  test('every caller gets exactly its own rows, whatever is split, padded, cancelled or late beside it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(caller, { minLength: 1, maxLength: 60 }), async (callers) => {
        const problems = await Promise.all(callers.map(run));
        expect(problems.filter((problem) => problem !== undefined)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  }, 120_000);
});
