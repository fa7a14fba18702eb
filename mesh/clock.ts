/**
 * Time as a port. Everything that waits takes a Clock, so that tests decide when time passes.
 * Only this file reads the system's time.
 */
export interface Clock {
  /** Monotonic milliseconds, with fractions; the origin means nothing. */
  now(): number;
  /** Milliseconds since 1970 by the wall clock; for what people and other systems read. */
  wallNow(): number;
  /** Calls `callback` once, `delayMs` from now at the earliest. Disposing the timer cancels it. Does not keep the process alive. */
  schedule(delayMs: number, callback: () => void): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason as soon as it aborts. */
  sleep(delayMs: number, signal: AbortSignal): Promise<void>;
}

/** An instant of `wallNow` as HTTP's headers have it: `Sat, 21 Nov 2026 17:00:00 GMT`. */
export function httpDate(wallMs: number): string {
  return new Date(wallMs).toUTCString();
}

/** A pending `Clock.schedule`. Disposing twice, or after it fired, does nothing. */
export interface Timer extends Disposable {}

/** Node's timers overflow at 2^31 ms and fire at once; a longer delay is made of steps. */
const LONGEST_STEP_MS = 1_000_000_000;

/** The system's clock. */
export function createSystemClock(): Clock {
  const clock: Clock = {
    now: () => performance.now(),
    wallNow: () => Date.now(),
    schedule(delayMs, callback) {
      let handle: NodeJS.Timeout;
      const wait = (leftMs: number) => {
        const stepMs = Math.min(LONGEST_STEP_MS, leftMs);
        handle = setTimeout(() => (leftMs > stepMs ? wait(leftMs - stepMs) : callback()), stepMs);
        handle.unref();
      };
      wait(Math.max(0, delayMs));
      return { [Symbol.dispose]: () => clearTimeout(handle) };
    },
    sleep: (delayMs, signal) => sleepOn(clock, delayMs, signal),
  };
  return clock;
}

/** A clock that stands still until told to move. */
export interface FakeClock extends Clock {
  /** Moves time forward, firing timers in order of their instants and letting promises settle between them. */
  advance(byMs: number): Promise<void>;
  /** How many timers are pending: lets a test wait until the code under test is parked. */
  readonly sleepers: number;
}

/** Makes a fake clock that starts at 0. */
export function createFakeClock(): FakeClock {
  let nowMs = 0;
  let order = 0;
  const pending = new Set<{ readonly atMs: number; readonly order: number; readonly callback: () => void }>();
  const clock: FakeClock = {
    now: () => nowMs,
    wallNow: () => 1_700_000_000_000 + nowMs,
    schedule(delayMs, callback) {
      const timer = { atMs: nowMs + Math.max(0, delayMs), order: order++, callback };
      pending.add(timer);
      return { [Symbol.dispose]: () => void pending.delete(timer) };
    },
    sleep: (delayMs, signal) => sleepOn(clock, delayMs, signal),
    get sleepers() {
      return pending.size;
    },
    async advance(byMs) {
      const untilMs = nowMs + byMs;
      await settle();
      for (;;) {
        const due = [...pending].filter((timer) => timer.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
        if (!due) break;
        pending.delete(due);
        nowMs = due.atMs;
        due.callback();
        await settle();
      }
      nowMs = untilMs;
      await settle();
    },
  };
  return clock;
}

function sleepOn(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const timer = clock.schedule(delayMs, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    const onAbort = () => {
      timer[Symbol.dispose]();
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Lets promise callbacks and immediates run: several rounds, because one may start another. */
async function settle(): Promise<void> {
  for (let round = 0; round < 4; round++) await new Promise<void>((resolve) => setImmediate(resolve));
}
