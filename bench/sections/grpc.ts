import { PREDICT_PATH, runGrpc } from '../load/grpc-load.ts';
import { type BenchModel, HALF, MLP } from '../models/nets.ts';
import { grpcRequest } from '../models/payloads.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { type BenchContext, type BenchRow, type BenchSection, perSecond } from '../section.ts';
import { startBareHttp2, startEmbedded } from '../servers.ts';

const CONNECTIONS = 4;

/** Embedded over gRPC against a bare node:http2, with as many requests in flight as over REST. */
export const GRPC: BenchSection = {
  name: 'grpc',
  about: 'embedded over gRPC: half (32 in flight), MLP (64 in flight)',
  needsWrk: false,
  needsMesh: false,
  async run(context) {
    return [await measure(context, HALF, 32), await measure(context, MLP, 64)];
  },
};

async function measure(context: BenchContext, model: BenchModel, inFlight: number): Promise<BenchRow> {
  await using bare = await startBareHttp2(context.servers);
  await using embedded = await startEmbedded([model], context.servers);
  const message = grpcRequest(model, 1);
  const load = (port: number) => async () => {
    const { seconds } = context;
    return (await runGrpc({ port, path: PREDICT_PATH, message, connections: CONNECTIONS, streams: inFlight / CONNECTIONS, seconds }))
      .perSecond;
  };
  const subjects = { bare: load(bare.grpcPort), embedded: load(embedded.grpcPort) };
  await interleave(subjects, 1); // warms the compilers up
  const rates = await interleave(subjects, context.rounds);
  return {
    path: `embedded, gRPC, ${model.what}, ${inFlight} in flight over ${CONNECTIONS} connections`,
    values: [`embedded ${perSecond(median(rates.embedded))}`, `bare ${perSecond(median(rates.bare))}`],
    figure: medianRatio(rates.embedded, rates.bare),
    unit: 'x',
    of: 'of bare node:http2',
    target: { atLeast: 0.6 },
  };
}
