/** What a batcher says of its batches, from its Prometheus metrics. */

/** Batches of one model since the batcher started. */
export interface BatchCounts {
  readonly batches: number;
  readonly rows: number;
}

const ROWS_METRIC = 'headrace_batcher_batch_rows';

/** Asks for the counts of a model; zeros for one that has had no batch. Rejects when the address does not answer with such metrics. */
export async function readBatchCounts(metricsUrl: string, model: string): Promise<BatchCounts> {
  const response = await fetch(metricsUrl);
  const text = await response.text();
  if (!response.ok || !text.includes(`# TYPE ${ROWS_METRIC}`))
    throw new Error(`${metricsUrl} answered ${response.status} without ${ROWS_METRIC}: ${text.slice(0, 200)}`);
  return parseBatchCounts(text, model);
}

/** Reads the counts of a model, over all its versions, out of metrics in Prometheus' text format. */
export function parseBatchCounts(metrics: string, model: string): BatchCounts {
  const total = (name: string) => {
    const lines = metrics.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(`model="${model}"`));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  };
  return { batches: total(`${ROWS_METRIC}_count`), rows: total(`${ROWS_METRIC}_sum`) };
}

/** Rows of a batch, in the mean, between two looks. NaN where there was none. */
export function meanBatchRows(before: BatchCounts, after: BatchCounts): number {
  return (after.rows - before.rows) / (after.batches - before.batches);
}
