import { availableParallelism } from 'node:os';
import { runWrk } from '../load/wrk.ts';
import { modelFile } from '../models/folder.ts';
import { type BenchModel, CONV, TRANSFORMER } from '../models/nets.ts';
import { jsonBody } from '../models/payloads.ts';
import { runScript } from '../node-script.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { type BenchContext, type BenchRow, type BenchSection, perSecond } from '../section.ts';
import { startEmbedded } from '../servers.ts';

const CONNECTIONS = 32;

/** Embedded with models that keep every core busy, against a loop over session.run without a server. */
export const COMPUTE: BenchSection = {
  name: 'compute',
  about: 'embedded over REST, saturated: conv net, transformer',
  needsWrk: true,
  needsMesh: false,
  async run(context) {
    return [await measure(context, CONV), await measure(context, TRANSFORMER)];
  },
};

/** How the loop is run: rows per run, and threads as sessions times threads in each. */
interface LimitPlan {
  readonly rows: number;
  readonly sessions: number;
  readonly threads: number;
}

async function measure(context: BenchContext, model: BenchModel): Promise<BenchRow> {
  const plan = await bestPlan(context, model);
  await using embedded = await startEmbedded([model], context.servers);
  const url = `http://127.0.0.1:${embedded.restPort}/v1/models/${model.name}:predict`;
  const body = jsonBody(model, 1);
  const subjects = {
    limit: () => runLimit(model, plan, context.seconds * 1000),
    embedded: async () => (await runWrk({ url, body, connections: CONNECTIONS, seconds: context.seconds })).perSecond,
  };
  await subjects.embedded(); // warms the compilers up
  const rates = await interleave(subjects, context.rounds);
  return {
    path: `embedded, REST, ${model.what}, ${CONNECTIONS} connections`,
    values: [
      `embedded ${perSecond(median(rates.embedded))}`,
      `limit ${perSecond(median(rates.limit))} (${plan.sessions} sessions x ${plan.threads} threads, ${plan.rows} rows a run)`,
    ],
    figure: medianRatio(rates.embedded, rates.limit),
    unit: 'x',
    of: 'of the limit',
    target: { atLeast: 0.95 },
  };
}

/** Tries batch sizes and ways to use the cores, and returns the fastest: the limit is what the machine can do at its best. */
async function bestPlan(context: BenchContext, model: BenchModel): Promise<LimitPlan> {
  const cores = availableParallelism();
  const ways =
    cores === 1
      ? [{ sessions: 1, threads: 1 }]
      : [
          { sessions: cores, threads: 1 },
          { sessions: 1, threads: cores },
        ];
  const plans = ways.flatMap((way) => [1, 4, 8, 16, 32].map((rows): LimitPlan => ({ ...way, rows })));
  let best: { readonly plan: LimitPlan; readonly rate: number } | undefined;
  for (const plan of plans) {
    const rate = await runLimit(model, plan, Math.min(1000, context.seconds * 1000));
    if (best === undefined || rate > best.rate) best = { plan, rate };
  }
  if (best === undefined) throw new Error('no plan was tried (this is a bug)');
  context.say(
    `  ${model.name}: the limit is at ${best.plan.sessions} sessions x ${best.plan.threads} threads, ${best.plan.rows} rows a run`,
  );
  return best.plan;
}

async function runLimit(model: BenchModel, plan: LimitPlan, limitMs: number): Promise<number> {
  const { name, dtype, rowShape } = model.input;
  const args = [modelFile(model), name, dtype, JSON.stringify([plan.rows, ...rowShape]), plan.sessions, plan.threads, limitMs];
  const { rowsPerSecond } = await runScript<{ rowsPerSecond: number }>('references/limit.ts', args, limitMs + 60_000);
  return rowsPerSecond;
}
