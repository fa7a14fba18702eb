import { describe, expect, test } from '@jest/globals';
import { Pace } from '../../services/batcher/pace.ts';
import { batching, held, request, startHarness } from './harness.ts';

/** A pace that has seen full batches of 10 units every 20 ms, one after the other, and has one more under way since `nowMs`. */
function steadyPace(): { readonly pace: Pace; readonly nowMs: number } {
  const pace = new Pace();
  let nowMs = 0;
  pace.sent(10, nowMs);
  for (let batch = 0; batch < 50; batch++) {
    const expectedMs = nowMs + 20;
    nowMs += 20;
    pace.sent(10, nowMs);
    pace.back(10);
    pace.returned(10, expectedMs, nowMs);
  }
  return { pace, nowMs };
}

describe('the pace of a lane', () => {
  const ahead = { units: 1, queuedUnits: 0, batchUnits: 10 };

  test('knows nothing before a batch came back, and then expects nothing bad', () => {
    const pace = new Pace();
    expect(pace.expectedMs(ahead, 0)).toBe(0);
    expect(pace.knows(ahead)).toBe(false);
  });

  test('expects the rest of what is under way, then a whole batch', () => {
    const { pace, nowMs } = steadyPace();
    expect(pace.expectedMs(ahead, nowMs)).toBeCloseTo(40, 6);
    expect(pace.expectedMs(ahead, nowMs + 15)).toBeCloseTo(25, 6);
    expect(pace.expectedMs({ ...ahead, queuedUnits: 99 }, nowMs)).toBeCloseTo(220, 6);
  });

  test('takes what it expects for longer where requests missed it', () => {
    const { pace, nowMs } = steadyPace();
    const calmMs = pace.boundMs(100);
    pace.back(10);
    pace.returned(10, nowMs - 50, nowMs + 20);
    expect(pace.boundMs(100)).toBeGreaterThan(calmMs + 7);
  });

  test('is not that of a single standstill', () => {
    const { pace, nowMs } = steadyPace();
    const calmMs = pace.boundMs(pace.expectedMs(ahead, nowMs));
    pace.back(10);
    pace.returned(10, nowMs + 20, nowMs + 5000);
    pace.sent(10, nowMs + 5000);
    expect(pace.boundMs(pace.expectedMs(ahead, nowMs + 5000))).toBeLessThan(2 * calmMs);
  });

  test('learns nothing about its expectations from a request that was put back', () => {
    const { pace, nowMs } = steadyPace();
    const calmMs = pace.boundMs(100);
    pace.back(10);
    pace.returned(10, null, nowMs + 20);
    expect(pace.boundMs(100)).toBe(calmMs);
  });

  test('does not know how long batches take that are much larger than any seen, or when nothing is under way', () => {
    const { pace } = steadyPace();
    expect(pace.knows({ units: 1, queuedUnits: 500, batchUnits: 10 })).toBe(true);
    expect(pace.knows({ units: 1, queuedUnits: 500, batchUnits: 1000 })).toBe(false);
    pace.back(10);
    expect(pace.knows(ahead)).toBe(false);
  });
});

describe('a lane that has more to do than time allows', () => {
  const limits = batching({ maxBatchSize: 10, batchTimeoutMicros: 0 });

  test('refuses at once what would wait for its deadline in vain, and takes what has more time', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 1, batching: limits })]);
    const gateway = mesh.addGateway();
    const ten = (from: number, budgetMs: number) => Array.from({ length: 10 }, (_, index) => request(from + index, { budgetMs }));
    for (let batch = 0; batch < 20; batch++) {
      await gateway.submit(...ten(100 * batch, 60_000));
      await mesh.clock.advance(100);
      const [frame] = worker.batches.slice(-1);
      if (frame) await worker.ready(frame);
    }
    // One batch under way and two queued: the next is answered after 400 ms.
    await gateway.submit(...ten(5000, 60_000), ...ten(5100, 60_000), ...ten(5200, 60_000));
    expect(gateway.errors()).toEqual([]);
    await gateway.submit(request(6000, { budgetMs: 300 }), request(6001, { budgetMs: 2000 }));
    expect(gateway.errors()).toEqual([
      {
        id: 6000,
        code: 'UNAVAILABLE',
        message: expect.stringMatching(/^m@1 is overloaded: a request is answered after up to \d+ ms, and this one has 300 ms$/),
        resend: false,
      },
    ]);
  });

  test('takes everything while nothing is under way, however slow it was', async () => {
    await using mesh = await startHarness();
    const worker = await mesh.addWorker([held({ tokens: 1, batching: limits })]);
    const gateway = mesh.addGateway();
    for (let batch = 0; batch < 5; batch++) {
      await gateway.submit(request(batch, { budgetMs: 60_000 }));
      await mesh.clock.advance(5000);
      const [frame] = worker.batches.slice(-1);
      if (frame) await worker.ready(frame);
    }
    await gateway.submit(request(50, { budgetMs: 10 }));
    expect(gateway.errors()).toEqual([]);
    expect(worker.ids().at(-1)).toEqual([50]);
  });
});
