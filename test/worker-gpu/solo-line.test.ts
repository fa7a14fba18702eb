import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createSoloLine } from '../../services/worker-gpu/solo-line.ts';

describe('a solo line', () => {
  test('starts at once what need not be alone', () => {
    const started: string[] = [];
    const line = createSoloLine<string>((batch) => started.push(batch));
    line.enter('a', 'shared');
    line.enter('b', 'shared');
    expect(started).toEqual(['a', 'b']);
  });

  test('keeps what must be alone until the others are done, and holds up who comes later', () => {
    const started: string[] = [];
    const line = createSoloLine<string>((batch) => started.push(batch));
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
    const started: string[] = [];
    const line = createSoloLine<string>((batch) => started.push(batch));
    line.enter('caller', 'shared');
    line.enter('suspect', 'alone');
    line.enter('called', 'urgent');
    expect(started).toEqual(['caller', 'called']);
    line.left('caller');
    expect(started).not.toContain('suspect');
    line.left('called');
    expect(started).toContain('suspect');
  });

  test('starts everything once, and what must be alone while nothing else runs but what others wait for', () => {
    const kind = fc.constantFrom('shared' as const, 'alone' as const, 'urgent' as const);
    const step = fc.oneof(kind, fc.nat(5));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const kinds: ('shared' | 'alone' | 'urgent')[] = [];
        const running: number[] = [];
        const started: number[] = [];
        const line = createSoloLine<number>((batch) => {
          if (kinds[batch] === 'alone') expect(running).toEqual([]);
          else expect(kinds[batch] === 'urgent' || running.every((one) => kinds[one] !== 'alone')).toBe(true);
          running.push(batch);
          started.push(batch);
        });
        const end = (index: number) => {
          const [batch] = running.splice(index % running.length, 1);
          if (batch !== undefined) line.left(batch);
        };
        for (const one of steps) {
          if (typeof one === 'number') {
            if (running.length > 0) end(one);
          } else line.enter(kinds.push(one) - 1, one);
        }
        while (running.length > 0) end(0);
        expect(started.toSorted((a, b) => a - b)).toEqual(kinds.map((_, index) => index));
      }),
    );
  });
});
