import { describe, expect, test } from '@jest/globals';
import { DEFAULT_BATCHING } from '#mesh/control.ts';
import {
  type BatchLimits,
  executionRows,
  type LaneSnapshot,
  limitsOf,
  nextAction,
  paddedRows,
} from '../../services/batcher/batch-policy.ts';

const NOW = 1000;
const LIMITS: BatchLimits = { maxRows: 8, maxBytes: 4096, delayMs: 10 };
/** Two requests that arrived 4 ms ago; a token, and no worker idle. */
const LANE: LaneSnapshot = {
  queuedRequests: 2,
  queuedRows: 3,
  queuedBytes: 600,
  oldestArrivedMs: 996,
  earliestDeadlineMs: Number.POSITIVE_INFINITY,
  executionMs: 5,
  freeTokens: 1,
  idleWorker: false,
};

describe('nextAction', () => {
  const close = (reason: string) => ({ type: 'close', reason });
  const wait = (untilMs: number) => ({ type: 'wait', untilMs });
  const rules: readonly [string, Partial<LaneSnapshot>, Partial<BatchLimits>, object][] = [
    ['an empty lane is idle', { queuedRequests: 0, queuedRows: 0 }, {}, { type: 'idle' }],
    ['an empty lane is idle though a worker is', { queuedRequests: 0, queuedRows: 0, idleWorker: true }, {}, { type: 'idle' }],
    ['without a token a full lane is idle', { freeTokens: 0, queuedRows: 8 }, {}, { type: 'idle' }],
    ['without a token a passed deadline is idle', { freeTokens: 0, earliestDeadlineMs: 1 }, {}, { type: 'idle' }],
    ['overcommitted tokens count as none', { freeTokens: -1, queuedRows: 8 }, {}, { type: 'idle' }],
    ['exactly full closes', { queuedRows: 8 }, {}, close('full')],
    ['one row short of full waits for the delay', { queuedRows: 7 }, {}, wait(1006)],
    ['more than full closes', { queuedRows: 9 }, {}, close('full')],
    ['full by bytes closes', { queuedBytes: 4096 }, {}, close('full')],
    ['full beats an idle worker', { queuedRows: 8, idleWorker: true }, {}, close('full')],
    ['with batching off one request is full', { queuedRequests: 1, queuedRows: 0 }, { maxRows: 0 }, close('full')],
    ['an idle worker beats the delay', { idleWorker: true }, {}, close('idle-worker')],
    ['an idle worker beats a deadline', { idleWorker: true, earliestDeadlineMs: 1001 }, {}, close('idle-worker')],
    ['the delay of the oldest request closes', { oldestArrivedMs: 990 }, {}, close('delay')],
    ['a moment before the delay is over it waits', { oldestArrivedMs: 990.5 }, {}, wait(1000.5)],
    ['without a delay a token closes', { oldestArrivedMs: NOW }, { delayMs: 0 }, close('delay')],
    ['a near deadline beats the delay', { earliestDeadlineMs: 1007 }, {}, close('deadline')],
    ['a deadline is near by the execution time', { earliestDeadlineMs: 1040, executionMs: 40 }, {}, close('deadline')],
    ['a far deadline waits until it is near', { earliestDeadlineMs: 1010 }, {}, wait(1003)],
    ['the delay comes before a farther deadline', { earliestDeadlineMs: 1500 }, {}, wait(1006)],
    ['an unknown execution time leaves a margin', { earliestDeadlineMs: 1002, executionMs: 0 }, {}, close('deadline')],
  ];

  test.each(rules)('%s', (_, lane, limits, action) => {
    expect(nextAction({ ...LANE, ...lane }, { ...LIMITS, ...limits }, NOW)).toEqual(action);
  });

  test('what it waits for is due at the instant that it names', () => {
    for (const lane of [LANE, { ...LANE, earliestDeadlineMs: 1010.3, executionMs: 0.1 }]) {
      const action = nextAction(lane, LIMITS, NOW);
      if (action.type !== 'wait') throw new Error('the lane does not wait');
      expect(nextAction(lane, LIMITS, action.untilMs).type).toBe('close');
    }
  });
});

describe('limits', () => {
  const batching = { ...DEFAULT_BATCHING, maxBatchSize: 100, batchTimeoutMicros: 1500, maxExecutionBatchSize: 40 };

  test('come from the batching parameters, in ms', () => {
    expect(limitsOf(batching, 99)).toEqual({ maxRows: 100, maxBytes: 99, delayMs: 1.5 });
    expect(limitsOf(null, 99)).toEqual({ maxRows: 0, maxBytes: 99, delayMs: 0 });
  });

  test('batches have the size of execution only with splitting', () => {
    expect(executionRows(batching)).toBe(100);
    expect(executionRows({ ...batching, enableLargeBatchSplitting: true })).toBe(40);
    expect(executionRows({ ...batching, enableLargeBatchSplitting: true, maxExecutionBatchSize: 400 })).toBe(100);
  });

  test('rows are padded to the next allowed size, if there is one', () => {
    expect([1, 4, 5, 8, 9].map((rows) => paddedRows(rows, [4, 8]))).toEqual([4, 4, 8, 8, 9]);
    expect(paddedRows(3, [])).toBe(3);
  });
});
