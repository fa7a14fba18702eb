import { runWrk } from '../load/wrk.ts';
import { type BenchModel, HALF, MLP } from '../models/nets.ts';
import { jsonBody } from '../models/payloads.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { type BenchContext, type BenchRow, type BenchSection, perSecond } from '../section.ts';
import { startBareHttp, startEmbedded, startNaive } from '../servers.ts';

/** Embedded over REST against naive and a bare node:http, for requests whose cost is the server. */
export const REST: BenchSection = {
  name: 'rest',
  about: 'embedded over REST: half (32 connections), MLP (64 connections)',
  needsWrk: true,
  needsMesh: false,
  async run(context) {
    const half = await measure(context, HALF, 32);
    const mlp = await measure(context, MLP, 64);
    return [
      { ...half.againstNaive, target: { atLeast: 1 } },
      { ...half.againstBare, target: { atLeast: 0.6 } },
      { ...mlp.againstNaive, target: { atLeast: 2.5 } },
      { ...mlp.againstBare, target: null },
    ];
  },
};

async function measure(
  context: BenchContext,
  model: BenchModel,
  connections: number,
): Promise<{ againstNaive: BenchRow; againstBare: BenchRow }> {
  await using naive = await startNaive(model, context.servers);
  await using bare = await startBareHttp(context.servers);
  await using embedded = await startEmbedded([model], context.servers);
  const body = jsonBody(model, 1);
  const load = (port: number) => async () => {
    const url = `http://127.0.0.1:${port}/v1/models/${model.name}:predict`;
    return (await runWrk({ url, body, connections, seconds: context.seconds })).perSecond;
  };
  const subjects = { naive: load(naive.restPort), bare: load(bare.restPort), embedded: load(embedded.restPort) };
  await interleave(subjects, 1); // warms the compilers up
  const rates = await interleave(subjects, context.rounds);
  const row = (reference: 'naive' | 'bare', of: string): BenchRow => ({
    path: `embedded, REST, ${model.what}, ${connections} connections`,
    values: [`embedded ${perSecond(median(rates.embedded))}`, `${reference} ${perSecond(median(rates[reference]))}`],
    figure: medianRatio(rates.embedded, rates[reference]),
    unit: 'x',
    of,
    target: null,
  });
  return { againstNaive: row('naive', 'of naive'), againstBare: row('bare', 'of bare node:http') };
}
