/** Reads request bodies: whole, bounded, without copies where the body came in one piece. */
import type { IncomingMessage } from 'node:http';
import { createGunzip } from 'node:zlib';
import type { StallWatch } from './stall-watch.ts';

/** TensorFlow Serving's bound on what a gzip body may inflate to. */
const MAX_INFLATED_BYTES = 100 * 1024 * 1024;
/** A body is given this much memory at once on the word of its Content-Length; more comes with the bytes. */
const TRUSTED_BYTES = 16 * 1024 * 1024;

/** What became of a body. */
export type BodyResult =
  | { readonly type: 'body'; readonly bytes: Buffer }
  | { readonly type: 'too-large' }
  /** The client sent nothing for the whole of the body timeout. */
  | { readonly type: 'stalled' }
  /** The client closed the connection. */
  | { readonly type: 'gone' };

/** Reads a body of at most `maxBytes` (as sent), inflating it when it says it is gzip: a broken or too large one is then empty. Never rejects. */
export async function readBody(request: IncomingMessage, maxBytes: number, watch: StallWatch): Promise<BodyResult> {
  const result = await readRaw(request, maxBytes, watch);
  const encoding = request.headers['content-encoding'];
  if (result.type !== 'body' || encoding === undefined || !encoding.includes('gzip')) return result;
  return { type: 'body', bytes: await inflate(result.bytes) };
}

function readRaw(request: IncomingMessage, maxBytes: number, watch: StallWatch): Promise<BodyResult> {
  const lengthHeader = request.headers['content-length'];
  const declared = lengthHeader === undefined ? undefined : Number(lengthHeader);
  if (declared !== undefined && declared > maxBytes) return Promise.resolve({ type: 'too-large' });
  if (declared === 0) return Promise.resolve({ type: 'body', bytes: Buffer.alloc(0) });
  return new Promise((resolve) => {
    let first: Buffer | undefined;
    let whole: Buffer | undefined;
    let length = 0;
    const watching = watch.watch({ progress: () => length, stalled: () => settle({ type: 'stalled' }) });
    const settle = (result: BodyResult) => {
      watching[Symbol.dispose]();
      request.off('data', onData).off('end', onEnd).off('close', onGone).off('error', onGone);
      resolve(result);
    };
    const onGone = () => settle({ type: 'gone' });
    const onEnd = () => settle({ type: 'body', bytes: whole?.subarray(0, length) ?? first ?? Buffer.alloc(0) });
    const onData = (chunk: Buffer) => {
      const end = length + chunk.byteLength;
      if (end > maxBytes) {
        request.pause();
        settle({ type: 'too-large' });
        return;
      }
      if (length === 0) first = chunk;
      else {
        if (whole === undefined || end > whole.byteLength) {
          const wanted = Math.max(
            end,
            Math.min(declared ?? 0, TRUSTED_BYTES),
            Math.min(2 * (whole?.byteLength ?? 0), declared ?? maxBytes),
          );
          const grown = Buffer.allocUnsafeSlow(wanted);
          (whole?.subarray(0, length) ?? first)?.copy(grown);
          whole = grown;
        }
        chunk.copy(whole, length);
      }
      length = end;
    };
    request.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone);
  });
}

/** Inflates off the main thread, at most `MAX_INFLATED_BYTES`; empty when the data is broken or would be more. */
function inflate(bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve) => {
    const gunzip = createGunzip({ chunkSize: 256 * 1024 });
    const chunks: Buffer[] = [];
    let length = 0;
    gunzip.on('data', (chunk: Buffer) => {
      length += chunk.byteLength;
      chunks.push(chunk);
      if (length <= MAX_INFLATED_BYTES) return;
      gunzip.destroy();
      resolve(Buffer.alloc(0));
    });
    gunzip.on('end', () => resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length)));
    gunzip.on('error', () => resolve(Buffer.alloc(0)));
    gunzip.end(bytes);
  });
}
