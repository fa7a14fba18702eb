/**
 * Random traffic through a real batcher, encoded as it travels, with workers that compute for real, slice by the rules of `BatchPart`, and
 * die: every caller gets exactly its own rows or exactly one error, and nothing is held at the end.
 */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { BatchingLimits } from '#mesh/control.ts';
import { type Answer, type BatchFrame, type BatchPart, decodeTensors } from '#mesh/messages.ts';
import { executionRows } from '../../services/batcher/batch-policy.ts';
import {
  batching,
  type Harness,
  held,
  inputsOf,
  request,
  type ScriptedGateway,
  type ScriptedWorker,
  startHarness,
  valuesOf,
} from './harness.ts';

/** An element with this value ends the process that executes it. */
const POISON = 666;

interface Sent {
  readonly id: number;
  readonly gateway: ScriptedGateway;
  readonly values: readonly number[];
  readonly inner: number;
  cancelled: boolean;
}

type Step =
  | { readonly type: 'submit'; readonly gateway: number; readonly requests: readonly Ask[] }
  | { readonly type: 'cancel'; readonly which: number }
  | { readonly type: 'resend'; readonly which: number }
  | { readonly type: 'execute' | 'die' | 'answer-and-die' | 'refuse' | 'drain' | 'leave' | 'deafen'; readonly worker: number }
  | { readonly type: 'pass'; readonly ms: number };

interface Ask {
  readonly rows: number;
  readonly inner: number;
  readonly budgetMs: number;
  readonly poisoned: boolean;
  readonly shares: boolean;
}

const ask = fc.record({
  rows: fc.integer({ min: 1, max: 11 }),
  inner: fc.integer({ min: 1, max: 3 }),
  budgetMs: fc.oneof(
    { weight: 3, arbitrary: fc.constant(Number.POSITIVE_INFINITY) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 400 }) },
  ),
  poisoned: fc.oneof({ weight: 30, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  shares: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
});
const worker = fc.nat(2);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('submit' as const),
      gateway: fc.nat(1),
      requests: fc.array(ask, { minLength: 1, maxLength: 6 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('execute' as const), worker }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('cancel' as const), which: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('resend' as const), which: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('die' as const), worker }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('answer-and-die' as const), worker }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('refuse' as const), worker }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('drain' as const), worker }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('leave' as const), worker }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('deafen' as const), worker }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 600 }) }) },
);
const limits: fc.Arbitrary<BatchingLimits | null> = fc.oneof(
  { weight: 1, arbitrary: fc.constant(null) },
  {
    weight: 6,
    arbitrary: fc
      .record({
        maxBatchSize: fc.integer({ min: 2, max: 12 }),
        batchTimeoutMicros: fc.constantFrom(0, 5_000, 300_000),
        maxEnqueuedBatches: fc.constantFrom(1, 3, 100),
        enableLargeBatchSplitting: fc.boolean(),
        padVariableLengthInputs: fc.boolean(),
        padded: fc.boolean(),
      })
      .map(({ padded, ...chosen }) => {
        const rows = chosen.enableLargeBatchSplitting ? Math.max(1, chosen.maxBatchSize - 3) : chosen.maxBatchSize;
        return batching({ ...chosen, maxExecutionBatchSize: rows, allowedBatchSizes: padded ? [Math.ceil(rows / 2), rows] : [] });
      }),
  },
);

describe('rows of callers', () => {
  test('never reach another, whatever is split, cancelled, late or lost', async () => {
    await fc.assert(
      fc.asyncProperty(
        limits,
        fc.integer({ min: 1, max: 3 }),
        fc.array(step, { minLength: 5, maxLength: 50 }),
        async (chosen, tokens, steps) => {
          await using mesh = await startHarness({ settings: { noWorkerWaitMs: 60_000, quarantineMs: 3_000 } });
          await play(mesh, { chosen, tokens, steps });
        },
      ),
      { numRuns: 150 },
    );
  }, 120_000);
});

async function play(
  mesh: Harness,
  { chosen, tokens, steps }: { readonly chosen: BatchingLimits | null; readonly tokens: number; readonly steps: readonly Step[] },
): Promise<void> {
  const gateways = [mesh.addGateway('gateway-a'), mesh.addGateway('gateway-b')];
  const spawn = () => mesh.addWorker([held({ tokens, batching: chosen })]);
  const workers = [await spawn(), await spawn(), await spawn()];
  const sent: Sent[] = [];
  const maxRows = chosen === null ? 0 : executionRows(chosen);
  const deaf = new Set<ScriptedWorker>();

  const replace = async (index: number) => {
    workers[index] = await spawn();
  };

  for (const one of steps) {
    if (one.type === 'submit') await submit(one);
    else if (one.type === 'pass') await mesh.clock.advance(one.ms);
    else if (one.type === 'cancel' || one.type === 'resend') await touch(one);
    else await act(one.type, one.worker);
  }
  // The end: everything that is still under way is executed, however long batches wait and workers take to be missed.
  for (const [index, one] of workers.entries()) if (deaf.has(one)) await act('die', index);
  for (let round = 0; round < 400 && mesh.batcher.heldRequests > 0; round++) {
    for (const index of workers.keys()) await act('execute', index);
    await mesh.clock.advance(100);
  }
  expect(mesh.batcher.heldRequests).toBe(0);
  for (const request of sent) check(request);

  async function submit({ gateway: at, requests }: Extract<Step, { type: 'submit' }>): Promise<void> {
    const gateway = gateways[at];
    if (!gateway) return;
    const asked = requests.map(({ rows, inner, budgetMs, poisoned, shares }) => {
      const id = sent.length + 1;
      const values = Array.from({ length: rows * inner }, (_, index) => id * 1000 + index);
      if (poisoned) values[values.length - 1] = POISON;
      sent.push({ id, gateway, values, inner, cancelled: false });
      const laneKey = chosen?.padVariableLengthInputs ? 'ragged' : `inner ${inner}`;
      return request(id, {
        laneKey: shares ? laneKey : `alone ${inner}`,
        rows: shares ? rows : 0,
        budgetMs,
        body: inputsOf(values, inner),
      });
    });
    await gateway.submit(...asked);
  }

  /** Cancels an unanswered request, or sends it again: what a gateway may do at any time. */
  async function touch({ type, which }: { readonly type: 'cancel' | 'resend'; readonly which: number }): Promise<void> {
    const open = sent.filter((one) => !one.cancelled && !one.gateway.answers.some(({ requestId }) => requestId === one.id));
    const chosenOne = open[which % open.length];
    if (!chosenOne) return;
    if (type === 'resend') {
      const rows = chosenOne.values.length / chosenOne.inner;
      const laneKey = chosen?.padVariableLengthInputs ? 'ragged' : `inner ${chosenOne.inner}`;
      await chosenOne.gateway.submit(
        request(chosenOne.id, { laneKey, rows, attempt: 1, body: inputsOf(chosenOne.values, chosenOne.inner) }),
      );
      return;
    }
    chosenOne.cancelled = true;
    await chosenOne.gateway.cancel(chosenOne.id);
  }

  async function act(type: Extract<Step, { worker: number }>['type'], index: number): Promise<void> {
    const acting = workers[index];
    if (!acting) return;
    const batch = acting.batches[0];
    if (type === 'die') {
      await acting.die();
      await replace(index);
    } else if (type === 'deafen') {
      acting.deafen();
      deaf.add(acting);
    } else if (type === 'leave') {
      await acting.announce({ draining: true });
      await acting.leave();
      await replace(index);
    } else if (type === 'drain') {
      await acting.announce({ draining: true });
      while (acting.batches[0]) if (!(await execute(acting, acting.batches[0]))) return replace(index);
      await acting.leave();
      await replace(index);
    } else if (batch !== undefined && type === 'refuse') {
      await acting.ready(batch, 'refused');
      await acting.announce({});
    } else if (batch !== undefined && type === 'answer-and-die') {
      if (!batch.parts.some(isPoisoned)) acting.answers(compute(batch, acting, maxRows));
      await mesh.settle();
      await acting.die();
      await replace(index);
    } else if (batch !== undefined && !(await execute(acting, batch))) await replace(index);
  }

  /** Executes a batch; false when that ended the worker. */
  async function execute(acting: ScriptedWorker, batch: BatchFrame): Promise<boolean> {
    if (batch.parts.some(isPoisoned)) {
      await acting.die();
      return false;
    }
    const answers = compute(batch, acting, maxRows);
    acting.answers(answers);
    await acting.ready(batch);
    return true;
  }

  /** What the caller sees of one request: its own rows once, or one error; nothing that contradicts it. */
  function check({ id, gateway, values, inner, cancelled }: Sent): void {
    const answers = gateway.answers.filter(({ requestId }) => requestId === id);
    const errors = answers.filter(({ type }) => type === 'error');
    const rows = values.length / inner;
    const seen: (number | undefined)[] = new Array(rows).fill(undefined);
    for (const answer of answers) {
      if (answer.type !== 'outputs') continue;
      const got = valuesOf(answer.outputs[0]);
      const start = answer.totalRows === 0 ? 0 : answer.rowStart;
      expect(answer.totalRows === 0 ? got.length : answer.rowCount).toBe(got.length);
      got.forEach((value, index) => {
        seen[start + index] = value;
      });
    }
    const wanted = Array.from({ length: rows }, (_, row) => rowFunction(values.slice(row * inner, (row + 1) * inner)));
    seen.forEach((value, row) => {
      if (value !== undefined) expect({ id, row, value }).toEqual({ id, row, value: wanted[row] });
    });
    expect(errors.length).toBeLessThanOrEqual(1);
    if (values.includes(POISON) && !cancelled) expect(errors.length).toBe(1);
    const complete = seen.every((value) => value !== undefined);
    if (!cancelled) expect({ id, answered: complete || errors.length === 1 }).toEqual({ id, answered: true });
  }
}

/** Runs a batch: rows of all parts one under another, padded, computed, and cut apart again. */
function compute(
  batch: BatchFrame,
  { id: workerId }: ScriptedWorker,
  maxRows: number,
): { gatewayId: ScriptedGateway['id']; answer: Answer }[] {
  const rowsOf = batch.parts.map((part) => partRows(part));
  const total = rowsOf.reduce((sum, rows) => sum + rows.length, 0);
  if (batch.executeRows === 0) expect(batch.parts).toHaveLength(1);
  else {
    expect(batch.executeRows).toBeGreaterThanOrEqual(total);
    expect(batch.executeRows).toBeLessThanOrEqual(maxRows);
  }
  if (!batch.padRagged) expect(new Set(rowsOf.flat().map((row) => row.length)).size).toBeLessThanOrEqual(1);
  const results = rowsOf.flat().map(rowFunction);
  let start = 0;
  return batch.parts.map((part, index) => {
    const count = rowsOf[index]?.length ?? 0;
    const bytes = new Uint8Array(new Float32Array(results.slice(start, start + count)).buffer);
    start += count;
    return {
      gatewayId: part.gatewayId,
      answer: {
        type: 'outputs',
        requestId: part.requestId,
        rowStart: part.rowStart,
        rowCount: part.rowCount,
        totalRows: part.totalRows,
        timings: { queuedMs: part.queuedMs, executedMs: 0, batchRows: total, workerId },
        outputs: [{ name: 'y', dtype: 'float', shape: [count], payload: { type: 'inline', bytes } }],
      },
    };
  });
}

/** The rows of a part: those it names, or all when its request shares no batch. */
function partRows(part: BatchPart): number[][] {
  const [input] = decodeTensors(part.body);
  const values = valuesOf(input);
  const [rows = 0, inner = 1] = input?.shape ?? [];
  if (part.totalRows > 0) expect(part.totalRows).toBe(rows);
  const all = Array.from({ length: rows }, (_, row) => values.slice(row * inner, (row + 1) * inner));
  return part.totalRows === 0 ? all : all.slice(part.rowStart, part.rowStart + part.rowCount);
}

function isPoisoned(part: BatchPart): boolean {
  return partRows(part).flat().includes(POISON);
}

/** A function of one row that tells rows of unequal content and width apart. Small whole numbers: float32 holds them exactly. */
function rowFunction(row: readonly number[]): number {
  return row.reduce((sum, value) => sum + value, row.length);
}
