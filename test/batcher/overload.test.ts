/** A lane's door under twice the load that its workers can carry, on a clock of events: the pace decides, nothing else is real. */
import { describe, expect, test } from '@jest/globals';
import { Pace } from '../../services/batcher/pace.ts';

/** Executing a batch takes this, and by chance up to `noise` more. */
const batchMs = (units: number) => 10 + 3 * units;
const MAX_BATCH = 1000;
const DEPTH = 48;

interface Held {
  readonly atMs: number;
  readonly expectedMs: number;
  readonly done: (tookMs: number) => void;
}

interface Stretch {
  sent: number;
  refused: number;
  readonly tookMs: number[];
}

function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Workers that each take all that waits as soon as they are free. */
function simulate({ budgetMs, workers, noise, seed }: { budgetMs: number; workers: number; noise: number; seed: number }) {
  const random = createRandom(seed);
  const pace = new Pace();
  const events: { readonly atMs: number; readonly act: () => void }[] = [];
  const queue: Held[] = [];
  let nowMs = 0;
  let free = workers;

  /** Events stay in order of time; those of one instant in the order in which they were planned. */
  function later(delayMs: number, act: () => void): void {
    const atMs = nowMs + delayMs;
    const index = events.findLastIndex((event) => event.atMs <= atMs) + 1;
    events.splice(index, 0, { atMs, act });
  }

  function dispatch(): void {
    while (free > 0 && queue.length > 0) {
      const batch = queue.splice(0, MAX_BATCH);
      free--;
      pace.sent(batch.length, nowMs);
      later(batchMs(batch.length) * (1 + noise * random()), () => {
        free++;
        pace.back(batch.length);
        pace.returned(batch.length, batch[0]?.expectedMs ?? null, nowMs);
        for (const { atMs, done } of batch) done(nowMs - atMs);
        dispatch();
      });
    }
  }

  function ask(stretch: Stretch, done: (tookMs: number | null) => void): void {
    stretch.sent++;
    const ahead = { units: 1, queuedUnits: queue.length, batchUnits: MAX_BATCH };
    const expectedMs = pace.expectedMs(ahead, nowMs);
    if (pace.boundMs(expectedMs) > budgetMs && pace.knows(ahead) && free === 0) {
      stretch.refused++;
      done(null);
      return;
    }
    const answered = (tookMs: number) => {
      stretch.tookMs.push(tookMs);
      done(tookMs);
    };
    queue.push({ atMs: nowMs, expectedMs: nowMs + expectedMs, done: answered });
    later(0, dispatch);
  }

  function passUntil(untilMs: number): void {
    for (;;) {
      const next = events[0];
      if (next === undefined || next.atMs > untilMs) break;
      events.shift();
      nowMs = next.atMs;
      next.act();
    }
    nowMs = untilMs;
  }

  const begin = (): Stretch => ({ sent: 0, refused: 0, tookMs: [] });
  return {
    /** So many requests under way all the time; who is refused asks again a little later. */
    closed(forMs: number): Stretch {
      const stretch = begin();
      const endMs = nowMs + forMs;
      const go = () => {
        if (nowMs < endMs) ask(stretch, (tookMs) => later(tookMs === null ? 50 : random(), go));
      };
      for (let index = 0; index < DEPTH * workers; index++) later(random(), go);
      passUntil(endMs + 5000);
      return stretch;
    },
    /** Requests at fixed instants, whatever comes back. */
    open(forMs: number, perMs: number): Stretch {
      const stretch = begin();
      const startMs = nowMs;
      const next = (index: number) => {
        if (index / perMs >= forMs) return;
        later(Math.max(0, startMs + (index + random()) / perMs - nowMs), () => {
          ask(stretch, () => {});
          next(index + 1);
        });
      };
      next(0);
      passUntil(startMs + forMs + 5000);
      return stretch;
    },
  };
}

const rows = [500, 1000].flatMap((budgetMs) =>
  [1, 3].flatMap((workers) => [0.1, 0.6].flatMap((noise) => [3000, 10_000].map((forMs) => ({ budgetMs, workers, noise, forMs })))),
);

describe('twice the load that workers can carry', () => {
  test.each(rows)(
    'with $budgetMs ms, $workers workers, $noise noise, for $forMs ms: what is accepted is in time, and no less is done',
    ({ budgetMs, workers, noise, forMs }) => {
      const lane = simulate({ budgetMs, workers, noise, seed: 5 });
      lane.closed(2000);
      const before = lane.closed(4000);
      const peak = before.tookMs.length / 4000;
      const { sent, refused, tookMs } = lane.open(forMs, 2 * peak);
      const late = tookMs.filter((ms) => ms > budgetMs).length;
      expect(refused).toBeGreaterThan(0.1 * sent);
      // One of several workers may take a batch that is larger than the pace of all together says.
      const allowed = workers === 1 ? { late: 0.01, goodput: 0.9 } : { late: 0.05, goodput: 0.8 };
      expect(late).toBeLessThan(allowed.late * sent);
      expect((tookMs.length - late) / forMs).toBeGreaterThan(allowed.goodput * peak);
    },
  );
});
