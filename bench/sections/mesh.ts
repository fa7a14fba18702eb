import { runWrk } from '../load/wrk.ts';
import { type BenchModel, HALF, MLP } from '../models/nets.ts';
import { jsonBody } from '../models/payloads.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { type BenchSection, milliseconds, perSecond } from '../section.ts';
import { startEmbedded, startMesh } from '../servers.ts';

/** Four processes with NATS between them against one process. */
export const MESH: BenchSection = {
  name: 'mesh',
  about: 'mesh against embedded: one client, 256 connections',
  needsWrk: true,
  needsMesh: true,
  async run(context) {
    const models = [HALF, MLP];
    await using embedded = await startEmbedded(models, context.servers);
    await using mesh = await startMesh(models, context.servers);
    const load = (model: BenchModel, connections: number) => {
      const measure = (port: number) => () => {
        const url = `http://127.0.0.1:${port}/v1/models/${model.name}:predict`;
        return runWrk({ url, body: jsonBody(model, 1), connections, seconds: context.seconds });
      };
      return { embedded: measure(embedded.restPort), mesh: measure(mesh.restPort) };
    };
    await interleave(load(HALF, 32), 1); // warms the compilers up
    const alone = await interleave(load(HALF, 1), context.rounds);
    const p50 = { embedded: alone.embedded.map(({ p50Ms }) => p50Ms), mesh: alone.mesh.map(({ p50Ms }) => p50Ms) };
    const added = median(p50.mesh.map((ms, round) => ms - (p50.embedded[round] ?? Number.NaN)));
    const rates = async (model: BenchModel) => {
      const results = await interleave(load(model, 256), context.rounds);
      return { embedded: results.embedded.map((one) => one.perSecond), mesh: results.mesh.map((one) => one.perSecond) };
    };
    const half = await rates(HALF);
    const mlp = await rates(MLP);
    return [
      {
        path: `mesh, REST, ${HALF.what}, one client`,
        values: [`mesh p50 ${milliseconds(median(p50.mesh))}`, `embedded p50 ${milliseconds(median(p50.embedded))}`],
        figure: added,
        unit: 'ms',
        of: 'added at p50',
        target: { atMost: 0.5 },
      },
      {
        path: `mesh, REST, ${HALF.what}, 256 connections`,
        values: [`mesh ${perSecond(median(half.mesh))}`, `embedded ${perSecond(median(half.embedded))}`],
        figure: medianRatio(half.mesh, half.embedded),
        unit: 'x',
        of: 'of embedded',
        target: { atLeast: 0.7 },
      },
      {
        path: `mesh, REST, ${MLP.what}, 256 connections`,
        values: [`mesh ${perSecond(median(mlp.mesh))}`, `embedded ${perSecond(median(mlp.embedded))}`],
        figure: medianRatio(mlp.mesh, mlp.embedded),
        unit: 'x',
        of: 'of embedded',
        target: null,
      },
    ];
  },
};
