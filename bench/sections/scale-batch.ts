import { checkEach, type KnownModel } from '../load/answer-check.ts';
import { meanBatchRows, readBatchCounts } from '../load/batch-metrics.ts';
import { runWrk } from '../load/wrk.ts';
import { type BenchModel, HALF, MLP } from '../models/nets.ts';
import { jsonBody } from '../models/payloads.ts';
import type { Picture } from '../picture.ts';
import { type BenchContext, type BenchRow, type BenchSection, type Growth, perSecond } from '../section.ts';
import { type HeadraceServer, processNamed, startEmbedded } from '../servers.ts';
import { amountText, COST_TEXT, costOf, KNOWN_HALF, type LoadFigures, summarised } from './scale.ts';

const SIZES = [1, 4, 16, 64, 256];
const MODELS = [HALF, MLP];
/** Enough for both executors and what is on its way; fewer rows would wait for the client. */
const WHOLE_CONNECTIONS = 8;
const SINGLE_CONNECTIONS = 256;
const WARM_UP_SECONDS = 1;

/** `whole`: a request has as many rows as a batch. `single`: requests of one row, put together by the batcher. */
type Filling = 'whole' | 'single';

/** What one size of batch came to. */
interface Point {
  readonly model: BenchModel;
  readonly filling: Filling;
  /** max_batch_size. */
  readonly size: number;
  readonly load: LoadFigures;
  readonly rowsPerSecond: number;
  readonly meanBatchRows: number;
}

/** Larger batches: brought by the clients, or formed of single rows. */
export const SCALE_BATCH: BenchSection = {
  name: 'scale-batch',
  about: 'max_batch_size 1 to 256: requests of so many rows, and single rows over 256 connections',
  needsWrk: true,
  needsMesh: false,
  async run(context) {
    const points: Point[] = [];
    for (const size of SIZES.filter((one) => one <= context.most)) {
      await using server = await startEmbedded(MODELS, context.servers, { maxBatchSize: size });
      await checkEach(server.restPort, [KNOWN_HALF]);
      for (const model of MODELS) {
        for (const filling of ['whole', 'single'] as const) points.push(await measure(context, server, { model, filling, size }));
      }
      context.say(`  max_batch_size ${size}: ${points.slice(-4).map(describe).join('; ')}`);
    }
    return { rows: MODELS.flatMap((model) => summaryRow(points, model)), growth: growthOf(points) };
  },
};

async function measure(
  context: BenchContext,
  server: HeadraceServer,
  wanted: { readonly model: BenchModel; readonly filling: Filling; readonly size: number },
): Promise<Point> {
  const { model, filling, size } = wanted;
  const rows = filling === 'whole' ? size : 1;
  const body = jsonBody(model, rows);
  await checkRows(server.restPort, model, body, rows);
  const url = `http://127.0.0.1:${server.restPort}/v1/models/${model.name}:predict`;
  const connections = filling === 'whole' ? WHOLE_CONNECTIONS : SINGLE_CONNECTIONS;
  const load = (seconds: number) => runWrk({ url, body, connections, seconds });
  await load(WARM_UP_SECONDS);
  // What is asked beside the load would be batches of its own among batches of whole requests.
  const known: readonly KnownModel[] = filling === 'single' && model === HALF ? [KNOWN_HALF] : [];
  const metricsUrl = processNamed(server, 'embedded').metricsUrl;
  const before = await readBatchCounts(metricsUrl, model.name);
  const result = await costOf(server, known, () => load(context.seconds));
  const mean = meanBatchRows(before, await readBatchCounts(metricsUrl, model.name));
  if (filling === 'whole' && mean !== size)
    throw new Error(`${model.name}: requests of ${size} rows were to be a batch each, and batches had ${mean} rows in the mean`);
  await checkRows(server.restPort, model, body, rows);
  const figures = summarised([result]);
  return { ...wanted, load: figures, rowsPerSecond: figures.perSecond * rows, meanBatchRows: mean };
}

/** Asks once. Rejects when the answer has not as many rows, or a row of half is wrong, or one of the MLP is no distribution. */
async function checkRows(restPort: number, model: BenchModel, body: string, rows: number): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${restPort}/v1/models/${model.name}:predict`, { method: 'POST', body });
  const text = await response.text();
  const { predictions } = JSON.parse(text) as { readonly predictions?: readonly unknown[] };
  if (!response.ok || predictions?.length !== rows)
    throw new Error(`${model.name} answered ${response.status} with ${predictions?.length} of ${rows} rows: ${text.slice(0, 200)}`);
  const asked = (JSON.parse(body) as { readonly instances: readonly unknown[] }).instances;
  const wrong = predictions.findIndex((row, index) => !isRight(model, asked[index], row));
  if (wrong >= 0) throw new Error(`${model.name} answered row ${wrong} with ${JSON.stringify(predictions[wrong])}`);
}

function isRight(model: BenchModel, asked: unknown, answered: unknown): boolean {
  if (model === HALF) return Math.abs(Number(answered) - KNOWN_HALF.truth(Number(asked))) < 1e-6;
  const shares = answered as readonly number[];
  return shares.length === 10 && Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-4;
}

function describe({ model, filling, rowsPerSecond, meanBatchRows: mean }: Point): string {
  return `${model.name}, ${filling} ${amountText(rowsPerSecond)} rows/s in batches of ${amountText(mean)}`;
}

function summaryRow(points: readonly Point[], model: BenchModel): readonly BenchRow[] {
  const own = points.filter((point) => point.model === model && point.filling === 'single');
  const [alone, largest] = [own[0], own.at(-1)];
  if (alone === undefined || largest === undefined || alone === largest) return [];
  return [
    {
      path: `batches of single rows, embedded, REST, ${model.what}, ${SINGLE_CONNECTIONS} connections`,
      values: [
        `max_batch_size ${largest.size} ${perSecond(largest.rowsPerSecond)}`,
        `mean batch ${amountText(largest.meanBatchRows)} rows`,
        `max_batch_size 1 ${perSecond(alone.rowsPerSecond)}`,
      ],
      figure: largest.rowsPerSecond / alone.rowsPerSecond,
      unit: 'x',
      of: 'of one row a batch',
      target: null,
    },
  ];
}

function growthOf(points: readonly Point[]): Growth {
  return {
    question: 'Larger batches',
    text: `Embedded, REST with JSON. *Whole*: each request has as many rows as max_batch_size, and is a batch of its own (${WHOLE_CONNECTIONS} connections). *Single*: requests of
one row over ${SINGLE_CONNECTIONS} connections, which the batcher puts together as far as max_batch_size lets it; batch_timeout_micros is 0, so nothing waits for
a batch to fill. Whole requests save the work of a request for every row but one; what is left of it is JSON, of which a row of the MLP has 784 numbers.
${COST_TEXT}`,
    columns: [
      'max_batch_size',
      'model',
      'requests',
      'rows a request',
      'rows/s',
      'requests/s',
      'p50, ms',
      'p99, ms',
      'processor time a row, µs',
      'mean batch, rows',
    ],
    rows: points.map(({ model, filling, size, load, rowsPerSecond, meanBatchRows: mean }) => [
      String(size),
      model.what,
      filling,
      String(filling === 'whole' ? size : 1),
      ...[rowsPerSecond, load.perSecond, load.p50Ms, load.p99Ms, (load.cpuMicros * load.perSecond) / rowsPerSecond, mean].map(amountText),
    ]),
    picture: pictureOf(points),
  };
}

function pictureOf(points: readonly Point[]): Picture {
  const panel = (title: string, y: (point: Point) => number) => ({
    title,
    scale: 'log' as const,
    series: MODELS.flatMap((model) =>
      (['whole', 'single'] as const).map((filling) => ({
        name: `${model.name}, ${filling === 'whole' ? 'whole requests' : 'single rows'}`,
        points: points.filter((one) => one.model === model && one.filling === filling).map((one) => [one.size, y(one)] as const),
      })),
    ),
  });
  return {
    title: 'Larger batches: rows a second, latency, and the batches that form',
    xTitle: 'max_batch_size',
    xScale: 'log',
    panels: [
      panel('rows/s', ({ rowsPerSecond }) => rowsPerSecond),
      panel('p50, ms', ({ load }) => load.p50Ms),
      panel('rows of a batch, in the mean', ({ meanBatchRows: mean }) => mean),
    ],
  };
}
