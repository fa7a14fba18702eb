import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PersistentArray } from '../../../../savedmodel/plan/run/persistent-array.ts';

const CHANGE = fc.oneof(
  fc.record({ type: fc.constant('set' as const), from: fc.nat(), at: fc.nat(), value: fc.option(fc.nat(99), { nil: undefined }) }),
  fc.record({ type: fc.constant('pop' as const), from: fc.nat() }),
);

test('every version stays what it was, whichever is changed next', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(99), { maxLength: 5 }), fc.array(CHANGE, { maxLength: 30 }), (start, changes) => {
      const versions: { readonly array: PersistentArray<number>; readonly expected: readonly (number | undefined)[] }[] = [
        { array: PersistentArray.of([...start]), expected: start },
      ];
      for (const change of changes) {
        const base = versions[change.from % versions.length];
        if (base === undefined) continue;
        if (change.type === 'pop') {
          if (base.expected.length > 0) versions.push({ array: base.array.withoutLast(), expected: base.expected.slice(0, -1) });
          continue;
        }
        const at = change.at % (base.expected.length + 1);
        const expected = [...base.expected];
        expected[at] = change.value;
        versions.push({ array: base.array.with(at, change.value), expected });
      }
      for (const { array, expected } of [...versions].reverse()) {
        expect(array.length).toBe(expected.length);
        expect(array.toArray()).toEqual(expected);
        expect(expected.map((_, index) => array.at(index))).toEqual(expected);
        expect(array.at(expected.length)).toBeUndefined();
      }
    }),
    { numRuns: 300 },
  );
});
