import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createWakeHeap } from '../../services/batcher/wake-heap.ts';

const item = () => ({ wakeAtMs: Number.POSITIVE_INFINITY });

describe('wake heap', () => {
  test('an item comes up once, at the earliest instant it was armed for', () => {
    const heap = createWakeHeap();
    const a = item();
    heap.arm(a, 20);
    heap.arm(a, 10);
    heap.arm(a, 15);
    expect(heap.nextMs()).toBe(10);
    expect(heap.takeDue(9)).toBeUndefined();
    expect(heap.takeDue(30)).toBe(a);
    expect(a.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
    expect(heap.takeDue(30)).toBeUndefined();
    expect(heap.nextMs()).toBe(Number.POSITIVE_INFINITY);
  });

  test('an item may be armed again after it came up', () => {
    const heap = createWakeHeap();
    const a = item();
    heap.arm(a, 1);
    heap.takeDue(1);
    heap.arm(a, 5);
    expect(heap.takeDue(4)).toBeUndefined();
    expect(heap.takeDue(5)).toBe(a);
  });

  test('never is no instant', () => {
    const heap = createWakeHeap();
    heap.arm(item(), Number.POSITIVE_INFINITY);
    expect(heap.nextMs()).toBe(Number.POSITIVE_INFINITY);
  });

  test('items come up in order of their instants', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 60 }), (instants) => {
        const heap = createWakeHeap();
        for (const atMs of instants) heap.arm(item(), atMs);
        const seen: number[] = [];
        for (let nextMs = heap.nextMs(); nextMs < Number.POSITIVE_INFINITY; nextMs = heap.nextMs()) {
          heap.takeDue(nextMs);
          seen.push(nextMs);
        }
        expect(seen).toEqual([...instants].sort((a, b) => a - b));
      }),
    );
  });
});
