/** What a client may ask of a connection, and how long each side may take. */
export interface Http2Limits {
  /** Streams that a client may have open at once; one more is refused. */
  readonly maxConcurrentStreams: number;
  /** Bytes of a request's headers, as RFC 9113 counts them; also of a header block as sent. */
  readonly maxHeaderListBytes: number;
  /** What a stream may send ahead of being read. */
  readonly streamWindowBytes: number;
  /** The same for a connection. */
  readonly connectionWindowBytes: number;
  /** How long a client may stop in the middle of a frame or a body, or take nothing of what waits for it. */
  readonly stallMs: number;
  /** Silence after which a client is asked whether it is there; Infinity: never. */
  readonly keepaliveTimeMs: number;
  /** How long it may take to answer. */
  readonly keepaliveTimeoutMs: number;
  /** A connection without streams for this long is closed; Infinity: never. */
  readonly maxIdleMs: number;
  /** A connection is closed at this age, once its streams are done; Infinity: never. */
  readonly maxAgeMs: number;
  /** How long its streams may take then. */
  readonly maxAgeGraceMs: number;
  /** A client that asks whether we are there more often than this, with nothing sent between, gets strikes; 0: it may. */
  readonly minPingIntervalMs: number;
  /** Strikes that are forgiven. */
  readonly maxPingStrikes: number;
}

/** What holds unless told otherwise. */
export const DEFAULT_LIMITS: Http2Limits = {
  maxConcurrentStreams: 4096,
  maxHeaderListBytes: 65_536,
  streamWindowBytes: 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  stallMs: 30_000,
  keepaliveTimeMs: Number.POSITIVE_INFINITY,
  keepaliveTimeoutMs: 20_000,
  maxIdleMs: Number.POSITIVE_INFINITY,
  maxAgeMs: Number.POSITIVE_INFINITY,
  maxAgeGraceMs: Number.POSITIVE_INFINITY,
  minPingIntervalMs: 0,
  maxPingStrikes: 2,
};

/** How often connections must be looked at for these limits to be kept to within a quarter, in ms. */
export function tickMs({ stallMs, keepaliveTimeMs, keepaliveTimeoutMs, maxIdleMs, maxAgeMs, maxAgeGraceMs }: Http2Limits): number {
  const watched = [stallMs, keepaliveTimeMs, maxIdleMs, maxAgeMs, maxAgeGraceMs];
  if (Number.isFinite(keepaliveTimeMs)) watched.push(keepaliveTimeoutMs);
  return Math.max(5, Math.min(1000, Math.min(...watched) / 4));
}
