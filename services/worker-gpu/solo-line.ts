import type { Clock, Timer } from '#mesh/clock.ts';

/** Once what must be alone has held up the others for this long, they are handed back: another worker may have nothing to do. */
const PATIENCE_MS = 1000;

/**
 * Those that were handed back go first for this long, once what held them up has ended: longer than it takes their batchers to hear that there
 * is room, and to send. Else one that must be alone, sent right after another, would always come before them.
 */
const FIRST_TURN_MS = 200;

/** How a batch stands in the line. `urgent`: others wait for what it answers, so it never waits itself. */
export type Standing = 'shared' | 'alone' | 'urgent';

/** What a line is made with. None of these may call back into it, but `left` may be called for what is handed back. */
export interface SoloLineOptions<Batch> {
  readonly clock: Clock;
  /** Called once for each batch that is not handed back, perhaps before `enter` returns. */
  readonly start: (batch: Batch) => void;
  /** Called instead of `start` for a shared batch that would wait too long, perhaps before `enter` returns. It is out of the line. */
  readonly handBack: (batch: Batch) => void;
  /** What was handed back may come again. Called only when there was something, and what held it up has ended. */
  readonly onOpen: () => void;
}

/**
 * Lets a batch that must be alone run while nothing else does: it waits until all others have ended, and those that come later wait for it, but
 * not for long. What must be alone is never handed back: it would come too late everywhere, behind batches that do not end.
 */
export interface SoloLine<Batch> {
  /** Starts the batch, now or when its turn comes, or hands it back. */
  enter(batch: Batch, standing: Standing): void;
  /** A started batch has ended. Does nothing for another one. */
  left(batch: Batch): void;
}

/** Makes a line that nobody stands in. */
export function createSoloLine<Batch>({ clock, start, handBack, onOpen }: SoloLineOptions<Batch>): SoloLine<Batch> {
  const running = new Set<Batch>();
  let waiting: { readonly batch: Batch; readonly alone: boolean }[] = [];
  let solo: Batch | undefined;
  /** Pending while shared batches would wait: since the line stopped, or the last one that was alone ended. */
  let patience: Timer | undefined;
  /** The patience is over: no shared batch waits until what is alone, or waits for that, has ended. */
  let shut = false;
  /** Something was handed back since. */
  let owing = false;
  /** Pending while shared batches go first: nothing that must be alone begins. */
  let firstTurn: Timer | undefined;

  function begin(batch: Batch): void {
    running.add(batch);
    start(batch);
  }

  function advance(): void {
    for (let next = waiting[0]; next !== undefined && solo === undefined; next = waiting[0]) {
      if (next.alone && (running.size > 0 || firstTurn !== undefined)) break;
      waiting.shift();
      if (next.alone) solo = next.batch;
      begin(next.batch);
    }
    const stopped = solo !== undefined || (waiting.length > 0 && firstTurn === undefined);
    if (stopped && !shut) patience ??= clock.schedule(PATIENCE_MS, shutLine);
  }

  function shutLine(): void {
    patience = undefined;
    shut = true;
    const late = waiting.filter(({ alone }) => !alone);
    waiting = waiting.filter(({ alone }) => alone);
    for (const { batch } of late) giveBack(batch);
  }

  function giveBack(batch: Batch): void {
    owing = true;
    handBack(batch);
  }

  /** What was alone has ended. */
  function open(): void {
    patience?.[Symbol.dispose]();
    patience = undefined;
    shut = false;
    if (!owing) return;
    owing = false;
    firstTurn = clock.schedule(FIRST_TURN_MS, () => {
      firstTurn = undefined;
      advance();
    });
    onOpen();
  }

  return {
    enter(batch, standing) {
      const passes = solo === undefined && (waiting.length === 0 || firstTurn !== undefined);
      if (standing === 'urgent' || (standing === 'shared' && passes)) begin(batch);
      else if (standing === 'shared' && shut) giveBack(batch);
      else {
        waiting.push({ batch, alone: standing === 'alone' });
        advance();
      }
    },
    left(batch) {
      if (!running.delete(batch)) return;
      if (solo === batch) {
        solo = undefined;
        open();
      }
      advance();
    },
  };
}
