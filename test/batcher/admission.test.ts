import { describe, expect, test } from '@jest/globals';
import { type AdmissionQuestion, refusalOf } from '../../services/batcher/admission.ts';
import { batching } from './harness.ts';

const LIMITS = batching({ maxBatchSize: 4, maxEnqueuedBatches: 2, maxExecutionBatchSize: 4 });
const SPLITTING = { ...LIMITS, enableLargeBatchSplitting: true };
const QUESTION: AdmissionQuestion = { rows: 1, queuedRequests: 0, queuedRows: 0, batching: LIMITS, maxQueuedRequests: 3 };
const FULL = 'The batch scheduling queue to which this task was submitted is full;';

describe('admission', () => {
  const rules: readonly [string, Partial<AdmissionQuestion>, readonly [string, string] | null][] = [
    ['an empty lane takes a full batch', { rows: 4 }, null],
    ['a lane takes all that its batches hold', { queuedRows: 7 }, null],
    ['a full lane refuses', { queuedRows: 8 }, ['UNAVAILABLE', `${FULL} currently 2 batches enqueued and max_enqueued_batches is 2`]],
    ['a request beyond a batch is invalid', { rows: 5 }, ['INVALID_ARGUMENT', 'Task size 5 is larger than maximum input batch size 4']],
    ['with splitting it is taken', { rows: 8, batching: SPLITTING }, null],
    [
      'with splitting a request beyond the lane is refused by the numbers',
      { rows: 7, queuedRows: 2, batching: SPLITTING },
      [
        'UNAVAILABLE',
        `${FULL} task size is 7 but scheduling capacity is only 6 (num_enqueued_batches=1, max_enqueued_batches=2, open_batch_size=2, max_execution_batch_size=4)`,
      ],
    ],
    ['without batching rows do not count', { rows: 5000, batching: null, queuedRows: 9999 }, null],
    [
      'without batching requests count',
      { batching: null, queuedRequests: 3 },
      ['UNAVAILABLE', `${FULL} currently 3 requests enqueued and batcher_max_queued_requests is 3`],
    ],
    ['requests that share no batch count one by one', { rows: 0, queuedRequests: 2 }, null],
    [
      'requests that share no batch are bounded',
      { rows: 0, queuedRequests: 3 },
      ['UNAVAILABLE', `${FULL} currently 3 requests enqueued and batcher_max_queued_requests is 3`],
    ],
  ];

  test.each(rules)('%s', (_, changes, expected) => {
    const refusal = refusalOf({ ...QUESTION, ...changes });
    expect(refusal && [refusal.code, refusal.message]).toEqual(expected);
    expect(refusal?.resend ?? false).toBe(false);
  });
});
