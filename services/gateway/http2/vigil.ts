/** Decides when a connection has stood still, or been there, for too long. Who asks does what is decided. */
import type { Http2Limits } from './limits.ts';
import type { ServerStream } from './stream.ts';

/** What there is to see of a connection. */
export interface ConnectionSigns {
  readonly bytesRead: number;
  /** What the system has taken. */
  readonly bytesWritten: number;
  /** What it has not. */
  readonly bytesWaiting: number;
  /** In the preface, a frame or a header block. */
  readonly halfway: boolean;
  /** We read nothing, because the client reads nothing. */
  readonly readPaused: boolean;
  readonly streamCount: number;
  /** See `Connection`. */
  readonly leaving: 'no' | 'asked' | 'told';
}

/**
 * - `well`: nothing to do.
 * - `stopped`: the client has stopped in the middle of something.
 * - `deaf`: it takes nothing of what waits for it.
 * - `ping`: it has been silent; ask whether it is there.
 * - `gone`: it did not say.
 * - `leave`: the connection is idle, or old.
 * - `stop-taking`: the client was asked to go long enough ago.
 * - `close`: it has had its grace.
 */
export type Verdict = 'well' | 'stopped' | 'deaf' | 'ping' | 'gone' | 'leave' | 'stop-taking' | 'close';

/** How long a client may take to hear that it should go. */
const FAREWELL_MS = 1000;

/** What one connection was like at the last look. */
export class Vigil {
  readonly #limits: Http2Limits;
  readonly #openedMs: number;
  #read = -1;
  #readMs: number;
  #written = -1;
  #writtenMs: number;
  #idleSinceMs: number;
  #leavingSinceMs = Number.POSITIVE_INFINITY;
  #pingSentMs = Number.POSITIVE_INFINITY;

  constructor(limits: Http2Limits, nowMs: number) {
    this.#limits = limits;
    this.#openedMs = nowMs;
    this.#readMs = nowMs;
    this.#writtenMs = nowMs;
    this.#idleSinceMs = nowMs;
  }

  /** Looks once. Every look gives one verdict; what else there is comes with the next. */
  look(nowMs: number, signs: ConnectionSigns): Verdict {
    const { stallMs, maxIdleMs, maxAgeMs, maxAgeGraceMs } = this.#limits;
    if (signs.bytesWaiting === 0 || signs.bytesWritten !== this.#written) {
      this.#written = signs.bytesWritten;
      this.#writtenMs = nowMs;
    } else if (nowMs - this.#writtenMs >= stallMs) return 'deaf';
    const reading = this.#lookAtReading(nowMs, signs);
    if (reading !== 'well') return reading;
    if (signs.streamCount > 0) this.#idleSinceMs = nowMs;
    if (signs.leaving === 'no') {
      return nowMs - this.#idleSinceMs >= maxIdleMs || nowMs - this.#openedMs >= maxAgeMs ? 'leave' : 'well';
    }
    // From the first look after it began.
    this.#leavingSinceMs = Math.min(this.#leavingSinceMs, nowMs);
    const leavingMs = nowMs - this.#leavingSinceMs;
    if (leavingMs >= maxAgeGraceMs) return 'close';
    return signs.leaving === 'asked' && leavingMs >= FAREWELL_MS ? 'stop-taking' : 'well';
  }

  #lookAtReading(nowMs: number, signs: ConnectionSigns): Verdict {
    const { stallMs, keepaliveTimeMs, keepaliveTimeoutMs } = this.#limits;
    if (signs.bytesRead !== this.#read) {
      this.#read = signs.bytesRead;
      this.#readMs = nowMs;
      this.#pingSentMs = Number.POSITIVE_INFINITY;
      return 'well';
    }
    // What we do not read does not come.
    if (signs.readPaused) return 'well';
    const quietMs = nowMs - this.#readMs;
    if (signs.halfway && quietMs >= stallMs) return 'stopped';
    if (nowMs - this.#pingSentMs >= keepaliveTimeoutMs) return 'gone';
    if (quietMs < keepaliveTimeMs || this.#pingSentMs !== Number.POSITIVE_INFINITY) return 'well';
    this.#pingSentMs = nowMs;
    return 'ping';
  }
}

/** True when a stream has stood still for `stallMs` although its body or its answer is under way. Marks what it saw. */
export function standsStill(stream: ServerStream, nowMs: number, stallMs: number): boolean {
  const bytes = stream.receivedBytes + stream.sentBytes;
  const waits = stream.unsent !== undefined || (!stream.remoteEnded && !stream.mayIdle);
  if (waits && bytes === stream.markedBytes) return nowMs - stream.markedMs >= stallMs;
  stream.markedBytes = bytes;
  stream.markedMs = nowMs;
  return false;
}
