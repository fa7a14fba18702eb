/**
 * Lets a batch that must be alone run while nothing else does: it waits until all others have ended, and those that come later wait for it.
 */
export interface SoloLine<Batch> {
  /** Starts the batch now or when its turn comes. `urgent`: others wait for what it answers, so it never waits itself. */
  enter(batch: Batch, kind: 'shared' | 'alone' | 'urgent'): void;
  /** A started batch has ended. */
  left(batch: Batch): void;
}

/** Makes a line that nobody stands in. `start` is called once for each batch, perhaps before `enter` returns. */
export function createSoloLine<Batch>(start: (batch: Batch) => void): SoloLine<Batch> {
  const running = new Set<Batch>();
  const waiting: { readonly batch: Batch; readonly alone: boolean }[] = [];
  let solo: Batch | undefined;

  function begin(batch: Batch): void {
    running.add(batch);
    start(batch);
  }

  function advance(): void {
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      if (solo !== undefined || (next.alone && running.size > 0)) return;
      waiting.shift();
      if (next.alone) solo = next.batch;
      begin(next.batch);
    }
  }

  return {
    enter(batch, kind) {
      if (kind === 'urgent' || (kind === 'shared' && solo === undefined && waiting.length === 0)) {
        begin(batch);
        return;
      }
      waiting.push({ batch, alone: kind === 'alone' });
      advance();
    },
    left(batch) {
      running.delete(batch);
      if (solo === batch) solo = undefined;
      advance();
    },
  };
}
