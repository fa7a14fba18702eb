/** Weight of the newest batch once there are many. */
const NEWEST_WEIGHT = 0.1;
/** Mean deviations above the expectation that a bound is: few requests take longer (TCP bounds a reply's time in the same way). */
const DEVIATIONS = 3;
/** What is expected is taken for longer by this, since more may join its batch, and the way to and from the workers takes time. */
const MARGIN = 1.2;
/** One batch counts for no more than this many times what is usual: a standstill is no pace, and what is really slow comes again. */
const OUTLIER = 4;
/** A deviation below this says nothing, in ms. */
const LEAST_DEVIATION_MS = 5;
/** What the largest batch of late counts less with each batch that comes back. */
const FORGETTING = 0.98;

/** What stands before a request that asks to enter a lane. Units are rows, or requests where those do not share batches. */
export interface Ahead {
  readonly units: number;
  readonly queuedUnits: number;
  /** The most units of a batch. */
  readonly batchUnits: number;
}

/**
 * How fast a lane's work is done, learned from the batches that come back, whatever it is that slows them: executors, other lanes, other
 * batchers. Measured are units that came back and the time in which they did while something was under way; and by how much requests
 * missed what was expected of them.
 */
export class Pace {
  /** Units sent and not yet back. */
  #underWay = 0;
  /** When the last batch came back, or the first was sent after there was none. */
  #sinceMs = 0;
  #count = 0;
  #batchUnits = 0;
  #batchMs = 0;
  #largestUnits = 0;
  #missMs = 0;
  #deviationMs = 0;

  /** A batch was sent. */
  sent(units: number, nowMs: number): void {
    if (this.#underWay === 0) this.#sinceMs = nowMs;
    this.#underWay += units;
  }

  /** A batch is no longer under way, whatever became of it. */
  back(units: number): void {
    this.#underWay -= units;
  }

  /** A batch was executed. `expectedMs`: the instant for which one of its requests was expected; null when that says nothing. */
  returned(units: number, expectedMs: number | null, nowMs: number): void {
    const weight = Math.max(NEWEST_WEIGHT, 1 / ++this.#count);
    this.#batchUnits += weight * (units - this.#batchUnits);
    const tookMs = nowMs - this.#sinceMs;
    this.#batchMs += weight * ((this.#count === 1 ? tookMs : Math.min(tookMs, OUTLIER * Math.max(1, this.#batchMs))) - this.#batchMs);
    this.#sinceMs = nowMs;
    this.#largestUnits = Math.max(units, FORGETTING * this.#largestUnits);
    if (expectedMs === null || this.#count === 1) return;
    const farMs = OUTLIER * Math.max(LEAST_DEVIATION_MS, this.#deviationMs);
    const offMs = Math.max(-farMs, Math.min(farMs, nowMs - expectedMs - this.#missMs));
    this.#deviationMs += weight * (Math.abs(offMs) - this.#deviationMs);
    this.#missMs += weight * offMs;
  }

  /**
   * When a request that enters now is expected to be answered, in ms from now: once what is under way and its own batch are done. Its own batch
   * is what waits already, or as large as batches are, since more will come. 0 before the first batch came back.
   */
  expectedMs({ units, queuedUnits, batchUnits }: Ahead, nowMs: number): number {
    if (this.#count === 0) return 0;
    const unitMs = this.#batchMs / this.#batchUnits;
    const underWayMs = Math.max(0, this.#underWay * unitMs - (nowMs - this.#sinceMs));
    return underWayMs + Math.max(queuedUnits + units, Math.min(this.#batchUnits, batchUnits)) * unitMs;
  }

  /** Few requests of which this is expected take longer, in ms. */
  boundMs(expectedMs: number): number {
    return MARGIN * expectedMs + Math.max(0, this.#missMs) + DEVIATIONS * this.#deviationMs;
  }

  /**
   * False while it cannot be said how long so many take: nothing is under way, so there is nothing to wait for, or batches could be much larger
   * than those that came back, and might then cost less a unit.
   */
  knows({ units, queuedUnits, batchUnits }: Ahead): boolean {
    if (this.#underWay === 0) return false;
    return queuedUnits + units <= 2 * this.#largestUnits || 2 * this.#largestUnits >= batchUnits;
  }
}
