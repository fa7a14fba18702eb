import { encodeModelServerConfig, parseModelServerConfigText } from '#proto/model-server-config.ts';
import { WireWriter } from '#proto/wire.ts';
import { callOnce } from '../load/grpc-load.ts';
import { type Shot, startSteadyLoad } from '../load/steady-load.ts';
import { HALF } from '../models/nets.ts';
import { jsonBody } from '../models/payloads.ts';
import { percentile } from '../rounds.ts';
import { type BenchSection, milliseconds } from '../section.ts';
import { modelConfigText, startEmbedded } from '../servers.ts';

const SWAPS = 100;
const REQUESTS_PER_SECOND = 500;
const RELOAD_PATH = '/tensorflow.serving.ModelService/HandleReloadConfigRequest';

/** Versions that replace each other under load. */
export const SWAPS_SECTION: BenchSection = {
  name: 'swaps',
  about: `${SWAPS} hot swaps under ${REQUESTS_PER_SECOND} requests/s`,
  needsWrk: false,
  needsMesh: false,
  async run(context) {
    await using embedded = await startEmbedded([HALF], context.servers);
    const url = `http://127.0.0.1:${embedded.restPort}/v1/models/${HALF.name}:predict`;
    const load = startSteadyLoad({ url, body: jsonBody(HALF, 1), perSecond: REQUESTS_PER_SECOND });
    const swaps: { fromMs: number; untilMs: number }[] = [];
    let shots: readonly Shot[] = [];
    try {
      await pause(1500); // warms the compilers up
      for (let swap = 0; swap < SWAPS; swap++) {
        await pause(context.seconds * 100); // steady between swaps
        const fromMs = performance.now();
        await callOnce(embedded.grpcPort, RELOAD_PATH, reloadRequest(modelConfigText([HALF], (swap % 2) + 1 === 1 ? 2 : 1)));
        swaps.push({ fromMs, untilMs: performance.now() });
      }
      await pause(500);
    } finally {
      shots = await load.stop();
    }
    const firstMs = swaps[0]?.fromMs ?? 0;
    const counted = shots.filter(({ dueMs }) => dueMs >= firstMs - 500);
    const failed = counted.filter(({ ok }) => !ok).length;
    const versions = new Set(counted.map(({ version }) => version));
    if (!versions.has('1') || !versions.has('2'))
      throw new Error(`the swaps did not swap: answers came from versions ${[...versions].join(', ')}`);
    const isSwapping = ({ dueMs, doneMs }: Shot) => swaps.some(({ fromMs, untilMs }) => dueMs <= untilMs && doneMs >= fromMs);
    const latency = ({ dueMs, doneMs }: Shot) => doneMs - dueMs;
    const swapping = percentile(counted.filter(isSwapping).map(latency), 0.99);
    const steady = percentile(counted.filter((shot) => !isSwapping(shot)).map(latency), 0.99);
    const path = `${SWAPS} hot swaps under ${REQUESTS_PER_SECOND} requests/s`;
    return [
      { path, values: [`${counted.length} requests`], figure: failed, unit: 'errors', of: '', target: { atMost: 0 } },
      {
        path,
        values: [`p99 during a swap ${milliseconds(swapping)}`, `steady ${milliseconds(steady)}`],
        figure: swapping / steady,
        unit: 'x',
        of: 'the steady p99',
        target: { atMost: 1.2 },
      },
    ];
  },
};

/** A ReloadConfigRequest: field 1 is the ModelServerConfig. */
function reloadRequest(configText: string): Uint8Array {
  const config = encodeModelServerConfig(parseModelServerConfigText(configText));
  return new WireWriter(config.byteLength + 16).bytesField(1, config).finish();
}

function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, forMs));
}
