import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createFakeClock } from '#mesh/clock.ts';
import { createSoloLine, type Standing } from '../../services/worker-gpu/solo-line.ts';

/** A line of names on a clock that stands still, and what became of them, in order. */
function startLine() {
  const clock = createFakeClock();
  const started: string[] = [];
  const back: string[] = [];
  const opened: number[] = [];
  const line = createSoloLine<string>({
    clock,
    start: (batch) => started.push(batch),
    handBack(batch) {
      back.push(batch);
      line.left(batch);
    },
    onOpen: () => opened.push(clock.now()),
  });
  return { clock, line, started, back, opened };
}

describe('a solo line', () => {
  test('starts at once what need not be alone', () => {
    const { line, started } = startLine();
    line.enter('a', 'shared');
    line.enter('b', 'shared');
    expect(started).toEqual(['a', 'b']);
  });

  test('keeps what must be alone until the others are done, and holds up who comes later', () => {
    const { line, started } = startLine();
    line.enter('a', 'shared');
    line.enter('suspect', 'alone');
    line.enter('b', 'shared');
    line.enter('other suspect', 'alone');
    expect(started).toEqual(['a']);
    line.left('a');
    expect(started).toEqual(['a', 'suspect']);
    line.left('suspect');
    expect(started).toEqual(['a', 'suspect', 'b']);
    line.left('b');
    expect(started).toEqual(['a', 'suspect', 'b', 'other suspect']);
  });

  test('lets pass what others wait for', () => {
    const { line, started } = startLine();
    line.enter('caller', 'shared');
    line.enter('suspect', 'alone');
    line.enter('called', 'urgent');
    expect(started).toEqual(['caller', 'called']);
    line.left('caller');
    expect(started).not.toContain('suspect');
    line.left('called');
    expect(started).toContain('suspect');
  });
});

describe('a solo line that is held up', () => {
  test('hands back after a second what waits behind what is alone, and at once what comes then', async () => {
    const { clock, line, started, back } = startLine();
    line.enter('suspect', 'alone');
    line.enter('a', 'shared');
    await clock.advance(900);
    line.enter('b', 'shared');
    await clock.advance(99);
    expect(back).toEqual([]);
    await clock.advance(1);
    expect(back).toEqual(['a', 'b']);
    line.enter('c', 'shared');
    expect(back).toEqual(['a', 'b', 'c']);
    await clock.advance(100_000);
    expect(started).toEqual(['suspect']);
  });

  test('hands back what waits behind one that waits for others to end, which itself is never handed back', async () => {
    const { clock, line, started, back, opened } = startLine();
    line.enter('long', 'shared');
    line.enter('suspect', 'alone');
    line.enter('a', 'shared');
    line.enter('other suspect', 'alone');
    await clock.advance(1000);
    expect(back).toEqual(['a']);
    await clock.advance(60_000);
    line.left('long');
    // What must be alone begins, so there is still no room.
    line.enter('b', 'shared');
    expect(opened).toEqual([]);
    expect(back).toEqual(['a', 'b']);
    expect(started).toEqual(['long', 'suspect']);
  });

  test('lets pass what others wait for', async () => {
    const { clock, line, started, back } = startLine();
    line.enter('suspect', 'alone');
    await clock.advance(5000);
    line.enter('called', 'urgent');
    expect(started).toEqual(['suspect', 'called']);
    expect(back).toEqual([]);
  });

  test('opens once what was alone has ended, and then takes what was handed back before the next that must be alone', async () => {
    const { clock, line, started, back, opened } = startLine();
    line.enter('suspect', 'alone');
    line.enter('a', 'shared');
    await clock.advance(3000);
    line.enter('second suspect', 'alone');
    expect(opened).toEqual([]);
    line.left('suspect');
    expect(opened).toEqual([3000]);
    await clock.advance(100);
    line.enter('a', 'shared');
    await clock.advance(100);
    line.enter('b', 'shared');
    expect(started).toEqual(['suspect', 'a']);
    line.left('a');
    expect(started).toEqual(['suspect', 'a', 'second suspect']);
    line.left('second suspect');
    expect(started).toEqual(['suspect', 'a', 'second suspect', 'b']);
    expect(back).toEqual(['a']);
    expect(opened).toEqual([3000]);
  });

  test('waits no longer than a moment for those that may come again', async () => {
    const { clock, line, started } = startLine();
    line.enter('suspect', 'alone');
    line.enter('a', 'shared');
    await clock.advance(1000);
    line.left('suspect');
    line.enter('second suspect', 'alone');
    expect(started).toEqual(['suspect']);
    await clock.advance(200);
    expect(started).toEqual(['suspect', 'second suspect']);
  });

  test('says nothing and waits for nobody when nothing was handed back', async () => {
    const { clock, line, started, opened } = startLine();
    line.enter('suspect', 'alone');
    await clock.advance(300_000);
    line.left('suspect');
    line.enter('second suspect', 'alone');
    expect(started).toEqual(['suspect', 'second suspect']);
    line.left('second suspect');
    expect(opened).toEqual([]);
    expect(clock.sleepers).toBe(0);
  });

  test('begins to count anew when one that was alone has ended: a line that moves keeps its order', async () => {
    const { clock, line, started, back } = startLine();
    line.enter('suspect', 'alone');
    line.enter('second suspect', 'alone');
    line.enter('a', 'shared');
    await clock.advance(900);
    line.left('suspect');
    await clock.advance(900);
    expect(back).toEqual([]);
    line.left('second suspect');
    expect(started).toEqual(['suspect', 'second suspect', 'a']);
  });
});

test('a line starts or hands back everything once, and runs what must be alone while nothing else runs but what others wait for', async () => {
  const standing = fc.constantFrom<Standing>('shared', 'alone', 'urgent');
  const end = fc.record({ endsAt: fc.nat(5) });
  const pause = fc.record({ waitsMs: fc.constantFrom(1, 100, 500, 999, 1000) });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(standing, end, pause), { maxLength: 40 }), async (steps) => {
      const clock = createFakeClock();
      const standings: Standing[] = [];
      const running: number[] = [];
      const done: number[] = [];
      const line = createSoloLine<number>({
        clock,
        start(batch) {
          if (standings[batch] === 'alone') expect(running).toEqual([]);
          else expect(standings[batch] === 'urgent' || running.every((one) => standings[one] !== 'alone')).toBe(true);
          running.push(batch);
          done.push(batch);
        },
        handBack(batch) {
          expect(standings[batch]).toBe('shared');
          done.push(batch);
          line.left(batch);
        },
        onOpen() {},
      });
      const endOne = (index: number) => {
        const [batch] = running.splice(index % running.length, 1);
        if (batch !== undefined) line.left(batch);
      };
      for (const step of steps) {
        if (typeof step === 'string') line.enter(standings.push(step) - 1, step);
        else if ('waitsMs' in step) await clock.advance(step.waitsMs);
        else if (running.length > 0) endOne(step.endsAt);
      }
      while (running.length > 0 || clock.sleepers > 0) {
        if (running.length > 0) endOne(0);
        else await clock.advance(1000);
      }
      expect(done.toSorted((a, b) => a - b)).toEqual(standings.map((_, index) => index));
    }),
  );
});
