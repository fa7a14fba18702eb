import { createFaultClient, type Outcome, type Ports, type Protocol, type Question } from './clients.ts';
import { createRandom } from './random.ts';
import { disturbedForMs, type Sample, shareBelow } from './steady.ts';
import { faultOf, questionOf, type Topic } from './truth.ts';
import { pause } from './waiting.ts';

/** What may happen to clients during a step. */
export interface StepRules {
  /** A gateway dies, leaves or stands still: its own clients may lose their connection, and ask another gateway. */
  readonly mayReconnect?: boolean;
  /** How long a client waits before it takes its gateway for dead. Default 20 s: the deadline. */
  readonly patienceMs?: number;
  /** Versions of `line` that may answer; default 1 alone. */
  readonly versions?: readonly number[];
}

/** What happened to the requests that were sent during one step. */
export interface Tally {
  readonly step: string;
  sent: number;
  answered: number;
  refused: number;
  failed: number;
  wrong: number;
  /** Connections lost with a gateway; each of those requests was asked again elsewhere. */
  reconnected: number;
  /** Until the last request ended that was disturbed; null for a step without an event. */
  steadyAfterMs: number | null;
  p50Ms: number;
  p99Ms: number;
  /** The first few things that were not as they should be. */
  readonly examples: string[];
}

/** Clients that ask and check without pause. */
export interface Traffic {
  /** Counts what is sent from now on under this name. */
  step(name: string, rules?: StepRules): void;
  /** The event of this step happens now. */
  event(): void;
  /** Waits until this many more answers have come; rejects when they do not within half a minute. */
  answers(count: number): Promise<void>;
  /** Lets every client finish and returns all steps. */
  stop(): Promise<readonly Tally[]>;
}

/** One client. */
export interface ClientPlan {
  readonly protocol: Protocol;
  readonly topics: readonly Topic[];
}

/** The clients of the full run, at each gateway. */
export const CLIENTS: readonly ClientPlan[] = [
  { protocol: 'rest', topics: ['line', 'half_plus_two'] },
  { protocol: 'rest', topics: ['line', 'turns', 'hazard'] },
  { protocol: 'grpc', topics: ['line'] },
  { protocol: 'grpc', topics: ['half_plus_two', 'hazard'] },
  { protocol: 'grpc', topics: ['turns'] },
  { protocol: 'grpc', topics: ['large', 'line'] },
];

interface Step {
  readonly tally: Tally;
  readonly rules: StepRules;
  readonly samples: Sample[];
  eventMs: number | undefined;
}

const PATIENCE_MS = 20_000;
/** Fleet and clients share one small machine. */
const THINK_MS = 10;
/** Attempts of one request over several gateways. */
const MAX_ATTEMPTS = 8;
const MAX_EXAMPLES = 4;
const ANSWERS_BOUND_MS = 30_000;

/** Starts the clients at every gateway. */
export function startTraffic(gateways: readonly Ports[], seed: number, plans: readonly ClientPlan[] = CLIENTS): Traffic {
  const steps: Step[] = [];
  let stopping = false;
  let answered = 0;
  const now = (): Step => {
    const step = steps.at(-1);
    if (step === undefined) throw new Error('traffic without a step');
    return step;
  };

  async function run(plan: ClientPlan, home: number, clientSeed: number): Promise<void> {
    const random = createRandom(clientSeed);
    let at = home;
    const connect = () => createFaultClient(plan.protocol, gateways[at % gateways.length] as Ports);
    let client = connect();
    const move = (to: number) => {
      client.close();
      at = to;
      client = connect();
    };
    while (!stopping) {
      const step = now();
      if (at !== home && step.rules.mayReconnect !== true) move(home);
      const topic = random.pick(plan.topics);
      const question = questionOf(topic, random);
      const versions = new Set(step.rules.versions ?? [1]);
      const startMs = performance.now();
      step.tally.sent++;
      let outcome: Outcome;
      let attempts = 0;
      for (;;) {
        outcome = await client.ask(question, step.rules.patienceMs ?? PATIENCE_MS);
        const gatewayGone = step.rules.mayReconnect === true || now().rules.mayReconnect === true;
        const silent =
          outcome.type === 'failed' && /no answer within|DEADLINE_EXCEEDED/.test(outcome.message) && step.rules.patienceMs !== undefined;
        if (!gatewayGone || !(outcome.type === 'lost' || silent) || ++attempts >= MAX_ATTEMPTS) break;
        step.tally.reconnected++;
        move(at + 1);
        await pause(20);
      }
      for (const version of now().rules.versions ?? [1]) versions.add(version);
      record(step, { topic, protocol: plan.protocol, question, outcome, versions, startMs, attempts });
      await pause(THINK_MS * (0.5 + random.next()));
    }
    client.close();
  }

  function record(
    step: Step,
    one: {
      readonly topic: Topic;
      readonly protocol: Protocol;
      readonly question: Question;
      readonly outcome: Outcome;
      readonly versions: ReadonlySet<number>;
      readonly startMs: number;
      readonly attempts: number;
    },
  ): void {
    const { tally } = step;
    const { outcome } = one;
    const endMs = performance.now();
    let problem: string | undefined;
    if (outcome.type === 'answered') {
      answered++;
      tally.answered++;
      problem = faultOf(one.question, outcome, one.versions);
      if (problem !== undefined) tally.wrong++;
    } else {
      problem = outcome.message;
      if (outcome.type === 'refused') tally.refused++;
      else tally.failed++;
    }
    step.samples.push({ startMs: one.startMs, endMs, good: problem === undefined && one.attempts === 0 });
    if (problem !== undefined && tally.examples.length < MAX_EXAMPLES)
      tally.examples.push(`${one.protocol} ${one.topic} after ${Math.round(endMs - one.startMs)} ms: ${problem}`);
  }

  function begin(name: string, rules: StepRules): void {
    const tally: Tally = {
      step: name,
      sent: 0,
      answered: 0,
      refused: 0,
      failed: 0,
      wrong: 0,
      reconnected: 0,
      steadyAfterMs: null,
      p50Ms: 0,
      p99Ms: 0,
      examples: [],
    };
    steps.push({ tally, rules, samples: [], eventMs: undefined });
  }

  begin('start', {});
  let clientSeed = seed;
  const clients = gateways.flatMap((_, home) => plans.map((plan) => run(plan, home, ++clientSeed)));

  return {
    step: (name, rules = {}) => begin(name, rules),
    event() {
      now().eventMs ??= performance.now();
    },
    async answers(count) {
      const wanted = answered + count;
      const before = now();
      const endMs = performance.now() + ANSWERS_BOUND_MS;
      while (answered < wanted) {
        if (performance.now() > endMs)
          throw new Error(
            `${wanted - answered} of ${count} answers did not come; ${before.tally.examples.join('; ') || 'nothing else came'}`,
          );
        await pause(5);
      }
    },
    async stop() {
      stopping = true;
      await Promise.all(clients);
      const [, ...named] = steps;
      const slowMs = Math.max(100, 3 * shareBelow((named[0]?.samples ?? []).map(lengthOf), 0.99));
      for (const { tally, samples, eventMs } of named) {
        tally.p50Ms = shareBelow(samples.map(lengthOf), 0.5);
        tally.p99Ms = shareBelow(samples.map(lengthOf), 0.99);
        tally.steadyAfterMs = eventMs === undefined ? null : disturbedForMs(samples, eventMs, slowMs);
      }
      return named.map(({ tally }) => tally);
    },
  };
}

function lengthOf({ startMs, endMs }: Sample): number {
  return endMs - startMs;
}
