import { startFaultFleet, untilServed } from './fleet.ts';
import { type Stretch, startLoadClient } from './load-client.ts';
import { createModels } from './models.ts';
import { type LoadOutcome, outcomeOf } from './open-loop.ts';

/** How the load is made. */
export interface OverloadOptions {
  readonly seed: number;
  /** Of each stretch. */
  readonly seconds: number;
  /** The budget of every request. */
  readonly deadlineMs: number;
  readonly say: (line: string) => void;
}

/** What was measured. */
export interface OverloadReport {
  readonly deadlineMs: number;
  /** Closed loop, before and after: what the mesh can do. */
  readonly peaks: readonly LoadOutcome[];
  /** The better of the two, in answers a second. */
  readonly peakPerSecond: number;
  /** Open loop at twice that. */
  readonly overload: LoadOutcome;
  readonly goodputShare: number;
}

/** Requests under way when the peak is measured. */
const DEPTH = 48;

/** Starts a small fleet, finds what it can do, and asks for twice as much. */
export async function runOverload({ seed, seconds, deadlineMs, say }: OverloadOptions): Promise<OverloadReport> {
  using models = createModels(['device']);
  await using fleet = await startFaultFleet({
    models,
    size: { gateway: 1, batcher: 1, 'worker-gpu': 1, registry: 1 },
    flags: { gateway: [`--rest_api_timeout_in_ms=${deadlineMs}`] },
  });
  await untilServed(fleet, ['device']);
  const [gateway] = fleet.of('gateway');
  if (gateway === undefined) throw new Error('no gateway');
  const { restPort, grpcPort } = gateway;
  const common = { ports: { restPort, grpcPort }, deadlineMs };
  await using rest = startLoadClient({ ...common, protocol: 'rest', seed });
  await using grpc = startLoadClient({ ...common, protocol: 'grpc', seed: seed + 1 });
  const both = async (stretch: Stretch) => outcomeOf(await Promise.all([rest.run(stretch), grpc.run(stretch)]));
  const closed = { type: 'closed', seconds, depth: DEPTH / 2 } as const;
  await both({ ...closed, seconds: 2 });
  const before = await both(closed);
  const rate = before.answered / before.seconds;
  say(`peak ${rate.toFixed(0)}/s; now ${(2 * rate).toFixed(0)}/s`);
  // Each sends half of twice the rate.
  const overload = await both({ type: 'open', seconds, perSecond: rate });
  const after = await both(closed);
  const peaks = [before, after];
  const peakPerSecond = Math.max(...peaks.map(({ answered, seconds: took }) => answered / took));
  return { deadlineMs, peaks, peakPerSecond, overload, goodputShare: overload.answered / overload.seconds / peakPerSecond };
}

/** The least share of the peak that is still answered at twice the load. */
const GOODPUT = 0.9;
/** A refusal takes less than this. */
const REFUSAL_MS = 10;

/** What is not as promised, in words. */
export function overloadProblems({ overload, deadlineMs, goodputShare, peaks }: OverloadReport): readonly string[] {
  const found: string[] = [];
  const { wrong, failed, refused, acceptedP99Ms, refusedP90Ms, examples } = overload;
  if (wrong > 0 || failed > 0) found.push(`overload: ${wrong} wrong, ${failed} failed (${examples.join('; ')})`);
  if (peaks.some((peak) => peak.wrong + peak.failed > 0)) found.push('overload: wrong or failed answers at the peak');
  if (refused === 0) found.push('overload: nothing was refused, so the load was no overload');
  if (acceptedP99Ms >= deadlineMs)
    found.push(`overload: p99 of what was accepted is ${acceptedP99Ms.toFixed(0)} ms, the deadline ${deadlineMs} ms`);
  // Not the 99th: client, fleet and whatever else this machine does share its processors.
  if (refusedP90Ms >= REFUSAL_MS) found.push(`overload: a tenth of the refusals takes ${refusedP90Ms.toFixed(1)} ms or longer`);
  if (goodputShare < GOODPUT) found.push(`overload: goodput is ${(100 * goodputShare).toFixed(0)} % of the peak`);
  return found;
}
