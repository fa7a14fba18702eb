import { checkEach, type KnownModel } from '../load/answer-check.ts';
import { runWrk } from '../load/wrk.ts';
import { type LineModels, lineTruth, writeLineModels } from '../models/line-models.ts';
import type { Picture } from '../picture.ts';
import { lookAt } from '../process-figures.ts';
import { type BenchContext, type BenchRow, type BenchSection, type Growth, perSecond } from '../section.ts';
import { type HeadraceServer, startEmbedded, startMesh } from '../servers.ts';
import { amountText, COST_TEXT, costOf, type LoadFigures, loadCells, pause, summarised } from './scale.ts';

const COUNTS = [1, 10, 100, 1000];
const CONNECTIONS = 64;
const WARM_UP_SECONDS = 2;
/** From the last answer until the processes are looked at. */
const SETTLE_MS = 2000;
/** A thousand models that are loaded one after the other. */
const READY_WITHIN_MS = 180_000;

/** How the models are served. */
type Kind = 'mesh' | 'embedded';

/** One process while nobody asks anything. */
interface IdleProcess {
  readonly name: string;
  readonly rssMB: number;
  readonly processorPercent: number;
}

/** What one number of models came to. */
interface Point {
  readonly kind: Kind;
  readonly count: number;
  readonly availableAfterMs: number;
  readonly idle: readonly IdleProcess[];
  readonly load: LoadFigures;
}

/** Ever more small models on one mesh, and in one process. */
export const SCALE_MODELS: BenchSection = {
  name: 'scale-models',
  about: `1 to 1000 small models: time until available, memory, idle processor time, ${CONNECTIONS} connections over all of them`,
  needsWrk: true,
  needsMesh: true,
  async run(context) {
    const points: Point[] = [];
    for (const count of COUNTS.filter((one) => one <= context.most)) {
      using written = writeLineModels(count);
      for (const kind of ['embedded', 'mesh'] as const) {
        const point = await measure(context, kind, written);
        context.say(`  ${kind}, ${count} models: ${pointCells(points, point).slice(2).join(', ')}`);
        points.push(point);
      }
    }
    return { rows: (['mesh', 'embedded'] as const).flatMap((kind) => summaryRow(points, kind)), growth: growthOf(points) };
  },
};

async function measure(context: BenchContext, kind: Kind, { models }: LineModels): Promise<Point> {
  const known = models.map(({ name }, index): KnownModel => ({ name, truth: (x) => lineTruth(index, x) }));
  const start = kind === 'mesh' ? startMesh : startEmbedded;
  await using server = await start(models, context.servers, { readyWithinMs: READY_WITHIN_MS });
  await checkEach(server.restPort, known);
  await pause(SETTLE_MS);
  const idle = await lookIdle(server, context.seconds);
  const load = (seconds: number) => {
    const paths = models.map(({ name }) => `/v1/models/${name}:predict`);
    const url = `http://127.0.0.1:${server.restPort}/`;
    return runWrk({ url, paths, body: '{"instances": [1.0]}', connections: CONNECTIONS, seconds });
  };
  await load(Math.min(WARM_UP_SECONDS, context.seconds));
  const figures = summarised([await costOf(server, known, () => load(context.seconds))]);
  await checkEach(server.restPort, known);
  return { kind, count: models.length, availableAfterMs: server.availableAfterMs, idle, load: figures };
}

async function lookIdle({ processes }: HeadraceServer, seconds: number): Promise<readonly IdleProcess[]> {
  const before = processes.map(({ pid }) => lookAt(pid).cpuSeconds);
  const beganMs = performance.now();
  await pause(seconds * 1000);
  const elapsed = (performance.now() - beganMs) / 1000;
  return processes.map(({ name, pid }, index) => {
    const { rssMB, cpuSeconds } = lookAt(pid);
    return { name, rssMB, processorPercent: (100 * (cpuSeconds - (before[index] ?? 0))) / elapsed };
  });
}

function growthOf(points: readonly Point[]): Growth {
  return {
    question: 'More models',
    text: `Small ONNX models, y = x / 2 + i: each has a file, a name and an answer of its own. Every count is a start of its own. Memory (RSS) and idle processor
time are taken when every model has answered once, after ${SETTLE_MS / 1000} s without requests; MB a model is what is more than with one model, for each of them. Then
${CONNECTIONS} connections send single rows to all models in turn. With many models a batch is seldom more than one row, so requests/s fall to what
single requests cost.
${COST_TEXT}`,
    columns: [
      'models',
      'served',
      'available after, s',
      'RSS, MB',
      'MB a model',
      'RSS of each process, MB',
      'idle, % of a processor',
      'idle of each process, %',
      'requests/s',
      'p50, ms',
      'p99, ms',
      'processor time a request, µs',
    ],
    rows: points.map((point) => pointCells(points, point)),
    picture: pictureOf(points),
  };
}

function pointCells(points: readonly Point[], point: Point): readonly string[] {
  const { kind, count, availableAfterMs, idle, load } = point;
  const each = (pick: (one: IdleProcess) => number) =>
    idle.length === 1 ? '' : idle.map((one) => `${one.name} ${amountText(pick(one))}`).join(', ');
  return [
    String(count),
    kind,
    amountText(availableAfterMs / 1000),
    amountText(totalMB(point)),
    count === 1 ? '' : perModel(points, point).toFixed(3),
    each(({ rssMB }) => rssMB),
    amountText(idlePercent(point)),
    each(({ processorPercent }) => processorPercent),
    ...loadCells(load),
  ];
}

function pictureOf(points: readonly Point[]): Picture {
  const panel = (title: string, y: (point: Point) => number) => ({
    title,
    scale: 'log' as const,
    series: (['mesh', 'embedded'] as const).map((kind) => ({
      name: kind,
      points: points.filter((one) => one.kind === kind).map((one) => [one.count, y(one)] as const),
    })),
  });
  return {
    title: 'More models: memory, starting time, idle processors, throughput and latency',
    xTitle: 'models',
    xScale: 'log',
    panels: [
      panel('memory of all processes, MB', totalMB),
      panel('seconds until all are available', ({ availableAfterMs }) => availableAfterMs / 1000),
      panel('idle: % of a processor', idlePercent),
      panel('processor time a request, µs', ({ load }) => load.cpuMicros),
      panel('requests/s', ({ load }) => load.perSecond),
      panel('p99, ms', ({ load }) => load.p99Ms),
    ],
  };
}

function summaryRow(points: readonly Point[], kind: Kind): readonly BenchRow[] {
  const first = points.find((one) => one.kind === kind);
  const last = points.findLast((one) => one.kind === kind);
  if (first === undefined || last === undefined || last.count === first.count) return [];
  return [
    {
      path: `${last.count} small models, ${kind}`,
      values: [
        `${amountText(totalMB(last))} MB (one model ${amountText(totalMB(first))} MB)`,
        `available after ${amountText(last.availableAfterMs / 1000)} s`,
        `${perSecond(last.load.perSecond)} (one model ${perSecond(first.load.perSecond)})`,
        `p99 ${amountText(last.load.p99Ms)} ms`,
      ],
      figure: perModel(points, last),
      unit: 'MB',
      of: 'a model',
      target: null,
    },
  ];
}

function totalMB({ idle }: Point): number {
  return idle.reduce((sum, { rssMB }) => sum + rssMB, 0);
}

function idlePercent({ idle }: Point): number {
  return idle.reduce((sum, { processorPercent }) => sum + processorPercent, 0);
}

/** What is more than with one model, for each of the others. */
function perModel(points: readonly Point[], point: Point): number {
  const one = points.find(({ kind, count }) => kind === point.kind && count === 1);
  if (one === undefined) throw new Error('one model is measured first (this is a bug)');
  return (totalMB(point) - totalMB(one)) / (point.count - 1);
}
