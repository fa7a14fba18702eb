import { ConnectionLost, createGrpcClient, createRestClient, type PredictClient, type Question, type Reply } from './clients.ts';
import type { GatewayAddress } from './fleet.ts';
import { AFFINE, affineTruth } from './models.ts';
import { pause } from './shell.ts';

/** What happened to the requests that were answered during one step. */
export interface Tally {
  readonly step: string;
  answered: number;
  /** Answered, and not with the truth. */
  wrong: number;
  /** Refused, timed out, or lost where no connection may be lost. */
  failed: number;
  /** Connections that were lost where a gateway leaves; the request was then answered by the other one. */
  reconnected: number;
  readonly latenciesMs: number[];
  /** A few words of each first failure. */
  readonly examples: string[];
}

/** Clients that ask and check without pause until they are stopped. */
export interface Traffic {
  /** Counts from now on under this name. `mayReconnect`: a gateway leaves in this step; once it is false again, every client returns to its own. `versions`: of the affine model that may answer. */
  step(name: string, rules: { readonly mayReconnect?: boolean; readonly versions: readonly number[] }): Tally;
  /** Lets every client finish its request and returns all tallies. */
  stop(): Promise<readonly Tally[]>;
}

/** Time a client waits between requests: the fleet and its clients share one small machine. */
const THINK_MS = 8;
/** Elements of a tensor larger than --inline_tensor_bytes, which the worker fetches from the gateway. */
const LARGE_ELEMENTS = 40_000;

/** Starts clients of every kind at every gateway. */
export function startTraffic(gateways: readonly GatewayAddress[], seed: number): Traffic {
  const random = createRandom(seed);
  const tallies: Tally[] = [];
  let tally: Tally | undefined;
  let rules: Parameters<Traffic['step']>[1] = { versions: [1] };
  let stopping = false;

  async function client(home: number, kind: 'rest' | 'grpc', ask: () => Question): Promise<void> {
    const create = kind === 'rest' ? createRestClient : createGrpcClient;
    let at = home;
    const connect = (): PredictClient => create(gateways[at % gateways.length] as GatewayAddress);
    let connection = connect();
    while (!stopping) {
      if (at !== home && rules.mayReconnect !== true) {
        connection.close();
        at = home;
        connection = connect();
      }
      const question = ask();
      const startedAtMs = performance.now();
      const startedIn = tally;
      for (let attempt = 1; startedIn; attempt++) {
        // Versions that were right at any time between question and answer are right.
        const allowed = new Set(rules.versions);
        try {
          const reply = await connection.predict(question);
          for (const version of rules.versions) allowed.add(version);
          startedIn.answered++;
          startedIn.latenciesMs.push(performance.now() - startedAtMs);
          const fault = faultOf(question, reply, allowed);
          if (fault !== undefined) {
            startedIn.wrong++;
            note(startedIn, `${kind} ${question.model}: ${fault}`);
          }
          break;
        } catch (caught) {
          const lost = caught instanceof ConnectionLost && rules.mayReconnect === true && attempt < 4;
          if (!lost) {
            startedIn.failed++;
            note(
              startedIn,
              `${kind} ${question.model} at ${(performance.now() - startedAtMs).toFixed(0)} ms: ${(caught as Error).message}`,
            );
            break;
          }
          startedIn.reconnected++;
          connection.close();
          at++;
          connection = connect();
        }
      }
      await pause(THINK_MS * (0.5 + random()));
    }
    connection.close();
  }

  const small = () => randomQuestion(random, 'half_plus_two', [1 + Math.floor(random() * 8)]);
  const rows = () => randomQuestion(random, 'affine', [1 + Math.floor(random() * 4), AFFINE.inputs]);
  const large = () => randomQuestion(random, 'half_plus_two', [1, LARGE_ELEMENTS]);
  const clients = gateways.flatMap((_, index) => [
    client(index, 'rest', small),
    client(index, 'rest', rows),
    client(index, 'grpc', small),
    client(index, 'grpc', rows),
    client(index, 'grpc', rows),
    client(index, 'grpc', large),
  ]);

  return {
    step(name, next) {
      tally = { step: name, answered: 0, wrong: 0, failed: 0, reconnected: 0, latenciesMs: [], examples: [] };
      tallies.push(tally);
      rules = next;
      return tally;
    },
    async stop() {
      stopping = true;
      await Promise.all(clients);
      return tallies;
    },
  };
}

/** What is wrong with a reply, in words; undefined when it is the truth. */
function faultOf(question: Question, reply: Reply, versions: ReadonlySet<number>): string | undefined {
  if (question.model === 'half_plus_two')
    return same(
      reply.values,
      question.values.map((x) => x / 2 + 2),
    )
      ? undefined
      : describe(question, reply);
  const candidates = reply.version === undefined ? [...versions] : [reply.version].filter((version) => versions.has(version));
  if (candidates.length === 0) return `version ${reply.version} answered where only ${[...versions].join(', ')} may`;
  const right = candidates.some((version) => same(reply.values, rowTruths(version, question)));
  return right ? undefined : `versions ${candidates.join(', ')}: ${describe(question, reply)}`;
}

function rowTruths(version: number, { values }: Question): number[] {
  const truths: number[] = [];
  for (let start = 0; start < values.length; start += AFFINE.inputs)
    truths.push(...affineTruth(version, values.slice(start, start + AFFINE.inputs)));
  return truths;
}

function same(found: readonly number[], expected: readonly number[]): boolean {
  return found.length === expected.length && found.every((value, index) => value === expected[index]);
}

function describe(question: Question, reply: Reply): string {
  return `${JSON.stringify(question.values.slice(0, 8))} gave ${JSON.stringify(reply.values.slice(0, 8))}`;
}

function note(tally: Tally, words: string): void {
  if (tally.examples.length < 5) tally.examples.push(words);
}

/** Eighths between -128 and 128: exact in float32, in JSON, and through the models' arithmetic. */
function randomQuestion(random: () => number, model: Question['model'], shape: readonly number[]): Question {
  const count = shape.reduce((product, size) => product * size, 1);
  return { model, shape, values: Array.from({ length: count }, () => Math.floor(random() * 2048 - 1024) / 8) };
}

/** Mulberry32: the same numbers for the same seed. */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
