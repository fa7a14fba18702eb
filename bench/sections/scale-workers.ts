import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { checkEach, type KnownModel } from '../load/answer-check.ts';
import { runWrk } from '../load/wrk.ts';
import { HALF } from '../models/nets.ts';
import type { Picture } from '../picture.ts';
import { type BenchContext, type BenchSection, type Growth, perSecond } from '../section.ts';
import { type HeadraceServer, type ServedModel, type ServerShape, startMesh } from '../servers.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { COST_TEXT, costOf, KNOWN_HALF, type LoadFigures, loadCells, pause, summarised } from './scale.ts';

const COUNTS = [1, 2, 3, 4];
const SMALL_CONNECTIONS = 256;
const WARM_UP_SECONDS = 2;
const LOADED_WITHIN_MS = 30_000;
/** Twice what four devices take in at once. */
const DEVICE_CONNECTIONS = 128;
const DEVICE_BATCH = 16;

/** What one number of workers came to. */
interface Point {
  readonly workers: number;
  readonly small: LoadFigures;
  readonly device: LoadFigures;
}

/** What is asked of a mesh. */
interface Work {
  readonly model: ServedModel | typeof HALF;
  readonly known: KnownModel;
  readonly connections: number;
  readonly shape: ServerShape;
}

/** More workers of one mesh: for requests whose cost is the mesh, and for a model whose cost is its device. */
export const SCALE_WORKERS: BenchSection = {
  name: 'scale-workers',
  about: '1 to 4 workers of one mesh: small requests, and a model bound by its device',
  needsWrk: true,
  needsMesh: true,
  async run(context) {
    using folder = temporaryFolder();
    const version = join(folder.path, 'device', '1');
    mkdirSync(version, { recursive: true });
    writeFileSync(join(version, 'device.txt'), 'see bench/models/device-servable.ts\n');
    const device = deviceWork(join(folder.path, 'device'));
    const small: Work = { model: HALF, known: KNOWN_HALF, connections: SMALL_CONNECTIONS, shape: {} };
    const points: Point[] = [];
    for (const workers of COUNTS) {
      const point = { workers, small: await measure(context, small, workers), device: await measure(context, device, workers) };
      context.say(`  ${workers} workers: small ${perSecond(point.small.perSecond)}, device ${perSecond(point.device.perSecond)}`);
      points.push(point);
    }
    return { rows: summaryRows(points), growth: growthOf(points) };
  },
};

function deviceWork(basePath: string): Work {
  const module = join(import.meta.dirname, '../models/device-servable.ts');
  return {
    model: { name: 'device', basePath, platform: 'device' },
    known: { name: 'device', truth: (x) => 2 * x },
    connections: DEVICE_CONNECTIONS,
    // One instance: a worker has one device.
    shape: { maxBatchSize: DEVICE_BATCH, servableModules: `device=${module}`, workerFlags: ['--instances=1'] },
  };
}

async function measure(context: BenchContext, { model, known, connections, shape }: Work, workers: number): Promise<LoadFigures> {
  await using mesh = await startMesh([model], context.servers, { ...shape, workers });
  await untilLoadedByAll(mesh);
  await checkEach(mesh.restPort, [known]);
  const url = `http://127.0.0.1:${mesh.restPort}/v1/models/${model.name}:predict`;
  const load = (seconds: number) => runWrk({ url, body: '{"instances": [1.0]}', connections, seconds });
  await load(Math.min(WARM_UP_SECONDS, context.seconds));
  return summarised([await costOf(mesh, [known], () => load(context.seconds))]);
}

/** The model is available when one worker has it; the others may take a moment longer. */
async function untilLoadedByAll({ processes }: HeadraceServer): Promise<void> {
  const deadline = performance.now() + LOADED_WITHIN_MS;
  for (const { metricsUrl } of processes.filter(({ name }) => name === 'worker-gpu')) {
    while (!/^headrace_worker_loaded_servables\{.*\} 1$/m.test(await (await fetch(metricsUrl)).text())) {
      if (performance.now() > deadline)
        throw new Error(`a worker has not loaded the model after ${LOADED_WITHIN_MS / 1000} s: ${metricsUrl}`);
      await pause(50);
    }
  }
}

function summaryRows(points: readonly Point[]) {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) return [];
  return (['device', 'small'] as const).map((work) => ({
    path:
      work === 'device'
        ? `${last.workers} workers, a model bound by its device`
        : `${last.workers} workers, small requests, all on one machine`,
    values: [`${last.workers} workers ${perSecond(last[work].perSecond)}`, `one worker ${perSecond(first[work].perSecond)}`],
    figure: last[work].perSecond / first[work].perSecond,
    unit: 'x' as const,
    of: 'of one worker',
    target: null,
  }));
}

function growthOf(points: readonly Point[]): Growth {
  return {
    question: 'More workers',
    text: `A mesh of one registry, one batcher, one gateway and several workers. *Small requests* (${HALF.what}, ${SMALL_CONNECTIONS} connections) cost next to nothing on a
worker: what bounds them here is the ${availableParallelism()} processors that gateway, batcher, workers, NATS and the load generator share, so more workers bring
little. The *device* model answers a batch of at most ${DEVICE_BATCH} rows after 20 ms in which no processor of this machine is busy
(\`models/device-servable.ts\`, ${DEVICE_CONNECTIONS} connections): it shows what more devices bring while the mesh itself is not the bound.
${COST_TEXT}`,
    columns: [
      'workers',
      'small requests/s',
      'small p50, ms',
      'small p99, ms',
      'small, processor time a request, µs',
      'device requests/s',
      'device, x one worker',
      'device p50, ms',
      'device p99, ms',
      'device, processor time a request, µs',
    ],
    rows: points.map(({ workers, small, device }) => {
      const [rate = '', ...latencies] = loadCells(device);
      const ratio = device.perSecond / (points[0]?.device.perSecond ?? Number.NaN);
      return [String(workers), ...loadCells(small), rate, ratio.toFixed(2), ...latencies];
    }),
    picture: pictureOf(points),
  };
}

function pictureOf(points: readonly Point[]): Picture {
  const series = (name: string, y: (point: Point) => number) => ({
    name,
    points: points.map((point) => [point.workers, y(point)] as const),
  });
  const one = points[0]?.device.perSecond ?? Number.NaN;
  return {
    title: 'More workers: small requests, and a model bound by its device',
    xTitle: 'workers',
    xScale: 'linear',
    panels: [
      {
        title: 'device, requests/s',
        scale: 'linear',
        series: [series('device', ({ device }) => device.perSecond), series('as many times one worker', ({ workers }) => workers * one)],
      },
      { title: 'small requests/s', scale: 'linear', series: [series('small', ({ small }) => small.perSecond)] },
      {
        title: 'p50, ms',
        scale: 'linear',
        series: [series('device', ({ device }) => device.p50Ms), series('small', ({ small }) => small.p50Ms)],
      },
      {
        title: 'p99, ms',
        scale: 'linear',
        series: [series('device', ({ device }) => device.p99Ms), series('small', ({ small }) => small.p99Ms)],
      },
    ],
  };
}
