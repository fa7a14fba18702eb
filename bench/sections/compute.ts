import { availableParallelism } from 'node:os';
import { PREDICT_PATH, runGrpc } from '../load/grpc-load.ts';
import { runWrk } from '../load/wrk.ts';
import { modelFile } from '../models/folder.ts';
import { type BenchModel, CONV, TRANSFORMER } from '../models/nets.ts';
import { grpcRequest, jsonBody } from '../models/payloads.ts';
import { runScript } from '../node-script.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { type BenchContext, type BenchRow, type BenchSection, perSecond } from '../section.ts';
import { type BenchServer, startBareHttp, startEmbedded } from '../servers.ts';

const CONNECTIONS = 32;
/** Over gRPC as many requests are in flight, on fewer connections. */
const GRPC_CONNECTIONS = 4;

/** Embedded with models that keep every core busy, against a loop over session.run without a server. */
export const COMPUTE: BenchSection = {
  name: 'compute',
  about: 'embedded over REST and gRPC, saturated: conv net, transformer',
  needsWrk: true,
  needsMesh: false,
  async run(context) {
    return [...(await measure(context, CONV)), ...(await measure(context, TRANSFORMER))];
  },
};

/** Plans of which the limit is chosen, after a first look at all. */
const FINALISTS = 4;
const FINAL_RUNS = 3;

/** How the loop is run: rows per run, and threads as sessions times threads in each. */
interface LimitPlan {
  readonly rows: number;
  readonly sessions: number;
  readonly threads: number;
}

async function measure(context: BenchContext, model: BenchModel): Promise<readonly BenchRow[]> {
  const plan = await bestPlan(context, model);
  await using embedded = await startEmbedded([model], context.servers);
  const body = jsonBody(model, 1);
  const load = async ({ restPort }: BenchServer): Promise<number> => {
    const url = `http://127.0.0.1:${restPort}/v1/models/${model.name}:predict`;
    return (await runWrk({ url, body, connections: CONNECTIONS, seconds: context.seconds })).perSecond;
  };
  const message = grpcRequest(model, 1);
  const loadGrpc = async ({ grpcPort }: BenchServer): Promise<number> => {
    const { seconds } = context;
    const streams = CONNECTIONS / GRPC_CONNECTIONS;
    return (await runGrpc({ port: grpcPort, path: PREDICT_PATH, message, connections: GRPC_CONNECTIONS, streams, seconds })).perSecond;
  };
  const limit = () => runLimit(model, plan, context.seconds * 1000);
  await loadGrpc(embedded);
  await load(embedded); // warms the compilers up
  const answersPerSecond = await load(embedded);
  await using bare = await startBareHttp(context.servers, answersPerSecond);
  const rates = await interleave(
    {
      before: limit,
      embedded: () => load(embedded),
      grpc: () => loadGrpc(embedded),
      after: limit,
      // The same bytes come and go, at the rate at which Headrace took them, while the loops run: nobody who is asked over HTTP can do more.
      beside: async () => (await Promise.all([limit(), load(bare)]))[0],
    },
    context.rounds,
  );
  // The mean of the runs around it: what else happens on the machine comes and goes more slowly.
  const limits = rates.before.map((rate, round) => (rate + (rates.after[round] ?? rate)) / 2);
  const loops = `${plan.sessions} sessions x ${plan.threads} threads, ${plan.rows} rows a run`;
  const row = { path: `embedded, REST, ${model.what}, ${CONNECTIONS} connections`, unit: 'x' } as const;
  const ours = `embedded ${perSecond(median(rates.embedded))}`;
  return [
    {
      path: `embedded, gRPC, ${model.what}, ${CONNECTIONS} in flight over ${GRPC_CONNECTIONS} connections`,
      values: [`embedded ${perSecond(median(rates.grpc))}`, `limit ${perSecond(median(limits))} (${loops})`],
      figure: medianRatio(rates.grpc, limits),
      unit: 'x',
      of: 'of the limit',
      target: { atLeast: 0.95 },
    },
    {
      ...row,
      values: [ours, `limit ${perSecond(median(limits))} (${loops})`],
      figure: medianRatio(rates.embedded, limits),
      of: 'of the limit',
      target: { atLeast: 0.95 },
    },
    {
      ...row,
      values: [
        ours,
        `limit ${perSecond(median(rates.beside))} while a bare node:http answers ${perSecond(answersPerSecond)} such requests`,
      ],
      figure: medianRatio(rates.embedded, rates.beside),
      of: 'of the limit beside a bare node:http',
      target: null,
    },
  ];
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
  const tried: { readonly plan: LimitPlan; readonly rate: number }[] = [];
  for (const plan of plans) tried.push({ plan, rate: await runLimit(model, plan, Math.min(1000, context.seconds * 1000)) });
  // A short run is easily disturbed, and a limit that is too low would flatter us: the fastest again, in turn, and by their medians.
  const finals = tried.sort((a, b) => b.rate - a.rate).slice(0, FINALISTS);
  const again: Record<string, () => Promise<number>> = {};
  for (const [index, { plan }] of finals.entries()) again[index] = () => runLimit(model, plan, context.seconds * 1000);
  const rates = await interleave(again, FINAL_RUNS);
  let best: { readonly plan: LimitPlan; readonly rate: number } | undefined;
  for (const [index, { plan }] of finals.entries()) {
    const rate = median(rates[index] ?? []);
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
