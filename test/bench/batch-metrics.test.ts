import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { meanBatchRows, parseBatchCounts, readBatchCounts } from '../../bench/load/batch-metrics.ts';

const METRICS = `# HELP headrace_batcher_batch_rows Rows
# TYPE headrace_batcher_batch_rows histogram
headrace_batcher_batch_rows_bucket{le="1",model="half",version="1"} 4
headrace_batcher_batch_rows_sum{model="half",version="1"} 90
headrace_batcher_batch_rows_count{model="half",version="1"} 10
headrace_batcher_batch_rows_sum{model="half",version="2"} 10
headrace_batcher_batch_rows_count{model="half",version="2"} 2
headrace_batcher_batch_rows_sum{model="half_plus",version="1"} 7
headrace_batcher_batch_rows_count{model="half_plus",version="1"} 7
`;

describe("the batcher's counts", () => {
  test('are of one model over all its versions', () => {
    expect(parseBatchCounts(METRICS, 'half')).toEqual({ batches: 12, rows: 100 });
    expect(parseBatchCounts(METRICS, 'other')).toEqual({ batches: 0, rows: 0 });
  });

  test('give the mean batch between two looks', () => {
    expect(meanBatchRows({ batches: 10, rows: 90 }, { batches: 12, rows: 100 })).toBe(5);
    expect(meanBatchRows({ batches: 10, rows: 90 }, { batches: 10, rows: 90 })).toBeNaN();
  });

  test('are not made up where an address has no such metrics', async () => {
    const answers: Record<string, string> = { '/metrics': METRICS, '/other': 'nothing of the kind' };
    const server = createServer((request, response) => void response.end(answers[request.url ?? ''] ?? ''));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      expect(await readBatchCounts(`${base}/metrics`, 'half_plus')).toEqual({ batches: 7, rows: 7 });
      await expect(readBatchCounts(`${base}/other`, 'half')).rejects.toThrow('answered 200 without headrace_batcher_batch_rows');
    } finally {
      server.close();
    }
  });
});
