import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { IdTable } from '#mesh/id-table.ts';

describe('an id table', () => {
  test('does what a Map does', () => {
    const step = fc.record({ act: fc.constantFrom('set', 'set', 'delete', 'get'), id: fc.oneof(fc.nat(150), fc.maxSafeNat()) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
        const table = new IdTable<number, string>();
        const map = new Map<number, string>();
        for (const [index, { act, id }] of steps.entries()) {
          if (act === 'set') {
            table.set(id, `${index}`);
            map.set(id, `${index}`);
          } else if (act === 'delete') {
            expect(table.delete(id)).toBe(map.get(id));
            map.delete(id);
          } else expect(table.get(id)).toBe(map.get(id));
          expect(table.size).toBe(map.size);
        }
        for (const [id, value] of map) expect(table.get(id)).toBe(value);
        expect(table.values().sort()).toEqual([...map.values()].sort());
      }),
    );
  });

  test('keeps ids that fall on one place apart when those before them go', () => {
    const table = new IdTable<number, string>();
    for (const id of [0, 64, 128, 192, 1]) table.set(id, `${id}`);
    for (const [gone, left] of [
      [64, [0, 128, 192, 1]],
      [0, [128, 192, 1]],
      [192, [128, 1]],
    ] as const) {
      expect(table.delete(gone)).toBe(`${gone}`);
      expect(left.map((id) => table.get(id))).toEqual(left.map(String));
      expect(table.get(gone)).toBeUndefined();
    }
  });

  test('stays small while entries come and go, and grows when they stay', () => {
    const table = new IdTable<number, number>();
    for (let id = 0; id < 100_000; id++) {
      table.set(id, id);
      if (id >= 20) expect(table.delete(id - 20)).toBe(id - 20);
    }
    expect(table.size).toBe(20);
    for (let id = 200_000; id < 201_000; id++) table.set(id, id);
    expect(table.values()).toHaveLength(1020);
  });
});
