/** The numbers of HTTP/2 (RFC 9113), and the errors that its rules end in. */

/** Frame types (RFC 9113, section 6). */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Frame flags. */
export const FLAG = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** Error codes (RFC 9113, section 7). */
export const ERROR = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  connect: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
} as const;

/** Settings (RFC 9113, section 6.5.2). */
export const SETTING = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** Bytes of a frame's head: length (24 bits), type (8), flags (8), stream (31). */
export const HEAD_BYTES = 9;
/** The window of a connection, and of a stream unless a setting says otherwise. */
export const DEFAULT_WINDOW = 65_535;
/** A window never grows beyond this. */
export const LARGEST_WINDOW = 2 ** 31 - 1;
/** The largest payload of a frame unless a setting says otherwise; we take no larger ones. */
export const DEFAULT_FRAME_BYTES = 16_384;
/** The largest payload that a setting can allow. */
export const LARGEST_FRAME_BYTES = 2 ** 24 - 1;
/** What a client says first. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** A broken rule that ends the connection with GOAWAY. */
export class ConnectionError extends Error {
  readonly errorCode: number;

  constructor(errorCode: number, message: string) {
    super(message);
    this.errorCode = errorCode;
  }
}

/** A broken rule that ends one stream with RST_STREAM. */
export class StreamError extends Error {
  readonly errorCode: number;

  constructor(errorCode: number, message: string) {
    super(message);
    this.errorCode = errorCode;
  }
}
