/** Something that wants to be looked at not later than an instant; Infinity: not at all. */
export interface Wakeable {
  wakeAtMs: number;
}

/** The instants at which lanes want to be looked at, earliest first. One timer serves all of them. */
export interface WakeHeap<Item extends Wakeable> {
  /** Makes sure that `item` comes up at `atMs` or earlier. O(1) when an earlier instant is set already, as with every later deadline. */
  arm(item: Item, atMs: number): void;
  /** Takes out one item that is due, with its `wakeAtMs` back at Infinity; undefined when none is. */
  takeDue(nowMs: number): Item | undefined;
  /** The earliest instant; Infinity without any. May name an item that no longer cares. */
  nextMs(): number;
}

interface Entry<Item> {
  readonly atMs: number;
  readonly item: Item;
}

/** Makes an empty heap: a binary heap whose outdated entries are skipped when they come up. */
export function createWakeHeap<Item extends Wakeable>(): WakeHeap<Item> {
  const entries: Entry<Item>[] = [];

  function up(from: number): void {
    let index = from;
    const entry = entries[index];
    if (entry === undefined) return;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = entries[parentIndex];
      if (parent === undefined || parent.atMs <= entry.atMs) break;
      entries[index] = parent;
      index = parentIndex;
    }
    entries[index] = entry;
  }

  function removeFirst(): void {
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return;
    let index = 0;
    for (;;) {
      const leftIndex = 2 * index + 1;
      const left = entries[leftIndex];
      const right = entries[leftIndex + 1];
      const child = right !== undefined && left !== undefined && right.atMs < left.atMs ? right : left;
      if (child === undefined || child.atMs >= last.atMs) break;
      entries[index] = child;
      index = child === left ? leftIndex : leftIndex + 1;
    }
    entries[index] = last;
  }

  return {
    arm(item, atMs) {
      if (atMs >= item.wakeAtMs) return;
      item.wakeAtMs = atMs;
      entries.push({ atMs, item });
      up(entries.length - 1);
    },
    takeDue(nowMs) {
      for (;;) {
        const first = entries[0];
        if (first === undefined || first.atMs > nowMs) return undefined;
        removeFirst();
        if (first.atMs !== first.item.wakeAtMs) continue;
        first.item.wakeAtMs = Number.POSITIVE_INFINITY;
        return first.item;
      }
    },
    nextMs: () => entries[0]?.atMs ?? Number.POSITIVE_INFINITY,
  };
}
