import { fork } from 'node:child_process';
import { once } from 'node:events';
import { linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeModelServerConfig, parseModelServerConfigText } from '#proto/model-server-config.ts';
import { WireWriter } from '#proto/wire.ts';
import { callOnce } from '../load/grpc-load.ts';
import type { Shot, SteadyLoad } from '../load/steady-load.ts';
import { startSteadyLoadThread } from '../load/steady-load-thread.ts';
import { LOOKUP } from '../models/lookup.ts';
import { type BenchModel, HALF } from '../models/nets.ts';
import { jsonBody } from '../models/payloads.ts';
import { servingPorts } from '../ports.ts';
import { median, medianRatio, percentile } from '../rounds.ts';
import { type BenchContext, type BenchRow, type BenchSection, milliseconds } from '../section.ts';
import { modelConfigText, type ServedModel, startEmbedded } from '../servers.ts';

const SWAPS = 100;
const REQUESTS_PER_SECOND = 1000;
const RELOAD_PATH = '/tensorflow.serving.ModelService/HandleReloadConfigRequest';

/** What counts as during a swap: this long from its start, and longer where the new version answers later. As long a stretch counts as steady. */
const WINDOW_MS = 100;
/** From the first answer of the new version until the one before is gone, and more: gateways have 250 ms to hear of it, batches under way 100. */
const SETTLED_AFTER_MS = 600;
const ANSWERS_WITHIN_MS = 30_000;
/** Before the first swap: compilers warm up. */
const WARM_UP_MS = 2000;
/** Swaps whose tails are taken together: enough requests for a p99. */
const SWAPS_PER_GROUP = 10;
/** Swaps that do not count: the first load of each version checks its files and starts threads. */
const FIRST_SWAPS = 4;

/** Versions that replace each other under load. */
export const SWAPS_SECTION: BenchSection = {
  name: 'swaps',
  about: `${SWAPS} hot swaps under ${REQUESTS_PER_SECOND} requests/s`,
  needsWrk: false,
  needsMesh: false,
  async run(context) {
    using models = servedModels([HALF, LOOKUP]);
    const rows: BenchRow[] = [];
    for (const { model, served } of models.list) {
      // The promise is of swaps; how long a large model takes to load beside the others is for information.
      rows.push(...(await swapRows(context, model, served, model === HALF ? 1.2 : null)));
    }
    return rows;
  },
};

async function swapRows(
  context: BenchContext,
  model: BenchModel,
  served: ServedModel,
  target: number | null,
): Promise<readonly BenchRow[]> {
  const count = Math.min(SWAPS, 20 * context.seconds);
  const path = `${count} hot swaps of ${model.name} under ${REQUESTS_PER_SECOND} requests/s`;
  const ours = await swapUnderLoad(await startSwapped(context, model, served), model, count + FIRST_SWAPS);
  const firstMs = ours.swaps[0]?.fromMs ?? 0;
  const counted = ours.shots.filter(({ sentMs }) => sentMs >= firstMs);
  const versions = new Set(counted.filter(({ ok }) => ok).map(({ version }) => version));
  if (versions.size !== 2) throw new Error(`answers came from versions ${[...versions].join(', ')}`);
  const failed = counted.filter(({ ok }) => !ok).length;
  const floor = await swapUnderLoad(await startBareThatLoads(served), model, count + FIRST_SWAPS);
  return [
    { path, values: [`${ours.shots.length} requests`], figure: failed, unit: 'errors', of: '', target: { atMost: 0 } },
    tailRow({ path, run: ours, what: 'the new version answers', target: target === null ? null : { atMost: target } }),
    tailRow({
      path: `a bare node:http under ${REQUESTS_PER_SECOND} requests/s, while ${availableParallelism()} threads of its process load ${model.name}`,
      run: floor,
      what: 'it is loaded',
      target: null,
    }),
  ];
}

/** How the tail during swaps compares to that between them: the median over groups of swaps, which what else happens on the machine moves least. */
function tailRow(row: {
  readonly path: string;
  readonly run: SwapRun;
  readonly what: string;
  readonly target: BenchRow['target'];
}): BenchRow {
  const { shots, swaps } = row.run;
  const counted = swaps.slice(FIRST_SWAPS);
  const groups = Array.from({ length: Math.floor(counted.length / SWAPS_PER_GROUP) }, (_, group) =>
    counted.slice(group * SWAPS_PER_GROUP, (group + 1) * SWAPS_PER_GROUP),
  );
  const p99 = (windowOf: (swap: Swap) => Window) => groups.map((group) => percentile(latencies(shots, group.map(windowOf)), 0.99));
  const swapping = p99(({ fromMs, answersMs }) => ({ fromMs, untilMs: Math.max(answersMs, fromMs + WINDOW_MS) }));
  const leaving = p99(({ answersMs }) => ({ fromMs: answersMs, untilMs: answersMs + SETTLED_AFTER_MS }));
  const steady = p99(({ settledMs }) => ({ fromMs: settledMs, untilMs: settledMs + WINDOW_MS }));
  const took = median(counted.map(({ fromMs, answersMs }) => answersMs - fromMs));
  return {
    path: row.path,
    values: [
      `${row.what} after ${milliseconds(took)}`,
      `p99 until then, and in the first ${WINDOW_MS} ms, ${milliseconds(median(swapping))}`,
      `afterwards ${milliseconds(median(leaving))}`,
      `between swaps ${milliseconds(median(steady))} (medians of ${groups.length} times ${SWAPS_PER_GROUP} swaps)`,
    ],
    figure: medianRatio(swapping, steady),
    unit: 'x',
    of: 'the steady p99',
    target: row.target,
  };
}

/** A stretch of time on performance.now()'s clock. */
interface Window {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** The instants of one swap, on performance.now()'s clock. */
interface Swap {
  readonly fromMs: number;
  /** The first answer of the new version. */
  readonly answersMs: number;
  /** The old version is gone. */
  readonly settledMs: number;
}

/** What a load over many swaps came to. */
interface SwapRun {
  readonly shots: readonly Shot[];
  readonly swaps: readonly Swap[];
}

/** A server that can be made to swap. */
interface Swapped extends AsyncDisposable {
  readonly restPort: number;
  /** Swaps, and resolves when the new version is there. */
  swap(version: number, load: SteadyLoad): Promise<void>;
}

async function startSwapped(context: BenchContext, model: BenchModel, served: ServedModel): Promise<Swapped> {
  const embedded = await startEmbedded([served], context.servers);
  return {
    restPort: embedded.restPort,
    async swap(version, load) {
      const fromMs = performance.now();
      await callOnce(embedded.grpcPort, RELOAD_PATH, reloadRequest(modelConfigText([served], version)));
      while (load.version !== String(version)) {
        if (performance.now() - fromMs > ANSWERS_WITHIN_MS) throw new Error(`version ${version} of ${model.name} does not answer`);
        await pause(1);
      }
    },
    [Symbol.asyncDispose]: () => embedded[Symbol.asyncDispose](),
  };
}

/** Nobody who loads models in the process that answers can do better: it does nothing else. */
async function startBareThatLoads({ basePath }: ServedModel): Promise<Swapped> {
  const [port = 0] = await servingPorts(1);
  const args = [String(port), join(basePath, '1', 'model.onnx'), String(availableParallelism())];
  const server = fork(join(import.meta.dirname, '../references/loading-http.ts'), args, {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const ended = once(server, 'exit').then(([code]) => Promise.reject(new Error(`the loading server left with code ${code}`)));
  ended.catch(() => {}); // Also when it is ended on purpose, and nobody waits any more.
  await Promise.race([once(server, 'message'), ended]);
  return {
    restPort: port,
    async swap() {
      server.send('load');
      await Promise.race([once(server, 'message'), ended]);
    },
    async [Symbol.asyncDispose]() {
      server.kill();
    },
  };
}

/** Swaps two versions to and fro, and ends the server. */
async function swapUnderLoad(server: Swapped, model: BenchModel, count: number): Promise<SwapRun> {
  await using swapped = server;
  const path = `/v1/models/${model.name}:predict`;
  const load = startSteadyLoadThread({ port: swapped.restPort, path, body: jsonBody(model, 1), perSecond: REQUESTS_PER_SECOND });
  const swaps: Swap[] = [];
  let shots: readonly Shot[] = [];
  try {
    await pause(WARM_UP_MS);
    for (let swap = 0; swap < count; swap++) {
      const fromMs = performance.now();
      await swapped.swap(swap % 2 === 0 ? 2 : 1, load);
      const answersMs = performance.now();
      await pause(SETTLED_AFTER_MS);
      swaps.push({ fromMs, answersMs, settledMs: performance.now() });
      await pause(WINDOW_MS);
    }
  } finally {
    shots = await load.stop();
  }
  return { shots, swaps };
}

/** How long the requests took that were sent within one of these windows. */
function latencies(shots: readonly Shot[], windows: readonly Window[]): readonly number[] {
  const inside = ({ sentMs }: Shot) => windows.some(({ fromMs, untilMs }) => sentMs >= fromMs && sentMs < untilMs);
  return shots.filter(inside).map(({ sentMs, doneMs }) => doneMs - sentMs);
}

/** Two equal versions of each model in a folder of their own. */
function servedModels(
  models: readonly BenchModel[],
): Disposable & { readonly list: readonly { readonly model: BenchModel; readonly served: ServedModel }[] } {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-swaps-'));
  const list = models.map((model) => {
    const basePath = join(folder, model.name);
    const fileOf = (version: number) => join(basePath, String(version), 'model.onnx');
    for (const version of [1, 2]) mkdirSync(join(fileOf(version), '..'), { recursive: true });
    writeFileSync(fileOf(1), model.build());
    linkSync(fileOf(1), fileOf(2));
    return { model, served: { name: model.name, basePath, platform: 'onnx' as const } };
  });
  return { list, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

/** A ReloadConfigRequest: field 1 is the ModelServerConfig. */
function reloadRequest(configText: string): Uint8Array {
  const config = encodeModelServerConfig(parseModelServerConfigText(configText));
  return new WireWriter(config.byteLength + 16).bytesField(1, config).finish();
}

function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, forMs)));
}
