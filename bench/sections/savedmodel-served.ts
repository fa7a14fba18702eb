import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runWrk } from '../load/wrk.ts';
import { createRandom } from '../models/graph.ts';
import { MNIST, versionFolder } from '../models/saved-nets.ts';
import { readWeights } from '../models/weights.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { type BenchContext, type BenchRow, perSecond } from '../section.ts';
import { startEmbedded } from '../servers.ts';

const CONNECTIONS = 32;
/** Short turns, and more of them: both models are served by one process, so nothing is lost by changing often. */
const TURN_SECONDS = 1;
const TURNS_PER_ROUND = 2;
const PIXELS = 784;

/** The mnist example over REST, imported and as ONNX, by one embedded server that holds both. */
export async function serveImported(context: BenchContext): Promise<BenchRow> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
  try {
    const version = join(folder, 'mnist_onnx/1');
    mkdirSync(version, { recursive: true });
    writeFileSync(join(version, 'model.onnx'), MNIST.buildDirect(await readWeights(versionFolder(MNIST))));
    const models = [
      { name: 'imported', basePath: MNIST.basePath, platform: 'tensorflow' },
      { name: 'direct', basePath: join(folder, 'mnist_onnx'), platform: 'onnx' },
    ] as const;
    const plans = join(folder, 'plans');
    await using embedded = await startEmbedded(models, {
      ...context.servers,
      flags: [`--import_cache_dir=${plans}`, ...context.servers.flags],
    });
    const random = createRandom(PIXELS);
    const body = JSON.stringify({ instances: [Array.from({ length: PIXELS }, () => Number(random().toFixed(8)))] });
    const load = (name: string) => async () => {
      const url = `http://127.0.0.1:${embedded.restPort}/v1/models/${name}:predict`;
      return (await runWrk({ url, body, connections: CONNECTIONS, seconds: TURN_SECONDS })).perSecond;
    };
    const subjects = { imported: load('imported'), direct: load('direct') };
    await interleave(subjects, 2); // warms the compilers up
    const rates = await interleave(subjects, context.rounds * TURNS_PER_ROUND);
    return {
      path: `imported, embedded, REST, ${MNIST.what}, ${CONNECTIONS} connections`,
      values: [`imported ${perSecond(median(rates.imported))}`, `direct ${perSecond(median(rates.direct))}`],
      figure: medianRatio(rates.imported, rates.direct),
      unit: 'x',
      of: 'of its ONNX export',
      target: { atLeast: 0.95 },
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
