import { linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeModelServerConfig, parseModelServerConfigText } from '#proto/model-server-config.ts';
import { WireWriter } from '#proto/wire.ts';
import { callOnce } from '../load/grpc-load.ts';
import type { Shot } from '../load/steady-load.ts';
import { startSteadyLoadThread } from '../load/steady-load-thread.ts';
import { LOOKUP } from '../models/lookup.ts';
import { type BenchModel, HALF } from '../models/nets.ts';
import { jsonBody } from '../models/payloads.ts';
import { percentile } from '../rounds.ts';
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
  const { shots, swaps } = await swapUnderLoad(context, model, served, count + FIRST_SWAPS);
  const counted = swaps.slice(FIRST_SWAPS);
  const firstMs = swaps[0]?.fromMs ?? 0;
  const failed = shots.filter((shot) => shot.sentMs >= firstMs && !shot.ok).length;
  const swapping = latencies(
    shots,
    counted.map(({ fromMs, answersMs }) => ({ fromMs, untilMs: Math.max(answersMs, fromMs + WINDOW_MS) })),
  );
  const leaving = latencies(
    shots,
    counted.map(({ answersMs }) => ({ fromMs: answersMs, untilMs: answersMs + SETTLED_AFTER_MS })),
  );
  const steady = latencies(
    shots,
    counted.map(({ settledMs }) => ({ fromMs: settledMs, untilMs: settledMs + WINDOW_MS })),
  );
  const answersAfter = percentile(
    counted.map(({ fromMs, answersMs }) => answersMs - fromMs),
    0.5,
  );
  const versions = new Set(shots.filter((shot) => shot.ok && shot.sentMs >= firstMs).map(({ version }) => version));
  if (versions.size !== 2) throw new Error(`answers came from versions ${[...versions].join(', ')}`);
  const path = `${count} hot swaps of ${model.name} under ${REQUESTS_PER_SECOND} requests/s`;
  const p99 = (values: readonly number[]) => percentile(values, 0.99);
  return [
    { path, values: [`${shots.length} requests`], figure: failed, unit: 'errors', of: '', target: { atMost: 0 } },
    {
      path,
      values: [
        `the new version answers after ${milliseconds(answersAfter)}`,
        `p99 of ${swapping.length} requests until then, and in the first ${WINDOW_MS} ms ${milliseconds(p99(swapping))}`,
        `while the old one leaves ${milliseconds(p99(leaving))}`,
        `of ${steady.length} between swaps ${milliseconds(p99(steady))}`,
      ],
      figure: p99(swapping) / p99(steady),
      unit: 'x',
      of: 'the steady p99',
      target: target === null ? null : { atMost: target },
    },
  ];
}

/** The instants of one swap, on performance.now()'s clock. */
interface Swap {
  readonly fromMs: number;
  /** The first answer of the new version. */
  readonly answersMs: number;
  /** The old version is gone. */
  readonly settledMs: number;
}

/** Swaps two versions to and fro. */
async function swapUnderLoad(context: BenchContext, model: BenchModel, served: ServedModel, count: number) {
  await using embedded = await startEmbedded([served], context.servers);
  const path = `/v1/models/${model.name}:predict`;
  const load = startSteadyLoadThread({ port: embedded.restPort, path, body: jsonBody(model, 1), perSecond: REQUESTS_PER_SECOND });
  const swaps: Swap[] = [];
  let shots: readonly Shot[] = [];
  try {
    await pause(WARM_UP_MS);
    for (let swap = 0; swap < count; swap++) {
      const version = swap % 2 === 0 ? 2 : 1;
      const fromMs = performance.now();
      await callOnce(embedded.grpcPort, RELOAD_PATH, reloadRequest(modelConfigText([served], version)));
      while (load.version !== String(version)) {
        if (performance.now() - fromMs > ANSWERS_WITHIN_MS) throw new Error(`version ${version} of ${model.name} does not answer`);
        await pause(1);
      }
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
function latencies(shots: readonly Shot[], windows: readonly { readonly fromMs: number; readonly untilMs: number }[]): readonly number[] {
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
