import type { FaultClient, Outcome, Question } from './clients.ts';
import { shareBelow } from './steady.ts';
import { faultOf } from './truth.ts';
import { pause } from './waiting.ts';

/** What one client found in a stretch of load. Latencies count from sending to the whole answer, at the client, in ms. */
export interface LoadRecord {
  readonly seconds: number;
  readonly sent: number;
  /** Answered with the truth, in time. */
  readonly answered: number;
  /** Accepted, but the deadline came first. */
  readonly late: number;
  readonly failed: number;
  readonly wrong: number;
  /** Of what was accepted: the deadline itself for what came late. */
  readonly acceptedMs: readonly number[];
  readonly refusedMs: readonly number[];
  readonly examples: readonly string[];
}

/** What a stretch of load came to, over all clients. */
export interface LoadOutcome {
  readonly seconds: number;
  readonly sent: number;
  readonly answered: number;
  readonly refused: number;
  readonly late: number;
  readonly failed: number;
  readonly wrong: number;
  readonly acceptedP50Ms: number;
  readonly acceptedP99Ms: number;
  readonly refusedP50Ms: number;
  readonly refusedP90Ms: number;
  readonly refusedP99Ms: number;
  readonly examples: readonly string[];
}

/** How a client makes its requests. */
export interface LoadPlan {
  readonly client: FaultClient;
  readonly question: () => Question;
  readonly deadlineMs: number;
  readonly seconds: number;
}

/** How much longer than the deadline a client waits: a server that is late must say so itself. */
const GRACE_MS = 2000;
/** A client that was refused does not ask again at once. */
const REFUSED_PAUSE_MS = 50;

/** Sends at fixed instants, `perSecond` a second, whatever comes back. */
export async function runOpenLoop(plan: LoadPlan, perSecond: number): Promise<LoadRecord> {
  const book = createBook(plan);
  const startedMs = performance.now();
  const count = Math.round(perSecond * plan.seconds);
  const underWay: Promise<unknown>[] = [];
  while (underWay.length < count) {
    const due = Math.min(count, Math.ceil(((performance.now() - startedMs) / 1000) * perSecond));
    for (let index = underWay.length; index < due; index++) underWay.push(book.ask());
    await pause(1);
  }
  await Promise.all(underWay);
  return book.close(plan.seconds);
}

/** Keeps `depth` requests under way all the time: what the server can do. */
export async function runClosedLoop(plan: LoadPlan, depth: number): Promise<LoadRecord> {
  const book = createBook(plan);
  const startedMs = performance.now();
  const endMs = startedMs + plan.seconds * 1000;
  await Promise.all(
    Array.from({ length: depth }, async () => {
      while (performance.now() < endMs) if ((await book.ask()) === 'refused') await pause(REFUSED_PAUSE_MS);
    }),
  );
  return book.close((performance.now() - startedMs) / 1000);
}

/** Adds up what clients found that ran side by side. */
export function outcomeOf(records: readonly LoadRecord[]): LoadOutcome {
  const sum = (value: (record: LoadRecord) => number) => records.reduce((total, record) => total + value(record), 0);
  const acceptedMs = records.flatMap((record) => record.acceptedMs);
  const refusedMs = records.flatMap((record) => record.refusedMs);
  return {
    seconds: Math.max(...records.map(({ seconds }) => seconds)),
    sent: sum(({ sent }) => sent),
    answered: sum(({ answered }) => answered),
    refused: refusedMs.length,
    late: sum(({ late }) => late),
    failed: sum(({ failed }) => failed),
    wrong: sum(({ wrong }) => wrong),
    acceptedP50Ms: shareBelow(acceptedMs, 0.5),
    acceptedP99Ms: shareBelow(acceptedMs, 0.99),
    refusedP50Ms: shareBelow(refusedMs, 0.5),
    refusedP90Ms: shareBelow(refusedMs, 0.9),
    refusedP99Ms: shareBelow(refusedMs, 0.99),
    examples: records.flatMap(({ examples }) => examples),
  };
}

function createBook({ client, question, deadlineMs }: LoadPlan) {
  const acceptedMs: number[] = [];
  const refusedMs: number[] = [];
  const examples: string[] = [];
  const counts = { sent: 0, answered: 0, late: 0, failed: 0, wrong: 0 };
  const note = (text: string) => examples.length < 5 && examples.push(text);

  async function ask(): Promise<Outcome['type']> {
    const asked = question();
    counts.sent++;
    const sentMs = performance.now();
    const outcome = await client.ask(asked, deadlineMs + GRACE_MS, deadlineMs);
    const tookMs = performance.now() - sentMs;
    if (outcome.type === 'refused') {
      if (refusedMs.length === 0) note(outcome.message);
      refusedMs.push(tookMs);
    } else if (outcome.type === 'answered') {
      const fault = faultOf(asked, outcome, new Set([1]));
      acceptedMs.push(tookMs);
      if (fault !== undefined) {
        counts.wrong++;
        note(fault);
      } else if (tookMs <= deadlineMs) counts.answered++;
      else counts.late++;
    } else if (/DEADLINE_EXCEEDED|REST 504/.test(outcome.message)) {
      counts.late++;
      acceptedMs.push(Math.max(tookMs, deadlineMs));
    } else {
      counts.failed++;
      note(outcome.message);
    }
    return outcome.type;
  }

  const close = (seconds: number): LoadRecord => ({ seconds, ...counts, acceptedMs, refusedMs, examples });
  return { ask, close };
}
