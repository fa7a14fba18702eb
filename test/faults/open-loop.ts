import type { FaultClient, Question } from './clients.ts';
import { shareBelow } from './steady.ts';
import { faultOf } from './truth.ts';
import { pause } from './waiting.ts';

/** What a stretch of load came to. Latencies count from sending to the whole answer, at the client. */
export interface LoadOutcome {
  readonly seconds: number;
  readonly sent: number;
  /** Answered with the truth, in time. */
  readonly answered: number;
  readonly refused: number;
  /** Accepted, but the deadline came first. */
  readonly late: number;
  readonly failed: number;
  readonly wrong: number;
  /** Of what was accepted: the deadline itself for what came late. */
  readonly acceptedP50Ms: number;
  readonly acceptedP99Ms: number;
  readonly refusedP50Ms: number;
  readonly refusedP90Ms: number;
  readonly refusedP99Ms: number;
  readonly examples: readonly string[];
}

/** How requests are made. */
export interface LoadPlan {
  readonly clients: readonly FaultClient[];
  readonly question: () => Question;
  readonly deadlineMs: number;
  readonly seconds: number;
}

/** How much longer than the deadline a client waits: a server that is late must say so itself. */
const GRACE_MS = 2000;

/** Sends at fixed instants, `perSecond` a second, whatever comes back. */
export async function runOpenLoop(plan: LoadPlan, perSecond: number): Promise<LoadOutcome> {
  const book = createBook(plan);
  const startedMs = performance.now();
  const count = Math.round(perSecond * plan.seconds);
  const underWay: Promise<void>[] = [];
  while (underWay.length < count) {
    const due = Math.min(count, Math.ceil(((performance.now() - startedMs) / 1000) * perSecond));
    for (let index = underWay.length; index < due; index++) underWay.push(book.ask(index));
    await pause(1);
  }
  await Promise.all(underWay);
  return book.close(plan.seconds);
}

/** Keeps `depth` requests under way all the time: what the server can do. */
export async function runClosedLoop(plan: LoadPlan, depth: number): Promise<LoadOutcome> {
  const book = createBook(plan);
  const startedMs = performance.now();
  const endMs = startedMs + plan.seconds * 1000;
  await Promise.all(
    Array.from({ length: depth }, async (_, index) => {
      while (performance.now() < endMs) await book.ask(index);
    }),
  );
  return book.close((performance.now() - startedMs) / 1000);
}

function createBook({ clients, question, deadlineMs }: LoadPlan) {
  const accepted: number[] = [];
  const refused: number[] = [];
  const examples: string[] = [];
  const counts = { sent: 0, answered: 0, late: 0, failed: 0, wrong: 0 };
  const note = (text: string) => examples.length < 5 && examples.push(text);

  async function ask(index: number): Promise<void> {
    const asked = question();
    const client = clients[index % clients.length] as FaultClient;
    counts.sent++;
    const sentMs = performance.now();
    const outcome = await client.ask(asked, deadlineMs + GRACE_MS, deadlineMs);
    const tookMs = performance.now() - sentMs;
    if (outcome.type === 'refused') {
      if (refused.length === 0) note(outcome.message);
      refused.push(tookMs);
    } else if (outcome.type === 'answered') {
      const fault = faultOf(asked, outcome, new Set([1]));
      accepted.push(tookMs);
      if (fault !== undefined) {
        counts.wrong++;
        note(fault);
      } else if (tookMs <= deadlineMs) counts.answered++;
      else counts.late++;
    } else if (/DEADLINE_EXCEEDED|REST 504/.test(outcome.message)) {
      counts.late++;
      accepted.push(Math.max(tookMs, deadlineMs));
    } else {
      counts.failed++;
      note(outcome.message);
    }
  }

  const close = (seconds: number): LoadOutcome => ({
    seconds,
    ...counts,
    refused: refused.length,
    acceptedP50Ms: shareBelow(accepted, 0.5),
    acceptedP99Ms: shareBelow(accepted, 0.99),
    refusedP50Ms: shareBelow(refused, 0.5),
    refusedP90Ms: shareBelow(refused, 0.9),
    refusedP99Ms: shareBelow(refused, 0.99),
    examples,
  });
  return { ask, close };
}
