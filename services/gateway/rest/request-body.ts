/** Reads request bodies: whole, bounded, without copies where the body came in one piece. */
import type { IncomingMessage } from 'node:http';
import { createGunzip } from 'node:zlib';
import { type ServeError, toServeError } from '#mesh/errors.ts';
import type { ByteBudget } from '../byte-budget.ts';
import type { StallWatch } from './stall-watch.ts';

/** TensorFlow Serving's bound on what a gzip body may inflate to. */
const MAX_INFLATED_BYTES = 100 * 1024 * 1024;
/** A body is given this much memory at once on the word of its Content-Length; when that is full, all that it says it needs. */
const TRUSTED_BYTES = 16 * 1024 * 1024;
const NO_BYTES = Buffer.alloc(0);

/** What became of a body. */
export type BodyResult =
  | { readonly type: 'body'; readonly bytes: Buffer }
  | { readonly type: 'too-large' }
  /** There is no room for it now. */
  | { readonly type: 'refused'; readonly error: ServeError }
  /** The client sent nothing for the whole of the body timeout. */
  | { readonly type: 'stalled' }
  /** The client closed the connection. */
  | { readonly type: 'gone' };

/** What bodies are bounded by. */
export interface BodyBounds {
  /** The largest body, as sent. */
  readonly maxBytes: number;
  readonly watch: StallWatch;
  /** What bodies count against until they are handed on. */
  readonly budget: ByteBudget;
}

/**
 * Reads a body of at most `maxBytes` (as sent), inflating it when it says it is gzip: a broken or too large one is then empty. Calls `done`
 * once, perhaps before it returns: a callback and not a promise, because this is done for every request.
 */
export function readBody(request: IncomingMessage, bounds: BodyBounds, done: (result: BodyResult) => void): void {
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined || !encoding.includes('gzip')) readRaw(request, bounds, done);
  else
    readRaw(request, bounds, (result) => {
      if (result.type === 'body') inflate(result.bytes, (bytes) => done({ type: 'body', bytes }));
      else done(result);
    });
}

function readRaw(request: IncomingMessage, { maxBytes, watch, budget }: BodyBounds, done: (result: BodyResult) => void): void {
  const lengthHeader = request.headers['content-length'];
  const declared = lengthHeader === undefined ? undefined : Number(lengthHeader);
  if (declared === 0 || (declared !== undefined && declared > maxBytes)) {
    done(declared === 0 ? { type: 'body', bytes: NO_BYTES } : { type: 'too-large' });
    return;
  }
  let first: Buffer | undefined;
  let whole: Buffer | undefined;
  let length = 0;
  let settled = false;
  const share = budget.open();
  const problem = declared === undefined ? undefined : problemOf(() => roomFor(budget, declared));
  if (problem !== undefined) {
    done({ type: 'refused', error: problem });
    return;
  }
  const watching = watch.watch({ progress: () => length, stalled: () => settle({ type: 'stalled' }) });
  // The listeners stay: taking them off costs more than asking whether they still mean something.
  function settle(result: BodyResult): void {
    if (settled) return;
    settled = true;
    watching[Symbol.dispose]();
    // Whoever takes the bytes counts them now, in the same turn.
    share[Symbol.dispose]();
    done(result);
  }
  request.on('data', (chunk: Buffer) => {
    if (settled) return;
    const end = length + chunk.byteLength;
    if (end > maxBytes) {
      request.pause();
      settle({ type: 'too-large' });
      return;
    }
    if (length === 0) first = chunk;
    else {
      if (whole === undefined || end > whole.byteLength) {
        const more = whole === undefined ? Math.min(declared ?? 0, TRUSTED_BYTES) : (declared ?? Math.min(2 * whole.byteLength, maxBytes));
        const wanted = Math.max(end, more);
        const problem = problemOf(() => share.grow(wanted));
        if (problem !== undefined) {
          request.pause();
          settle({ type: 'refused', error: problem });
          return;
        }
        const grown = Buffer.allocUnsafeSlow(wanted);
        (whole?.subarray(0, length) ?? first)?.copy(grown);
        whole = grown;
      }
      chunk.copy(whole, length);
    }
    length = end;
  });
  request.on('end', () => settle({ type: 'body', bytes: whole?.subarray(0, length) ?? first ?? NO_BYTES }));
  // A client that goes ends the request without an end. (Its 'error' is emitted only to those who listen for it.)
  request.on('close', () => settle({ type: 'gone' }));
}

/** Throws RESOURCE_EXHAUSTED when there is no room for so many bytes now. Takes none: they are not here yet, and may never come. */
function roomFor(budget: ByteBudget, byteLength: number): void {
  using share = budget.open();
  share.grow(byteLength);
}

function problemOf(act: () => void): ServeError | undefined {
  try {
    act();
    return undefined;
  } catch (caught) {
    return toServeError(caught);
  }
}

/** Inflates off the main thread, at most `MAX_INFLATED_BYTES`; empty when the data is broken or would be more. */
function inflate(bytes: Buffer, done: (inflated: Buffer) => void): void {
  const gunzip = createGunzip({ chunkSize: 256 * 1024 });
  const chunks: Buffer[] = [];
  let length = 0;
  gunzip.on('data', (chunk: Buffer) => {
    if (gunzip.destroyed) return;
    length += chunk.byteLength;
    chunks.push(chunk);
    if (length <= MAX_INFLATED_BYTES) return;
    // Destroyed without an error it emits nothing but 'close'.
    gunzip.destroy();
    done(NO_BYTES);
  });
  gunzip.on('end', () => done(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length)));
  gunzip.on('error', () => done(NO_BYTES));
  gunzip.end(bytes);
}
