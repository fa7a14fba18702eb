import { expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import type { FromThread } from '../../../services/worker-gpu/executor-protocol.ts';
import { createCallMeter } from '../../../services/worker-gpu/user-code-process/call-meter.ts';

const RAN: FromThread = { type: 'ran', executedMs: 1, outputs: [] };
const FAILED: FromThread = { type: 'failed', executedMs: 1, code: 'INTERNAL', message: 'no' };

function setUp() {
  const clock = createFakeClock();
  const entered: string[] = [];
  return { clock, entered, meter: createCallMeter(clock, (name) => entered.push(name)) };
}

test('a run of code with one name is one call of it, whatever it enters', async () => {
  const { clock, entered, meter } = setUp();
  const answer = await meter.measure(['a'], async () => {
    meter.enter('b');
    await clock.advance(5);
    return RAN;
  });
  expect(answer).toEqual({ ...RAN, calls: [{ name: 'a', count: 1, tookMs: 5 }] });
  expect(entered).toEqual([]);
});

test('of several names each is counted and timed from where it is entered to where it is left', async () => {
  const { clock, entered, meter } = setUp();
  const answer = await meter.measure(['a', 'b'], async () => {
    await clock.advance(1);
    for (const name of ['a', 'b', 'b', 'a']) {
      meter.enter(name);
      await clock.advance(10);
    }
    meter.enter(undefined);
    await clock.advance(100);
    return RAN;
  });
  expect(answer).toEqual({
    ...RAN,
    calls: [
      { name: 'a', count: 2, tookMs: 20 },
      { name: 'b', count: 2, tookMs: 20 },
    ],
  });
  expect(entered).toEqual(['a', 'b', 'a']);
});

test('a failure is put down to what was entered last, and to nothing when that was left', async () => {
  const { meter } = setUp();
  const during = await meter.measure(['a', 'b'], async () => {
    meter.enter('b');
    return FAILED;
  });
  expect(during).toEqual({ ...FAILED, calls: [{ name: 'b', count: 1, tookMs: 0 }], failedIn: 'b' });
  const between = await meter.measure(['a', 'b'], async () => FAILED);
  expect(between).toEqual({ ...FAILED, calls: [] });
});

test('a servable without code of users is not measured', async () => {
  const { meter } = setUp();
  expect(await meter.measure([], async () => RAN)).toEqual({ ...RAN, calls: [] });
});
